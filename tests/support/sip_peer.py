"""
A SIP carrier in memory: a clock, a UDP socket that records, fake ports, and a caller
that the test drives by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from chime_gateway.carriers.sip.carrier import SipCarrier
from chime_gateway.interfaces import CallLeg, LegEvents, OutboundLeg
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.generations.kin import Kin
from chime_gateway.rtp.ports import Address, NoPortFree
from chime_gateway.services import Transfers
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import SipSettings
from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.sip.parser import parse
from tests.support.fakes import Log, RecordingCall, RecordingSwitchboard
from tests.support.sip_network import Network

HOST = "192.0.2.10"  #: the gateway's
PEER: Address = ("198.51.100.7", 5060)
MEDIA: Address = ("198.51.100.9", 36488)

SETTINGS = SipSettings(
    listen=(Listener(transport="udp", port=5060),),
    allow=(ip_network("198.51.100.0/24"),),
    public_address=HOST,
)

SDP = (
    "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n"
    "m=audio 36488 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
    "a=rtcp:36489\r\na=ptime:20\r\n"
)


class _UdpPort:
    def __init__(self, number: int) -> None:
        self.port = number

    def getHost(self) -> _UdpPort:
        return self

    def stopListening(self) -> None:
        """Do nothing: it was never open."""


class SipReactor(Clock):
    """A clock with fake UDP listeners and name look-ups."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.sent: list[tuple[bytes, Address]] = []
        self.protocol: Any = None
        self.names: dict[str, str] = {}

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 0
    ) -> _UdpPort:
        self.protocol = protocol
        protocol.transport = self
        return _UdpPort(port)

    def write(self, data: bytes, address: Address) -> None:
        network = self.network
        self.sent.append((network.back(data), network.address_back(address)))

    def resolve(self, name: str) -> Deferred[str]:
        if name in self.names:
            return succeed(self.network.name(self.names[name]))
        return fail(LookupError(name))


class FakePort:
    failures = 0

    def __init__(self, number: int, rtp: Any, rtcp: Any, network: Network) -> None:
        self.number = number
        self.network = network
        self.receive_rtp = lambda data, address: rtp(data, network.seen(address))
        self.receive_rtcp = lambda data, address: rtcp(data, network.seen(address))
        self.sent: list[tuple[bytes, Address]] = []
        self.sent_rtcp: list[tuple[bytes, Address]] = []

    def call_if_broken(self, broken: Callable[[], None]) -> None:
        self.broken = broken

    def listen(self, rtp: Any, rtcp: Any) -> None:
        seen = self.network.seen
        self.receive_rtp = lambda data, address: rtp(data, seen(address))
        self.receive_rtcp = lambda data, address: rtcp(data, seen(address))

    def settle(self, address: Address | None) -> None:
        """Do nothing: all packets use the same path."""

    def send_rtp(self, data: bytes, address: Address) -> None:
        self.sent.append((data, self.network.told(address)))

    def send_rtcp(self, data: bytes, address: Address) -> None:
        self.sent_rtcp.append((data, self.network.told(address)))


