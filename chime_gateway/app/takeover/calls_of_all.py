"""
Counts the calls of the gateway, including those of its older processes.

Each older process reports its number to the newest, which therefore never waits for a
process that hangs.  A successor receives these numbers before it begins, including
those of still older processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.task import LoopingCall

from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, Peer

_COUNT: Final = "calls.count"

#: How old a count may be.
TELL_SECONDS: Final = 1.0


class CallsOfAll:
    """
    The number of calls in all processes.

    @param own: returns the number of calls of this process.
    """

    def __init__(self, own: Callable[[], int], kin: Kin, clock: Any) -> None:
        self._own = own
        self._kin = kin
        self._older: dict[str, int] = {}
        self._told: int | None = None
        self._look = LoopingCall(self._tell)
        self._look.clock = clock
        kin.on(_COUNT, self._count)
        kin.newest_changed.append(self._newest_changed)
        kin.handing_over.append(self._handing_over)

    def retire(self) -> None:
        """Another process is the newest one from now on."""
        if not self._look.running:
            self._look.start(TELL_SECONDS)

    def resume(self) -> None:
        if self._look.running:
            self._look.stop()

    def older(self) -> Mapping[str, int]:
        """Return the number of calls of each older process, as last reported."""
        return {name: self._older.get(name, 0) for name in self._kin.older}

    def elsewhere(self) -> int:
        older = self._older
        return sum(older.get(name, 0) for name in self._kin.older)

    def count(self) -> int:
        return self._own() + self.elsewhere()

    def _handing_over(self, peer: Peer) -> None:
        peer.send(_COUNT, {"calls": self._own(), "older": dict(self.older())})

    def _newest_changed(self, _: Peer) -> None:
        """Report again: another process may be at the other end of the channel."""
        self._told = None
        self._tell()

    def _tell(self) -> None:
        newest = self._kin.newest
        if newest is None:
            return
        now = self._own()
        if now != self._told and newest.send(_COUNT, {"calls": now}):
            self._told = now

    def _count(self, peer: Peer, message: Message) -> None:
        head = message.head
        older = head.get("older")
        counts = dict(older) if isinstance(older, dict) else {}
        for name, count in {**counts, peer.generation: head.get("calls")}.items():
            self._older[name] = count if isinstance(count, int) else 0
