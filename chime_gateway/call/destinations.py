"""
Limits how many calls go to each destination: transferred, placed, or redirected.

L{chime_gateway.settings.destinations} decides which destinations are allowed at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from chime_gateway.settings.destinations import destination_fault
from chime_gateway.settings.telephone import normalised
from chime_gateway.settings.values import TransferSettings

_HOUR: Final = 3600.0


class Destinations:
    """
    The destinations of all calls of a gateway.

    @ivar settings: may be replaced at any time.
    @ivar refused: number of refusals, by reason.
    @param clock: seconds, monotonic.
    """

    def __init__(self, settings: TransferSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.refused: Counter[str] = Counter(allow=0, per_hour=0, per_target=0)
        self._clock = clock
        # Never longer than per_hour.
        self._sent: deque[tuple[float, str]] = deque()
        self._by_target: Counter[str] = Counter()

    def take(self, address: str) -> str:
        """
        Count one more call to an address, if it is allowed.

        @return: why the call is not allowed; empty: it is, and was counted.
        """
        settings = self.settings
        why = destination_fault(address, settings.allow)
        if why:
            self.refused["allow"] += 1
            return f"{why} ([transfer] allow)"
        self._forget(self._clock() - _HOUR)
        target = normalised(address).lower()
        if len(self._sent) >= settings.per_hour:
            self.refused["per_hour"] += 1
            return f"[transfer] per_hour is {settings.per_hour}"
        if self._by_target[target] >= settings.per_target_per_hour:
            self.refused["per_target"] += 1
            most = settings.per_target_per_hour
            return f"[transfer] per_target_per_hour is {most}"
        self._sent.append((self._clock(), target))
        self._by_target[target] += 1
        return ""

    def _forget(self, before: float) -> None:
        while self._sent and self._sent[0][0] <= before:
            _, target = self._sent.popleft()
            self._by_target[target] -= 1
            if not self._by_target[target]:
                del self._by_target[target]
