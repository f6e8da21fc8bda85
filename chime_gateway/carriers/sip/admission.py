"""
Decides which INVITE may become a call, before resources are spent on it.

The Voice Connectors of all customers in a region share the allowed networks, so an
address alone proves nothing.  First the id of the Voice Connector is checked, then the
proof of the operator's own Lambda (docs/decisions/0028).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen
from twisted.logger import Logger

from chime_gateway.carriers.sip.context import Leg
from chime_gateway.carriers.sip.inbound import RETRY_AFTER, caller_info
from chime_gateway.net.rate_limit import TokenBucket
from chime_gateway.net.strangers.connections import place_of
from chime_gateway.outcomes import CallerInfo, Outcome
from chime_gateway.settings.values import SipSettings
from chime_gateway.wire.sip.call_proof import HEADER, CallProofs
from chime_gateway.wire.sip.message import Header, Request, header_list

#: Marks calls that the Lambda bridges.  A second mark means a loop.
_HOP_HEADER: Final = "X-Gw-Hop"
_SMA_HOPS_HEADER: Final = "X-SMA-Max-Forwards"
_VOICE_CONNECTOR: Final = ".voiceconnector.chime.aws"

#: Set by AWS only: customers cannot send headers with these prefixes.
_FROM_HEADER: Final = "X-VoiceConnector-ID"
_TARGET_HEADER: Final = "X-Amzn-TargetArn"

#: Headers that only the operator's Lambda may set.
_OF_THE_LAMBDA: Final = frozenset(
    {
        *("x-transaction-id", "x-agent", "x-context", "x-leg-a-call-id"),
        *("x-dialed-number", "x-caller-number", "x-direction", "x-transfer-failed"),
    }
)

#: For refusals that may be over when the caller tries again.
AGAIN: Final[Header] = ("Retry-After", "1")


def _ignore(proof: bytes, was_answered: bool) -> None:
    """The default of a callback that is not set."""


@frozen
class Admitted:
    """
    A call that is admitted.

    @ivar proof: identifies the proof that the call came with; empty: it had none.
    """

    info: CallerInfo
    proof: bytes = b""


@frozen
class Refusal:
    """
    A call that is refused.

    @ivar outcome: C{None}: a stranger's call, which is not reported.
    """

    status: int
    why: str
    extra: tuple[Header, ...] = ()
    outcome: Outcome | None = Outcome.CALLER_PROTOCOL_ERROR


class Admission:
    """
    Checks INVITEs.

    @param wall_time: Unix seconds, for proofs.
    @param door: returns why no call is accepted now, or C{None}
        (L{chime_gateway.interfaces.Switchboard}).
    @param is_told: returns whether one more stranger of this kind is logged.
    @ivar strangers: refused INVITEs of strangers, by reason.
    @ivar elsewhere: calls whose ACK other processes of the gateway await, by process
        and address.
    @ivar settled: called with a proof, and whether its call was answered.
    """

    _log = Logger()

    def __init__(
        self,
        settings: SipSettings,
        clock: Callable[[], float],
        wall_time: Callable[[], float],
        door: Callable[[bool], str | None] = lambda _: None,
        is_told: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._is_told = is_told
        self._door = door
        self.strangers: Counter[str] = Counter()
        self._clock = clock
        self._wall_time = wall_time
        rate = settings.calls_per_second
        self._rate = TokenBucket(rate, max(1.0, rate))
        self.proofs = CallProofs(settings.call_secrets, settings.proof_seconds)
        self.elsewhere: dict[str, Counter[str]] = {}
        self.settled: Callable[[bytes, bool], object] = _ignore
        self.change(settings)
        # Calls whose ACK has not come, and their number by address (IPv6: by /64).
        self._waiting: dict[Leg, str] = {}
        self._by_source: Counter[str] = Counter()
        # Cancelled calls: until when each one counts, and its address.
        self._cancelled: deque[tuple[float, str]] = deque()
        self._proof_of: dict[Leg, bytes] = {}
        # As long as an answer waits for its ACK (RFC 3261 section 13.3.1.4).
        self._linger_seconds = 64 * settings.t1_seconds

    def change(self, settings: SipSettings) -> None:
        """Change the settings.  Used proofs stay used."""
        self._settings = settings
        self.proofs.change(settings.call_secrets, settings.proof_seconds)
        self._connectors = frozenset(map(_id_of, settings.voice_connectors))
        self._numbers = frozenset(settings.numbers)
        self._is_open = not settings.call_secrets and not settings.numbers

    @property
    def waiting(self) -> int:
        """The number of calls whose ACK has not come."""
        return len(self._waiting)

    def take(self, request: Request, host: str) -> Admitted | Refusal:
        """
        Admit or refuse a call.

        @param host: the address that it came from.
        """
        why = self._foreign(request)
        if why:
            return self._stranger(why, "voice_connector")
        place = place_of(host)
        info = evolve(caller_info(request), peer=place)
        proof = ",".join(request.headers.getlist(HEADER)).strip()
        if not self._is_open:
            why = self._unproven(info, proof)
            if why and info.called not in self._numbers:
                return self._stranger(f"{HEADER}: {why}", "proof")
            if why:
                info, proof = _without_claims(info), ""
        refusal = self._loop(request) or self._shut() or self._crowd(place)
        if refusal is not None:
            return refusal
        if self._is_open or not proof:
            return Admitted(info)
        return Admitted(info, self.proofs.use(proof, *_signed(info), self._wall_time()))

    # -- calls whose ACK is awaited -------------------------------------------------

    def begun(self, leg: Leg, host: str, proof: bytes) -> None:
        place = place_of(host)
        self._waiting[leg] = place
        self._by_source[place] += 1
        if proof:
            self._proof_of[leg] = proof

    def answered(self, leg: Leg) -> None:
        self._settle(leg, was_answered=True)

    def _settle(self, leg: Leg, *, was_answered: bool) -> None:
        proof = self._proof_of.pop(leg, None)
        if proof is not None:
            self.proofs.settle(proof, was_answered=was_answered)
            self.settled(proof, was_answered)

    def distrust_proofs(self) -> None:
        """Another process took calls, and it is not known which proofs it has used."""
        self.proofs.distrust(self._wall_time())

    def places(self) -> Counter[str]:
        """Return the number of calls whose ACK has not come, by address."""
        return Counter(self._by_source)

    def acknowledged(self, leg: Leg) -> None:
        host = self._waiting.pop(leg, None)
        if host is not None:
            self._leave(host)

    def over(self, leg: Leg, *, was_cancelled: bool = False) -> None:
        """The call is over.  May be repeated."""
        host = self._waiting.pop(leg, None)
        if host is not None and was_cancelled:
            # The call has cost an agent's session, so it counts for a while: a peer
            # that calls and cancels again and again is limited, too.
            self._cancelled.append((self._clock() + self._linger_seconds, host))
        elif host is not None:
            self._leave(host)
        self._settle(leg, was_answered=False)

    def _leave(self, host: str) -> None:
        self._by_source[host] -= 1
        if not self._by_source[host]:
            del self._by_source[host]

    # -- reasons to refuse ------------------------------------------------------------

    def _foreign(self, request: Request) -> str:
        """Check AWS' own headers.  This is a filter, not a proof."""
        if not self._connectors:
            return ""
        ids = [one.lower() for one in header_list(request, _FROM_HEADER)]
        if not ids or not self._connectors.issuperset(ids):
            return f"{_FROM_HEADER} is not one of CHIMEGW_VOICE_CONNECTORS"
        targets = header_list(request, _TARGET_HEADER)
        if not self._connectors.issuperset(map(_id_of, targets)):
            return f"{_TARGET_HEADER} is not one of CHIMEGW_VOICE_CONNECTORS"
        return ""

    def _unproven(self, info: CallerInfo, proof: str) -> str:
        if not self._settings.call_secrets:
            return (
                "CHIMEGW_CALL_SECRET is not set, and the number is not one of"
                " CHIMEGW_SIP_NUMBERS"
            )
        return self.proofs.fault(proof, *_signed(info), self._wall_time())

    def _loop(self, request: Request) -> Refusal | None:
        headers = request.headers
        for name in ("Max-Forwards", _SMA_HOPS_HEADER):
            # The call would go on to the agent, which is one more hop.
            if (headers.get(name) or "").strip() == "0":
                return Refusal(483, f"{name} is used up")
        hops = (headers.get(_HOP_HEADER) or "").strip()
        if hops.isascii() and hops.isdecimal() and hops.lstrip("0") not in ("", "1"):
            return Refusal(
                482, f"{_HOP_HEADER} is {hops[:9]}: the call goes in a circle"
            )
        if request.uri.host.lower().endswith(_VOICE_CONNECTOR):
            return Refusal(482, "the Voice Connector's route leads to itself")
        return None

    def _shut(self) -> Refusal | None:
        """Refuse while no call is accepted.  It costs no more than an answer."""
        settings = self._settings
        why = self._door(settings.failover)
        if why is None:
            return None
        return Refusal(settings.full_status, why, (RETRY_AFTER,), Outcome.REFUSED)

    def _crowd(self, host: str) -> Refusal | None:
        settings = self._settings
        most, most_here = (
            settings.unacknowledged_calls,
            settings.unacknowledged_per_source,
        )
        now = self._clock()
        while self._cancelled and self._cancelled[0][0] <= now:
            self._leave(self._cancelled.popleft()[1])
        others = sum(places.total() for places in self.elsewhere.values())
        if most and self.waiting + len(self._cancelled) + others >= most:
            return self._full(f"unacknowledged_calls = {most} calls wait for their ACK")
        here = self._by_source[host] + sum(
            places[host] for places in self.elsewhere.values()
        )
        if most_here and here >= most_here:
            return self._full(
                f"unacknowledged_per_source = {most_here} calls of one address wait for"
                " their ACK"
            )
        if not self._rate.take(now):
            rate = settings.calls_per_second
            return self._full(f"more than calls_per_second = {rate:g} new calls")
        return None

    def _full(self, why: str) -> Refusal:
        status = self._settings.full_status
        return Refusal(status, why, (AGAIN,), Outcome.REFUSED)

    def _stranger(self, why: str, reason: str) -> Refusal:
        """Refuse a stranger.  Not every one is logged."""
        self.strangers[reason] += 1
        if self._is_told("INVITE refused with 403"):
            self._log.warn("INVITE refused with 403: {why}", why=why)
        return Refusal(403, why, (), None)


def _signed(info: CallerInfo) -> tuple[str, str, str]:
    return info.stream_id, info.agent, info.carrier_call_id


def _id_of(connector: str) -> str:
    """Return the id of a Voice Connector, from its id or its ARN."""
    return connector.strip().rpartition("/")[2].lower()


def _without_claims(info: CallerInfo) -> CallerInfo:
    """Remove the headers of the operator's Lambda: the INVITE has no proof."""
    kept = {
        name: value
        for name, value in info.parameters.items()
        if name.lower() not in _OF_THE_LAMBDA
    }
    return evolve(info, stream_id="", agent="", parameters=kept)
