"""
Negotiates SRTP keys by DTLS (RFC 5764), without sockets or a clock.

OpenSSL's own retransmission timer uses the wall clock: it stops when the clock is set
back, and its first interval of a second is too long for a call.  So the datagrams of a
flight are kept and retransmitted unchanged, by the time that the owner passes.  When
OpenSSL's timer has fired as well, its datagrams are sent instead.  Duplicates of
received records are ignored, as RFC 6347 section 4.1.2.6 requires.  The last flight is
sent again when the peer repeats the one before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.rtp.keys import (
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
    AES_128_TAG_32,
    AES_128_TAG_80,
    SrtpKeys,
    SrtpProfile,
)
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.wire.sdp.transport import Fingerprint

#: Fits into usual paths without fragmentation; as in RFC 8261 section 5 and libwebrtc.
MTU: Final = 1200

#: In our order of preference.  All peers have counter mode (RFC 8827 section 6.5); the
#: shorter tag is for peers that have nothing else.
PROFILES: Final[Mapping[bytes, SrtpProfile]] = {
    b"SRTP_AES128_CM_SHA1_80": AES_128_TAG_80,
    b"SRTP_AEAD_AES_128_GCM": AEAD_AES_128_GCM,
    b"SRTP_AEAD_AES_256_GCM": AEAD_AES_256_GCM,
    b"SRTP_AES128_CM_SHA1_32": AES_128_TAG_32,
}

#: RFC 5764 section 4.2.
_LABEL: Final = b"EXTRACTOR-dtls_srtp"

#: The hash functions of RFC 8122 section 5 for which collisions cannot be made.
_HASHES: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {
    "sha-256": hashes.SHA256,
    "sha-384": hashes.SHA384,
    "sha-512": hashes.SHA512,
}

#: Retransmission intervals of a flight, in seconds.  The first is longer than a round
#: trip, and OpenSSL's own times of 1, 3, 7 and 15 s coincide with some of them.
INTERVALS: Final = (0.25, 0.25, 0.5, 1.0, 1.0, 2.0)

#: Time limit of the handshake: callers and ICE have given up by then.
HANDSHAKE_SECONDS: Final = 30.0

# A record (RFC 6347 section 4.1), and a handshake message in it (4.2.2).
_HEADER_BYTES: Final = 13
_CHANGE_CIPHER_SPEC: Final = 20
_HANDSHAKE: Final = 22
_EPOCH: Final = slice(3, 5)
_MESSAGE_LENGTH: Final = slice(_HEADER_BYTES + 1, _HEADER_BYTES + 4)

#: Limits of what OpenSSL buffers for later: it reserves the announced size for ten
#: messages, and 16 KB for each of 100 records of the next epoch.  A self-signed
#: certificate has 2 KB at most, and a flight has one record of the next epoch.
_MOST_MESSAGE_BYTES: Final = 8192
_MOST_EARLY: Final = 24

#: Maximum number of datagrams in a handshake: a flight has up to four, sent 20 times.
_MOST_DATAGRAMS: Final = 400

#: Maximum number of times that the last flight is repeated.
_MOST_REPEATED: Final = 20


class DtlsError(RemoteProtocolError):
    """DTLS with the peer has failed, or has ended."""


class FingerprintError(DtlsError):
    """The peer's certificate does not match its description."""


class NoProfileError(DtlsError):
    """The peer shares no SRTP profile with the gateway."""


class ClosedError(DtlsError):
    """The peer has closed the connection (close_notify)."""


def is_usable(fingerprint: Fingerprint) -> bool:
    """Whether a fingerprint's hash function is accepted."""
    return fingerprint.hash.lower() in _HASHES


