"""The self-signed certificate for DTLS, which peers verify by its fingerprint."""

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

#: Validity: longer than any process runs, and from a day ago, as the clock of a peer
#: that checks dates may be slow.
_BEFORE: Final = timedelta(days=1)
_AFTER: Final = timedelta(days=3650)

#: The common name: browsers use such a name, and the host's would be disclosed to all.
_NAME: Final = "WebRTC"


@frozen(eq=False)
class Certificate:
    """
    A certificate and its key.

    @ivar fingerprint: the certificate's, for our descriptions (RFC 8122).
    """

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    fingerprint: Fingerprint


def new_certificate(now: datetime | None = None) -> Certificate:
    """
    Make a certificate with a P-256 key: with RSA some clients have no cipher in common
    with us (RFC 8827 section 6.5 requires this curve).
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
    """Return the certificate of this process, which is made when first needed."""
    return new_certificate()
