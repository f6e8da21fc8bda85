"""C{chimegw call}, as it is typed, against a gateway that runs."""

from __future__ import annotations

import math
import re
import wave
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.integration.programs import Program
from tests.integration.test_tutorial import EXAMPLES, SECRET, Reader
from tests.support.certificates import self_signed
from tests.support.ports import free_port

#: About so long it takes; see tests/run.py.
seconds = 45

WS = "ws://127.0.0.1:8080/stream"


def loudness(path: Path, channel: int, hertz: float) -> list[float]:
    """How loud a tone is in each half second of a recording (Goertzel)."""
    with wave.open(str(path)) as recording:
        rate = recording.getframerate()
        frames = recording.readframes(recording.getnframes())
    samples = memoryview(frames).cast("h")[channel::2].tolist()
    found = []
    for at in range(0, len(samples) - rate // 2, rate // 2):
        turn = 2 * math.pi * hertz / rate
        pairs = list(enumerate(samples[at : at + rate // 2]))
        real = sum(value * math.cos(turn * n) for n, value in pairs)
        imaginary = sum(value * math.sin(turn * n) for n, value in pairs)
        found.append(math.hypot(real, imaginary) / len(pairs))
    return found


class CallCommandTests(Reader):
    async def chimegw(self, *words: str, status: int = 0) -> str:
        """A command that ends."""
        if status == 0:
            return await self.run_command(["chimegw", *words])
        running = self.program(*words)
        self.assertEqual(await running.ended, status, running.output)
        return running.output

    def program(self, *words: str) -> Program:
        import sys

        tool = "from chime_gateway.cli.main import main; main()"
        line = [sys.executable, "-c", tool, *map(self.here, words)]
        running = Program(self.reactor, line, str(self.folder), self.env)
        self.addCleanup(self.end, running)
        return running

    async def show(self) -> str:
        """The only call that was stored."""
        listed = await self.chimegw("calls", "--limit", "1")
        return await self.chimegw("show", re.findall(r"[0-9a-f]{16,}", listed)[0])

    def test_the_shipped_script_calls_a_tool_and_its_words_are_heard(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            config = self.here((EXAMPLES / "gateway.toml").read_text("utf-8"))
            (self.folder / "gateway.toml").write_text(config)
            self.env["ORDER_SECRET"] = SECRET
            server = ["python3", "examples/tool_server.py", "--port", "9000"]
            await self.run_command(server)
            tool_server = self.running
            await self.chimegw(
                *("simulate-azure", "--port", "8090", "--voice", "script:tools")
            )
            self.env |= {
                "AZURE_OPENAI_ENDPOINT": self.here("http://127.0.0.1:8090"),
                "AZURE_OPENAI_DEPLOYMENT": "gpt-realtime",
                "AZURE_OPENAI_API_KEY": "any",
            }
            await self.chimegw("run", "--port", "8080", "--config", "gateway.toml")
            said = await self.chimegw(
                "call", "--to", WS, "--greeting", "--record", "call.wav"
            )
            self.assertRegex(said, r"answered after +\d+ ms")
            self.assertIn("order {'number': 4711", tool_server.output)
            shown = await self.show()
            self.assertRegex(shown, "order_status.*4711")
            self.assertIn("it arrives on Friday", shown)  # what the server answered
            self.assertIn("It arrives on Friday.", shown)  # what the agent made of it
            # The caller heard the greeting, and after the tool's result the answer.
            path = self.folder / "call.wav"
            greeting = await deferToThread(loudness, path, 1, 440)
            answer = await deferToThread(loudness, path, 1, 520)
            self.assertGreater(max(greeting), 200)
            self.assertGreater(max(answer), 200)
            self.assertLess(greeting.index(max(greeting)), answer.index(max(answer)))

        return Deferred.fromCoroutine(scene())

    def test_keys_reach_the_gateway_over_every_carrier(self) -> Deferred[None]:
        async def scene() -> None:
            sip = free_port()
            udp = free_port()
            self.env |= {
                "CHIMEGW_SIP_LISTEN": f"udp:{sip}:interface=127.0.0.1",
                "CHIMEGW_SIP_ALLOW": "127.0.0.0/8",
                "CHIMEGW_PUBLIC_ADDRESS": "127.0.0.1",
                "CHIMEGW_WEBRTC_LISTEN": f"udp:{udp}:interface=127.0.0.1",
            }
            await self.chimegw("run", "--simulate", "--port", "8080")
            for to in (
                WS,
                "ws://127.0.0.1:8080/stream/raw",
                f"sip:desk@127.0.0.1:{sip}",
                "http://127.0.0.1:8080/webrtc/offer",
            ):
                with self.subTest(to=to):
                    said = await self.chimegw(
                        *("call", "--to", to, "--keys", "12*@0.4", "--keys", "0#@2")
                    )
                    self.assertIn("keys pressed          12*0#", said)
                    shown = await self.show()
                    keys = re.findall(r"keypad\W+([0-9*#]+)", shown)
                    self.assertEqual("".join(keys).replace("#", ""), "12*0", shown)

        return Deferred.fromCoroutine(scene())

    def test_a_wrong_secret_and_an_unknown_certificate_are_told_apart(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            certificate = self.folder / "certificate.pem"
            certificate.write_bytes(self_signed())
            sip, tls = free_port(), free_port()
            self.env |= {
                "CHIMEGW_SHARED_SECRET": "s" * 32,
                "CHIMEGW_CALL_SECRET": "c" * 32,
                "CHIMEGW_SIP_LISTEN": f"udp:{sip}:interface=127.0.0.1",
                "CHIMEGW_SIP_ALLOW": "127.0.0.0/8",
                "CHIMEGW_PUBLIC_ADDRESS": "127.0.0.1",
                "CHIMEGW_WEBRTC_LISTEN": f"udp:{free_port()}:interface=127.0.0.1",
            }
            ssl = f"ssl:{tls}:interface=127.0.0.1:certKey={certificate}"
            await self.chimegw(
                *("run", "--simulate", "--port", "8080"),
                *("--listen", f"{ssl}:privateKey={certificate}"),
            )
            cases: tuple[tuple[str, dict[str, str], str], ...] = (
                (WS, {}, ""),
                (WS, {"CHIMEGW_SHARED_SECRET": ""}, "set CHIMEGW_SHARED_SECRET"),
                (
                    WS,
                    {"CHIMEGW_SHARED_SECRET": "x" * 32},
                    "CHIMEGW_SHARED_SECRET differs",
                ),
                (
                    "http://127.0.0.1:8080/webrtc/offer",
                    {"CHIMEGW_SHARED_SECRET": "x" * 32},
                    "CHIMEGW_SHARED_SECRET differs",
                ),
                (
                    f"sip:desk@127.0.0.1:{sip}",
                    {"CHIMEGW_CALL_SECRET": ""},
                    "set CHIMEGW_CALL_SECRET",
                ),
                (
                    f"sip:desk@127.0.0.1:{sip}",
                    {"CHIMEGW_CALL_SECRET": "x" * 32},
                    "CHIMEGW_CALL_SECRET differs",
                ),
                (f"wss://127.0.0.1:{tls}/stream", {}, "SSL_CERT_FILE=FILE.pem"),
                (f"https://127.0.0.1:{tls}/webrtc/offer", {}, "SSL_CERT_FILE=FILE.pem"),
                (
                    f"wss://127.0.0.1:{tls}/stream",
                    {"SSL_CERT_FILE": str(certificate)},
                    "",
                ),
                ("wss://127.0.0.1:8080/stream", {}, "does not use TLS, write ws://"),
                (
                    f"ws://127.0.0.1:{free_port()}/stream",
                    {},
                    "check that a gateway is listening",
                ),
                ("ws://127.0.0.1:8080/nowhere", {}, "check the path /nowhere"),
                ("sip:desk@nowhere.invalid", {}, "--to sip:desk@nowhere.invalid: "),
            )
            ours = dict(self.env)
            for to, env, expected in cases:
                with self.subTest(to=to, env=env):
                    self.env = {**ours, **env}
                    said: Any = await self.chimegw(
                        *("call", "--to", to), status=1 if expected else 0
                    )
                    if expected:
                        # Some calls are taken first, and their meter is shown.
                        line = said.strip().splitlines()[-1]
                        self.assertTrue(line.startswith("chimegw: "), said)
                        self.assertIn(expected, line)
                        self.assertNotIn("Traceback", said)

        return Deferred.fromCoroutine(scene())
