"""
A minimal WebRTC endpoint: a socket, ICE, DTLS and SRTP.

It uses the simulator's STUN and DTLS, and none of the code that is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import random
import secrets
import struct
from binascii import crc32
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from pylibsrtp import Error, Policy, Session

from chime_gateway.sim.realtime.webrtc.dtls import MTU_BYTES, Certificate, datagrams
from chime_gateway.sim.realtime.webrtc.stun import read_request, success

HOST = "127.0.0.1"

#: Interval of checks until the first is answered, and afterwards (RFC 7675 section
#: 5.1).
CHECK_SECONDS = 0.05
CONSENT_SECONDS = 5.0

_CERTIFICATE = Certificate.new()
_RTP = struct.Struct("!BBHII")
_PROFILE = b"SRTP_AES128_CM_SHA1_80"


def _context() -> Any:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(_CERTIFICATE.certificate)
    context.use_privatekey(_CERTIFICATE.key)
    context.set_verify(
        SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *found: True
    )
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_tlsext_use_srtp(_PROFILE)
    return context


_CONTEXT = _context()


class End(asyncio.DatagramProtocol):
    """
    One end of a call.

    @param heard: receives the payload of each RTP packet.
    @param asks: this end sends checks and nominates; the other side may be ICE-lite.
    @ivar up: fires when audio can flow in both directions.
    """

    def __init__(self, heard: Callable[[bytes], None], *, asks: bool) -> None:
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)
        self.transport: Any = None
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._asks = asks
        self._remote: tuple[str, int] | None = None
        self._remote_ufrag, self._remote_password = "", ""
        self._connection: Any = None
        self._is_client = False
        self._has_path = False
        self._protect: Any = None
        self._unprotect: Any = None
        self._sequence, self._timestamp = 0, 0
        self._ssrc = random.getrandbits(32)
        self._timer: asyncio.TimerHandle | None = None
        self._tie_breaker = secrets.token_bytes(8)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.transport.close()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    # -- descriptions --------------------------------------------------------------

    def description(self, setup: str) -> bytes:
        port = self.transport.get_extra_info("sockname")[1]
        lines = (
            *("v=0", f"o=- 1 1 IN IP4 {HOST}", "s=-", "t=0 0", "a=group:BUNDLE 0"),
            *(f"m=audio {port} UDP/TLS/RTP/SAVPF 0", f"c=IN IP4 {HOST}", "a=mid:0"),
            *("a=sendrecv", "a=rtcp-mux", "a=rtpmap:0 PCMU/8000", f"a=setup:{setup}"),
            *(f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.password}"),
            f"a=fingerprint:sha-256 {_CERTIFICATE.fingerprint.hex(':').upper()}",
            f"a=candidate:1 1 udp 2130706431 {HOST} {port} typ host",
            "a=end-of-candidates",
        )
        return "".join(f"{line}\r\n" for line in lines).encode()

    def set_remote(self, description: bytes, *, is_client: bool) -> None:
        found: dict[str, str] = {}
        for line in description.decode().splitlines():
            name, _, value = line.removeprefix("a=").partition(":")
            if name == "candidate" and value.split()[2].lower() == "udp":
                words = value.split()
                found.setdefault("host", words[4])
                found.setdefault("port", words[5])
            found.setdefault(name, value)
        self._remote_ufrag = found["ice-ufrag"]
        self._remote_password = found["ice-pwd"]
        self._is_client = is_client
        if "setup" in found and found["setup"] != "actpass":
            self._is_client = found["setup"] == "passive"
        self._connection = SSL.Connection(_CONTEXT)
        self._connection.set_ciphertext_mtu(MTU_BYTES)
        if self._is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        if self._asks:
            self._remote = found["host"], int(found["port"])
            self._ask()

    # -- ICE -------------------------------------------------------------------------

    def _ask(self) -> None:
        self.transport.sendto(self._request(), self._remote)
        wait = CONSENT_SECONDS if self._has_path else CHECK_SECONDS
        self._timer = asyncio.get_running_loop().call_later(wait, self._ask)

    def _request(self) -> bytes:
        name = f"{self._remote_ufrag}:{self.ufrag}".encode()
        body = struct.pack("!HH", 6, len(name)) + name + bytes(-len(name) % 4)
        body += struct.pack("!HHI", 0x24, 4, 1845501695)
        body += struct.pack("!HH", 0x802A, 8) + self._tie_breaker
        body += struct.pack("!HH", 0x25, 0)
        start = b"\x21\x12\xa4\x42" + secrets.token_bytes(12) + body
        data = struct.pack("!HH", 1, len(body) + 24) + start
        proof = hmac.digest(self._remote_password.encode(), data, "sha1")
        start += struct.pack("!HH", 8, 20) + proof
        data = struct.pack("!HH", 1, len(body) + 32) + start
        return data + struct.pack("!HHI", 0x8028, 4, crc32(data) ^ 0x5354554E)

    def _stun(self, data: bytes, address: Any) -> None:
        if data[:2] == b"\1\1":
            if not self._has_path:
                self._open_path()
            return
        request = read_request(data)
        if request is None or not request.is_signed_with(self.password):
            return
        self.transport.sendto(success(request, self.password, address), address)
        if request.is_nominating and not self._asks:
            self._remote = address
            if not self._has_path:
                self._open_path()

    def _open_path(self) -> None:
        self._has_path = True
        if self._is_client:
            self._handshake()

    # -- DTLS and RTP ----------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: Any) -> None:
        first = data[0]
        if first >= 128:
            if self._unprotect is not None and not 192 <= data[1] < 224:
                with contextlib.suppress(Error):
                    self._heard(self._unprotect(data)[12:])
        elif first < 4:
            self._stun(data, addr)
        elif self._connection is not None and self._protect is None:
            self._connection.bio_write(data)
            self._handshake()

    def _handshake(self) -> None:
        is_done = True
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            is_done = False
        try:
            flight = self._connection.bio_read(65535)
        except SSL.WantReadError:
            flight = b""
        for datagram in datagrams(flight):
            self.transport.sendto(datagram, self._remote)
        if is_done and self._protect is None:
            self._take_keys()

    def _take_keys(self) -> None:
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
        clients = material[:16] + material[32:46]
        servers = material[16:32] + material[46:]
        ours, theirs = (clients, servers) if self._is_client else (servers, clients)
        name = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        self._protect = Session(Policy(ours, Policy.SSRC_ANY_OUTBOUND, 0, name)).protect
        inbound = Session(Policy(theirs, Policy.SSRC_ANY_INBOUND, 0, name))
        self._unprotect = inbound.unprotect
        if not self.up.done():
            self.up.set_result(None)

    def send(self, payload: bytes) -> None:
        if self._protect is None:
            return
        header = _RTP.pack(0x80, 0, self._sequence, self._timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + len(payload)) & 0xFFFFFFFF
        self.transport.sendto(self._protect(header + payload), self._remote)


async def request(
    port: int, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one HTTP request, on its own connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"Host": HOST, "Content-Length": str(len(body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    data = await reader.read()
    writer.close()
    text, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = text.decode().split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return int(status.split()[1]), {k.lower(): v for k, _, v in pairs}, rest
