"""
Computes how long to wait before a failed action is repeated.

It reads no clock and draws no random numbers: both are arguments.
"""

from __future__ import annotations

from math import inf

from attrs import Attribute, field, frozen


@frozen
class BackOff:
    """
    Pauses between attempts.

    @ivar pauses: in seconds, after the first failure in a row, the second and so on;
        the last one repeats.
    @ivar spread: smallest and largest factor of a pause, so that clients that failed
        together do not all come back together.
    """

    pauses: tuple[float, ...] = field()
    spread: tuple[float, float] = (1.0, 1.0)

    @pauses.validator
    def _check(self, _: Attribute[tuple[float, ...]], value: tuple[float, ...]) -> None:
        if not value:
            raise ValueError("a back-off needs a pause")

    @classmethod
    def doubling(
        cls, first: float, longest: float, spread: tuple[float, float] = (1.0, 1.0)
    ) -> BackOff:
        """Make pauses that double from C{first} to C{longest}, in seconds."""
        if not 0 < first <= longest < inf:
            raise ValueError(f"no pauses double from {first} to {longest}")
        pauses = [first]
        while pauses[-1] < longest:
            pauses.append(min(longest, 2 * pauses[-1]))
        return cls(tuple(pauses), spread)

    def pause(self, failures: int, jitter: float = 0.5) -> float:
        """
        Return how many seconds to wait.

        @param failures: number of failures in a row, the last one included.
        @param jitter: random number from 0 to 1, a new one each time.
        """
        at = min(max(failures, 1), len(self.pauses)) - 1
        least, most = self.spread
        return self.pauses[at] * (least + (most - least) * jitter)
