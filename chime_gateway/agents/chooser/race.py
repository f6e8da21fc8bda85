"""
Finds a session for one call, with hedging.

One deployment is tried; if it is slow, the next is tried at the same time, and the
first session that is ready gets the call.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chime_gateway.agents.chooser.breaker import Permit
from chime_gateway.agents.chooser.choice import Candidate, Choice
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.interfaces import AgentSession
from chime_gateway.net.timer import Timer

#: The shortest timer, so that a rounding error does not fire it too early in a loop.
_LEAST_WAIT_SECONDS: Final = 0.001

#: The longest time before hedging for a call in progress: its caller is waiting.
_RUNNING_HEDGE_SECONDS: Final = 0.5


class Attempt(Protocol):
    """
    One attempt at one deployment.

    @ivar ready: fires with a session that is ready, or fails with L{AgentUnavailable};
        cancelling it closes everything.
    """

    ready: Deferred[AgentSession]

    def leave(self) -> None:
        """Report nothing more to the call, which has another session."""


class Attempts(Protocol):
    """Makes attempts, and receives their results."""

    def begin(self, candidate: Candidate, seconds: float) -> Attempt:
        """Begin an attempt that has to be done within this many seconds."""

    def hedged(self, candidate: Candidate) -> None:
        """A deployment is tried while another is slow."""

    def opened(self, candidate: Candidate, permit: Permit, seconds: float) -> None:
        """A session is ready, after this many seconds."""

    def failed(
        self, candidate: Candidate, permit: Permit, why: AgentUnavailable
    ) -> None: ...
    def overtaken(self, candidate: Candidate, permit: Permit, attempt: Attempt) -> None:
        """The call has another session; the result of this one is still of interest."""

    def dropped(self, candidate: Candidate, permit: Permit, attempt: Attempt) -> None:
        """The call is over: close the attempt."""


@define(eq=False)
class _Running:
    permit: Permit
    attempt: Attempt
    began: float


class Race:
    """
    The search for one session.

    @param seconds: how long the whole search may take.
    @param hedge_seconds: after this long without a session the next deployment is tried
        as well; 0: only when the first has failed, or used up its share of the time.
    @param avoid: the name of a deployment that is tried after all others.
    @param is_running: the call is in progress, so it may use a deployment whose budget
        is spent if there is no other.
    @ivar result: fires with the session; cancelling it gives the search up.
    """

    def __init__(
        self,
        choice: Choice,
        attempts: Attempts,
        clock: IReactorTime,
        seconds: float,
        hedge_seconds: float,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> None:
        self.result: Deferred[AgentSession] = Deferred(lambda _: self._give_up())
        self._choice = choice
        self._attempts = attempts
        self._clock = clock
        self._deadline = clock.seconds() + seconds
        if is_running and hedge_seconds:
            hedge_seconds = min(hedge_seconds, _RUNNING_HEDGE_SECONDS)
        self._hedge_seconds = hedge_seconds
        self._is_running = is_running
        self._hedge_at = 0.0
        self._timer = Timer(clock)
        self._running: dict[Candidate, _Running] = {}
        # A deployment that failed this call before counts as tried.
        self._failed = {c for c in choice.candidates if c.name == avoid}
        self._refused: set[Candidate] = set()
        self._why: AgentUnavailable | None = None
        self._is_over = False
        self._is_looking = False
        self._must_look = False

    def begin(self) -> None:
        self._choice.waiting[self._look] = None
        self._look()

    # -- inside ----------------------------------------------------------------

    def _look(self) -> None:
        """Begin the next attempt if one may begin now, or wait."""
        # An attempt may fail at once, and so call this method recursively.
        self._must_look = True
        if self._is_looking:
            return
        self._is_looking = True
        while self._must_look and not self._is_over:
            self._must_look = False
            self._look_once()
        self._is_looking = False

    def _look_once(self) -> None:
        now = self._clock.seconds()
        if now >= self._deadline:
            # Attempts in progress have their own deadlines, which are not later.
            if not self._running:
                self._unavailable(now)
            return
        if not self._running or now >= self._hedge_at:
            taken = self._take()
            if taken is not None:
                self._try(*taken, now)
                return
        self._wait(now)

    def _take(self) -> tuple[Candidate, Permit] | None:
        """Take the next deployment, preferably one that this call has not tried."""
        passed = {*self._running, *self._refused}
        is_running = self._is_running
        return self._choice.take(
            passed | self._failed, is_running=is_running
        ) or self._choice.take(passed, is_running=is_running)

    def _try(self, candidate: Candidate, permit: Permit, now: float) -> None:
        others = self._choice.usable(
            {*self._running, *self._refused, candidate}, is_running=self._is_running
        )
        left = self._deadline - now
        share = left / (1 + sum(1 for other in others if other not in self._failed))
        patience = min(share, self._hedge_seconds) if self._hedge_seconds else share
        self._hedge_at = now + patience
        for one in self._running.values():
            one.permit.note_overdue()
        if self._running:
            self._attempts.hedged(candidate)
        attempt = self._attempts.begin(candidate, share)
        self._running[candidate] = _Running(permit, attempt, now)
        self._must_look = True
        attempt.ready.addCallbacks(
            self._ready,
            self._not_ready,
            callbackArgs=(candidate, permit),
            errbackArgs=(candidate, permit),
        ).addErrback(self._bug)

    def _wait(self, now: float) -> None:
        """
        Wait until hedging is due, or a rest ends.  Attempts in progress, and probes of
        other calls, report themselves.
        """
        passed = {*self._running, *self._refused}
        rest_end = self._choice.next_rest_end(passed)
        look_at = min(rest_end, self._deadline)
        if self._running:
            look_at = self._hedge_at if now < self._hedge_at else look_at
        # A profile that one deployment refuses will probably be refused by others.
        elif self._refused or not (
            rest_end < self._deadline or self._choice.is_probed(passed)
        ):
            self._unavailable(now)
            return
        self._timer.start(max(_LEAST_WAIT_SECONDS, look_at - now), self._look)

    def _ready(
        self, session: AgentSession, candidate: Candidate, permit: Permit
    ) -> AgentSession | None:
        if self._is_over:
            return session  # L{Attempts.overtaken} handles it
        took = self._clock.seconds() - self._running.pop(candidate).began
        self._end()
        self._attempts.opened(candidate, permit, took)
        losers, self._running = self._running, {}
        for loser, one in losers.items():
            self._attempts.overtaken(loser, one.permit, one.attempt)
        self.result.callback(session)
        return None

    def _not_ready(
        self, failure: Failure, candidate: Candidate, permit: Permit
    ) -> Failure | None:
        why = failure.value
        if self._is_over or not isinstance(why, AgentUnavailable):
            return failure
        del self._running[candidate]
        self._why = why
        where = self._refused if isinstance(why, ProfileRefused) else self._failed
        where.add(candidate)
        self._attempts.failed(candidate, permit, why)
        self._look()
        return None

    def _unavailable(self, now: float) -> None:
        why = self._why
        if why is None:
            soonest = min(self._choice.candidates, key=lambda c: c.free_at(now))
            wait = soonest.free_at(now) - now
            said = soonest.breaker.why or soonest.budget.why(now)
            why = AgentUnavailable(
                "every deployment is resting after failures, or its budget is spent"
                f" ({soonest.name} for another {wait:.1f} s: {said})"
            )
        self._end()
        self.result.errback(why)

    def _bug(self, failure: Failure) -> Failure | None:
        if self._is_over:
            return failure
        self._give_up()
        self.result.errback(failure)
        return None

    def _give_up(self) -> None:
        self._end()
        running, self._running = self._running, {}
        for candidate, one in running.items():
            self._attempts.dropped(candidate, one.permit, one.attempt)

    def _end(self) -> None:
        self._is_over = True
        self._timer.stop()
        self._choice.waiting.pop(self._look, None)
