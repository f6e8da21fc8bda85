"""Third-party programs that tests start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure


def missing(*names: str) -> str | None:
    """Return why a test with these programs is skipped; C{None}: it can run."""
    gone = [name for name in names if shutil.which(name) is None]
    if not gone:
        return None
    return f"{', '.join(gone)} not installed: sip-tester, baresip-core, tshark"


class Program(ProcessProtocol):
    """
    A running program.

    @ivar ended: fires with the exit status.
    @ivar output: its standard output and standard error.
    """

    def __init__(
        self,
        reactor: Any,
        arguments: list[str],
        cwd: str,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self.ended: Deferred[int] = Deferred()
        self.output = ""
        self.is_running = True
        path = shutil.which(arguments[0])
        assert path is not None, arguments[0]
        self._process = reactor.spawnProcess(
            self, path, arguments, env={**env, "TERM": "dumb"}, path=cwd
        )

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode(errors="replace")

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.is_running = False
        end: Any = reason.value
        if isinstance(end, ProcessDone):
            self.ended.callback(0)
        else:
            assert isinstance(end, ProcessTerminated)
            self.ended.callback(end.exitCode if end.exitCode is not None else -1)

    def stop(self, signal: str = "TERM") -> None:
        try:
            self._process.signalProcess(signal)
        except ProcessExitedAlready:
            return
