from __future__ import annotations

from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.SSL import WantReadError
from twisted.internet.error import ConnectionDone, ConnectionLost

from chime_gateway.net.path.socket_path import MAX_UNSENT_BYTES
from chime_gateway.wire.websocket_frame import (
    OPCODE_BINARY,
    OPCODE_TEXT,
    encode_frame,
)
from tests.support.openssl_peer import TLS_1_2, TLS_1_3
from tests.support.tls_pair import TlsCase, TlsPair

VERSIONS = (TLS_1_2, TLS_1_3)
SIZES = st.sampled_from((0, 1, 125, 300, 4067, 4096, 8190, 8192, 16_384, 40_000))

#: Events in the life of a socket, in any order.  C{say}: send in records of that many
#: bytes.  C{move}: deliver that many bytes, which may end within a record.
STEPS = st.one_of(
    st.tuples(st.just("send"), SIZES),
    st.tuples(st.just("answer"), SIZES),
    st.tuples(st.just("say"), st.sampled_from((1, 3, 4096, 4097, 16_384))),
    st.tuples(st.just("say"), SIZES),
    st.tuples(st.just("update key"), st.integers(0, 1)),
    st.tuples(st.just("ticket"), st.just(0)),
    st.tuples(st.just("move"), st.integers(1, 9)),
    st.tuples(st.just("move"), st.integers(10, 10_000)),
    st.tuples(st.just("peer reads"), st.integers(1, 20_000)),
    st.tuples(st.just("turn"), st.just(0)),
)
ENDS = (
    *("goodbye", "goodbye, cut", "goodbye, unread", "no goodbye", "broken record"),
    *("reset", "none"),
)


def short(messages: list[tuple[bytes, bool]]) -> list[tuple[int, bytes, bool]]:
    """Shorten messages for the text of a failure."""
    return [(len(data), data[:9], is_binary) for data, is_binary in messages]


class ScheduleTests(TlsCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(VERSIONS),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.lists(STEPS, max_size=25),
        st.sampled_from(ENDS),
    )
    def test_every_message_arrives_once_and_in_order(
        self,
        version: int,
        is_client: bool,
        small: bool,
        shortest: bool,
        steps: list[tuple[str, int]],
        end: str,
    ) -> None:
        """
        With any other TLS messages in between, records of any length and in any pieces,
        with any limit of their length, and while the socket is full.  The end of the
        connection is the same as with Twisted.
        """
        pair = TlsPair(version, is_client=is_client, small=small, shortest=shortest)
        with closing(pair):
            pair.open()
            sent, said = self.run_through(pair, steps)
            self.assertEqual(short(pair.owner.heard), short(said))
            self.assertEqual(short(self.heard_by(pair)), short(sent))
            self.end(pair, end)
            self.assertEqual(short(pair.owner.heard), short(said))
        self.flushLoggedErrors(ConnectionLost)

    def run_through(
        self, pair: TlsPair, steps: list[tuple[str, int]]
    ) -> tuple[list[tuple[bytes, bool]], list[tuple[bytes, bool]]]:
        sent: list[tuple[bytes, bool]] = []
        said: list[tuple[bytes, bool]] = []

        def answer(payload: bytes) -> None:
            if payload.endswith(b"!"):
                sent.append((payload, True))
                self.assertTrue(pair.path.send_message(payload, True))

        pair.owner.answer = answer
        for number, (step, size) in enumerate(steps):
            payload = (b"%d," % number * size)[:size]
            is_binary = bool(number % 2)
            opcode = OPCODE_BINARY if is_binary else OPCODE_TEXT
            if step == "send":
                sent.append((payload, is_binary))
                self.assertTrue(pair.path.send_message(payload, is_binary))
            elif step in ("say", "answer"):
                payload += b"!" if step == "answer" else b""
                said.append((payload, is_binary))
                most = size if size in (1, 3, 4096, 4097) else 16_384
                pair.peer.write(self.frame(pair, payload, opcode), most)
            elif step == "move":
                pair.move(size)
            elif step == "peer reads":
                pair.peer_reads(size)
            elif step == "turn":
                pair.turn()
            elif pair.peer.version == "TLSv1.3":
                if step == "update key":
                    pair.peer.update_key(both=bool(size))
                elif pair.masks:  # the peer is the server
                    pair.peer.send_ticket()
        pair.settle()
        return sent, said

    def end(self, pair: TlsPair, end: str) -> None:
        lost: Any = ConnectionDone
        half = self.frame(pair, b"x" * 300)[:100]
        if end == "none":
            return
        pair.peer.write(half)
        if end.startswith("goodbye"):
            if end == "goodbye, unread":
                while not pair.owner.is_paused:
                    pair.path.send_message(b"x" * 20_000)
            pair.peer.say_goodbye()
            if end == "goodbye, cut":
                pair.held = pair.peer.records()
                for size in (50, len(pair.held) - 60, 3):
                    pair.move(size)
                    pair.turn()
        elif end == "no goodbye":
            pair.held = pair.peer.records()[:-10]
            pair.move()
            pair.far.close()
            lost = ConnectionLost
        elif end == "broken record":
            records = bytearray(pair.peer.records())
            records[-5] ^= 1
            pair.held = bytes(records)
            lost = Exception  # which one depends on TLS
        else:

            def reset(_: int) -> bytes:
                raise ConnectionResetError

            self.patch(pair.path, "_recv", reset)
            pair.move()
            lost = ConnectionLost
        for _ in range(100):
            if pair.owner.lost is None:
                pair.move()
                pair.turn()
                if end == "goodbye, unread":
                    pair.peer_reads()
        assert pair.owner.lost is not None, end
        pair.owner.lost.trap(lost)
        if end in ("goodbye", "broken record"):
            # Our close_notify, or an alert, has come.
            pair.peer_reads()
            self.assertTrue(pair.peer.is_over)
        self.assertEqual(pair.batch.fileno(), -1)
        self.assertTrue(pair.path.send_message(b"nobody"))
        pair.path.write(b"nothing")


