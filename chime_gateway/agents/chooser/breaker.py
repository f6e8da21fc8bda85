"""
The circuit breaker of one deployment: whether it may be tried now.

Closed: every call may try it.  Open: it rests until a given time.  Half-open: the rest
is over, and a single attempt, the probe, finds out whether the deployment works again.

Times and random numbers are arguments.
"""

from __future__ import annotations

from enum import Enum
from math import isfinite
from typing import Final

from chime_gateway.net.backoff import BackOff

#: How long a failed deployment rests, by the number of failed rounds.  A round is
#: everything that was tried before the failure was known, so ten calls that meet the
#: same failure are one round.
_REST: Final = BackOff.doubling(0.5, 30.0, spread=(0.5, 1.0))

#: The longest rest that a service may ask for.
MOST_RETRY_AFTER_SECONDS: Final = 120.0

#: Gateways that were given the same Retry-After are spread over this fraction of it:
#: later, never sooner.
_RETRY_AFTER_SPREAD: Final = 0.1

#: How often a wrong setting is tried again: it may be repaired in Azure (a role, a
#: deployment that was still being created) without the gateway's knowledge.
RECHECK_SECONDS: Final = 60.0

#: The longest rest of all.
LONGEST_REST_SECONDS: Final = MOST_RETRY_AFTER_SECONDS * (1 + _RETRY_AFTER_SPREAD)


class State(Enum):
    """The state of a deployment; C{/health} and the metrics use the values."""

    CLOSED = "usable"
    OPEN = "resting"
    MISCONFIGURED = "misconfigured"  #: open, for a reason that an operator must fix
    HALF_OPEN = "half-open"


class Permit:
    """
    One attempt in progress.  It is settled once: by L{succeeded}, L{failed},
    L{could_not_begin} or L{dropped}.

    @ivar is_probe: it tests the deployment for all calls.
    """

    __slots__ = ("_breaker", "_is_overdue", "_is_settled", "_round", "is_probe")

    def __init__(self, breaker: Breaker, number: int, is_probe: bool) -> None:
        self.is_probe = is_probe
        self._breaker = breaker
        self._round = number
        self._is_settled = False
        self._is_overdue = False

    def note_overdue(self) -> None:
        """Another deployment is tried as well: new calls avoid this one."""
        if not self._is_settled and not self._is_overdue:
            self._is_overdue = True
            self._breaker.overdue += 1

    def succeeded(self) -> bool:
        """
        The attempt has succeeded.

        @return: whether the state has changed; so do the other methods.
        """
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
        The attempt has failed.

        @param jitter: a fresh random number in [0, 1].
        @param retry_after_seconds: as the service asks.
        """
        if not self._settle():
            return False
        return self._breaker._failed(
            self._round, now, jitter, why, misconfigured, retry_after_seconds
        )

    def could_not_begin(self, now: float, jitter: float, why: str) -> bool:
        """
        The attempt failed because of this machine.  The deployment is not tried for a
        moment, but its rests do not become longer.
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
    The circuit breaker of one deployment.

    @ivar rests_until: it is not tried before this time (of the clock).
    @ivar why: reason of the last failure; empty while it is closed.
    @ivar failures: number of failed rounds in a row.
    @ivar overdue: number of attempts that take too long and have not ended yet.
    """

    def __init__(self) -> None:
        self.overdue = 0
        self.rests_until = 0.0
        self.why = ""
        self.failures = 0
        self._misconfigured = False
        self._probe: Permit | None = None
        #: The current round.  Attempts of earlier rounds bring no new knowledge.
        self._round = 0

    def state(self, now: float) -> State:
        if not self.failures:
            return State.CLOSED
        if now >= self.rests_until:
            return State.HALF_OPEN
        return State.MISCONFIGURED if self._misconfigured else State.OPEN

    @property
    def is_probed(self) -> bool:
        """Whether a probe is in progress."""
        return self._probe is not None

    def may_be_tried(self, now: float) -> bool:
        return not self.failures or (now >= self.rests_until and self._probe is None)

    def take(self, now: float) -> Permit:
        """Begin an attempt; allowed only if L{may_be_tried}."""
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
    """Return the rest that the service asks for, limited and spread."""
    if seconds is None or not isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, MOST_RETRY_AFTER_SECONDS) * (1 + _RETRY_AFTER_SPREAD * jitter)
