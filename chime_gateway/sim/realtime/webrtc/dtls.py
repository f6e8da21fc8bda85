"""
The client's side of DTLS, and the SRTP keys that it negotiates (RFC 5764).

It is sans I/O: datagrams go in and out as bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: The maximum size of a datagram, as in browsers.
MTU_BYTES: Final = 1200

_PROFILE: Final = b"SRTP_AES128_CM_SHA1_80"
_KEY_BYTES, _SALT_BYTES = 16, 14

#: A record's header: type, version, epoch and sequence number, length (RFC 6347 4.1).
_RECORD_HEADER_BYTES: Final = 13


@frozen
class Certificate:
    """
    A self-signed certificate.

    @ivar fingerprint: the SHA-256 of the certificate.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    fingerprint: bytes

    @classmethod
    def new(cls) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulator")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(secrets.randbits(64))
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key, _digest(certificate))


def _digest(certificate: x509.Certificate) -> bytes:
    return sha256(certificate.public_bytes(Encoding.DER)).digest()


@frozen
class Keys:
    """Master key and salt of each direction."""

    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)


def datagrams(flight: bytes) -> list[bytes]:
    """Pack whole records into as few datagrams as possible."""
    packed: list[bytes] = []
    at = 0
    while at + _RECORD_HEADER_BYTES <= len(flight):
        length = int.from_bytes(flight[at + 11 : at + 13])
        record = flight[at : at + _RECORD_HEADER_BYTES + length]
        at += len(record)
        if packed and len(packed[-1]) + len(record) <= MTU_BYTES:
            packed[-1] += record
        else:
            packed.append(record)
    return packed


class DtlsClient:
    """
    One DTLS connection.

    @param fingerprint: the fingerprint that the peer has announced for its certificate.
    @param send: sends a datagram.
    @param connected: called once with the keys; not called without an SRTP profile.
    @param closed: called once with the reason when the connection ends, unless
        L{close} ended it.
    @param offers_srtp: offer an SRTP profile.
    """

    def __init__(
        self,
        own: Certificate,
        fingerprint: bytes,
        *,
        send: Callable[[bytes], None],
        connected: Callable[[Keys], None],
        closed: Callable[[str], None],
        clock: IReactorTime,
        offers_srtp: bool = True,
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(own.certificate)
        context.use_privatekey(own.key)
        # Both certificates are self-signed; the fingerprint is checked instead.
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *found: True
        )
        context.set_options(SSL.OP_NO_QUERY_MTU)
        if offers_srtp:
            context.set_tlsext_use_srtp(_PROFILE)
        self._connection: Any = SSL.Connection(context)
        self._connection.set_connect_state()
        self._connection.set_ciphertext_mtu(MTU_BYTES)
        self._fingerprint = fingerprint
        self._send = send
        self._connected = connected
        self._closed = closed
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._is_up = False
        self._is_over = False

    def start(self) -> None:
        self._handshake()

    def received(self, datagram: bytes) -> None:
        if self._is_over:
            return
        self._connection.bio_write(datagram)
        if not self._is_up:
            self._handshake()
            return
        try:
            self._connection.recv(65535)  # application data is ignored
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._end("close_notify")
        except SSL.Error as exc:
            self._end(f"DTLS: {exc}")
        self._flush()

    def close(self) -> None:
        """Close the connection with C{close_notify}."""
        if self._is_over:
            return
        self._stop()
        try:
            self._connection.shutdown()
        except SSL.Error:
            return  # there was no connection yet
        self._flush()

    # -- the handshake -------------------------------------------------------------

    def _handshake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            self._wait()
        except SSL.Error as exc:
            self._flush()
            self._end(f"DTLS: {exc}")
        else:
            self._flush()
            self._up()

    def _wait(self) -> None:
        """Wait for the peer as long as OpenSSL's timer requires."""
        self._forget()
        seconds = self._connection.DTLSv1_get_timeout()
        if seconds is not None:
            self._timer = self._clock.callLater(seconds, self._again)

    def _again(self) -> None:
        self._timer = None
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as exc:
            self._end(f"DTLS: {exc}")
            return
        self._flush()
        self._wait()

    def _up(self) -> None:
        self._forget()
        self._is_up = True
        theirs = self._connection.get_peer_certificate(as_cryptography=True)
        if theirs is None or _digest(theirs) != self._fingerprint:
            self.close()
            self._closed("the certificate is not the one that the offer names")
            return
        if not self._connection.get_selected_srtp_profile():
            # The handshake is valid without SRTP, but there is no audio.
            return
        size = 2 * (_KEY_BYTES + _SALT_BYTES)
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        # Client's key, server's key, client's salt, server's salt (RFC 5764 section
        # 4.2).
        salts = 2 * _KEY_BYTES
        ours = material[:_KEY_BYTES] + material[salts : salts + _SALT_BYTES]
        theirs_too = material[_KEY_BYTES:salts] + material[salts + _SALT_BYTES :]
        self._connected(Keys(ours, theirs_too))

    def _flush(self) -> None:
        try:
            flight = self._connection.bio_read(65535)
        except SSL.WantReadError:
            return
        for datagram in datagrams(flight):
            self._send(datagram)

    def _forget(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _stop(self) -> None:
        self._is_over = True
        self._forget()

    def _end(self, why: str) -> None:
        if not self._is_over:
            self._stop()
            self._closed(why)
