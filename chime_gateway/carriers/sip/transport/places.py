"""
Limits the number of server transactions, per source and in all.

A transaction that was answered only absorbs repetitions, for half a minute.  The oldest
of these is evicted to make room for a new request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import define, field, frozen

Key: TypeAlias = tuple[str, ...]


@frozen
class Bound:
    """
    The maximum number of transactions, and of octets that answered ones keep.
    """

    transactions: int
    octets: int


#: Enough for 50 calls a second with four requests each, which live for 32 s: all Voice
#: Connectors of a region may use one address.
OF_ONE_SOURCE: Final = Bound(8_000, 16 << 20)
IN_ALL: Final = Bound(20_000, 48 << 20)


@define
class _Holder:
    """
    The transactions of one source, or all.

    @ivar finished: the octets of answered transactions, oldest first.
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
    The places for server transactions.

    @param evict: called for a transaction that is evicted, after L{left}.
    @ivar evicted: the number of evicted transactions.
    @ivar refused: the number of requests that found no place.
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
        """Take a place for a new transaction; return whether there was one."""
        source = self._sources.get(host)
        bounds = ((source, self._of_one_source), (self._all, self._in_all))
        for holder, bound in bounds:
            while holder is not None and holder.is_full(bound):
                oldest = holder.oldest()
                if oldest is None:
                    self.refused += 1
                    return False
                self._make_room(oldest)
        # Eviction may have removed the source.
        source = self._sources.setdefault(host, _Holder())
        source.held += 1
        self._all.held += 1
        self._hosts[key] = host
        return True

    def finish(self, key: Key, octets: int) -> None:
        """The transaction has its final answer."""
        host = self._hosts.get(key)
        if host is None or key in self._all.finished:
            return
        source = self._sources[host]
        for holder in (source, self._all):
            holder.finished[key] = octets
            holder.octets += octets
        while source.octets > self._of_one_source.octets:
            self._make_room(next(iter(source.finished)))
        while self._all.octets > self._in_all.octets:
            self._make_room(next(iter(self._all.finished)))

    def left(self, key: Key) -> None:
        """The transaction is over."""
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

    def _make_room(self, key: Key) -> None:
        self.left(key)
        self.evicted += 1
        self._evict(key)
