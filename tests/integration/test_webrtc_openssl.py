"""The gateway's DTLS with OpenSSL's programs, in both roles: both get the same keys."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.certificate import new_certificate
from chime_gateway.webrtc.dtls import PROFILES, ClosedError, Dtls
from tests.integration.programs import Program, missing
from tests.support.base import ReactorTestCase
from tests.support.ports import free_port

OURS, THEIRS = new_certificate(), new_certificate()


class Side(DatagramProtocol):
    """The gateway's side, on its own socket."""

    transport: Any

    def __init__(self, reactor: Any, *, is_client: bool) -> None:
        self.clock = reactor
        self.dtls = Dtls(OURS, is_client=is_client, fingerprints=[THEIRS.fingerprint])
        self.remote: Address | None = None
        self.is_closed = False

    def begin(self, remote: Address) -> None:
        self.remote = remote
        self.dtls.start(self.clock.seconds())
        self.flush()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self.remote = addr
        try:
            self.dtls.received(self.clock.seconds(), datagram)
        except ClosedError:
            self.is_closed = True
        self.flush()

    def tick(self) -> None:
        self.dtls.tick(self.clock.seconds())
        self.flush()

    def flush(self) -> None:
        sent, self.dtls.outbox = self.dtls.outbox, []
        for datagram in sent:
            self.transport.write(datagram, self.remote)


#: Master key and master salt, in bytes (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
_SIZES = {
    b"SRTP_AES128_CM_SHA1_80": (16, 14),
    b"SRTP_AES128_CM_SHA1_32": (16, 14),
    b"SRTP_AEAD_AES_128_GCM": (16, 12),
    b"SRTP_AEAD_AES_256_GCM": (32, 12),
}


def _material(keys: SrtpKeys, profile: bytes, *, is_client: bool) -> bytes:
    """Return the keying material as exported (RFC 5764 section 4.2)."""
    ours, theirs = keys.local, keys.remote
    client, server = (ours, theirs) if is_client else (theirs, ours)
    cut = _SIZES[profile][0]
    return client[:cut] + server[:cut] + client[cut:] + server[cut:]


class OpensslTests(ReactorTestCase):
    skip = missing("openssl")

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        pem = Path(self.folder) / "theirs.pem"
        pem.write_bytes(
            THEIRS.certificate.public_bytes(Encoding.PEM)
            + THEIRS.key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        self.pem = str(pem)

    def openssl(self, command: str, profile: bytes, *arguments: str) -> Program:
        size = 2 * sum(_SIZES[profile])
        return Program(
            self.reactor,
            [
                *("openssl", command, "-dtls1_2", "-cert", self.pem),
                # Versions differ in their default MTU of loopback, and some send
                # nothing with it ("write:errno=90").
                *("-mtu", "1200"),
                *("-use_srtp", profile.decode(), *arguments),
                *("-keymatexport", "EXTRACTOR-dtls_srtp"),
                *("-keymatexportlen", str(size)),
            ],
            self.folder,
        )

    def listen(self, *, is_client: bool) -> Side:
        side = Side(self.reactor, is_client=is_client)
        port = self.reactor.listenUDP(0, side, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return side

    async def check_material(
        self, side: Side, program: Program, profile: bytes
    ) -> None:
        found = None
        while found is None:
            await deferLater(self.reactor, 0.05)
            side.tick()
            found = re.search(r"Keying material: ([0-9A-F]+)", program.output)
        keys, is_client = side.dtls.keys, side.dtls._is_client
        assert keys is not None
        material = _material(keys, profile, is_client=is_client)
        self.assertEqual(material, bytes.fromhex(found[1]))

    async def test_as_server_the_keys_match_those_of_s_client(self) -> None:
        for profile in PROFILES:
            side = self.listen(is_client=False)
            number = side.transport.getHost().port
            program = self.openssl(
                "s_client", profile, "-connect", f"127.0.0.1:{number}"
            )
            await self.check_material(side, program, profile)
            program._process.closeStdin()
            await program.ended
            while not side.is_closed:
                await deferLater(self.reactor, 0.02)

    async def test_as_client_the_keys_match_those_of_s_server(self) -> None:
        for profile in PROFILES:
            number = free_port()
            side = self.listen(is_client=True)
            program = self.openssl(
                *("s_server", profile, "-accept", f"127.0.0.1:{number}"),
                *("-Verify", "1", "-naccept", "1"),
            )
            while "ACCEPT" not in program.output:
                await deferLater(self.reactor, 0.02)
            side.begin(("127.0.0.1", number))
            await self.check_material(side, program, profile)
            side.dtls.close()
            side.flush()
            await program.ended