class RecordTests(TlsCase):
    def record_calls_of_twisted(self, pair: TlsPair) -> list[str]:
        """Record the calls of Twisted's methods from now on."""
        done: list[str] = []
        for name in ("dataReceived", "_flushReceiveBIO", "_flushSendBIO", "_write"):
            real = getattr(pair.tls, name)

            def told(*arguments: Any, name: str = name, real: Any = real) -> Any:
                done.append(name)
                return real(*arguments)

            setattr(pair.tls, name, told)
        return done

    def test_plain_records_bypass_twisted_in_both_directions(self) -> None:
        for version in VERSIONS:
            for is_client in (False, True):
                with self.subTest(version=version, is_client=is_client):
                    pair = self.pair(version, is_client=is_client)
                    pair.peer.write(self.frame(pair, b"first"))
                    pair.settle()
                    done = self.record_calls_of_twisted(pair)
                    for size in (1, 300, 5000, 8000):
                        pair.peer.write(self.frame(pair, b"x" * size))
                        self.assertTrue(pair.path.send_message(b"y" * size))
                        pair.settle()
                    # Several records in one read, and one record in several reads.
                    for _ in range(10):
                        pair.peer.write(self.frame(pair, b"z" * 200))
                    pair.settle()
                    # In pieces of any size.
                    pair.peer.write(self.frame(pair, b"cut" * 20) * 3, 50)
                    pair.held = pair.peer.records()
                    while pair.held:
                        pair.move(1 + len(pair.held) % 7)
                        pair.turn()
                    self.assertEqual(done, [])
                    self.assertEqual(len(pair.owner.heard), 18)
                    self.assertEqual(len(self.heard_by(pair)), 4)

    def test_a_key_update_is_answered_at_once(self) -> None:
        pair = self.pair()
        pair.peer.write(self.frame(pair, b"first"))
        pair.settle()
        done = self.record_calls_of_twisted(pair)
        pair.peer.update_key(both=True)
        pair.settle()
        self.assertIn("_flushReceiveBIO", done)
        pair.path.send_message(b"with the new key")
        pair.peer.write(self.frame(pair, b"here too"))
        pair.settle()
        self.assertEqual(self.heard_by(pair), [(b"with the new key", False)])
        self.assertEqual(len(pair.owner.heard), 2)

    def test_the_peer_may_renegotiate_tls_1_2(self) -> None:
        pair = self.pair(TLS_1_2, is_client=True)
        pair.peer.write(self.frame(pair, b"first"))
        pair.settle()
        pair.path.send_message(b"before")
        pair.peer.negotiate_again()
        pair.move()
        pair.turn()
        for at in range(3):
            self.assertTrue(pair.path.send_message(b"%d" % at))
        pair.settle()
        pair.peer.write(self.frame(pair, b"last"))
        pair.settle()
        heard = [payload for payload, _ in self.heard_by(pair)]
        self.assertEqual(heard, [b"before", b"0", b"1", b"2"])
        self.assertEqual(len(pair.owner.heard), 2)

    def test_answers_of_twisted_are_not_overtaken(self) -> None:
        """Records are numbered: one in the wrong order breaks the connection."""
        for method in ("dataReceived", "_flushReceiveBIO"):
            with self.subTest(method=method):
                pair = self.pair()
                if method == "_flushReceiveBIO":
                    pair.peer.write(self.frame(pair, b"first"))
                    pair.settle()
                pair.path.send_message(b"unclogs")
                real = getattr(pair.tls, method)

                def answer(*data: bytes, pair: Any = pair, real: Any = real) -> None:
                    real(*data)
                    pair.tls.getHandle().send(encode_frame(OPCODE_TEXT, b"answer"))
                    pair.tls._flushSendBIO()

                self.patch(pair.tls, method, answer)
                pair.peer.update_key(both=False)
                pair.move()
                pair.batch.doRead()
                pair.path.send_message(b"right behind it")
                pair.settle()
                heard = [payload for payload, _ in self.heard_by(pair)]
                self.assertEqual(heard, [b"unclogs", b"answer", b"right behind it"])

    def test_pending_output_of_openssl_is_sent_first(self) -> None:
        """The output is longer than one read of it."""
        pair = self.pair()
        pair.path.send_message(b"unclogs")
        data = b"".join(self.frame_of_ours(b"%d" % at * 300) for at in range(20))
        pair.tls.getHandle().send(data[:4000])
        pair.path.send_message(b"last")
        pair.path.send_message(b"very last")
        pair.settle()
        whole = pair.peer.heard
        self.assertTrue(
            whole.endswith(
                data[:4000]
                + self.frame_of_ours(b"last")
                + self.frame_of_ours(b"very last")
            )
        )

    def frame_of_ours(self, payload: bytes) -> bytes:
        return encode_frame(OPCODE_TEXT, payload)

    def test_data_that_tls_cannot_send_yet_waits(self) -> None:
        """This happens during a renegotiation of TLS 1.2."""
        pair = self.pair(TLS_1_2)
        pair.peer.write(self.frame(pair, b"first"))
        pair.settle()
        connection = pair.tls.getHandle()
        blocked = [True]

        class Blocked:
            def send(self, data: bytes) -> int:
                if blocked:
                    raise WantReadError
                sent: int = connection.send(data)
                return sent

            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

        pair.tls._tlsConnection = Blocked()
        self.patch(pair.path, "_encrypt", Blocked().send)
        for at in range(3):
            self.assertTrue(pair.path.send_message(b"%d" % at))
        self.assertTrue(pair.owner.is_paused)
        self.assertGreaterEqual(pair.path.unsent_bytes(), 9)
        pair.settle()
        self.assertEqual(self.heard_by(pair), [])
        blocked.clear()
        pair.peer.write(self.frame(pair, b"go on"))
        pair.settle()
        self.assertEqual([p for p, _ in self.heard_by(pair)], [b"0", b"1", b"2"])
        self.assertFalse(pair.owner.is_paused)

    def test_unsent_data_for_a_slow_peer_is_limited(self) -> None:
        pair = self.pair()
        pair.path.is_unread = True
        count, payload = 0, b"x" * 50_000
        while pair.path.send_message(payload):
            count += 1
            self.assertLess(count * len(payload), 3 * MAX_UNSENT_BYTES)
        self.assertGreater(pair.path.unsent_bytes(), MAX_UNSENT_BYTES)
        self.assertTrue(pair.owner.is_paused)

    def test_a_failing_receiver_is_reported_and_reading_continues(self) -> None:
        pair = self.pair()
        pair.peer.write(self.frame(pair, b"first"))
        pair.settle()
        failing = [True]

        def fail(payload: bytes, is_binary: bool) -> None:
            if failing:
                failing.clear()
                raise MemoryError
            pair.owner.receive(payload, is_binary)

        pair.path.receive = fail
        for size in (200, 300):
            pair.peer.write(self.frame(pair, b"x" * size))
        pair.settle()
        self.assertEqual((pair.owner.failures, pair.owner.lost), (1, None))
        self.assertEqual(len(pair.owner.heard), 2)

    def test_after_an_abort_received_data_is_ignored(self) -> None:
        for name in ("abortConnection", "loseConnection"):
            with self.subTest(name=name):
                pair = self.pair()
                pair.peer.write(self.frame(pair, b"first"))
                pair.settle()

                def end(_: Any, pair: TlsPair = pair, name: str = name) -> None:
                    pair.path.is_open = False  # as Autobahn sets its state
                    pair.tls.unregisterProducer()
                    getattr(pair.tls, name)()

                pair.owner.answer = end
                heard: list[bytes] = []
                self.patch(pair.owner, "dataReceived", heard.append)
                for size in (200, 300, 9000):
                    pair.peer.write(self.frame(pair, b"x" * size))
                pair.settle()
                self.assertEqual(len(pair.owner.heard), 2)
                if name == "abortConnection":
                    self.assertEqual(heard, [])
                    self.assertIsNotNone(pair.owner.lost)

    def test_a_wrong_position_within_a_record_is_corrected(self) -> None:
        """Data may look like the beginning of a record: no message is lost."""
        pair = self.pair()
        path: Any = pair.path
        for wrong in (1, 50, 3000, 18_000):
            pair.peer.write(self.frame(pair, b"first"))
            pair.settle()
            path._missing = wrong
            for _ in range(100):
                pair.peer.write(self.frame(pair, b"x" * 300))
                pair.step()
            self.assertEqual(len(pair.owner.heard), 101)
            self.assertEqual(path._missing, 0)
            pair.owner.heard.clear()
