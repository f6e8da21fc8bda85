"""What a gateway holds with a number of calls: descriptors, timers, sessions."""

from __future__ import annotations

import contextlib
from pathlib import Path

from attrs import frozen
from load import Service
from picows import WSTransport

#: Timers shared by all calls, for the beat and the like.
FEW_TIMERS = 10


def names_of_descriptors(pid: int) -> list[str]:
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime
            found.append(str(one.readlink()))
    return found


def descriptors(pid: int) -> int:
    """Count the open descriptors, without those of SQLite."""
    return sum(".sqlite" not in name for name in names_of_descriptors(pid))


def sqlite_descriptors(pid: int) -> int:
    return sum(".sqlite" in name for name in names_of_descriptors(pid))


class Counted(Service):
    """
    The service, with a count of its sessions.

    @cvar open: open sessions at the service.
    """

    open = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        Counted.open += 1
        super().on_ws_connected(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        Counted.open -= 1


@frozen
class State:
    """What a gateway holds at one moment, with its sessions at the service."""

    descriptors: int
    timers: int
    sessions: int


@frozen
class Formula:
    """
    The resources of a gateway as a function of its calls.

    @ivar idle: descriptors without calls.
    @ivar descriptors: descriptors with calls, including the journal, without those of
        each call.
    @ivar each: by carrier, the descriptors of each call.
    @ivar timers: timers without calls, when all SIP transactions have expired.  Calls
        share timers, so there is at most one more for each, and a few for all.
    """

    idle: int
    descriptors: int
    each: dict[str, int]
    timers: int

    def is_held(self, state: State, calls: dict[str, int]) -> bool:
        each = sum(self.each[carrier] * count for carrier, count in calls.items())
        count = sum(calls.values())
        held_descriptors = self.descriptors + each if count else self.idle
        exact = state.descriptors, state.sessions
        most_timers = self.timers + (FEW_TIMERS + count if count else 0)
        return exact == (held_descriptors, count) and state.timers <= most_timers

    def __str__(self) -> str:
        each = " + ".join(f"{count} a {name} call" for name, count in self.each.items())
        return f"descriptors {self.idle}, or {self.descriptors} + {each}"
