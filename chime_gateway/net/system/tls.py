"""
The TLS settings of every connection: version 1.3, and version 1.2 with only those
cipher suites that have forward secrecy and authenticated encryption (RFC 9325 section
4.2).

Twisted's defaults also offer CBC and RSA key exchange.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from OpenSSL.crypto import Error as PemError
from OpenSSL.SSL import TLS1_2_VERSION, Connection, Context, Session
from OpenSSL.SSL import Error as SSLError
from twisted.internet.endpoints import _parse, serverFromString
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import AcceptableCiphers, optionsForClientTLS
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.certificates import Certificate, Contexts

_OPENSSL_NAMES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

#: Twisted's default file for the certificate and key of an C{ssl:} endpoint.
_TWISTED_DEFAULT_FILE: Final = "server.pem"

#: Exceptions for files that are not a certificate and its key.
_UNUSABLE: Final = (
    *(SSLError, PemError, VerifyError),
    *(OSError, ValueError, TypeError, KeyError),
)

#: After this time the authorities are read and the host is verified anew: trusted
#: authorities may change, and a host whose key was stolen gets a new certificate.
_READ_AGAIN_SECONDS: Final = 3600.0

#: More hosts than anybody has deployments.
_MOST_HOSTS: Final = 64

CIPHERS: Final = AcceptableCiphers.fromOpenSSLCipherString(_OPENSSL_NAMES)


def client_tls(host: str) -> Any:
    """Make the TLS options of a client; the certificate must be for C{host}."""
    options = {"acceptableCiphers": CIPHERS, "enableSessionTickets": True}
    return optionsForClientTLS(host, extraCertificateOptions=options)


@implementer(IOpenSSLClientConnectionCreator)
class ResumedTls:
    """
    TLS for many connections to one host.  The authorities' certificates are read once
    instead of for each connection, and handshakes resume the session of an earlier
    connection (RFC 8446 section 2.2).

    The certificate of that connection was verified for this host.  A server that
    refuses the session does the whole handshake.

    @ivar began_at: when the authorities' certificates were read.
    """

    def __init__(self, host: str, began_at: float) -> None:
        self.began_at = began_at
        self._options = client_tls(host)
        self._session: Session | None = None

    def clientConnectionForTLS(self, tlsProtocol: object) -> Connection:
        connection: Connection = self._options.clientConnectionForTLS(tlsProtocol)
        _makers[connection.get_context()] = ref(self)
        if self._session is not None:
            connection.set_session(self._session)
        return connection

    def keep(self, connection: Connection) -> None:
        self._session = connection.get_session()


#: By the TLS context of their connections.  Contexts hold no references to them.
_makers: Final[WeakKeyDictionary[Context, ref[ResumedTls]]] = WeakKeyDictionary()


def keep_session(transport: Any) -> None:
    """
    Keep the session for the next connection to this host.  Call this after the first
    answer: by then the tickets that follow the handshake have arrived.

    @param transport: a transport with or without TLS.
    """
    if not isinstance(transport, TLSMemoryBIOProtocol):
        return
    connection: Connection = transport.getHandle()
    known = _makers.get(connection.get_context())
    maker = None if known is None else known()
    if maker is not None:
        maker.keep(connection)


class ResumingClient:
    """
    Keeps a L{ResumedTls} for each host.

    @param seconds: a monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._hosts: dict[str, ResumedTls] = {}

    def to(self, host: str) -> ResumedTls:
        now = self._seconds()
        found = self._hosts.pop(host, None)
        if found is None or now - found.began_at >= _READ_AGAIN_SECONDS:
            found = ResumedTls(host, now)
        if len(self._hosts) >= _MOST_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[host] = found  # at the end, as the most recently used
        return found


@implementer(IPolicyForHTTPS)
class HttpsPolicy:
    """The same TLS options for HTTP clients."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return client_tls(hostname.decode("ascii"))


def _files_of(description: str) -> list[str]:
    """Return the files that an C{ssl:} endpoint names."""
    arguments, named = _parse(description)
    values = [*arguments[2:], *named.values()]
    return [value for value in values if os.path.isfile(value)] or [
        _TWISTED_DEFAULT_FILE
    ]


def _contexts_of(description: str) -> Contexts:
    """
    Read the files of an C{ssl:} endpoint.

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
    _restrict(context)
    return contexts


def _restrict(context: Any) -> None:
    context.set_cipher_list(_OPENSSL_NAMES.encode())
    context.set_min_proto_version(TLS1_2_VERSION)


class PatientHandshake(BufferingTLSTransport):
    """
    Waits for a turn before each step of a handshake, as a signature takes up to some
    milliseconds.  The wrapped factory gives out the turns.
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
    A reactor for one endpoint that is given as text.  TLS listeners (C{ssl:}) accept no
    other ciphers, and the handshakes of a factory with C{turns} wait for their turns.

    @param description: the endpoint's text.
    @param keep: called with the listener's certificate.
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
        else:  # a plugin's endpoint, which manages its own certificate
            _restrict(contextFactory.getContext())
        if not hasattr(factory, "turns"):
            return self._reactor.listenSSL(
                port, factory, contextFactory, *args, **options
            )
        over_tls = TLSMemoryBIOFactory(
            contextFactory, False, factory, clock=self._reactor
        )
        over_tls.protocol = PatientHandshake
        return self._reactor.listenTCP(port, over_tls, *args, **options)
