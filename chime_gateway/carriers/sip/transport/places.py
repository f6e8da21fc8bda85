"""
Limits the number of server transactions, per source and in all.

A transaction that was answered only absorbs repetitions, for half a minute; so the
oldest of these makes room, and no request is refused because of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import define, field, frozen

Key: TypeAlias = tuple[str, ...]


@frozen
class Bound:
    """@ivar octets: of what those that have their answer keep."""

    transactions: int
    octets: int


#: Fifty calls a second with four requests each live for 32 s: all of a region's
#: Voice Connectors may come from one address.
OF_ONE_SOURCE: Final = Bound(8_000, 16 << 20)
IN_ALL: Final = Bound(20_000, 48 << 20)


@define
class _Holder:
    """
    @ivar finished: those that have their answer, with octets, oldest first.
    """

    held: int = 0
    octets: int = 0
    finished: OrderedDict[Key, int] = field(factory=OrderedDict)

    def is_full(self, bound: Bound) -> bool:
        return self.held >= bound.transactions

    def oldest(self) -> Key | None:
        return next(iter(self.finished), None)


class Places:
    """
    @param evict: called for one that makes room; it is L{left} before.
    @ivar evicted: how many made room; C{refused}: for how many there was none.
    """

    def __init__(
        self,
        evict: Callable[[Key], None],
        of_one_source: Bound = OF_ONE_SOURCE,
        in_all: Bound = IN_ALL,
    ) -> None:
        self._evict = evict
        self._of_one_source = of_one_source
        self._in_all = in_all
        self._all = _Holder()
        self._sources: dict[str, _Holder] = {}
        self._hosts: dict[Key, str] = {}
        self.evicted = 0
        self.refused = 0

    def __len__(self) -> int:
        return self._all.held

    def take(self, key: Key, host: str) -> bool:
        """Whether there is room for one more from there; then it has it."""
        source = self._sources.get(host)
        bounds = ((source, self._of_one_source), (self._all, self._in_all))
        for holder, bound in bounds:
            while holder is not None and holder.is_full(bound):
                oldest = holder.oldest()
                if oldest is None:
                    self.refused += 1
                    return False
                self._make_go(oldest)
        # It may have gone with its last one.
        source = self._sources.setdefault(host, _Holder())
        source.held += 1
        self._all.held += 1
        self._hosts[key] = host
        return True

    def finish(self, key: Key, octets: int) -> None:
        """It has its answer."""
        host = self._hosts.get(key)
        if host is None or key in self._all.finished:
            return
        source = self._sources[host]
        for holder in (source, self._all):
            holder.finished[key] = octets
            holder.octets += octets
        while source.octets > self._of_one_source.octets:
            self._make_go(next(iter(source.finished)))
        while self._all.octets > self._in_all.octets:
            self._make_go(next(iter(self._all.finished)))

    def left(self, key: Key) -> None:
        """It is over."""
        host = self._hosts.pop(key, None)
        if host is None:
            return
        source = self._sources[host]
        for holder in (source, self._all):
            holder.held -= 1
            holder.octets -= holder.finished.pop(key, 0)
        if not source.held:
            del self._sources[host]

    def clear(self) -> None:
        self._all = _Holder()
        self._sources.clear()
        self._hosts.clear()

    def _make_go(self, key: Key) -> None:
        self.left(key)
        self.evicted += 1
        self._evict(key)
