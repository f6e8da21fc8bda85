"""
Decides from which addresses SIP and RTP accept packets.

An address outside the allowed networks gets no answer, so scanners learn nothing.  A
flow from an allowed address that brings too many malformed messages is muted: for a
while, only messages of known calls are accepted from it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, TypeAlias

from chime_gateway.net.rate_limit import TokenBucket
from chime_gateway.settings.sip import regions
from chime_gateway.settings.values import Network
from chime_gateway.wire.address import canonical

#: Malformed messages that a flow may bring at once, and then per second.
OFFENCE_BURST: Final = 20.0
OFFENCES_PER_SECOND: Final = 0.5

#: How long a flow that brought more is muted.
MUTE_SECONDS: Final = 30.0

#: The maximum number of offending flows that are remembered.
_MAX_OFFENDERS: Final = 1000

#: Transport, address, port; for TCP and TLS that is one connection.  An address may be
#: shared or forged, so only the flow is muted.
FlowKey: TypeAlias = tuple[str, str, int]


class Access:
    """
    The networks that may send packets, and the flows that are muted.

    @ivar dropped: messages that were not processed, by reason.
    """

    def __init__(self, networks: Sequence[Network], clock: Callable[[], float]) -> None:
        self.dropped: Counter[str] = Counter()
        self._clock = clock
        self._offenders: OrderedDict[FlowKey, TokenBucket] = OrderedDict()
        self._muted_until: dict[FlowKey, float] = {}
        # Cached, as it is called for every media packet from a new address.
        self.allows = lru_cache(4096)(self._allows)
        self.change(networks)

    def change(self, networks: Sequence[Network]) -> None:
        """Change the allowed networks, for running calls as well."""
        self._networks = tuple(networks)
        # One entry of sip.allow is a network, or all networks of a region.
        self._entries = (*((one,) for one in self._networks), *regions(networks))
        self.allows.cache_clear()

    def _allows(self, host: str) -> bool:
        """Return whether an address is in an allowed network."""
        return _is_in(host, self._networks)

    def are_together(self, one: str, other: str) -> bool:
        """Return whether two addresses are in the same entry of C{sip.allow}."""
        return any(
            _is_in(one, entry) and _is_in(other, entry) for entry in self._entries
        )

    def admits(self, host: str) -> bool:
        """Return whether a packet from an address is read.  Count it if not."""
        if not self.allows(host):
            self.dropped["not_allowed"] += 1
            return False
        return True

    def is_muted(self, flow: FlowKey) -> bool:
        """Return whether only messages of known calls are read from this flow."""
        until = self._muted_until.get(flow)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._muted_until[flow]
        return False

    def offended(self, flow: FlowKey) -> None:
        """A malformed message came by this flow."""
        self.dropped["malformed"] += 1
        bucket = self._offenders.get(flow)
        if bucket is None:
            bucket = TokenBucket(OFFENCES_PER_SECOND, OFFENCE_BURST)
            self._offenders[flow] = bucket
            if len(self._offenders) > _MAX_OFFENDERS:
                gone, _ = self._offenders.popitem(last=False)
                self._muted_until.pop(gone, None)
        self._offenders.move_to_end(flow)
        now = self._clock()
        if not bucket.take(now):
            self._muted_until[flow] = now + MUTE_SECONDS


def _is_in(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(canonical(host).partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in networks)


class KnownCalls:
    """
    The calls whose messages are read even from a muted flow: current ones, and ended
    ones whose last transactions are still alive.

    @param linger_seconds: how long an ended call is known.
    """

    def __init__(self, clock: Callable[[], float], linger_seconds: float) -> None:
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._here: dict[str, int] = {}
        self._over: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._here or self._over.get(call_id, 0.0) > self._clock()

    def __iter__(self) -> Iterator[str]:
        now = self._clock()
        yield from self._here
        yield from (call_id for call_id, until in self._over.items() if until > now)

    def begun(self, call_id: str) -> None:
        """Count one more leg of this Call-ID."""
        self._here[call_id] = self._here.get(call_id, 0) + 1

    def ended(self, call_id: str) -> None:
        left = self._here.pop(call_id, 0) - 1
        if left > 0:
            self._here[call_id] = left
        now = self._clock()
        self._over[call_id] = now + self._linger_seconds
        self._over.move_to_end(call_id)
        while next(iter(self._over.values())) <= now:
            self._over.popitem(last=False)
