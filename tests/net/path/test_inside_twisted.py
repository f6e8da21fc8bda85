from __future__ import annotations

import ast
from pathlib import Path

from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

import chime_gateway
from chime_gateway.net.path import inside_twisted
from chime_gateway.net.path.inside_twisted import (
    is_queued,
    queued_bytes,
    tcp_of,
    write_at_once,
)
from tests.support.path_pair import PathPair

PRIVATE = {"_tempDataBuffer", "_tempDataLen"}


class PrivateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = PathPair()
        self.addCleanup(self.pair.close)
        self.patch(inside_twisted, "_told", set())

    def test_a_connection_is_known_if_it_has_what_is_needed(self) -> None:
        self.assertIs(tcp_of(self.pair.tcp), self.pair.tcp)
        self.assertIsNone(tcp_of(StringTransport()))
        self.pair.tcp.TLS = True  # by startTLS: what it writes is not what is sent
        self.assertIsNone(tcp_of(self.pair.tcp))

    def test_without_one_of_them_it_is_not_and_the_log_says_so_once(self) -> None:
        warned: list[str] = []
        self.patch(inside_twisted._log, "warn", lambda *_, name: warned.append(name))
        for name in ("_tempDataBuffer", "_tempDataLen"):
            for _ in range(2):
                held = vars(self.pair.tcp).pop(name)
                self.assertIsNone(tcp_of(self.pair.tcp))
                setattr(self.pair.tcp, name, held)
        self.assertEqual(warned, ["_tempDataBuffer", "_tempDataLen"])
        self.assertIs(tcp_of(self.pair.tcp), self.pair.tcp)

    def test_what_waits_is_seen_and_kept_behind(self) -> None:
        tcp = self.pair.tcp
        self.assertEqual((is_queued(tcp), queued_bytes(tcp)), (False, 0))
        tcp.write(b"first")
        self.assertEqual((is_queued(tcp), queued_bytes(tcp)), (True, 5))
        write_at_once(tcp, b"second")
        self.assertEqual(self.pair.taken(), b"")
        self.assertEqual(self.pair.all_taken(), b"firstsecond")
        write_at_once(tcp, b"third")
        self.assertEqual(self.pair.taken(), b"third")

    def test_what_the_socket_does_not_take_is_twisteds(self) -> None:
        data = bytes(range(256)) * 20_000
        write_at_once(self.pair.tcp, data)
        self.assertGreater(queued_bytes(self.pair.tcp), 0)
        self.assertEqual(self.pair.all_taken(), data)


class OneModuleTests(SynchronousTestCase):
    def test_nobody_else_reads_what_is_private(self) -> None:
        """Nor is any other attribute private that this module reads."""
        root = Path(chime_gateway.__file__).parent
        readers = {
            path.relative_to(root).as_posix()
            for path in root.rglob("*.py")
            if any(name in path.read_text(encoding="utf-8") for name in PRIVATE)
        }
        self.assertEqual(readers, {"net/path/inside_twisted.py"})
        tree = ast.parse((root / "net/path/inside_twisted.py").read_text("utf-8"))
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        private = {name for name in read if name.startswith("_")}
        self.assertLessEqual(private, PRIVATE)
        self.assertTrue(hasattr(Connection, "dataBuffer"))
