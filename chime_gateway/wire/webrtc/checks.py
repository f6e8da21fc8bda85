"""
The connectivity checks of one path: whether it carries packets both ways (RFC 8445
section 7).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import define

from chime_gateway.wire.webrtc.candidate import (
    TCP_ACTIVE_PREFERENCE,
    Path,
    priority,
)

#: Between two sendings of a check, at first; it grows, up to the other.  RFC 8445
#: section 14.3 has 0.5 s, for networks of its time.  Whoever gives a path 1.5 s (C{
#: agents.webrtc}) has six sendings in it: where a tenth of all packets is lost, one
#: path in twenty thousand is missed, and two sendings for its nomination.
_FIRST_REPEAT_SECONDS: Final = 0.1
_GROWTH: Final = 1.5
_MOST_REPEAT_SECONDS: Final = 1.6
_MOST_SENDINGS: Final = 12

#: Of a check that goes over a connection, which repeats by itself.
_CONNECTION_SECONDS: Final = 10.0

#: A check that came shows that ours may arrive now: it is sent again at once, but not
#: more often than this.
_HURRY_SECONDS: Final = 0.05


def own_priority(path: Path, kind: str) -> int:
    """Of our candidate at its near end."""
    if path.is_tcp:
        return priority(kind, TCP_ACTIVE_PREFERENCE)
    return priority(kind)


def pair_priority(ours: int, theirs: int, *, is_controlling: bool) -> int:
    """RFC 8445 section 6.1.2.3."""
    ours_first = (ours, theirs) if is_controlling else (theirs, ours)
    low, high = sorted(ours_first)
    return (low << 32) + 2 * high + (ours_first[0] > ours_first[1])


class CheckState(Enum):
    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@define(eq=False)
class Check:
    """
    Of one path, and what is known of it.

    @ivar remote_priority: of the other side's candidate.
    @ivar transaction: of the check that is on its way.
    @ivar request: this check, which is repeated as it is (RFC 8489 section 6.2.1).
    @ivar nominates: it asks for this path to be taken (USE-CANDIDATE).
    @ivar as_controlling: the role in which it was sent.
    @ivar is_heard: the other side was, there, with the right integrity; C{since}
        when first, C{heard_at} when last.
    @ivar nominated: the priority with which the other side wants it taken, or
        C{None}.
    @ivar is_triggered: to be begun before others, as the other side did so.
    @ivar due: when it is repeated, or has failed.
    """

    path: Path
    remote_priority: int
    state: CheckState = CheckState.WAITING
    transaction: bytes = b""
    request: bytes = b""
    nominates: bool = False
    as_controlling: bool = False
    is_heard: bool = False
    since: float = 0.0
    heard_at: float = 0.0
    nominated: int | None = None
    is_triggered: bool = False
    due: float = 0.0
    _sendings: int = 0
    _sent: float = 0.0

    def priority(self, *, is_controlling: bool) -> int:
        """Of the pair of candidates."""
        ours = own_priority(self.path, "host")
        return pair_priority(ours, self.remote_priority, is_controlling=is_controlling)

    def start(
        self,
        now: float,
        transaction: bytes,
        request: bytes,
        *,
        nominates: bool,
        as_controlling: bool,
    ) -> None:
        """A new one; of whatever was on its way the answer is not waited for."""
        self.state = CheckState.IN_PROGRESS
        self.is_triggered = False
        self.transaction, self.request = transaction, request
        self.nominates = nominates
        self.as_controlling = as_controlling
        self._sendings = 0
        self._send(now)

    def _send(self, now: float) -> None:
        if self.path.is_tcp:
            self.due = now + _CONNECTION_SECONDS
        else:
            pause = _FIRST_REPEAT_SECONDS * _GROWTH**self._sendings
            self.due = now + min(pause, _MOST_REPEAT_SECONDS)
        self._sendings += 1
        self._sent = now

    @property
    def is_nomination(self) -> bool:
        """It was sent by the side that may."""
        return self.nominates and self.as_controlling

    def is_answered_by(self, transaction: bytes) -> bool:
        is_open = self.state is CheckState.IN_PROGRESS
        return is_open and self.transaction == transaction

    def repeat(self, now: float) -> bool:
        """
        It is due.

        @return: it is to be sent again; otherwise it has failed.
        """
        if self.path.is_tcp or self._sendings >= _MOST_SENDINGS:
            self.state = CheckState.FAILED
            return False
        self._send(now)
        return True

    def heard(self, now: float) -> None:
        """The other side was, with the right integrity."""
        if not self.is_heard:
            self.is_heard, self.since = True, now
        self.heard_at = now

    def hurry(self, now: float) -> None:
        """The other side's check came on this path: ours may arrive as well now."""
        if not self.path.is_tcp:
            self.due = min(self.due, max(now, self._sent + _HURRY_SECONDS))