class Dtls:
    """
    @param is_client: our role, as negotiated by C{a=setup}.
    @param fingerprints: those in the peer's description; its certificate must have one
        of them.
    @ivar outbox: datagrams to send; the owner removes them.
    @ivar keys: C{None} until the handshake is complete and verified.
    @ivar due: when L{tick} must be called next; C{None}: never.
    @ivar inbox: received packets of a data channel; C{None}: there is none.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        is_client: bool,
        fingerprints: Sequence[Fingerprint],
    ) -> None:
        self.outbox: list[bytes] = []
        self.keys: SrtpKeys | None = None
        self.due: float | None = None
        self.inbox: list[bytes] | None = None
        self._fingerprints = fingerprints
        self._is_client = is_client
        self._connection: SSL.Connection | None = SSL.Connection(_context(certificate))
        # This has no effect without OP_NO_QUERY_MTU in the context, and that option
        # without this makes the handshake fail.
        self._connection.set_ciphertext_mtu(MTU)
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._flight: list[bytes] = []
        self._tries = 0
        self._gives_up_at: float | None = None
        self._datagrams = 0
        self._early = 0
        self._repeated = 0

    def start(self, now: float) -> None:
        """
        Begin, as the peer can be reached: start the time limit and, as a client, send.

        @raise DtlsError: OpenSSL reports an error.
        """
        if self._gives_up_at is None and self._connection is not None:
            self.due = self._gives_up_at = now + HANDSHAKE_SECONDS
            if self._is_client:
                self._shake_hands(self._connection, now)

    def received(self, now: float, datagram: bytes) -> None:
        """
        @raise DtlsError: DTLS has failed or ended; L{outbox} may have an alert.
        """
        connection = self._connection
        if connection is None or len(datagram) <= _HEADER_BYTES:
            return
        if self.keys is not None:
            self._received_later(connection, datagram)
        elif self._has_room(datagram):
            self.start(now)
            connection.bio_write(datagram)
            self._shake_hands(connection, now)

    def tick(self, now: float) -> float | None:
        """
        Retransmit what is due.

        @return: L{due}.
        @raise DtlsError: it took too long.
        """
        connection, due = self._connection, self.due
        if connection is None or due is None or now < due:
            return due
        assert self._gives_up_at is not None
        if now >= self._gives_up_at:
            self._end(connection)
            raise DtlsError("the handshake took too long")
        tries = self._tries
        try:
            connection.DTLSv1_handle_timeout()
        except SSL.Error as exc:
            self._end(connection)
            raise DtlsError(_reason(exc)) from exc
        if not self._flush(connection, now):
            self.outbox += self._flight
        self._tries = tries + 1
        self._wait(now)
        return self.due

    def send(self, data: bytes) -> None:
        """
        Send a data channel's packet of up to 1,100 bytes; it is lost without keys.

        @raise DtlsError: OpenSSL reports an error.
        """
        connection = self._connection
        if connection is not None and self.keys is not None:
            try:
                connection.send(data)
            except SSL.Error as exc:
                raise DtlsError(_reason(exc)) from exc
            self.outbox += self._take(connection)

    def close(self) -> None:
        """Send close_notify, if the connection is open."""
        if self._connection is not None:
            self._end(self._connection)

    # -- inside ----------------------------------------------------------------

    def _has_room(self, datagram: bytes) -> bool:
        """Whether a datagram is within the limits that hold during the handshake."""
        self._datagrams += 1
        if self._datagrams > _MOST_DATAGRAMS:
            return False
        is_early = False
        for record in _records(datagram):
            if any(record[_EPOCH]):
                is_early = True
            elif record[0] == _HANDSHAKE:
                size = int.from_bytes(record[_MESSAGE_LENGTH], "big")
                if size > _MOST_MESSAGE_BYTES:
                    return False
        self._early += is_early
        return self._early <= _MOST_EARLY

    def _shake_hands(self, connection: SSL.Connection, now: float) -> None:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._flush(connection, now)
            return
        except SSL.Error as exc:
            self._end(connection)
            raise DtlsError(_reason(exc)) from exc
        self._flush(connection, now)
        self.due = None
        try:
            _check(connection, self._fingerprints)
            self.keys = _keys(connection, is_client=self._is_client)
        except DtlsError:
            self._end(connection)
            raise
        if self._is_client:
            # Only the server, which has sent the last flight, may have to repeat it.
            self._flight = []

    def _received_later(self, connection: SSL.Connection, datagram: bytes) -> None:
        """Process a datagram after the handshake: data, an alert or a repetition."""
        connection.bio_write(datagram)
        try:
            while True:
                data = connection.recv(65535)
                if self.inbox is not None and len(self.inbox) < _MOST_EARLY:
                    self.inbox.append(data)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._end(connection)
            raise ClosedError("the peer has closed DTLS") from None
        except SSL.Error as exc:
            self._end(connection)
            raise DtlsError(_reason(exc)) from exc
        sent = self._take(connection)
        if not sent and datagram[0] in (_CHANGE_CIPHER_SPEC, _HANDSHAKE):
            sent = self._flight
        if sent and self._repeated < _MOST_REPEATED:
            self._repeated += 1
            self.outbox += sent

    def _flush(self, connection: SSL.Connection, now: float) -> bool:
        """Send a flight, which is kept; return whether there was one."""
        flight = self._take(connection)
        if not flight:
            return False
        self.outbox += flight
        self._flight = flight
        self._tries = 0
        self._wait(now)
        return True

    def _wait(self, now: float) -> None:
        """Set L{due} to the next retransmission of the flight."""
        assert self._gives_up_at is not None
        seconds = INTERVALS[min(self._tries, len(INTERVALS) - 1)]
        self.due = min(now + seconds, self._gives_up_at)

    def _take(self, connection: SSL.Connection) -> list[bytes]:
        """
        Take OpenSSL's output, and split it into datagrams at the borders of records, as
        memory does not keep those of datagrams.
        """
        try:
            data = connection.bio_read(65535)
        except SSL.WantReadError:
            return []
        datagrams: list[bytes] = []
        for record in _records(data):
            if datagrams and len(datagrams[-1]) + len(record) <= MTU:
                datagrams[-1] += record
            else:
                datagrams.append(record)
        return datagrams

    def _end(self, connection: SSL.Connection) -> None:
        """Send close_notify or an alert, and release the connection."""
        self._connection = None
        self._flight = []
        self.due = None
        # During a handshake, close_notify cannot be sent.
        with contextlib.suppress(SSL.Error):
            connection.shutdown()
        self.outbox += self._take(connection)


@lru_cache(16)
def _context(certificate: Certificate) -> SSL.Context:
    """Make the context of a certificate; sharing it saves most of the memory."""
    context = SSL.Context(SSL.DTLS_METHOD)
    # RFC 8827 section 6.5.  Versions after 1.2 have other records.
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.use_certificate(certificate.certificate)
    context.use_privatekey(certificate.key)
    context.set_options(
        SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Frees 34 KB for each call, which needs the buffers only to close.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_any)
    context.set_tlsext_use_srtp(b":".join(PROFILES))
    return context


_DTLS_1_2: Final = 0xFEFD


def _accept_any(*_: object) -> bool:
    """Accept self-signed certificates: the fingerprint is checked afterwards."""
    return True


def _check(connection: SSL.Connection, fingerprints: Sequence[Fingerprint]) -> None:
    """
    @raise FingerprintError: the peer's certificate has none of these.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    for one in fingerprints:
        algorithm = _HASHES.get(one.hash.lower())
        if certificate is None or algorithm is None:
            continue
        if certificate.fingerprint(algorithm()) == one.digest:
            return
    raise FingerprintError("the certificate has another fingerprint")


