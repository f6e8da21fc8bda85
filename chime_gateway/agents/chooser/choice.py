"""
Chooses the deployment that is tried next.

Deployments with the lowest priority number come first, and among them chance decides
by their weights; one that keeps sessions waiting just now comes after the others.
One whose budget is spent is used only for a call in progress, and then as the last
choice.  Time and chance are arguments.
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

#: Two sessions that fail within this are no accident, and so long others are better.
FAILING_SECONDS: Final = 10.0


@define(eq=False)
class Candidate:
    """
    One deployment and what is known of it.

    @ivar busy_until: it lets sessions wait for their answers until then, so any other
        is better.
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
        """Keep its history; with another key it may be tried at once."""
        if settings.api_key != self.settings.api_key:
            self.breaker = Breaker()
        self.settings = settings
        self.budget.change(settings.requests_per_minute, settings.tokens_per_minute)

    def may_be_tried(self, now: float, *, is_running: bool) -> bool:
        """
        @param is_running: by a call that goes on: it has nowhere else to be sent.
        """
        return self.breaker.may_be_tried(now) and (
            is_running or not self.budget.is_spent(now)
        )

    def let_wait(self, seconds: float, now: float) -> None:
        """It asks a session to wait for so many seconds."""
        until = now + min(seconds, MOST_RETRY_AFTER_SECONDS)
        self.busy_until = max(self.busy_until, until)

    def failed_call(self, now: float) -> bool:
        """
        One of its sessions failed in the middle of its call.  A second one soon after
        is no accident: any other deployment is better then.

        @return: that is so.
        """
        is_failing = now < self._failing_until
        self._failing_until = now + FAILING_SECONDS
        if is_failing:
            self.busy_until = max(self.busy_until, self._failing_until)
        return is_failing

    def free_at(self, now: float) -> float:
        """When it may be tried by a new call; what is not known is C{now}."""
        return max(now, self.breaker.rests_until, self.budget.free_at(now))


class Choice:
    """
    @param clock: seconds, monotonic.
    @param chance: a number from 0 up to 1, a new one each time.
    @ivar waiting: called, in their order, whenever something may have become
        possible: a deployment is back, or a probe has an end.
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
        """Use these from now on; attempts at others go on."""
        self.candidates = sorted(candidates, key=lambda c: c.settings.priority)
        self.changed()

    def usable(
        self, passed: Collection[Candidate] = (), *, is_running: bool = False
    ) -> list[Candidate]:
        """
        Those that may be tried now, but these.

        @param is_running: as of L{Candidate.may_be_tried}.
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
        When the first of those that rest, or whose budget is spent, may be tried;
        C{inf}: there is none.
        """
        now = self._clock()
        ends = (c.free_at(now) for c in self._others(passed))
        return min((end for end in ends if end > now), default=inf)

    def is_probed(self, passed: Collection[Candidate]) -> bool:
        """One of them may be tried as soon as somebody else's probe has an end."""
        return any(c.breaker.is_probed for c in self._others(passed))

    def changed(self) -> None:
        """An attempt has ended: tell all who wait."""
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
