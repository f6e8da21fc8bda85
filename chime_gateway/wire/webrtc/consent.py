"""Consent: whether the peer still wants packets on the selected path (RFC 7675)."""

from __future__ import annotations

from collections import deque
from typing import Final

#: Interval of requests: 5 s, times 0.8 to 1.2 (RFC 7675 section 5.1).
_LEAST_SECONDS: Final = 4.0
_SPREAD_SECONDS: Final = 2.0

#: How long consent is valid after an answer.
LIFE_SECONDS: Final = 30.0

#: Consent is lost only after this many unanswered requests.  There are fewer in its
#: lifetime if this process was stopped for a while.
_LEAST_UNANSWERED: Final = 4
#: Maximum number of requests whose answers are still accepted.
_MOST_UNANSWERED: Final = 8

#: A peer that sends its own checks is sent a request only if it was not heard for this
#: long: two of its intervals.  Four requests then remain within the lifetime.
_HEARD_SECONDS: Final = 10.0


class Consent:
    """
    The consent for one path, from its first answer on.

    @ivar unanswered: number of requests in a row without an answer.
    """

    def __init__(self, now: float, random: bytes) -> None:
        self._waiting: deque[bytes] = deque(maxlen=_MOST_UNANSWERED)
        self.unanswered = 0
        self._until = now + LIFE_SECONDS
        self._next = now + _pause(random)

    @property
    def due(self) -> float:
        """When the next request is due, or consent expires."""
        return min(self._next, self._until)

    def heard(self, now: float) -> None:
        """
        A check of the peer came.  An ICE-lite side takes that for an answer, and sends
        requests only to a peer that does not check: RFC 8445 does not require a peer to
        check for ever.
        """
        self.unanswered = 0
        self._until = now + LIFE_SECONDS
        self._next = now + _HEARD_SECONDS

    def refused(self, transaction: bytes) -> bool:
        """
        A request was refused because of its role; the other outstanding ones will be
        refused, too.

        @return: whether it was an outstanding request.
        """
        is_ours = transaction in self._waiting
        if is_ours:
            self._waiting.clear()
        return is_ours

    def is_request_due(self, now: float) -> bool:
        return now >= self._next

    def hurry(self, now: float) -> None:
        """Make a request due now, to find out whether the peer still answers."""
        self._next = min(self._next, now)

    def requested(self, now: float, transaction: bytes) -> None:
        """
        A request with a new transaction is sent now.

        The pause is measured from request to request, so a lost answer does not change
        it.
        """
        self._waiting.append(transaction)
        self.unanswered += 1
        self._next = now + _pause(transaction)

    def is_lost(self, now: float) -> bool:
        """Whether consent is lost; call it after L{requested}."""
        if now < self._until:
            return False
        if self.unanswered >= _LEAST_UNANSWERED:
            return True
        # Too few requests were sent: the process was stopped, or its machine slept.
        self._until = self._next
        return False

    def answered(self, now: float, transaction: bytes) -> bool:
        """Process an answer; return whether it answers an outstanding request."""
        if transaction not in self._waiting:
            return False
        self._waiting.remove(transaction)
        self.unanswered = 0
        self._until = now + LIFE_SECONDS
        return True


def _pause(random: bytes) -> float:
    """
    Return the pause to the next request.

    @param random: a transaction id, whose bytes are random.
    """
    part = int.from_bytes(random[:4], "big") / 2**32
    return _LEAST_SECONDS + _SPREAD_SECONDS * part
