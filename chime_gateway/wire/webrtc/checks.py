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

#: Retransmission interval of a check, which grows up to the largest one.  RFC 8445
#: section 14.3 has 0.5 s, which is long for today's networks.  C{agents.webrtc} allows
#: 1.5 s for a path, which is enough for six transmissions: with 10 % packet loss, one
#: path in twenty thousand is missed.  Two more transmissions remain to nominate it.
_FIRST_REPEAT_SECONDS: Final = 0.1
_GROWTH: Final = 1.5
_MOST_REPEAT_SECONDS: Final = 1.6
_MOST_SENDINGS: Final = 12

#: Time limit of a check over a TCP connection, which retransmits lost data itself.
_CONNECTION_SECONDS: Final = 10.0

#: A received check shows that ours may arrive now, too: it is retransmitted at once,
#: but with at least this interval.
_HURRY_SECONDS: Final = 0.05


def own_priority(path: Path, kind: str) -> int:
    """Return the priority of our candidate of this path."""
    if path.is_tcp:
        return priority(kind, TCP_ACTIVE_PREFERENCE)
    return priority(kind)


def pair_priority(ours: int, theirs: int, *, is_controlling: bool) -> int:
    """Return the priority of a candidate pair (RFC 8445 section 6.1.2.3)."""
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
    The check of one path, and the state of the path.

    @ivar remote_priority: priority of the peer's candidate.
    @ivar transaction: transaction id of the current request.
    @ivar request: the current request, which is retransmitted unchanged (RFC 8489
        section 6.2.1).
    @ivar nominates: whether it nominates the path (USE-CANDIDATE).
    @ivar as_controlling: whether it was sent in the controlling role.
    @ivar is_heard: whether a valid message of the peer has come on this path.
    @ivar since: when the first one came.
    @ivar heard_at: when the last one came.
    @ivar nominated: priority with which the peer has nominated the path, or C{None}.
    @ivar is_triggered: whether it is started before others, as the peer's check came.
    @ivar due: when it is retransmitted, or has failed.
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
        """Return the priority of the candidate pair."""
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
        """Start a new request; the answer to an earlier one is ignored."""
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
        """Whether it nominates, and was sent in the controlling role."""
        return self.nominates and self.as_controlling

    def is_answered_by(self, transaction: bytes) -> bool:
        is_open = self.state is CheckState.IN_PROGRESS
        return is_open and self.transaction == transaction

    def repeat(self, now: float) -> bool:
        """
        Decide what to do with a request that is due.

        @return: whether to retransmit it; otherwise it has failed.
        """
        if self.path.is_tcp or self._sendings >= _MOST_SENDINGS:
            self.state = CheckState.FAILED
            return False
        self._send(now)
        return True

    def heard(self, now: float) -> None:
        """A valid message of the peer has come on this path."""
        if not self.is_heard:
            self.is_heard, self.since = True, now
        self.heard_at = now

    def hurry(self, now: float) -> None:
        """The peer's check has come on this path: retransmit ours soon."""
        if not self.path.is_tcp:
            self.due = min(self.due, max(now, self._sent + _HURRY_SECONDS))
