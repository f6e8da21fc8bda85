"""Which TLS is spoken, held against every cipher that OpenSSL knows."""

from __future__ import annotations

import ssl
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.transport import tls as sip_tls
from chime_gateway.net.system.tls import HttpsPolicy, TlsReactor, client_tls
from chime_gateway.settings.values import SipSettings
from tests.support.certificates import self_signed
from tests.support.files import temporary_file

ALL = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def known_ciphers() -> list[str]:
    """Those of TLS 1.2 and before; what comes with 1.3 is all good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(ALL)
    return [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]


def is_good(cipher: str) -> bool:
    return cipher.startswith("ECDHE-") and ("-GCM-" in cipher or "CHACHA20" in cipher)


class Peer:
    """Somebody who speaks one cipher, and what he says goes to ours at once."""

    def __init__(self, context: ssl.SSLContext, is_server: bool) -> None:
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_side=is_server)
        self.transport = StringTransport()

    def agrees(self, creator: Any, is_client: bool) -> bool:
        """Whether a cipher was agreed on; certificates are another matter."""
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


class Listened:
    """Takes the place of the reactor."""

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
            return None  # it needs what is not built in
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

    def test_what_listens_for_carriers_takes_neither_cbc_nor_rsa_key_exchange(
        self,
    ) -> None:
        for certificate in (self.rsa, self.ec):
            settings = SipSettings(certificate=certificate)
            self.only_good(self.agreed_as_server(sip_tls.server_tls(settings)))
            reactor = Listened()
            text = f"ssl:0:privateKey={certificate}:certKey={certificate}"
            serverFromString(TlsReactor(reactor), text).listen(Factory())
            self.only_good(self.agreed_as_server(reactor.context))
        # Twisted's reader of such texts, and ciphers that are to be warned of.
        self.flushWarnings()

    def test_nor_does_what_calls_azure_servers_and_carriers(self) -> None:
        for creator in (
            client_tls("res.openai.azure.com"),
            HttpsPolicy().creatorForNetloc(b"crm.example.com", 443),
            sip_tls.client_tls("abc.voiceconnector.chime.aws"),
            sip_tls.client_tls("192.0.2.1"),
        ):
            found = self.agreed_as_client(creator)
            self.only_good(found)
            # Servers with either kind of certificate are spoken with.
            for kind in ("ECDHE-RSA-AES128-GCM-", "ECDHE-ECDSA-AES256-GCM-"):
                self.assertTrue([c for c in found if c.startswith(kind)])
        # The certificates are nobody's.
        self.flushLoggedErrors()
        self.flushWarnings()
