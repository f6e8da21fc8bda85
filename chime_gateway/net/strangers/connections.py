"""
Limits the connections of strangers: peers that have no call yet, have shown no token,
and perhaps have sent nothing at all.

Anybody can open connections.  When the limit is reached, the oldest one that has sent
nothing useful is closed.  So a peer that sends its request at once always gets in: a
load balancer's health check, or a call.  One address may have half of the connections.
All callers may come from the address of one load balancer, however, so a connection
stops counting after the first message that a stranger could not have sent.
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

#: Connections that are always allowed, even when descriptors run out: enough for the
#: operator.
FEW: Final = 16

#: A provider gives each site at least a prefix of this length (RFC 6177 section 2).
_PREFIX_BITS: Final = 64


@lru_cache(4096)
def place_of(host: str) -> str:
    """The address of a host or, with IPv6, its network: a host has many addresses."""
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
    The open connections of strangers to one listener.

    @ivar closed: number of connections closed, by reason.
    @ivar log: logger for a library's messages about them.
    @param most: maximum number of connections; half of it from one address.
    @param is_scarce: returns whether a descriptor is one of the last.
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
        # By place, the oldest connection first.
        self._at: dict[str, dict[Any, None]] = {}

    def __len__(self) -> int:
        return len(self._place_of)

    def came(self, transport: Any) -> None:
        """Add a connection; the oldest one may be closed for it."""
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
        """A connection's request was answered: it is now the youngest."""
        place = self._place_of.get(transport)
        if place is not None:
            self._at[place][transport] = self._at[place].pop(transport)

    def known(self, transport: Any) -> None:
        """A connection is no longer a stranger: it has a call, or showed the token."""
        self.left(transport)

    def left(self, transport: Any) -> None:
        """Forget a connection; an unknown one is ignored."""
        place = self._place_of.pop(transport, None)
        if place is not None:
            there = self._at[place]
            del there[transport]
            if not there:
                del self._at[place]

    def tell(self, why: str, transport: Any) -> None:
        """Count and log a connection that is closed."""
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
