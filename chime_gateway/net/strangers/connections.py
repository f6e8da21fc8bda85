"""
Limits the connections of strangers: peers without a call, a token, perhaps even a
word so far.

Anybody can open some.  When there is no room for one more, the oldest that has still
said nothing useful is closed, so a peer that speaks at once always finds room: a load
balancer's health check, and a call.  One address may have half of the room, but all
callers may come from one address, their load balancer's: so a connection no longer
counts after the first message that a stranger could not have sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.strangers.summary import Summary, SummedLog
from chime_gateway.net.system.descriptors import is_in_reserve

#: Where descriptors run out: enough for whoever looks after the gateway.
FEW: Final = 16

#: What a network gives to one house (RFC 6177 section 2).
_PREFIX_BITS: Final = 64


@lru_cache(4096)
def place_of(host: str) -> str:
    """Whose one address is; with IPv6 everybody has many."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{int(address) >> (128 - _PREFIX_BITS):x}::"
    return str(address)


class Connections:
    """
    @ivar closed: how many were closed, by why.
    @ivar log: where a library says what it thinks of them.
    @param most: of all; half of it from one place.
    @param is_scarce: whether this descriptor is one of the last.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        most: int,
        summary: Summary | None = None,
        is_scarce: Callable[[int], bool] = is_in_reserve,
    ) -> None:
        self.most = max(most, FEW)
        self.closed = Counter({"crowded": 0, "descriptors": 0, "slow": 0})
        self.summary = summary or Summary(clock)
        self.log = SummedLog(self.summary)
        self._is_scarce = is_scarce
        self._place_of: dict[Any, str] = {}
        # The oldest first.
        self._at: dict[str, dict[Any, None]] = {}

    def __len__(self) -> int:
        return len(self._place_of)

    def came(self, transport: Any) -> None:
        """One more; the oldest may have to go for it."""
        place = place_of(getattr(transport.getPeer(), "host", ""))
        self._place_of[transport] = place
        self._at.setdefault(place, {})[transport] = None
        if len(self._at[place]) > max(self.most // 2, FEW):
            self._drop(place, "crowded")
        elif len(self._place_of) > self.most:
            self._drop(self._most_crowded(), "crowded")
        if len(self._place_of) > FEW and self._is_scarce(_descriptor(transport)):
            while len(self._place_of) > FEW:
                self._drop(self._most_crowded(), "descriptors")

    def answered(self, transport: Any) -> None:
        """It has asked for something and got it: now it is the youngest."""
        place = self._place_of.get(transport)
        if place is not None:
            self._at[place][transport] = self._at[place].pop(transport)

    def known(self, transport: Any) -> None:
        """A connection is no longer a stranger: it has a call, or showed the token."""
        self.left(transport)

    def left(self, transport: Any) -> None:
        """It is gone; it may have been none of these."""
        place = self._place_of.pop(transport, None)
        if place is not None:
            there = self._at[place]
            del there[transport]
            if not there:
                del self._at[place]

    def tell(self, why: str, transport: Any) -> None:
        """Count one that is closed, and say so."""
        self.closed[why] += 1
        if self.summary.allows(f"connections closed ({why})"):
            self._log.info(
                "a connection was closed ({why})",
                why=why,
                remote=getattr(transport.getPeer(), "host", ""),
            )

    def _most_crowded(self) -> str:
        return max(self._at, key=lambda place: len(self._at[place]))

    def _drop(self, place: str, why: str) -> None:
        oldest = next(iter(self._at[place]))
        self.left(oldest)
        self.tell(why, oldest)
        oldest.abortConnection()


def _descriptor(transport: Any) -> int:
    fileno = getattr(transport, "fileno", None)
    return -1 if fileno is None else int(fileno())