def _keys(connection: SSL.Connection, *, is_client: bool) -> SrtpKeys:
    """
    Export the keys and salts of both sides (RFC 5764 section 4.2).

    @raise NoProfileError: no profile was negotiated, which is not an error for DTLS.
    """
    name = connection.get_selected_srtp_profile()
    profile = PROFILES.get(name)
    if profile is None:
        raise NoProfileError("no SRTP profile in common")
    salt = profile.salt_bytes
    key = profile.key_bytes - salt
    material = connection.export_keying_material(_LABEL, 2 * profile.key_bytes)
    client = material[:key] + material[2 * key : 2 * key + salt]
    server = material[key : 2 * key] + material[2 * key + salt :]
    local, remote = (client, server) if is_client else (server, client)
    return SrtpKeys(profile, local, remote)


def _records(data: bytes) -> list[bytes]:
    """Split data into records; an incomplete one is returned as well."""
    records = []
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start + 11 : start + 13], "big")
        end = start + _HEADER_BYTES + size
        records.append(data[start:end])
        start = end
    return records


def _reason(error: SSL.Error) -> str:
    """Return OpenSSL's reason in one line; there may be none."""
    reasons = error.args[0] if error.args else ()
    if isinstance(reasons, list) and reasons and reasons[-1]:
        return str(reasons[-1][-1])[:100] or "the handshake failed"
    return "the handshake failed"
