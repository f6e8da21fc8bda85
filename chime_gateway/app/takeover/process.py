"""
Starts the successor as a process, reads its output until it takes over, and reports how
it ended if it fails before that.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.app.takeover.command_line import CommandLine

#: Lines of output in the report of a failure, and their length.
_MOST_LINES: Final = 12
_MOST_CHARS: Final = 400

#: Bytes kept of an incomplete line.
_MOST_REST: Final = 65_536


class SuccessorProcess(ProcessProtocol):
    """
    The successor's process.

    @ivar pid: of the process that was started; a daemon has another one later.
    @param write: copies a line of its log to the log of this process; C{None}: it
        writes there itself.
    @param ended: called when it has ended and all its output was read.
    """

    _log = Logger()

    transport: Any = None

    def __init__(
        self, write: Callable[[str], object] | None, ended: Callable[[], object]
    ) -> None:
        self.pid = 0
        self.has_ended = False
        self._write = write
        self._ended = ended
        self._end = ""
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._rest = {1: b"", 2: b""}

    def start(
        self, reactor: Any, command: CommandLine, descriptors: Mapping[int, int]
    ) -> None:
        """
        Start it.

        @param descriptors: the descriptors that it inherits besides its outputs, by
            their number in the successor.
        @raise OSError: it cannot be started.
        """
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            reactor.spawnProcess(
                self,
                command.executable,
                list(command.arguments),
                env=dict(command.variables),
                path=command.folder,
                childFDs={0: nothing, 1: "r", 2: "r", **descriptors},
            )
        finally:
            os.close(nothing)
        self.pid = self.transport.pid

    def kill(self, number: signal.Signals, pid: int = 0) -> None:
        """
        Send it a signal.

        @param pid: the process id that it has reported.
        """
        if pid and pid != self.pid:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess(number.name.removeprefix("SIG"))

    def last_words(self) -> str:
        """Return its last log lines, and its exit status."""
        for descriptor, rest in self._rest.items():
            self._line(rest)
            self._rest[descriptor] = b""
        words = " | ".join(self._lines)
        return f"{self._end}: {words}" if words and self._end else words or self._end

    # -- ProcessProtocol -----------------------------------------------------------

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, rest = (self._rest[childFD] + data).split(b"\n")
        self._rest[childFD] = rest[-_MOST_REST:]
        for line in lines:
            self._line(line)

    def processEnded(self, reason: Failure) -> None:
        end: Any = reason.value
        if end.signal is not None:
            self._end = f"it was ended by {signal.Signals(end.signal).name}"
        else:
            self._end = f"it ended with status {end.exitCode or 0}"
        self.has_ended = True
        self._ended()

    def _line(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip()
        if not text:
            return
        event = _event(text)
        if event is None:
            self._lines.append(text[:_MOST_CHARS])
            self._log.info("the successor said: {line}", line=text[:_MOST_CHARS])
            return
        if event.get("level") in ("error", "critical"):
            self._lines.append(str(event.get("event", ""))[:_MOST_CHARS])
        if self._write is not None:
            self._write(text + "\n")


def _event(text: str) -> Mapping[str, Any] | None:
    """Parse a line of the log; C{None}: it is not one."""
    if not text.startswith("{"):
        return None
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
