"""The gateway in a separate process, started as an operator starts it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater

from tests.support.base import ReactorTestCase
from tests.support.files import temporary_folder

ROOT = str(Path(__file__).parent.parent.parent)
RUN = "from twisted.scripts.twistd import run; run()"


def environment(state: str) -> dict[str, str]:
    """Return an environment without settings, but with the checkout's plugin."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AZURE_", "CHIMEGW_"))
    }
    return {**kept, "PYTHONPATH": ROOT, "CHIMEGW_STATE": state}


def arguments(*words: str, run: str = RUN) -> list[str]:
    """Return the words that start the gateway in the foreground."""
    return ["-c", run, "-n", "--pidfile=", "chimegw", *words]


class Twistd(ProcessProtocol):
    """
    A gateway process.

    @ivar text: complete lines of its two outputs; after its end, also the rest.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ended: Deferred[Any] = Deferred()
        self._begun = {1: b"", 2: b""}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        # A long line arrives in pieces, with data of the other output in between.
        *lines, self._begun[childFD] = (self._begun[childFD] + data).split(b"\n")
        self.text += "".join(f"{line.decode()}\n" for line in lines)

    def processEnded(self, reason: Any) -> None:
        self.text += b"".join(self._begun.values()).decode()
        self.ended.callback(reason.value)

    def events(self) -> list[dict[str, Any]]:
        lines = self.text.split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def port(self) -> int | None:
        for event in self.events():
            if event["event"].startswith("listening on"):
                return int(event["address"].partition("port=")[2].rstrip(")"))
        return None


class TwistdTestCase(ReactorTestCase):
    """
    A test with gateway processes.

    @ivar state: the folder of C{CHIMEGW_STATE}.
    """

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.state = temporary_folder(self)

    def spawn(self, words: list[str], **env: str) -> tuple[Twistd, Any]:
        """
        Start a process, which ends with the test.

        @param words: the arguments of Python, as from L{arguments}.
        """
        twistd = Twistd()
        process = self.reactor.spawnProcess(
            twistd,
            sys.executable,
            [sys.executable, *words],
            {**environment(str(self.state)), **env},
        )
        self.addCleanup(self.end, twistd, process)
        return twistd, process

    async def run_twistd(
        self, *words: str, run: str = RUN, **env: str
    ) -> tuple[Twistd, Any]:
        """Start a gateway, and wait until it listens."""
        twistd, process = self.spawn(arguments(*words, run=run), **env)
        while twistd.port() is None:
            await self.pause(twistd)
        return twistd, process

    async def until_it_says(self, twistd: Twistd, text: str) -> None:
        while text not in twistd.text:
            await self.pause(twistd)

    async def pause(self, twistd: Twistd) -> None:
        if twistd.ended.called:
            self.fail(twistd.text)
        await deferLater(self.reactor, 0.01)

    def end(self, twistd: Twistd, process: Any) -> Deferred[None] | None:
        """Kill a process that a failed test has left running."""
        if twistd.ended.called:
            return None
        process.resumeProducing()
        # Its successors may still have its output open.
        with suppress(ProcessExitedAlready):
            process.signalProcess("KILL")
        return twistd.ended.addErrback(lambda _: None)
