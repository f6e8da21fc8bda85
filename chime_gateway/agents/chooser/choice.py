"""
Which of several deployments is tried next.

Those of the lowest priority number first, and of these by chance, as their weights
say; but whoever keeps somebody waiting just now goes behind the others.  Time and
chance are arguments, what an attempt is is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from math import inf

from attrs import Factory, define

from chime_gateway.agents.chooser.breaker import Breaker, Permit
from chime_gateway.settings.values import DeploymentSettings


@define(eq=False)
class Candidate:
    """One deployment and what is known of it."""

    settings: DeploymentSettings
    breaker: Breaker = Factory(Breaker)

    @property
    def name(self) -> str:
        return self.settings.name


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
        self.candidates = sorted(candidates, key=lambda c: c.settings.priority)
        self.waiting: dict[Callable[[], None], None] = {}
        self._clock = clock
        self._chance = chance

    def usable(self, passed: Collection[Candidate] = ()) -> list[Candidate]:
        """Those that may be tried now, but these."""
        return [
            c for c in self._others(passed) if c.breaker.may_be_tried(self._clock())
        ]

    def take(self, passed: Collection[Candidate]) -> tuple[Candidate, Permit] | None:
        """The one to try now, none of those that are passed over."""
        usable = self.usable(passed)
        if not usable:
            return None
        best = min(_rank(candidate) for candidate in usable)
        chosen = self._draw([c for c in usable if _rank(c) == best])
        return chosen, chosen.breaker.take(self._clock())

    def next_rest_end(self, passed: Collection[Candidate]) -> float:
        """When the first of those that rest may be tried; C{inf}: none rests."""
        now = self._clock()
        ends = (c.breaker.rests_until for c in self._others(passed))
        return min((end for end in ends if end > now), default=inf)

    def is_probed(self, passed: Collection[Candidate]) -> bool:
        """One of them may be tried as soon as somebody else's probe has an end."""
        return any(c.breaker.is_probed for c in self._others(passed))

    def changed(self) -> None:
        """An attempt has an end: whoever waits may look again."""
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


def _rank(candidate: Candidate) -> tuple[bool, int]:
    return candidate.breaker.overdue > 0, candidate.settings.priority