class FakePorts:
    """A pool that opens nothing."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.lent: list[FakePort] = []
        self.taken_back: list[FakePort] = []
        self.is_empty = False

    @property
    def in_use(self) -> int:
        return len(self.lent) - len(self.taken_back)

    def lend(self, rtp: Any, rtcp: Any) -> FakePort:
        if self.is_empty:
            raise NoPortFree("no media port is free")
        number = 40000 + 2 * len(self.lent)
        self.lent.append(FakePort(number, rtp, rtcp, self._network))
        return self.lent[-1]

    def take_back(self, port: FakePort) -> None:
        if port not in self.taken_back:
            self.taken_back.append(port)

    def reaches(self, host: str) -> bool:
        return True

    def not_free(self) -> frozenset[int]:
        lent = (port for port in self.lent if port not in self.taken_back)
        return frozenset(port.number for port in lent)

    def reserve_for(self, other: str, numbers: list[int]) -> None: ...
    def clear_reserved(self) -> None: ...


class Switchboard(RecordingSwitchboard):
    """
    A fake switchboard.

    @ivar answers: legs are answered at once.
    """

    answers = False
    calls: list[RecordingCall]

    def __init__(self, log: Log, refusal: str | None = None) -> None:
        super().__init__(log, refusal)
        self.calls = []

    def incoming(self, leg: CallLeg) -> LegEvents:
        super().incoming(leg)
        self.calls.append(self.call)
        if self.answers:
            leg.answer()
        return self.call

    def outgoing(self, leg: OutboundLeg) -> LegEvents:
        return super().incoming(leg)


class SipWorld:
    """
    The carrier and one peer.

    @ivar log: what was reported to the switchboard and the calls.
    @ivar network: the network of carriers made from now on.
    @ivar kin: the processes of the gateway, including this one.
    """

    network: Network = Network()

    def __init__(
        self,
        settings: SipSettings = SETTINGS,
        transfers: Transfers | None = None,
        generation: str = "first",
        **changes: Any,
    ) -> None:
        from attrs import evolve

        self.log: Log = []
        network = self.network
        self.reactor = SipReactor(network)
        self.switchboard = Switchboard(self.log)
        self.metronome = Metronome(self.reactor)
        self.kin = Kin(generation, self.reactor)
        count = iter(range(1, 10**6))
        self.carrier = SipCarrier(
            network.settings(evolve(settings, **changes)),
            self.switchboard,
            reactor=self.reactor,
            metronome=self.metronome,
            wall_time=lambda: 1_700_000_000.0 + self.reactor.seconds(),
            batch=None,
            kin=self.kin,
            transfers=transfers,
            new_token=lambda: f"token{next(count)}",
            random32=lambda: 0x12345678,
        )
        self.ports = FakePorts(network)
        self.carrier.context.ports = self.ports  # type: ignore[assignment]
        self.carrier.ports = self.ports  # type: ignore[assignment]
        self.carrier.start()
        self.seen = 0
        self.cseq = 1

    # -- the peer ----------------------------------------------------------------

    def say(self, text: str | bytes, source: Address = PEER) -> None:
        data = text.encode() if isinstance(text, str) else text
        network = self.reactor.network
        self.reactor.protocol.datagramReceived(
            network.there(data), network.address(source)
        )

    def heard(self) -> list[Request | Response]:
        """Return what was received since the last time."""
        new = self.reactor.sent[self.seen :]
        self.seen = len(self.reactor.sent)
        return [parse(data) for data, _ in new]

    def statuses(self) -> list[int]:
        return [m.status for m in self.heard() if isinstance(m, Response)]

    def advance(self, seconds: float, step: float = 0.02) -> None:
        """Advance the clock in small steps, so that ticks are on time."""
        whole = int(seconds / step)
        for _ in range(whole):
            self.reactor.advance(step)
        self.reactor.advance(max(0.0, seconds - whole * step))

    def request(
        self,
        method: str,
        *,
        to_tag: str = "",
        branch: str = "",
        cseq: int | None = None,
        headers: str = "",
        body: str = "",
        call_id: str = "call-1",
        uri: str = "sip:+16185558387@192.0.2.10:5060",
        from_tag: str = "theirs",
        max_forwards: str = "69",
        content_type: str = "application/sdp",
    ) -> str:
        if cseq is None:
            cseq = self.cseq
        branch = branch or f"z9hG4bK-{method}-{cseq}-{to_tag}"
        tag = f";tag={to_tag}" if to_tag else ""
        kind = f"Content-Type: {content_type}\r\n" if body else ""
        return (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 198.51.100.7:5060;branch={branch}\r\n"
            f"Max-Forwards: {max_forwards}\r\n"
            f"From: <sip:+18155558245@198.51.100.7>;tag={from_tag}\r\n"
            f"To: <sip:+16185558387@192.0.2.10>{tag}\r\n"
            f"Call-ID: {call_id}\r\n"
            f"CSeq: {cseq} {'INVITE' if method == 'ACK_' else method}\r\n"
            f"Contact: <sip:198.51.100.7:5060>\r\n"
            f"{headers}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def invite(self, **changes: Any) -> None:
        changes.setdefault("body", SDP)
        self.say(self.request("INVITE", **changes))

    @property
    def leg(self) -> Any:
        return self.switchboard.legs[-1]

    @property
    def port(self) -> FakePort:
        return self.ports.lent[-1]

    def established(self, **changes: Any) -> str:
        """Establish a call, and return the gateway's tag."""
        self.invite(**changes)
        self.leg.answer()
        answer = self.heard()[-1]
        assert isinstance(answer, Response) and answer.status == 200, answer
        call_id = changes.get("call_id", "call-1")
        ack = self.request("ACK", to_tag=answer.to_tag, cseq=self.cseq, call_id=call_id)
        self.say(ack)
        return answer.to_tag

    def asks(self, method: str, to_tag: str, **changes: Any) -> Response:
        """Send a request in the dialog, and return the answer."""
        self.cseq += 1
        self.heard()
        self.say(self.request(method, to_tag=to_tag, **changes))
        answers = [m for m in self.heard() if isinstance(m, Response)]
        return answers[-1]

    def answer(
        self,
        request: Request,
        status: int,
        *,
        tag: str = "theirs",
        headers: str = "",
        body: str = "",
    ) -> None:
        """Answer a request of the gateway."""
        via = "".join(f"Via: {v}\r\n" for v in request.headers.getlist("Via"))
        to = request.headers["To"]
        if tag and ";tag=" not in to:
            to += f";tag={tag}"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        contact = "Contact: <sip:callee@198.51.100.7:5060>\r\n"
        if 300 <= status < 400:
            contact = ""  # the test gives its own Contact
        self.say(
            f"SIP/2.0 {status} Whatever\r\n{via}"
            f"From: {request.headers['From']}\r\nTo: {to}\r\n"
            f"Call-ID: {request.call_id}\r\n"
            f"CSeq: {request.cseq} {request.cseq_method}\r\n"
            f"{contact}{headers}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )


def until(
    is_so: Callable[[], bool], step: Callable[[], None], most: int = 10000
) -> None:
    for _ in range(most):
        if is_so():
            return
        step()
    raise AssertionError("it never came to that")
