"""DTLS and SRTP of a test caller, which may misbehave, on OpenSSL and libsrtp."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Policy, Session

PROFILE = b"SRTP_AES128_CM_SHA1_80"
_LABEL = b"EXTRACTOR-dtls_srtp"
_KEY, _SALT = 16, 14
_HEADER = 13


def _certified() -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "suite")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def fingerprint_of(certificate: Any) -> str:
    der = certificate.public_bytes(serialization.Encoding.DER)
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


_CERTIFICATE, _PRIVATE_KEY = _certified()
FINGERPRINT = fingerprint_of(_CERTIFICATE)


def _context(profiles: bytes) -> Any:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(_CERTIFICATE)
    context.use_privatekey(_PRIVATE_KEY)
    context.set_verify(
        SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True
    )
    context.set_options(SSL.OP_NO_QUERY_MTU)
    if profiles:
        context.set_tlsext_use_srtp(profiles)
    return context


_contexts: dict[bytes, Any] = {}


class Dtls:
    """
    One side of a DTLS connection.

    @param send: sends a datagram.
    @ivar profile: the negotiated SRTP profile; empty: none, or not yet.
    @ivar is_up: the handshake is complete.
    @ivar is_over: the other side closed or aborted the connection.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        is_client: bool,
        profiles: bytes = PROFILE,
    ) -> None:
        if profiles not in _contexts:
            _contexts[profiles] = _context(profiles)
        self._send = send
        self._is_client = is_client
        self._connection = SSL.Connection(_contexts[profiles])
        self._connection.set_ciphertext_mtu(1200)
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self.is_up = False
        self.is_over = False
        self.profile = b""
        self.out: Any = None
        self.into: Any = None

    def go_on(self) -> None:
        """Do one step of the handshake."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.is_over = True
        else:
            if not self.is_up:
                self._up()
        self._flush()

    def _up(self) -> None:
        self.is_up = True
        self.profile = self._connection.get_selected_srtp_profile()
        if self.profile != PROFILE:
            return
        made = self._connection.export_keying_material(_LABEL, 2 * (_KEY + _SALT))
        client, server = made[:_KEY], made[_KEY : 2 * _KEY]
        salts = made[2 * _KEY :]
        of_client, of_server = client + salts[:_SALT], server + salts[_SALT:]
        own, other = (
            (of_client, of_server) if self._is_client else (of_server, of_client)
        )
        self.out = Session(Policy(key=own, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        self.into = Session(Policy(key=other, ssrc_type=Policy.SSRC_ANY_INBOUND))

    def received(self, datagram: bytes) -> None:
        self._connection.bio_write(datagram)
        if not self.is_up:
            self.go_on()
            return
        try:
            self._connection.recv(4096)
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.is_over = True
        self._flush()

    def tick(self) -> None:
        if not self.is_up and self._connection.DTLSv1_handle_timeout():
            self._flush()

    def shutdown(self) -> None:
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()
        self._flush()

    def peer_fingerprint(self) -> str:
        found = self._connection.get_peer_certificate(as_cryptography=True)
        return fingerprint_of(found) if found is not None else ""

    def _flush(self) -> None:
        try:
            made = self._connection.bio_read(65535)
        except SSL.Error:
            return
        while made:
            size = _HEADER + int.from_bytes(made[11:13], "big")
            self._send(made[:size])
            made = made[size:]
