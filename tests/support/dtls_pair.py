"""Two sides of DTLS, and a network between them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from chime_gateway.webrtc.certificate import Certificate, new_certificate
from chime_gateway.webrtc.dtls import Dtls
from chime_gateway.wire.sdp.transport import Fingerprint

OURS, THEIRS = new_certificate(), new_certificate()


def large_certificate(size: int) -> Certificate:
    """Return the process's certificate with this many more bytes in it."""
    before = OURS.certificate
    unknown = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.1"), bytes(size)
    )
    certificate = (
        x509.CertificateBuilder(before.issuer, before.subject, OURS.key.public_key())
        .serial_number(1)
        .not_valid_before(before.not_valid_before_utc)
        .not_valid_after(before.not_valid_after_utc)
        .add_extension(unknown, critical=False)
        .sign(OURS.key, hashes.SHA256())
    )
    digest = certificate.fingerprint(hashes.SHA256())
    return Certificate(OURS.key, certificate, Fingerprint("sha-256", digest))


def new_client(fingerprints: Sequence[Fingerprint] = (THEIRS.fingerprint,)) -> Dtls:
    return Dtls(OURS, is_client=True, fingerprints=fingerprints)


def new_server(fingerprints: Sequence[Fingerprint] = (OURS.fingerprint,)) -> Dtls:
    return Dtls(THEIRS, is_client=False, fingerprints=fingerprints)


def take(side: Dtls) -> list[bytes]:
    """Return what it wants to send."""
    sent, side.outbox = side.outbox, []
    return sent


def shake_hands(client: Dtls, server: Dtls, now: float = 0.0) -> int:
    """
    Complete the handshake without losses, and without time passing.

    @return: how many datagrams that took.
    """
    client.start(now)
    server.start(now)
    count = 0
    while client.outbox or server.outbox:
        for one, other in ((client, server), (server, client)):
            for datagram in take(one):
                count += 1
                other.received(now, datagram)
    return count


class Wire:
    """
    A network that delays datagrams, and loses, repeats and reorders some.

    @ivar passes: whether a datagram passes; for faults that are not random.
    """

    def __init__(self, seed: int, loss: float, repeated: float = 0.1) -> None:
        self.random = random.Random(seed)
        self.loss, self.repeated = loss, repeated
        self.now = 0.0
        self.passes: Callable[[Dtls, bytes], bool] = lambda side, datagram: True
        self._flying: list[tuple[float, int, Dtls, bytes]] = []
        self._count = 0

    def run(self, one: Dtls, other: Dtls, until: float = 60.0) -> None:
        """Run until both have their keys, or nothing more happens."""
        one.start(self.now)
        other.start(self.now)
        while one.keys is None or other.keys is None:
            self._carry(one, other)
            self._carry(other, one)
            dues = [side.due for side in (one, other) if side.due is not None]
            self._flying.sort(key=lambda item: item[:2])
            self.now = min([*dues, *(item[0] for item in self._flying[:1]), until])
            if self.now >= until:
                return
            while self._flying and self._flying[0][0] <= self.now:
                _, _, side, datagram = self._flying.pop(0)
                side.received(self.now, datagram)
            for side in (one, other):
                side.tick(self.now)

    def _carry(self, side: Dtls, to: Dtls) -> None:
        for datagram in take(side):
            if not self.passes(side, datagram):
                continue
            for _ in range(1 + (self.random.random() < self.repeated)):
                if self.random.random() >= self.loss:
                    self._count += 1
                    at = self.now + 0.01 + 0.05 * self.random.random()
                    self._flying.append((at, self._count, to, datagram))


class Foreign:
    """
    A side of plain OpenSSL, without the additions of L{Dtls}.

    @param mtu: of its records; C{None}: OpenSSL's default of 256 bytes.
    """

    def __init__(
        self,
        *,
        is_client: bool,
        profiles: bytes = b"SRTP_AES128_CM_SHA1_80",
        certificate: Certificate | None = OURS,
        mtu: int | None = None,
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        if certificate is not None:
            context.use_certificate(certificate.certificate)
            context.use_privatekey(certificate.key)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        if mtu is not None:
            context.set_options(SSL.OP_NO_QUERY_MTU)
        if profiles:
            context.set_tlsext_use_srtp(profiles)
        self.connection = SSL.Connection(context)
        if mtu is not None:
            self.connection.set_ciphertext_mtu(mtu)
        if is_client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()
        self.is_done = False

    def step(self, datagrams: Sequence[bytes] = ()) -> list[bytes]:
        """@return: the records that it sends."""
        for datagram in datagrams:
            self.connection.bio_write(datagram)
        try:
            self.connection.do_handshake()
            self.is_done = True
        except SSL.WantReadError:
            pass
        return self._sent()

    def close(self) -> list[bytes]:
        self.connection.shutdown()
        return self._sent()

    def _sent(self) -> list[bytes]:
        try:
            data = self.connection.bio_read(65535)
        except SSL.WantReadError:
            return []
        records = []
        while data:
            size = 13 + int.from_bytes(data[11:13], "big")
            records.append(data[:size])
            data = data[size:]
        return records

    def shake_hands(self, ours: Dtls) -> None:
        """Run until neither side sends anything."""
        ours.start(0.0)
        theirs = self.step()
        while theirs or ours.outbox:
            for record in theirs:
                ours.received(0.0, record)
            theirs = self.step(take(ours))
