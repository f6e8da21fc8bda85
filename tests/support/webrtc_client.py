"""
A hand-made client of the simulated service over WebRTC, which exchanges bytes with it.

Its STUN is the gateway's, its DTLS is OpenSSL's server, and its clock only moves when
the test advances it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from OpenSSL import SSL
from pylibsrtp import Policy, Session
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.server import Door, SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot
from chime_gateway.sim.realtime.webrtc.call import WebRtcCall
from chime_gateway.sim.realtime.webrtc.dtls import Certificate, datagrams
from chime_gateway.wire.webrtc.stun import Message, MessageClass, decode, encode

KEY = "k"
SECRETS = "/openai/v1/realtime/client_secrets"
CALLS = "/openai/v1/realtime/calls"
ADDRESS = ("192.0.2.7", 41000)


class MediaReactor(Clock):
    """
    A fake reactor.

    @ivar udp: the listening protocol.
    @ivar tcp: the listening factory.
    @ivar sent: sent datagrams with their destinations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.udp: Any = None
        self.tcp: Any = None
        self.sent: list[tuple[bytes, Any]] = []
        self.is_open = False

    def listenUDP(self, port: int, protocol: Any, **members: Any) -> Any:
        self.udp, self.is_open = protocol, True
        protocol.transport = self
        return _Port(self, 3478)

    def listenTCP(self, port: int, factory: Any, **members: Any) -> Any:
        self.tcp = factory
        return _Port(self, 443)

    def write(self, data: bytes, address: Any) -> None:
        self.sent.append((data, address))

    def taken(self, address: Any = None) -> list[bytes]:
        """@param address: take only datagrams to this address."""
        taken = [data for data, to in self.sent if address in (None, to)]
        self.sent = [(d, to) for d, to in self.sent if address not in (None, to)]
        return taken


class _Port:
    def __init__(self, reactor: MediaReactor, number: int) -> None:
        self._reactor = reactor
        self._number = number

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "127.0.0.1", self._number)

    def stopListening(self) -> None:
        self._reactor.is_open = False


