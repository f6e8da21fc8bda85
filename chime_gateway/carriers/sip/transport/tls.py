"""TLS for SIP: the gateway's certificate, and the verification of the peer's."""

from __future__ import annotations

import socket
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.SSL import Connection
from OpenSSL.SSL import Error as SSLError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from zope.interface import implementer

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.tls import CIPHERS
from chime_gateway.net.system.tls import client_tls as named_tls
from chime_gateway.settings.values import SipSettings


def client_tls(host: str) -> Any:
    """
    Return TLS for connections of the gateway.

    The certificate of a host name is checked as that of a web site.  An IP address in a
    Contact has no name to check, and its dialog, with its keys, was made over a
    connection that the peer opened.
    """
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return named_tls(host)
    return _AddressTls()


@implementer(IOpenSSLClientConnectionCreator)
class _AddressTls:
    """TLS without a host name."""

    def __init__(self) -> None:
        self._options = CertificateOptions(verify=False, acceptableCiphers=CIPHERS)

    def clientConnectionForTLS(self, protocol: object) -> Any:
        return Connection(self._options.getContext(), None)


def server_tls(settings: SipSettings) -> CertificateOptions:
    """
    Return TLS 1.2 and 1.3 for listeners.  Peers need no certificate.

    @raise ConfigError: the certificate or the key cannot be used.
    """
    try:
        with open(settings.certificate, "rb") as file:
            chain: list[Any] = list(x509.load_pem_x509_certificates(file.read()))
        with open(settings.private_key or settings.certificate, "rb") as file:
            key: Any = load_pem_private_key(file.read(), None)
    except OSError as exc:
        name = exc.filename or settings.certificate
        raise ConfigError(
            f"CHIMEGW_SIP_CERTIFICATE {name}: it cannot be read: {exc.strerror or exc}"
        ) from exc
    except (ValueError, TypeError) as exc:
        # A TypeError is a key with a passphrase.
        raise ConfigError(
            f"CHIMEGW_SIP_CERTIFICATE {settings.certificate}: expected a certificate"
            " chain and its key in PEM, without a passphrase; the key may be in"
            " CHIMEGW_SIP_PRIVATE_KEY"
        ) from exc
    options = CertificateOptions(
        privateKey=key,
        certificate=chain[0],
        extraCertChain=chain[1:],
        raiseMinimumTo=TLSVersion.TLSv1_2,
        acceptableCiphers=CIPHERS,
    )
    try:
        options.getContext()
    except SSLError as exc:
        raise ConfigError(
            f"CHIMEGW_SIP_PRIVATE_KEY {settings.private_key or settings.certificate}:"
            f" it is not the key of the certificate {settings.certificate}; set the"
            " key that it was made with"
        ) from exc
    return options
