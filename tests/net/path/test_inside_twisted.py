from __future__ import annotations

import ast
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import BufferingTLSTransport
from twisted.trial.unittest import SynchronousTestCase

import chime_gateway
from chime_gateway.net.path import inside_twisted
from chime_gateway.net.path.inside_twisted import (
    is_known_tcp,
    is_known_tls,
    is_queued,
    queued_bytes,
    read_records,
    waiting_bytes,
    write_at_once,
    write_gathered,
    write_records,
)
from tests.support.openssl_peer import MISSING, TLS_1_3
from tests.support.path_pair import PathPair
from tests.support.tls_pair import TlsPair

OF_TCP = {"_tempDataBuffer", "_tempDataLen"}
OF_TLS = {
    *("_aggregator", "_appSendBuffer", "_flushReceiveBIO", "_flushSendBIO"),
    "_lostTLSConnection",
}


class PrivateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(inside_twisted, "_reported", set())
        self.warned: list[str] = []
        self.patch(
            inside_twisted._log, "warn", lambda *_, name: self.warned.append(name)
        )


class TcpTests(PrivateCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair = PathPair()
        self.addCleanup(self.pair.close)

    def test_a_connection_with_the_needed_attributes_is_known(self) -> None:
        self.assertTrue(is_known_tcp(self.pair.tcp))
        self.assertFalse(is_known_tcp(StringTransport()))
        self.pair.tcp.TLS = True  # after startTLS, written data differs from sent data
        self.assertFalse(is_known_tcp(self.pair.tcp))

    def test_without_a_needed_attribute_it_is_unknown_and_logged_once(self) -> None:
        for name in sorted(OF_TCP):
            for _ in range(2):
                held = vars(self.pair.tcp).pop(name)
                self.assertFalse(is_known_tcp(self.pair.tcp))
                setattr(self.pair.tcp, name, held)
        self.assertEqual(self.warned, ["_tempDataBuffer", "_tempDataLen"])
        self.assertTrue(is_known_tcp(self.pair.tcp))

    def test_queued_data_is_counted_and_not_overtaken(self) -> None:
        tcp = self.pair.tcp
        self.assertEqual((is_queued(tcp), queued_bytes(tcp)), (False, 0))
        tcp.write(b"first")
        self.assertEqual((is_queued(tcp), queued_bytes(tcp)), (True, 5))
        write_at_once(tcp, b"second")
        self.assertEqual(self.pair.taken(), b"")
        self.assertEqual(self.pair.all_taken(), b"firstsecond")
        write_at_once(tcp, b"third")
        self.assertEqual(self.pair.taken(), b"third")

    def test_twisted_writes_what_the_socket_does_not_accept(self) -> None:
        data = bytes(range(256)) * 20_000
        write_at_once(self.pair.tcp, data)
        self.assertGreater(queued_bytes(self.pair.tcp), 0)
        self.assertEqual(self.pair.all_taken(), data)


class TlsTests(PrivateCase):
    skip = MISSING

    def test_tls_with_the_needed_attributes_is_known(self) -> None:
        """These attributes exist, and do what they are used for."""
        pair = TlsPair(TLS_1_3, is_client=True)
        self.addCleanup(pair.close)
        tls = pair.tls
        self.assertTrue(is_known_tls(tls))
        self.assertFalse(is_known_tls(pair.tcp))
        tls.write(b"before the keys are agreed")
        self.assertEqual(waiting_bytes(tls), 0)
        write_gathered(tls)
        self.assertEqual((tls._appSendBuffer, waiting_bytes(tls)), ([ANY], 26))
        pair.settle()
        self.assertEqual(waiting_bytes(tls), 0)
        tls.getHandle().send(b"not by Twisted")
        write_records(tls)
        pair.settle()
        self.assertEqual(pair.peer.heard, b"before the keys are agreednot by Twisted")
        heard: list[bytes] = []
        self.patch(pair.owner, "dataReceived", heard.append)
        pair.peer.write(b"read")
        tls.getHandle().bio_write(pair.peer.records())
        read_records(tls)
        self.assertEqual(heard, [b"read"])

    def test_without_a_needed_attribute_it_is_unknown_and_logged_once(self) -> None:
        for name in sorted(OF_TLS):
            lacking = type("Lacking", (BufferingTLSTransport,), {})

            def get(self: Any, asked: str, missing: str = name) -> Any:
                if asked == missing:
                    raise AttributeError(asked)
                return object.__getattribute__(self, asked)

            lacking.__getattribute__ = get  # type: ignore[method-assign, assignment]
            pair = TlsPair(TLS_1_3, is_client=True)
            self.addCleanup(pair.close)
            for _ in range(2):
                pair.tls.__class__ = lacking
                # The wrapped transport lacks it, too.
                self.assertFalse(is_known_tls(pair.tls), name)
            pair.tls.__class__ = BufferingTLSTransport
        self.assertEqual(self.warned, sorted(OF_TLS))

    def test_tls_over_an_unknown_connection_is_unknown(self) -> None:
        pair = TlsPair(TLS_1_3, is_client=True)
        self.addCleanup(pair.close)
        del pair.tcp._tempDataLen
        self.assertFalse(is_known_tls(pair.tls))
        pair.tcp._tempDataLen = 0


class OneModuleTests(SynchronousTestCase):
    def test_no_other_module_uses_these_private_attributes(self) -> None:
        """This module uses no private attributes except the ones that it checks."""
        root = Path(chime_gateway.__file__).parent
        readers = {
            path.relative_to(root).as_posix()
            for path in root.rglob("*.py")
            if any(name in path.read_text(encoding="utf-8") for name in OF_TCP | OF_TLS)
        }
        self.assertEqual(readers, {"net/path/inside_twisted.py"})
        tree = ast.parse((root / "net/path/inside_twisted.py").read_text("utf-8"))
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        private = {name for name in read if name.startswith("_")}
        self.assertEqual(private, OF_TCP | OF_TLS)
        self.assertTrue(hasattr(Connection, "dataBuffer"))
