from __future__ import annotations

from contextlib import closing

from tests.support.no_memory import NoMemory
from tests.support.openssl_peer import TLS_1_3
from tests.support.tls_pair import TlsCase, TlsPair


class NoMemoryTests(TlsCase):
    def test_a_lack_of_memory_affects_one_socket_and_loses_none(self) -> None:
        """
        One call of a function raises L{MemoryError}, each call in turn, while two
        sockets are read and answered.
        """
        at, without = 0, None
        while without is None or without.where:
            at += 1
            without = NoMemory(at)
            with closing(TlsPair(TLS_1_3, is_client=False)) as one:
                other = TlsPair(TLS_1_3, is_client=False, beside=one)
                with closing(other):
                    for pair in (one, other):
                        self.begin(pair)
                    without.run(one.reactor.turn)
                    for pair in (one, other):
                        pair.settle()
                    fates = {self.fate(pair) for pair in (one, other)}
            self.assertIn("answered", fates, without.where)
            self.assertNotIn("forgotten", fates, without.where)
            self.flushLoggedErrors(MemoryError)
        self.assertGreater(at, 10)

    def begin(self, pair: TlsPair) -> None:
        pair.open()
        pair.settle()
        pair.peer.write(self.frame(pair, b"first"))
        pair.settle()

        def answer(payload: bytes) -> None:
            pair.path.send_message(payload)

        pair.owner.answer = answer
        pair.peer.write(self.frame(pair, b"question" * 40))
        pair.move()

    def fate(self, pair: TlsPair) -> str:
        if pair.owner.lost is not None:
            return "lost"
        if pair.owner.failures:
            return "told"
        return "answered" if self.heard_by(pair) else "forgotten"
