"""
The tutorial and the examples, run like a reader runs them.

Each command of docs/tutorial.md is started in a folder that looks like a checkout, with
the test's ports; a server keeps running until the end of its part.
"""

from __future__ import annotations

import json
import re
import sys
import time
import wave
from http.client import HTTPConnection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from chime_gateway.net.signed_post import sign
from tests.integration.programs import Program
from tests.integration.twistd import environment
from tests.support.base import ReactorTestCase
from tests.support.documents import DOCS, ROOT, blocks, commands, documents
from tests.support.files import temporary_folder
from tests.support.ports import free_port

#: The approximate duration; see tests/run.py.
seconds = 30

SECRET = "change-me-0123456789abcdef"
EXAMPLES = ROOT / "examples"
TOOL = "from chime_gateway.cli.main import main; main()"

#: The text that a server prints when it is ready.
READY = {
    "run": "is ready for calls",
    "simulate-azure": "AZURE_OPENAI_ENDPOINT=",
    "examples/tool_server.py": "listening on",
    "examples/webhook_receiver.py": "listening on",
}


class Reader(ReactorTestCase):
    """
    A reader who follows a page.

    @ivar folder: the current folder, with the folders of the checkout.
    @ivar env: the exported variables.
    """

    def setUp(self) -> None:
        from twisted.internet import reactor

        documents()
        self.reactor: Any = reactor
        self.folder = temporary_folder(self)
        for name in ("chime_gateway", "examples"):
            (self.folder / name).symlink_to(ROOT / name)
        self.env = environment(str(self.folder / "state"))
        numbers = ("8080", "8090", "9000", "9001")
        self.ports = {number: str(free_port()) for number in numbers}

    def here(self, text: str) -> str:
        """Insert the ports of this test."""
        return re.sub(
            r"\b(8080|8090|900[01])\b", lambda found: self.ports[found[0]], text
        )

    async def run_command(self, words: list[str]) -> str:
        """Run a command until it ends or is ready; return its output."""
        words = [self.here(word) for word in words]
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                self.env[name] = value
            return ""
        program = words[0].rpartition("/")[2]
        if program == "chimegw":
            words[:1] = ["python3", "-c", TOOL]
        self.assertEqual(words[0], "python3", words)
        words[0] = sys.executable
        running = Program(self.reactor, words, str(self.folder), self.env)
        self.addCleanup(self.end, running)
        ready = next((said for name, said in READY.items() if name in words), "")
        while running.is_running and not (ready and ready in running.output):
            await deferLater(self.reactor, 0.02)
        if ready:
            self.assertTrue(running.is_running, running.output)
            self.running = running
        else:
            self.assertEqual(await running.ended, 0, running.output)
        return running.output

    def end(self, running: Program) -> Deferred[Any] | None:
        if not running.is_running:
            return None
        running.stop("KILL")
        return running.ended

    async def until_it_says(self, running: Program, text: str) -> None:
        while text not in running.output:
            self.assertTrue(running.is_running, running.output)
            await deferLater(self.reactor, 0.02)


class TutorialTests(Reader):
    def part(self, heading: str) -> list[list[str]]:
        text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
        part = text.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
        is_set_up = ("-m", "pip", "install")
        return [
            words
            for words in commands(part)
            if not any(word in words for word in is_set_up)
        ]

    def test_the_first_call(self) -> Deferred[None]:
        async def scene() -> None:
            said = [await self.run_command(w) for w in self.part("The first call")]
            self.assertEqual(len(said), 3)
            self.assertIn("completed", said[-1])
            with wave.open(str(self.folder / "call.wav")) as recording:
                self.assertEqual(recording.getnchannels(), 2)

        return Deferred.fromCoroutine(scene())

    def test_the_first_tool(self) -> Deferred[None]:
        async def scene() -> None:
            config = self.here((EXAMPLES / "gateway.toml").read_text("utf-8"))
            (self.folder / "examples").unlink()
            (self.folder / "examples").mkdir()
            for example in EXAMPLES.glob("*.*"):
                (self.folder / "examples" / example.name).symlink_to(example)
            (self.folder / "examples" / "gateway.toml").unlink()
            (self.folder / "examples" / "gateway.toml").write_text(config)
            server = None
            for words in self.part("The first tool"):
                said = await self.run_command(words)
                if "examples/tool_server.py" in words:
                    server = self.running
            assert server is not None
            await self.until_it_says(server, "on its way")
            call_id = re.findall(r"[0-9a-f]{16,}", said)[0]
            shown = await self.run_command(["chimegw", "show", call_id])
            self.assertIn("order_status", shown)
            self.assertIn("arrives on Friday", shown)

        return Deferred.fromCoroutine(scene())


