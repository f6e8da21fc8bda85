"""The self-signed certificate of DTLS, which peers recognise by its fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chime_gateway.wire.sdp.transport import Fingerprint

#: Longer than any process runs.  It is valid from a day ago, as the clock of a peer
#: that checks dates may be behind.
_BEFORE: Final = timedelta(days=1)
_AFTER: Final = timedelta(days=3650)

#: Browsers have the like; a host's name would be told to everybody.
_NAME: Final = "WebRTC"


@frozen(eq=False)
class Certificate:
    """
    @ivar fingerprint: of it, for our descriptions (RFC 8122).
    """

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    fingerprint: Fingerprint


def new_certificate(now: datetime | None = None) -> Certificate:
    """
    EC P-256 always: with an RSA certificate some clients have no cipher in common
    with us (RFC 8827 section 6.5 asks for this curve).
    """
    now = datetime.now(UTC) if now is None else now
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _AFTER)
        .sign(key, hashes.SHA256())
    )
    digest = certificate.fingerprint(hashes.SHA256())
    return Certificate(key, certificate, Fingerprint("sha-256", digest))


@lru_cache(1)
def process_certificate() -> Certificate:
    """The one of this process, made when it is first asked for."""
    return new_certificate()
