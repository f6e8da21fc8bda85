"""TLS for SIP: our certificate, and what is asked of the other side's."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import crypto
from OpenSSL.SSL import Connection
from twisted.internet.ssl import CertificateOptions, TLSVersion, optionsForClientTLS

from chime_gateway.errors import ConfigError
from chime_gateway.settings import SipSettings


def client_tls(host: str) -> Any:
    """
    A Voice Connector's host name is checked as that of a web site.  Behind an
    address in a Contact there is no name to check, and the dialog with its keys
    was made over a connection that the other side opened.
    """
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return optionsForClientTLS(host)
    return _AddressTls()


class _AddressTls:
    """TLS without a host name (implements C{IOpenSSLClientConnectionCreator})."""

    def __init__(self) -> None:
        self._options = CertificateOptions(verify=False)

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        return Connection(self._options.getContext(), None)


def server_tls(settings: SipSettings) -> CertificateOptions:
    """
    TLS 1.2 and 1.3; no certificate is asked of the other side.

    @raise ConfigError: the certificate or the key cannot be used.
    """
    try:
        with open(settings.certificate, "rb") as file:
            chain = _certificates(file.read())
        with open(settings.private_key or settings.certificate, "rb") as file:
            key = crypto.load_privatekey(crypto.FILETYPE_PEM, file.read())
        return CertificateOptions(
            privateKey=key,
            certificate=chain[0],
            extraCertChain=chain[1:],
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
    except (OSError, crypto.Error, IndexError, ValueError) as exc:
        why = "no certificate and key in PEM" if not isinstance(exc, OSError) else exc
        raise ConfigError(f"sip.certificate {settings.certificate}: {why}") from exc


def _certificates(pem: bytes) -> list[Any]:
    end = b"-----END CERTIFICATE-----"
    return [
        crypto.load_certificate(crypto.FILETYPE_PEM, part + end)
        for part in pem.split(end)[:-1]
    ]