class ExampleTests(Reader):
    def test_the_receiver_gets_a_call_and_the_client_hears_the_agent(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            page = (DOCS / "howto" / "webhook-receiver.md").read_text("utf-8")
            for words in commands(page):
                await self.run_command(words)
            receiver = self.running
            (toml,) = (b.text for b in blocks(page) if b.info == "toml")
            (self.folder / "gateway.toml").write_text(self.here(toml))
            more = ("--port", "8080", "--config", "gateway.toml")
            await self.run_command(["chimegw", "run", "--simulate", *more])
            wav = "chime_gateway/sim/data/hello.wav"
            url = "ws://127.0.0.1:8080/stream"
            client = ["python3", "examples/media_stream_client.py", wav, url, "out.wav"]
            said = await self.run_command(client)
            self.assertIn("closed: 1000", said)
            with wave.open(str(self.folder / "out.wav")) as heard:
                samples = memoryview(heard.readframes(heard.getnframes())).cast("h")
            # The parrot was heard.
            self.assertGreater(max(samples), 1000)
            await self.until_it_says(receiver, "call.ended of call")
            await self.until_it_says(receiver, "  caller: ")

        return Deferred.fromCoroutine(scene())

    def test_the_client_has_sixty_lines_at_the_most(self) -> None:
        text = (EXAMPLES / "media_stream_client.py").read_text("utf-8")
        code = text.rpartition('"""')[2].splitlines()
        self.assertLessEqual(len([line for line in code if line]), 60)

    def test_neither_server_starts_without_its_secret(self) -> Deferred[None]:
        async def scene() -> None:
            for name in ("tool_server", "webhook_receiver"):
                with self.assertRaises(self.failureException):
                    await self.run_command(["python3", f"examples/{name}.py"])

        return Deferred.fromCoroutine(scene())

    def test_unsigned_old_and_foreign_requests_are_refused(self) -> Deferred[None]:
        async def scene() -> None:
            self.env.update(CRM_SECRET=SECRET, ORDER_SECRET=SECRET)
            for name, number in (("tool_server", "9000"), ("webhook_receiver", "9001")):
                await self.run_command(
                    ["python3", f"examples/{name}.py", "--port", number]
                )
                port = int(self.ports[number])
                ask = asker(port)
                statuses = await deferToThread(ask)
                self.assertEqual(statuses, [200, 401, 401, 401, 401, 413], name)

        return Deferred.fromCoroutine(scene())


def asker(port: int) -> Any:
    """Return a blocking function: the statuses of six requests, the first one valid."""

    def ask() -> list[int]:
        now = int(time.time())
        body = json.dumps(
            {
                "type": "call.started",
                "call_id": "c1",
                "arguments": {"number": 4711},
                "call": {"call_id": "c1"},
            }
        ).encode()
        right = signed(SECRET, "m1", now, body)
        old = signed(SECRET, "m2", now - 3600, body)
        foreign = signed("another", "m3", now, body)
        stretched = {**old, "Webhook-Timestamp": str(now)}
        found = []
        for headers in (right, {}, old, foreign, stretched):
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/tools/order_status", body, headers)
            found.append(connection.getresponse().status)
            connection.close()
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/", b"", {"Content-Length": "99999999"})
        found.append(connection.getresponse().status)
        connection.close()
        return found

    return ask


def signed(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": sign(secret, message_id, timestamp, body),
    }
