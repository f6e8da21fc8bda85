"""
The file that names the gateway's process, and the result of its last take-over.

It is in the state folder, for programs that look for the process, or wait for a
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
    @ivar pid: of the process that takes new calls.
    @ivar since: when that process began, in ticks since the machine did: a number
        that comes again belongs to another process.
    @ivar takeovers: how many were asked for, of all processes after one another.
    @ivar outcome: of the last one: empty, C{starting}, C{done} or C{failed}.
    @ivar why: it failed.
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
        @raise ValueError: it is no state.
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
            raise ValueError(f"no state of a process: {exc}") from exc


def ticks_of(pid: int) -> int:
    """When a process began (proc(5), C{starttime}); -1: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return -1
    # Its name is in brackets, and may have any in it.
    return int(stat.rpartition(")")[2].split()[19])


def state_path(folder: Path, instance: str) -> Path:
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"{_BEFORE}{name}{_BEHIND}"


def read_states(folder: Path) -> Iterator[ProcessState]:
    """Read the states of all gateways of this folder, also of those that are gone."""
    for path in sorted(folder.glob(f"{_BEFORE}*{_BEHIND}")):
        with contextlib.suppress(OSError, ValueError):
            yield ProcessState.of_text(path.read_text(encoding="utf-8"))


class StateFile:
    """
    @param path: C{None}: there is no folder for it.
    """

    _log = Logger()

    def __init__(self, path: Path | None, state: ProcessState) -> None:
        self._path = path
        self.state = state

    def own(self, *, is_successor: bool) -> None:
        """Note that this process takes the new calls."""
        if (before := self._read()) is not None:
            # Whoever waits for an outcome waits for a higher number.
            outcome = DONE if is_successor else ""
            self.state = evolve(
                self.state, takeovers=before.takeovers, outcome=outcome, why=""
            )
        self._write()

    def handed_over(self, pid: int) -> None:
        """
        A successor has other settings, perhaps, and keeps its state elsewhere: whoever
        waits here is told of it.
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
            # Made with 0600, whatever the umask is; never half written.
            descriptor, new = tempfile.mkstemp(dir=self._path.parent, prefix=".process")
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self.state), file)
            os.replace(new, self._path)
        except OSError as exc:
            self._log.error("{path}: {why}", path=str(self._path), why=str(exc))


def state_of_this_process(generation: str, version: str, instance: str) -> ProcessState:
    pid = os.getpid()
    return ProcessState(pid, ticks_of(pid), generation, version, instance)
