"""
Decides whose packets SIP and RTP accept at all.

An address outside the allowed networks gets no answer, so scanners learn nothing.  A
flow from an allowed address that brings too many malformed messages may, for a while,
bring only what belongs to known calls.
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

#: Malformed messages that may come by one flow at once, and then per second.
OFFENCE_BURST: Final = 20.0
OFFENCES_PER_SECOND: Final = 0.5

#: How long a flow by which more came is not listened to.
MUTE_SECONDS: Final = 30.0

#: Offenders that are remembered.
_MAX_OFFENDERS: Final = 1000

#: An address may be shared, or stand in a forged packet: what offends is the way
#: by which it came (transport, address, port; of a stream that is the connection).
FlowKey: TypeAlias = tuple[str, str, int]


class Access:
    """
    @ivar dropped: messages not looked at, by reason.
    """

    def __init__(self, networks: Sequence[Network], clock: Callable[[], float]) -> None:
        self.dropped: Counter[str] = Counter()
        self._clock = clock
        self._offenders: OrderedDict[FlowKey, TokenBucket] = OrderedDict()
        self._muted_until: dict[FlowKey, float] = {}
        # Of media every packet from a new place asks.
        self.allows = lru_cache(4096)(self._allows)
        self.change(networks)

    def change(self, networks: Sequence[Network]) -> None:
        """Change the allowed networks, for running calls as well."""
        self._networks = tuple(networks)
        # What one entry of sip.allow stands for: a network, or a region's.
        self._entries = (*((one,) for one in self._networks), *regions(networks))
        self.allows.cache_clear()

    def _allows(self, host: str) -> bool:
        """Whether an address is in an allowed network."""
        return _is_in(host, self._networks)

    def are_together(self, one: str, other: str) -> bool:
        """Whether two addresses are in the same entry of C{sip.allow}."""
        return any(
            _is_in(one, entry) and _is_in(other, entry) for entry in self._entries
        )

    def admits(self, host: str) -> bool:
        """Whether packets from an address are read; if not, they are counted."""
        if not self.allows(host):
            self.dropped["not_allowed"] += 1
            return False
        return True

    def is_muted(self, flow: FlowKey) -> bool:
        """Whether only messages of known calls are read from that flow."""
        until = self._muted_until.get(flow)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._muted_until[flow]
        return False

    def offended(self, flow: FlowKey) -> None:
        """A malformed message came by that flow."""
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
    Calls whose messages are looked at, whoever else uses their way: those that are
    there, and those whose last transactions live on.

    @param linger_seconds: for so long.
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
