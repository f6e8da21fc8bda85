"""Consent: whether the peer still wants packets on the selected path (RFC 7675)."""

from __future__ import annotations

from collections import deque
from typing import Final

#: RFC 7675 section 5.1: every 5 s, 0.8 to 1.2 times that.
_LEAST_SECONDS: Final = 4.0
_SPREAD_SECONDS: Final = 2.0

#: How long an answer is good for.
LIFE_SECONDS: Final = 30.0

#: Requests without an answer before it is lost, as many as there must be in its
#: life.  There are fewer when this process stood still.
_LEAST_UNANSWERED: Final = 4
#: That are waited for.
_MOST_UNANSWERED: Final = 8

#: Of a side that checks by itself an answer is asked for when it was not heard so
#: long, which is two of its checks; four requests then fit in its life.
_HEARD_SECONDS: Final = 10.0


class Consent:
    """
    Of one path, from when it was answered first.

    @ivar unanswered: requests in a row that were not.
    """

    def __init__(self, now: float, random: bytes) -> None:
        self._waiting: deque[bytes] = deque(maxlen=_MOST_UNANSWERED)
        self.unanswered = 0
        self._until = now + LIFE_SECONDS
        self._next = now + _pause(random)

    @property
    def due(self) -> float:
        """When a request is due, or all are lost."""
        return min(self._next, self._until)

    def heard(self, now: float) -> None:
        """
        A check of the other side came.  Who is lite takes that for an answer, and
        asks only who does not check: RFC 8445 does not demand it for ever.
        """
        self.unanswered = 0
        self._until = now + LIFE_SECONDS
        self._next = now + _HEARD_SECONDS

    def refused(self, transaction: bytes) -> bool:
        """
        One of the requests was; others on their way are as good as that one.

        @return: whether it was one that is waited for.
        """
        is_ours = transaction in self._waiting
        if is_ours:
            self._waiting.clear()
        return is_ours

    def is_request_due(self, now: float) -> bool:
        return now >= self._next

    def hurry(self, now: float) -> None:
        """Somebody wants to know now whether the other side is there."""
        self._next = min(self._next, now)

    def requested(self, now: float, transaction: bytes) -> None:
        """
        One is sent now, in a transaction of its own.

        The pause is measured from request to request: an answer that is lost changes
        nothing.
        """
        self._waiting.append(transaction)
        self.unanswered += 1
        self._next = now + _pause(transaction)

    def is_lost(self, now: float) -> bool:
        """Asked behind L{requested}."""
        if now < self._until:
            return False
        if self.unanswered >= _LEAST_UNANSWERED:
            return True
        # Nobody was asked: the process stood still, or its machine slept.
        self._until = self._next
        return False

    def answered(self, now: float, transaction: bytes) -> bool:
        """Whether it answers one of the requests."""
        if transaction not in self._waiting:
            return False
        self._waiting.remove(transaction)
        self.unanswered = 0
        self._until = now + LIFE_SECONDS
        return True


def _pause(random: bytes) -> float:
    """
    @param random: a transaction's bytes, which nobody can guess: chance is in them.
    """
    part = int.from_bytes(random[:4], "big") / 2**32
    return _LEAST_SECONDS + _SPREAD_SECONDS * part
