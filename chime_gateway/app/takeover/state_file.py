"""
The file that names the gateway's process, and the result of its last take-over.

It is in the state folder, for programs that look for the process or wait for a
take-over.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import asdict, evolve, frozen
from twisted.logger import Logger

from chime_gateway.net.system.private_files import make_folder

_BEFORE: Final = "process-"
_BEHIND: Final = ".json"

STARTING: Final = "starting"
DONE: Final = "done"
FAILED: Final = "failed"


@frozen
class ProcessState:
    """
    The content of the file.

    @ivar pid: of the process that takes new calls.
    @ivar since: when that process started, in ticks since the machine's start: it
        distinguishes processes that have the same id one after another.
    @ivar takeovers: the number of requested take-overs, over all processes so far.
    @ivar outcome: of the last one: empty, C{starting}, C{done} or C{failed}.
    @ivar why: why the last one failed.
    """

    pid: int
    since: int
    generation: str
    version: str
    instance: str
    takeovers: int = 0
    outcome: str = ""
    why: str = ""

    @property
    def is_running(self) -> bool:
        return ticks_of(self.pid) == self.since

    @classmethod
    def of_text(cls, text: str) -> ProcessState:
        """
        Parse the content of the file.

        @raise ValueError: it is invalid.
        """
        try:
            values = json.loads(text)
            return cls(
                int(values["pid"]),
                int(values["since"]),
                str(values["generation"]),
                str(values["version"]),
                str(values["instance"]),
                int(values["takeovers"]),
                str(values["outcome"]),
                str(values["why"]),
            )
        except (KeyError, TypeError) as exc:
            raise ValueError(f"not the state of a process: {exc}") from exc


def ticks_of(pid: int) -> int:
    """Return when a process started (proc(5), C{starttime}); -1: it does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return -1
    # The process name is in parentheses, and may contain parentheses itself.
    return int(stat.rpartition(")")[2].split()[19])


def state_path(folder: Path, instance: str) -> Path:
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"{_BEFORE}{name}{_BEHIND}"


def read_states(folder: Path) -> Iterator[ProcessState]:
    """Read the states of all gateways in this folder, also of those that have ended."""
    for path in sorted(folder.glob(f"{_BEFORE}*{_BEHIND}")):
        with contextlib.suppress(OSError, ValueError):
            yield ProcessState.of_text(path.read_text(encoding="utf-8"))


class StateFile:
    """
    The state file of this gateway.

    @param path: C{None}: no file is written.
    """

    _log = Logger()

    def __init__(self, path: Path | None, state: ProcessState) -> None:
        self._path = path
        self.state = state

    def own(self, *, is_successor: bool) -> None:
        """Note that this process takes the new calls."""
        if (before := self._read()) is not None:
            # Programs that wait for the outcome wait for a higher number.
            outcome = DONE if is_successor else ""
            self.state = evolve(
                self.state, takeovers=before.takeovers, outcome=outcome, why=""
            )
        self._write()

    def handed_over(self, pid: int) -> None:
        """
        Note that a successor has taken over.  It may have another state folder, and
        programs may be waiting for the outcome in this one.
        """
        if (before := self._read()) is not None and before.pid == self.state.pid:
            self.state = evolve(
                self.state, pid=pid, since=ticks_of(pid), outcome=DONE, why=""
            )
            self._write()

    def _read(self) -> ProcessState | None:
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError):
                return ProcessState.of_text(self._path.read_text(encoding="utf-8"))
        return None

    def note(self, outcome: str, why: str = "") -> None:
        """Note the result of a take-over from this process."""
        count = self.state.takeovers + (outcome == STARTING)
        self.state = evolve(self.state, outcome=outcome, why=why, takeovers=count)
        self._write()

    def remove(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            make_folder(self._path.parent)
            # Mode 0600, whatever the umask is; and replaced atomically.
            descriptor, new = tempfile.mkstemp(dir=self._path.parent, prefix=".process")
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self.state), file)
            os.replace(new, self._path)
        except OSError as exc:
            self._log.error(
                "could not write the state file {path}: {why}",
                path=str(self._path),
                why=str(exc),
            )


def state_of_this_process(generation: str, version: str, instance: str) -> ProcessState:
    pid = os.getpid()
    return ProcessState(pid, ticks_of(pid), generation, version, instance)
