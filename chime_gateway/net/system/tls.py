"""
Which TLS is spoken, with whomever: 1.3, and of 1.2 what has forward secrecy and
encrypts with authentication (RFC 9325 section 4.2).

Twisted's defaults offer CBC and key exchange by RSA as well.  Whose certificate is
believed is not known here.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL.SSL import TLS1_2_VERSION
from twisted.internet.ssl import AcceptableCiphers, optionsForClientTLS
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

_OPENSSL_NAMES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

CIPHERS: Final = AcceptableCiphers.fromOpenSSLCipherString(_OPENSSL_NAMES)


def client_tls(host: str) -> Any:
    """To a host whose certificate has that name."""
    return optionsForClientTLS(
        host, extraCertificateOptions={"acceptableCiphers": CIPHERS}
    )


@implementer(IPolicyForHTTPS)
class HttpsPolicy:
    """The same for a client of HTTP."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return client_tls(hostname.decode("ascii"))


class TlsReactor:
    """
    A reactor for endpoints that are given as text: what listens with TLS (C{ssl:})
    takes no other ciphers.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, *args: Any, **options: Any
    ) -> Any:
        context = contextFactory.getContext()
        context.set_cipher_list(_OPENSSL_NAMES.encode())
        context.set_min_proto_version(TLS1_2_VERSION)
        return self._reactor.listenSSL(port, factory, contextFactory, *args, **options)