class Listener:
    """A sideband that records what it receives."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.ends: list[int] = []
        self.is_frozen = False

    def send_event(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    def end(self, code: int, reason: str) -> None:
        self.ends.append(code)

    def freeze(self) -> None:
        self.is_frozen = True

    def kinds(self) -> list[str]:
        return [str(event["type"]) for event in self.events]


class HttpSocket(StringTransport):
    is_broken = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass  # unregistering twice is allowed

    def abortConnection(self) -> None:
        self.is_broken = True


def offer(client: Client, *more: str, **changed: str) -> bytes:
    """@param changed: attributes by their names, with underscores; empty: left out."""
    found = {
        "mid": ":0",
        "sendrecv": "",
        "rtcp-mux": "",
        "rtpmap": ":0 PCMU/8000",
        "setup": ":actpass",
        "ice-ufrag": f":{client.ufrag}",
        "ice-pwd": f":{client.password}",
        "fingerprint": f":sha-256 {client.certificate.fingerprint.hex(':')}",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [
        *("v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "t=0 0"),
        *("a=group:BUNDLE 0", "m=audio 41000 UDP/TLS/RTP/SAVPF 0"),
        *("c=IN IP4 192.0.2.7", *(f"a={k}{v}" for k, v in found.items() if v != "-")),
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


class Client:
    """
    The client.

    @ivar keys: the SRTP keys of both directions, after the DTLS handshake.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        door: Door | None = None,
        voice: Any = Parrot,
    ) -> None:
        self.reactor = MediaReactor()
        self.factory = SimulatorFactory(
            voice,
            reactor=self.reactor,
            behaviour=behaviour,
            door=door or Door(frozenset({KEY}), frozenset({"d"})),
        )
        self.ufrag, self.password = "abcd", "p" * 22
        self.certificate = Certificate.new()
        self.keys: tuple[bytes, bytes] | None = None
        self.address = ADDRESS
        self.reports: list[bytes] = []  # RTCP packets
        self.profile = b""
        self.is_closed = False
        self.answer: dict[str, list[str]] = {}
        self.call: Any = None
        self.listener = Listener()
        self._sends: Session | None = None
        self._hears: Session | None = None
        self._number = 0
        self._connection: Any = None
        self._transaction = 0

    # -- HTTP ---------------------------------------------------------------------

    def ask(
        self, path: str, body: bytes = b"", method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        socket = HttpSocket()
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(socket)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        data = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body
        protocol.dataReceived(data)
        protocol.connectionLost(Failure(ConnectionDone()))
        if not socket.value():
            return (-1 if socket.is_broken else 0), {}, b""
        text, _, rest = bytes(socket.value()).partition(b"\r\n\r\n")
        status, *lines = text.decode().split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        return int(status.split()[1]), {k.lower(): v for k, _, v in pairs}, rest

    def mint(self, key: str = KEY, **members: Any) -> tuple[int, dict[str, Any]]:
        document = {"session": {"type": "realtime", "model": "d"}, **members}
        status, _, body = self.ask(
            SECRETS,
            json.dumps(document).encode(),
            api_key=key,
            Content_Type="application/json",
        )
        return status, json.loads(body)

    def offer(
        self, body: bytes | None = None, secret: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        if not secret:
            secret = self.mint()[1]["value"]
        named = {
            "Authorization": f"Bearer {secret}",
            "Content_Type": "application/sdp",
            **headers,
        }
        return self.ask(CALLS, offer(self) if body is None else body, **named)

    def dial(self, *, has_sideband: bool = True) -> WebRtcCall:
        """Do the HTTP requests that set up the call."""
        status, _, body = self.offer()
        assert status == 201, body
        self.answer = {}
        for line in body.decode().splitlines():
            if line.startswith("a="):
                name, _, value = line[2:].partition(":")
                self.answer.setdefault(name, []).append(value)
        call = self.factory.webrtc().all_calls[-1]
        self.call = call
        if has_sideband:
            call.attach(self.listener)
            self.tell("session.update", session={"type": "realtime"})
        return call

    def tell(self, kind: str, **members: Any) -> None:
        self.call.session.receive(json.dumps({"type": kind, **members}).encode())

    # -- ICE ----------------------------------------------------------------------

    def check(
        self,
        *,
        is_nominating: bool = True,
        password: str = "",
        address: tuple[str, int] | None = None,
        **members: Any,
    ) -> Message | None:
        """Send a connectivity check, and read its answer."""
        data = self.request(is_nominating=is_nominating, password=password, **members)
        before = len(self.reactor.sent)
        self.reactor.udp.datagramReceived(data, address or self.address)
        for sent, _ in self.reactor.sent[before:]:
            if sent[0] < 4:
                self.reactor.sent = [x for x in self.reactor.sent if x[0] != sent]
                return decode(sent)
        return None

    def request(
        self, *, is_nominating: bool = True, password: str = "", **members: Any
    ) -> bytes:
        self._transaction += 1
        message = {
            "username": f"{self.answer['ice-ufrag'][0]}:{self.ufrag}",
            "priority": 1,
            "controlling": 7,
            "use_candidate": is_nominating,
            **members,
        }
        return encode(
            Message(
                message_class=MessageClass.REQUEST,
                transaction=self._transaction.to_bytes(12, "big"),
                **message,
            ),
            password or self.answer["ice-pwd"][0],
        )

    # -- DTLS and RTP ---------------------------------------------------------------

    def connect(self, seconds: float = 10.0) -> bool:
        """@return: whether audio can flow in both directions within this time."""
        self.accept()
        self.check()
        until = self.reactor.seconds() + seconds
        while self.keys is None and self.reactor.seconds() < until:
            self.hear()
            self.reactor.advance(0.01)
        return self.call.is_connected and self.keys is not None

    def accept(self) -> None:
        """Prepare for the service's DTLS handshake."""
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(self.certificate.certificate)
        context.use_privatekey(self.certificate.key)
        context.set_verify(SSL.VERIFY_PEER, lambda *found: True)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
        self._connection = SSL.Connection(context)
        self._connection.set_accept_state()
        self._connection.set_ciphertext_mtu(1200)

    def again(self) -> None:
        """Retransmit lost datagrams, if OpenSSL's own timer is due."""
        if self.keys is None and self._connection.DTLSv1_handle_timeout():
            self._flush()

    def hear(self) -> list[bytes]:
        """Read datagrams: answer DTLS, and return the payloads of RTP."""
        payloads = []
        for data in self.reactor.taken(self.address):
            if 20 <= data[0] < 64:
                self._handshake(data)
            elif self._hears is not None and 192 <= data[1] < 224:
                self.reports.append(bytes(self._hears.unprotect_rtcp(data)))
            elif self._hears is not None:
                payloads.append(bytes(self._hears.unprotect(data))[12:])
        return payloads

    def _handshake(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            return  # too early for it: lost, as on a network
        connection.bio_write(data)
        try:
            if self.keys is None:
                connection.do_handshake()
                self._up()
            else:
                connection.recv(1)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.is_closed = True
        self._flush()

    def _flush(self) -> None:
        try:
            flight = self._connection.bio_read(65535)
        except SSL.WantReadError:
            return
        for datagram in datagrams(flight):
            self.reactor.udp.datagramReceived(datagram, self.address)

    def _up(self) -> None:
        self.profile = self._connection.get_selected_srtp_profile()
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
        theirs = material[:16] + material[32:46]
        ours = material[16:32] + material[46:]
        self.keys = ours, theirs
        if self.profile:
            self._sends = _session(ours, Policy.SSRC_ANY_OUTBOUND)
            self._hears = _session(theirs, Policy.SSRC_ANY_INBOUND)

    def packet(self, payload: bytes, number: int | None = None) -> bytes:
        assert self._sends is not None
        if number is None:
            number, self._number = self._number, self._number + 1
        header = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * 160, 9)
        return bytes(self._sends.protect(header + payload))

    def say(self, audio: bytes) -> None:
        """Send audio in real time, and read what comes meanwhile."""
        for at in range(0, len(audio), 160):
            packet = self.packet(audio[at : at + 160])
            self.reactor.udp.datagramReceived(packet, self.address)
            self.reactor.advance(0.02)


def _session(key: bytes, kind: int) -> Session:
    name = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    policy = Policy(key=key, ssrc_type=kind, srtp_profile=name)
    # A sequence number may be reused if its packet was not sent.
    policy.allow_repeat_tx = True
    return Session(policy)
