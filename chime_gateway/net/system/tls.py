"""
Which TLS is spoken, with whomever: 1.3, and of 1.2 what has forward secrecy and
encrypts with authentication (RFC 9325 section 4.2).

Twisted's defaults offer CBC and key exchange by RSA as well.  Whose certificate is
believed is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from OpenSSL.crypto import Error as PemError
from OpenSSL.SSL import TLS1_2_VERSION
from OpenSSL.SSL import Error as SSLError
from twisted.internet.endpoints import _parse, serverFromString
from twisted.internet.error import VerifyError
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import AcceptableCiphers, optionsForClientTLS
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.certificates import Certificate, Contexts

_OPENSSL_NAMES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

#: Where an C{ssl:} endpoint finds both if it says nothing.
_TWISTED_S_OWN: Final = "server.pem"

#: What may come of files that are no certificate and key.
_UNUSABLE: Final = (
    *(SSLError, PemError, VerifyError),
    *(OSError, ValueError, TypeError, KeyError),
)

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


def _files_of(description: str) -> list[str]:
    """What of an C{ssl:} endpoint is a file."""
    arguments, named = _parse(description)
    values = [*arguments[2:], *named.values()]
    return [value for value in values if os.path.isfile(value)] or [_TWISTED_S_OWN]


def _contexts_of(description: str) -> Contexts:
    """
    As the files of an C{ssl:} endpoint are now.

    @raise ConfigError: they cannot be used.
    """
    try:
        endpoint: Any = serverFromString(None, description)
        contexts: Contexts = endpoint._sslContextFactory
        context = contexts.getContext()
    except _UNUSABLE as exc:
        raise ConfigError(
            f"no certificate and key that fit together and have no passphrase ({exc})"
        ) from exc
    _only_good(context)
    return contexts


def _only_good(context: Any) -> None:
    context.set_cipher_list(_OPENSSL_NAMES.encode())
    context.set_min_proto_version(TLS1_2_VERSION)


class PatientHandshake(BufferingTLSTransport):
    """
    Each step of its handshake, with a signature of up to some milliseconds, has its
    turn among those of the factory that it is for.
    """

    factory: Any
    transport: Any

    _held = b""
    _is_waiting = False

    def dataReceived(self, bytes: bytes) -> None:
        if self._handshakeDone:
            super().dataReceived(bytes)
        elif self._is_waiting:
            self._held += bytes
        elif self.factory.wrappedFactory.turns.take():
            super().dataReceived(bytes)
        else:
            self._held, self._is_waiting = bytes, True
            self.transport.pauseProducing()
            self.factory.wrappedFactory.turns.wait(self._go_on)

    def _go_on(self) -> None:
        held, self._held, self._is_waiting = self._held, b"", False
        if held:
            self.transport.resumeProducing()
            super().dataReceived(held)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._held = b""
        super().connectionLost(reason)


class TlsReactor:
    """
    A reactor for one endpoint that is given as text: what listens with TLS (C{ssl:})
    takes no other ciphers, and handshakes of a factory with C{turns} have theirs.

    @param description: of the endpoint.
    @param keep: is given the certificate of what listens.
    """

    def __init__(
        self, reactor: Any, description: str, keep: Callable[[Certificate], object]
    ) -> None:
        self._reactor = reactor
        self._description = description
        self._keep = keep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, *args: Any, **options: Any
    ) -> Any:
        description = self._description
        if description.startswith("ssl:"):
            files = _files_of(description)
            contextFactory = Certificate(
                f"--listen {description}",
                lambda: files,
                lambda: _contexts_of(description),
            )
            self._keep(contextFactory)
        else:  # of a plugin, which looks after its own
            _only_good(contextFactory.getContext())
        if not hasattr(factory, "turns"):
            return self._reactor.listenSSL(
                port, factory, contextFactory, *args, **options
            )
        over_tls = TLSMemoryBIOFactory(
            contextFactory, False, factory, clock=self._reactor
        )
        over_tls.protocol = PatientHandshake
        return self._reactor.listenTCP(port, over_tls, *args, **options)
