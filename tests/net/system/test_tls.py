"""The negotiated TLS, tested with every cipher that OpenSSL supports."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.transport import tls as sip_tls
from chime_gateway.errors import ConfigError
from chime_gateway.net.system import tls
from chime_gateway.net.system.certificates import Certificate
from chime_gateway.net.system.tls import HttpsPolicy, TlsReactor, client_tls
from chime_gateway.settings.values import SipSettings
from tests.support.certificates import self_signed
from tests.support.files import temporary_file

#: Number of handshakes that may make a step in one turn.
MOST = 3

ALL = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def known_ciphers() -> list[str]:
    """Return the ciphers up to TLS 1.2; all those of TLS 1.3 are acceptable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(ALL)
    return [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]


def is_good(cipher: str) -> bool:
    return cipher.startswith("ECDHE-") and ("-GCM-" in cipher or "CHACHA20" in cipher)


class Peer:
    """A peer with a single cipher, connected to ours in memory."""

    def __init__(self, context: ssl.SSLContext, is_server: bool) -> None:
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_side=is_server)
        self.transport = StringTransport()

    def agrees(self, creator: Any, is_client: bool) -> bool:
        """Whether a cipher was negotiated; certificates are not checked."""
        factory = TLSMemoryBIOFactory(creator, is_client, Factory.forProtocol(Protocol))
        ours: Any = factory.buildProtocol(None)
        ours.makeConnection(self.transport)
        for _ in range(6):
            self._came.write(self.transport.value())
            self.transport.clear()
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as exc:
                return exc.reason not in (
                    *("NO_SHARED_CIPHER", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
                    *("SSL/TLS_ALERT_HANDSHAKE_FAILURE", "NO_CIPHERS_AVAILABLE"),
                    *("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"),
                )
            else:
                return True
            said = self._goes.read()
            if said:
                ours.dataReceived(said)
        return self._tls.cipher() is not None


class Caller:
    """
    A client of the listener.

    @ivar manner: whether it continues after its first bytes.
    @ivar heard: the data that it has received.
    @ivar is_gone: whether it has closed the connection.
    """

    def __init__(
        self, context: ssl.SSLContext, factory: Any, manner: str, size: int
    ) -> None:
        self.manner, self._size = manner, size
        self.heard = b""
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes)
        self.transport = StringTransport()
        self._ours = factory.buildProtocol(None)
        self._ours.makeConnection(self.transport)
        self.is_gone = False
        self.listen()

    def listen(self) -> None:
        said = self.transport.value()
        self.transport.clear()
        if said and self.manner != "well":
            return
        self._came.write(said)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.heard += self._tls.read()

    def speak(self) -> None:
        """Send a piece, if the listener reads."""
        if self.is_gone or self.transport.producerState != "producing":
            return
        if self._goes.pending:
            self._ours.dataReceived(self._goes.read(self._size))
        if self.manner == "gone":
            self.is_gone = True
            self.transport.clear()
            self._ours.connectionLost(Failure(ConnectionDone()))


class Listened(Clock):
    """Takes the place of the reactor."""

    over_tls: Any = None

    def listenTCP(self, port: int, factory: Any, *args: Any, **more: Any) -> Any:
        self.over_tls = factory
        return self

    def listenSSL(self, port: int, factory: Any, context: Any, **more: Any) -> Any:
        self.context = context


class CipherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rsa = temporary_file(self, self_signed("rsa"))
        self.ec = temporary_file(self, self_signed("ec"))

    def offering(self, cipher: str, purpose: Any) -> ssl.SSLContext | None:
        context = ssl.SSLContext(purpose)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers(f"{cipher}:@SECLEVEL=0")
        except ssl.SSLError:
            return None  # this OpenSSL was built without it
        return context

    def agreed_as_server(self, creator: Any) -> set[str]:
        found = set()
        for cipher in known_ciphers():
            context = self.offering(cipher, ssl.PROTOCOL_TLS_CLIENT)
            if context is not None and Peer(context, False).agrees(creator, False):
                found.add(cipher)
        return found

    def agreed_as_client(self, creator: Any) -> set[str]:
        found = set()
        for cipher in known_ciphers():
            context = self.offering(cipher, ssl.PROTOCOL_TLS_SERVER)
            if context is None:
                continue
            for certificate in (self.rsa, self.ec):
                context.load_cert_chain(certificate)
            if Peer(context, True).agrees(creator, True):
                found.add(cipher)
        return found

    def only_good(self, found: set[str]) -> None:
        self.assertTrue(found)
        self.assertEqual({cipher for cipher in found if not is_good(cipher)}, set())

    def test_listeners_accept_neither_cbc_nor_rsa_key_exchange(
        self,
    ) -> None:
        for certificate in (self.rsa, self.ec):
            settings = SipSettings(certificate=certificate)
            self.only_good(self.agreed_as_server(sip_tls.server_tls(settings)))
            reactor = Listened()
            text = f"ssl:0:privateKey={certificate}:certKey={certificate}"
            serverFromString(TlsReactor(reactor, text, lambda _: None), text).listen(
                Factory()
            )
            self.only_good(self.agreed_as_server(reactor.context))
        # Warnings of Twisted's endpoint parser, and about weak ciphers.
        self.flushWarnings()

    def test_a_certificate_works_as_a_listener_s_context_without_warnings(
        self,
    ) -> None:
        settings = SipSettings(certificate=self.ec)
        for read in (
            lambda: sip_tls.server_tls(settings),
            lambda: tls._contexts_of(f"ssl:0:privateKey={self.ec}:certKey={self.ec}"),
        ):
            certificate = Certificate("it", lambda: [self.ec], read)
            TLSMemoryBIOFactory(certificate, False, Factory())
        said = [warning["message"] for warning in self.flushWarnings()]
        # Twisted's own parsing of an endpoint causes other warnings.
        self.assertFalse([text for text in said if "connection-creator" in text])

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2000), st.sampled_from(["", "x", "-----BEGIN"]))
    def test_an_incomplete_file_is_rejected_and_harmless(
        self, length: int, more: str
    ) -> None:
        pem = Path(self.ec).read_text()
        path = temporary_file(self, pem[:length] + more)
        text = f"ssl:0:privateKey={path}:certKey={path}"
        reactor = Listened()
        kept: list[Certificate] = []
        listening = serverFromString(
            TlsReactor(reactor, f"ssl:0:privateKey={self.ec}", kept.append),
            f"ssl:0:privateKey={self.ec}",
        ).listen(Factory())
        self.successResultOf(listening)
        (certificate,) = kept
        before = certificate.getContext()
        certificate._read = lambda: tls._contexts_of(text)
        try:
            certificate.read_again()
        except ConfigError:
            self.assertIs(certificate.getContext(), before)
        else:
            self.assertEqual(pem[:length].strip(), pem.strip())
        self.flushWarnings()

    def test_clients_accept_neither_cbc_nor_rsa_key_exchange(self) -> None:
        for creator in (
            client_tls("res.openai.azure.com"),
            HttpsPolicy().creatorForNetloc(b"crm.example.com", 443),
            sip_tls.client_tls("abc.voiceconnector.chime.aws"),
            sip_tls.client_tls("192.0.2.1"),
        ):
            found = self.agreed_as_client(creator)
            self.only_good(found)
            # Servers with either kind of certificate are accepted.
            for kind in ("ECDHE-RSA-AES128-GCM-", "ECDHE-ECDSA-AES256-GCM-"):
                self.assertTrue([c for c in found if c.startswith(kind)])
        # The certificates cannot be verified.
        self.flushLoggedErrors()
        self.flushWarnings()


class Turns:
    """
    Gives out turns for handshakes.

    @ivar taken: number of steps in the current turn.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.line: list[Callable[[], None]] = []

    def take(self) -> bool:
        is_free = not self.line and self.taken < MOST
        self.taken += is_free
        return is_free

    def wait(self, work: Callable[[], None]) -> None:
        self.line.append(work)

    def turn(self) -> None:
        now, self.line = self.line[:MOST], self.line[MOST:]
        self.taken = len(now)
        for work in now:
            work()


class Greeter(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")  # type: ignore[union-attr]


class HandshakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        certificate = temporary_file(self, self_signed("ec"))
        self.turns = Turns()
        site: Any = Factory.forProtocol(Greeter)
        site.turns = self.turns
        reactor = Listened()
        text = f"ssl:0:privateKey={certificate}:certKey={certificate}"
        serverFromString(TlsReactor(reactor, text, lambda _: None), text).listen(site)
        self.flushWarnings()
        self.clock, self.factory = reactor, reactor.over_tls

    @settings(max_examples=15, deadline=None)
    @given(
        st.lists(st.sampled_from(("well", "silent", "gone")), min_size=1, max_size=30),
        st.integers(20, 2000),
    )
    def test_steps_of_handshakes_are_limited_per_turn_and_all_complete(
        self, manners: list[str], size: int
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        callers = [Caller(context, self.factory, manner, size) for manner in manners]
        for _ in range(60 + 200 * len(manners) // MOST):
            for caller in callers:
                caller.speak()
            self.turns.turn()
            answered = [c for c in callers if c.transport.value() and not c.is_gone]
            self.assertLessEqual(len(answered), 2 * MOST)
            self.clock.advance(0)
            for caller in callers:
                caller.listen()
        for caller in callers:
            self.assertEqual(caller.heard, b"hello" if caller.manner == "well" else b"")
