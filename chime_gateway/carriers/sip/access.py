"""
Who may talk SIP and RTP with us at all.

An address outside the allowed networks gets no answer: scanners learn nothing.
An allowed one that sends nonsense is not listened to for a while.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from chime_gateway.net.rate_limit import TokenBucket
from chime_gateway.settings.values import Network
from chime_gateway.wire.address import canonical

#: Malformed messages that one address may send at once, and then per second.
OFFENCE_BURST: Final = 20.0
OFFENCES_PER_SECOND: Final = 0.5

#: How long an address that sent more is not listened to.
MUTE_SECONDS: Final = 30.0

#: Offenders that are remembered.
_MAX_OFFENDERS: Final = 1000


class Access:
    """
    @ivar dropped: messages not looked at, by reason.
    """

    def __init__(self, networks: Sequence[Network], clock: Callable[[], float]) -> None:
        self.dropped: Counter[str] = Counter()
        self._networks = tuple(networks)
        self._clock = clock
        self._offenders: OrderedDict[str, TokenBucket] = OrderedDict()
        self._muted_until: dict[str, float] = {}
        # Of media every packet from a new place asks.
        self.allows = lru_cache(4096)(self._allows)

    def _allows(self, host: str) -> bool:
        """Whether an address is in an allowed network."""
        try:
            address = ip_address(canonical(host).partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def admits(self, host: str) -> bool:
        """Whether to look at a message from there; if not, it is counted."""
        if not self.allows(host):
            self.dropped["not_allowed"] += 1
            return False
        until = self._muted_until.get(host)
        if until is None:
            return True
        if self._clock() < until:
            self.dropped["muted"] += 1
            return False
        del self._muted_until[host]
        return True

    def offended(self, host: str) -> None:
        """Something malformed came from there."""
        self.dropped["malformed"] += 1
        bucket = self._offenders.get(host)
        if bucket is None:
            bucket = TokenBucket(OFFENCES_PER_SECOND, OFFENCE_BURST)
            self._offenders[host] = bucket
            if len(self._offenders) > _MAX_OFFENDERS:
                gone, _ = self._offenders.popitem(last=False)
                self._muted_until.pop(gone, None)
        self._offenders.move_to_end(host)
        now = self._clock()
        if not bucket.take(now):
            self._muted_until[host] = now + MUTE_SECONDS
