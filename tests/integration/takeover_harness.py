"""A gateway process with successors, started as an operator starts it."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.dial import place_call
from tests.integration.twistd import RUN, Twistd, TwistdTestCase
from tests.whole_calls.test_media_stream import SHORT, phrase

TAKEN = "now takes every new call"
FAILED = "the take-over failed"

#: Other loads on the machine must not make the gateway refuse calls.
LIMITS = "[limits]\nmax_cpu = 100\nmax_late_seconds = 100\n"

#: Code that only a successor runs.
IN_SUCCESSOR = "import os\nif 'CHIMEGW_PREDECESSOR' in os.environ:\n"


def successor_that(*lines: str, run: str = RUN) -> str:
    """Return a program whose successors run these lines first."""
    inner = "".join(f"    {line}\n" for line in lines)
    return f"{IN_SUCCESSOR}{inner}{run}"


class LongCall:
    """
    A call that goes on until the test ends it.

    @ivar over: fires with its report.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        # After each answer the caller checks whether there is more to say.
        self._words = [phrase(PCMU, *SHORT)] * 200
        words: Any = self._words
        plan = CallPlan(utterances=words)
        self.over = place_call(url, plan, PCMU, reactor=reactor)

    def end(self) -> Deferred[CallReport]:
        """End the call after the answer to the caller's current utterance."""
        del self._words[1:]
        return self.over


class Answer(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ConnectionDone):
            self.ended.callback(self.data)
        else:
            self.ended.errback(reason)


class TakeOverTestCase(TwistdTestCase):
    timeout = 120

    async def gateway(
        self, *more: str, run: str = RUN, **env: str
    ) -> tuple[Twistd, Any]:
        words = [
            "-c",
            run,
            "-n",
            f"--pidfile={self.state}/pid",
            "chimegw",
        ]
        words += ["--simulate", "--port", "0", *more]
        if "--config" not in more:
            config = self.state / "limits.toml"
            config.write_text(LIMITS)
            words += ["--config", str(config)]
        twistd, process = self.spawn(words, **env)
        self.addCleanup(self.end_all, twistd)
        await self.until_it_says(twistd, "is ready for calls")
        return twistd, process

    def end_all(self, twistd: Twistd) -> None:
        """Kill all successors."""
        for pid in self.successors(twistd):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def successors(self, twistd: Twistd) -> list[int]:
        found = re.findall(r"a successor was started: process (\d+)", twistd.text)
        return [int(pid) for pid in found]

    def pid(self) -> int:
        """Return the process that takes new calls, from the pid file."""
        return int((self.state / "pid").read_text())

    async def take_over(self, twistd: Twistd, pid: int = 0) -> int:
        """
        Do a take-over.

        @return: the pid of the new process.
        """
        before = twistd.text.count(TAKEN)
        os.kill(pid or self.pid(), signal.SIGUSR2)
        await self.until_count(twistd, TAKEN, before + 1)
        return self.successors(twistd)[-1]

    async def until_count(self, twistd: Twistd, text: str, count: int) -> None:
        while twistd.text.count(text) < count:
            await self.pause(twistd)

    async def connect(self, port: int | None) -> Any:
        assert port is not None
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port, timeout=10)
        return await endpoint.connect(Factory.forProtocol(Answer))

    async def ask(self, port: int | None, path: str = "/health") -> dict[str, Any]:
        answer = await self.connect(port)
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer.transport.write(head.encode())
        text: bytes = await answer.ended
        page: dict[str, Any] = json.loads(text.partition(b"\r\n\r\n")[2])
        return page

    def call(self, port: int | None) -> Deferred[CallReport]:
        """Place a call with one question."""
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),))
        url = f"ws://127.0.0.1:{port}/stream"
        return place_call(url, plan, PCMU, reactor=self.reactor)

    def long_call(self, port: int | None) -> LongCall:
        return LongCall(f"ws://127.0.0.1:{port}/stream", self.reactor)

    async def until(self, is_so: Any) -> None:
        while not is_so():
            await deferLater(self.reactor, 0.02)

    async def ended(self, twistd: Twistd) -> Any:
        return await twistd.ended.addErrback(lambda failure: failure.value)

    def assert_whole(self, report: CallReport) -> None:
        self.assertEqual((report.error, report.close_code), ("", 1000))
        self.assertEqual(report.unanswered, 0)
        self.assertGreater(len(report.answer_latencies), 0)
