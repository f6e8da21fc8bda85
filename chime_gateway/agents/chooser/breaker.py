"""
The circuit breaker of one deployment: whether it may be tried now.

Closed: every call may try it.  Open: it rests until a given time.  Half-open: the
rest is over, and a single attempt, the probe, finds out whether the deployment works
again.

Time and chance are arguments.
"""

from __future__ import annotations

from enum import Enum
from math import isfinite
from typing import Final

from chime_gateway.net.backoff import BackOff

#: How long a deployment rests that failed.  A round is everything that was tried
#: before the failure was known, so ten calls that meet the same one are one round.
_REST: Final = BackOff.doubling(0.5, 30.0, spread=(0.5, 1.0))

#: A service that asks for a longer rest is asked again all the same.
MOST_RETRY_AFTER_SECONDS: Final = 120.0

#: Gateways that were asked to come back at the same time come spread over this
#: part of it, later and never sooner.
_RETRY_AFTER_SPREAD: Final = 0.1

#: A wrong setting is tried again so often, because the repair may happen in
#: Azure (a role, a deployment that was still being made) without our knowing.
RECHECK_SECONDS: Final = 60.0

#: No rest is longer.
LONGEST_REST_SECONDS: Final = MOST_RETRY_AFTER_SECONDS * (1 + _RETRY_AFTER_SPREAD)


class State(Enum):
    """The state of a deployment, as C{/health} and the metrics name it."""

    CLOSED = "usable"
    OPEN = "resting"
    MISCONFIGURED = "misconfigured"  #: open, for a reason that an operator must fix
    HALF_OPEN = "half-open"


class Permit:
    """
    One attempt that is under way.  It is settled once: by L{succeeded}, L{failed},
    L{could_not_begin} or L{dropped}.

    @ivar is_probe: it finds out for all.
    """

    __slots__ = ("_breaker", "_is_overdue", "_is_settled", "_round", "is_probe")

    def __init__(self, breaker: Breaker, number: int, is_probe: bool) -> None:
        self.is_probe = is_probe
        self._breaker = breaker
        self._round = number
        self._is_settled = False
        self._is_overdue = False

    def note_overdue(self) -> None:
        """Another deployment is tried beside it: the next call need not wait here."""
        if not self._is_settled and not self._is_overdue:
            self._is_overdue = True
            self._breaker.overdue += 1

    def succeeded(self) -> bool:
        """@return: the state has changed; of the others likewise."""
        return self._settle() and self._breaker._succeeded(self._round)

    def failed(
        self,
        now: float,
        jitter: float,
        why: str,
        *,
        misconfigured: bool = False,
        retry_after_seconds: float | None = None,
    ) -> bool:
        """
        @param jitter: from 0 to 1, a new one each time.
        @param retry_after_seconds: as the service asks.
        """
        if not self._settle():
            return False
        return self._breaker._failed(
            self._round, now, jitter, why, misconfigured, retry_after_seconds
        )

    def could_not_begin(self, now: float, jitter: float, why: str) -> bool:
        """
        It is our own fault.  The deployment is not tried for a moment, and its rests
        do not become longer.
        """
        return self._settle() and self._breaker._paused(self._round, now, jitter, why)

    def dropped(self) -> bool:
        """The attempt was given up without a result."""
        return self._settle()

    def _settle(self) -> bool:
        if self._is_settled:
            return False
        self._is_settled = True
        self._breaker.overdue -= self._is_overdue
        if self._breaker._probe is self:
            self._breaker._probe = None
        return True


class Breaker:
    """
    @ivar rests_until: it is not tried before this time (of the clock).
    @ivar why: of the last failure; empty while it is closed.
    @ivar failures: rounds in a row that failed.
    @ivar overdue: attempts that take too long and have no end yet.
    """

    def __init__(self) -> None:
        self.overdue = 0
        self.rests_until = 0.0
        self.why = ""
        self.failures = 0
        self._misconfigured = False
        self._probe: Permit | None = None
        #: Of the last change.  What was begun before it tells nothing new.
        self._round = 0

    def state(self, now: float) -> State:
        if not self.failures:
            return State.CLOSED
        if now >= self.rests_until:
            return State.HALF_OPEN
        return State.MISCONFIGURED if self._misconfigured else State.OPEN

    @property
    def is_probed(self) -> bool:
        """The probe is under way."""
        return self._probe is not None

    def may_be_tried(self, now: float) -> bool:
        return not self.failures or (now >= self.rests_until and self._probe is None)

    def take(self, now: float) -> Permit:
        """Begin an attempt; only where L{may_be_tried}."""
        assert self.may_be_tried(now)
        permit = Permit(self, self._round, is_probe=bool(self.failures))
        if permit.is_probe:
            self._probe = permit
        return permit

    def _succeeded(self, number: int) -> bool:
        if number != self._round or not self.failures:
            return False
        self.failures = 0
        self.why = ""
        self._misconfigured = False
        self._round += 1
        return True

    def _failed(
        self,
        number: int,
        now: float,
        jitter: float,
        why: str,
        misconfigured: bool,
        retry_after_seconds: float | None,
    ) -> bool:
        asked = _asked_rest(retry_after_seconds, jitter)
        if number != self._round:
            # Another attempt of the same round may have been asked to wait longer.
            if self.failures and asked is not None and now < self.rests_until:
                self.rests_until = max(self.rests_until, now + asked)
            return False
        self._round += 1
        self.failures += 1
        self.why = why
        self._misconfigured = misconfigured
        rest = RECHECK_SECONDS if misconfigured else _REST.pause(self.failures, jitter)
        self.rests_until = now + max(rest, asked or 0.0)
        return True

    def _paused(self, number: int, now: float, jitter: float, why: str) -> bool:
        if number != self._round:
            return False
        self._round += 1
        self.failures = max(1, self.failures)
        self.why = why
        self._misconfigured = False
        self.rests_until = now + _REST.pause(1, jitter)
        return True


def _asked_rest(seconds: float | None, jitter: float) -> float | None:
    """A rest that the service asks for, within bounds."""
    if seconds is None or not isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, MOST_RETRY_AFTER_SECONDS) * (1 + _RETRY_AFTER_SPREAD * jitter)
