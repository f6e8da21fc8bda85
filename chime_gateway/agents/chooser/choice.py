"""
Chooses the deployment that is tried next.

Deployments with the lowest priority number come first; among them chance decides, by
their weights.  A deployment that is slow or failing now comes after the others.  One
whose budget is spent is used only for a call in progress, and only if there is no
other.  Times and random numbers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from math import inf
from typing import Final

from attrs import Factory, define, field

from chime_gateway.agents.chooser.breaker import (
    MOST_RETRY_AFTER_SECONDS,
    Breaker,
    Permit,
)
from chime_gateway.agents.chooser.budget import Budget
from chime_gateway.settings.values import DeploymentSettings

#: After two failed sessions within this time, other deployments are preferred for as
#: long.
FAILING_SECONDS: Final = 10.0


@define(eq=False)
class Candidate:
    """
    One deployment and what is known about it.

    @ivar busy_until: until then it throttles or fails sessions, so any other deployment
        is preferred.
    """

    settings: DeploymentSettings
    breaker: Breaker = Factory(Breaker)
    busy_until: float = 0.0
    budget: Budget = field(init=False)
    _failing_until: float = field(default=-inf, init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self.budget = Budget(settings.requests_per_minute, settings.tokens_per_minute)

    @property
    def name(self) -> str:
        return self.settings.name

    def change(self, settings: DeploymentSettings) -> None:
        """Change its settings.  Its history is kept, unless it has another key."""
        if settings.api_key != self.settings.api_key:
            self.breaker = Breaker()
        self.settings = settings
        self.budget.change(settings.requests_per_minute, settings.tokens_per_minute)

    def may_be_tried(self, now: float, *, is_running: bool) -> bool:
        """
        @param is_running: for a call in progress, which cannot be refused any more.
        """
        return self.breaker.may_be_tried(now) and (
            is_running or not self.budget.is_spent(now)
        )

    def let_wait(self, seconds: float, now: float) -> None:
        """The deployment asks a session to wait for this many seconds."""
        until = now + min(seconds, MOST_RETRY_AFTER_SECONDS)
        self.busy_until = max(self.busy_until, until)

    def failed_call(self, now: float) -> bool:
        """
        One of its sessions failed during a call.  If another one did so shortly before,
        any other deployment is preferred for a while.

        @return: whether that is so.
        """
        is_failing = now < self._failing_until
        self._failing_until = now + FAILING_SECONDS
        if is_failing:
            self.busy_until = max(self.busy_until, self._failing_until)
        return is_failing

    def free_at(self, now: float) -> float:
        """Return when a new call may try it; C{now} if unknown."""
        return max(now, self.breaker.rests_until, self.budget.free_at(now))


class Choice:
    """
    The choice between all deployments.

    @param clock: seconds, monotonic.
    @param chance: returns a random number in [0, 1).
    @ivar waiting: called, in order, whenever a deployment may have become usable, or a
        probe has ended.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.waiting: dict[Callable[[], None], None] = {}
        self._clock = clock
        self._chance = chance
        self.change(candidates)

    def change(self, candidates: Iterable[Candidate]) -> None:
        """Use these from now on; attempts at others continue."""
        self.candidates = sorted(candidates, key=lambda c: c.settings.priority)
        self.changed()

    def usable(
        self, passed: Collection[Candidate] = (), *, is_running: bool = False
    ) -> list[Candidate]:
        """
        Return the candidates that may be tried now, except those in C{passed}.

        @param is_running: see L{Candidate.may_be_tried}.
        """
        now = self._clock()
        return [
            c
            for c in self._others(passed)
            if c.may_be_tried(now, is_running=is_running)
        ]

    def take(
        self, passed: Collection[Candidate], *, is_running: bool = False
    ) -> tuple[Candidate, Permit] | None:
        """Take the deployment to try now, except those in C{passed}."""
        usable = self.usable(passed, is_running=is_running)
        if not usable:
            return None
        now = self._clock()
        best = min(_rank(candidate, now) for candidate in usable)
        chosen = self._draw([c for c in usable if _rank(c, now) == best])
        chosen.budget.requested(now)
        return chosen, chosen.breaker.take(now)

    def next_rest_end(self, passed: Collection[Candidate]) -> float:
        """
        Return when the first of the others that rests, or has no budget left, may be
        tried; C{inf}: there is none.
        """
        now = self._clock()
        ends = (c.free_at(now) for c in self._others(passed))
        return min((end for end in ends if end > now), default=inf)

    def is_probed(self, passed: Collection[Candidate]) -> bool:
        """Return whether a candidate that is not in C{passed} is being probed."""
        return any(c.breaker.is_probed for c in self._others(passed))

    def changed(self) -> None:
        """Notify all who wait: an attempt has ended."""
        for look in list(self.waiting):
            if look in self.waiting:
                look()

    def _others(self, passed: Collection[Candidate]) -> Iterator[Candidate]:
        return (c for c in self.candidates if c not in passed)

    def _draw(self, equals: list[Candidate]) -> Candidate:
        point = self._chance() * sum(c.settings.weight for c in equals)
        for candidate in equals:
            point -= candidate.settings.weight
            if point < 0:
                return candidate
        return equals[-1]


def _rank(candidate: Candidate, now: float) -> tuple[bool, bool, bool, int]:
    return (
        candidate.budget.is_spent(now),
        candidate.busy_until > now,
        candidate.breaker.overdue > 0,
        candidate.settings.priority,
    )
