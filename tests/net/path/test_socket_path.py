from __future__ import annotations

import os
from contextlib import closing
from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.path import socket_path
from chime_gateway.net.path.socket_path import MAX_UNSENT_BYTES, TransportPath
from chime_gateway.wire.websocket_frame import (
    OPCODE_BINARY,
    OPCODE_TEXT,
    FrameReader,
    encode_frame,
)
from tests.support.path_pair import LIMIT, PathPair

KEY = b"\x01\x02\x03\x04"
SIZES = st.sampled_from((0, 1, 125, 126, 300, 4080, 4096, 9000, 70_000))

#: Events in the life of a socket, in any order.
STEPS = st.one_of(
    st.tuples(st.just("send"), SIZES, st.booleans()),
    st.tuples(st.just("hear"), SIZES, st.booleans()),
    st.tuples(st.just("answer"), SIZES, st.booleans()),
    st.tuples(st.just("twisted"), SIZES, st.booleans()),
    st.tuples(st.just("peer reads"), st.integers(1, 20_000), st.booleans()),
    st.tuples(st.just("turn"), st.just(0), st.booleans()),
)


def frames_in(data: bytes, *, masked: bool) -> list[tuple[bytes, bool]]:
    reader = FrameReader(masked=masked, max_payload_bytes=LIMIT)
    return [(payload, opcode == OPCODE_BINARY) for opcode, payload in reader.feed(data)]


def short(messages: list[tuple[bytes, bool]]) -> list[tuple[int, int, bool]]:
    """Shorten messages for the text of a failure."""
    return [(len(data), crc32(data), is_binary) for data, is_binary in messages]


class ScheduleTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(st.booleans(), st.booleans(), st.lists(STEPS, max_size=25))
    def test_every_message_arrives_once_and_in_order(
        self, masks: bool, small: bool, steps: list[tuple[str, int, bool]]
    ) -> None:
        """
        Also after data that Twisted has still to write (C{twisted}), while the peer
        does not read, and while the batch is read.
        """
        with closing(PathPair(masks=masks, small=small)) as pair:
            self.run_through(pair, steps)

    def run_through(self, pair: PathPair, steps: list[tuple[str, int, bool]]) -> None:
        masks = pair.masks
        pair.path.join(pair.batch)
        sent: list[tuple[bytes, bool]] = []
        said: list[tuple[bytes, bool]] = []
        taken = b""
        unheard = b""

        def answer(payload: bytes) -> None:
            if payload.endswith(b"!"):
                message = (payload[:-1], False)
                sent.append(message)
                self.assertTrue(pair.path.send_message(*message))

        pair.owner.answer = answer
        for number, (step, size, is_binary) in enumerate(steps):
            payload = (b"%d," % number * size)[:size]
            if step == "send":
                sent.append((payload, is_binary))
                self.assertTrue(pair.path.send_message(payload, is_binary))
            elif step == "twisted":
                sent.append((payload, False))
                key = KEY if masks else None
                pair.tcp.write(encode_frame(OPCODE_TEXT, payload, key))
                pair.path._is_clogged = True  # as a path is opened
            elif step in ("hear", "answer"):
                payload += b"!" if step == "answer" else b""
                said.append((payload, is_binary))
                opcode = OPCODE_BINARY if is_binary else OPCODE_TEXT
                unheard += encode_frame(opcode, payload, None if masks else KEY)
            elif step == "peer reads":
                taken += pair.taken(size)
            else:
                pair.turn()
            if unheard:
                try:
                    unheard = unheard[pair.far.send(unheard[:5000]) :]
                except BlockingIOError:
                    pair.turn()
        for _ in range(200):
            pair.turn()
            taken += pair.taken()
            if unheard:
                unheard = unheard[pair.far.send(unheard[:4000]) :]
        taken += pair.all_taken()
        self.assertEqual(short(pair.owner.heard), short(said))
        self.assertEqual(short(frames_in(taken, masked=masks)), short(sent))


class SocketPathTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = PathPair()
        self.addCleanup(self.pair.close)
        self.pair.path.join(self.pair.batch)

    def say(self, payload: bytes, opcode: int = OPCODE_TEXT) -> None:
        self.pair.far.send(encode_frame(opcode, payload, KEY))

    def test_writes_while_the_batch_is_read_are_sent_together(self) -> None:
        pair, path = self.pair, self.pair.path
        writes: list[bytes] = []
        real: Any = path._send

        def send(data: bytes) -> Any:
            writes.append(data)
            return real(data)

        def answer(payload: bytes) -> None:
            for _ in range(3):
                path.send_message(payload)

        self.patch(path, "_send", send)
        pair.owner.answer = answer
        self.say(b"x" * 200)
        pair.turn()
        self.assertEqual(len(writes), 1)
        self.assertEqual(len(frames_in(pair.taken(), masked=False)), 3)

    def test_unusual_frames_are_passed_to_the_owner_unchanged(self) -> None:
        ping = bytes([0x89, 0x84]) + KEY + b"ping"
        for data in (b"x" * 200, b"y"):
            self.say(data)
        self.pair.far.send(ping)
        self.pair.turn()
        self.assertEqual(self.pair.owner.odd, ping)
        self.assertEqual(len(self.pair.owner.heard), 2)

    def test_a_peer_that_closes_or_resets_is_lost(self) -> None:
        for linger, reason in ((None, ConnectionDone), (1, ConnectionLost)):
            with self.subTest(linger=linger):
                self.setUp()
                if linger is None:
                    self.pair.far.close()
                else:
                    # A TCP reset, which a pair of Unix sockets does not have.
                    def broken(size: int) -> bytes:
                        raise ConnectionResetError

                    self.patch(self.pair.path, "_recv", broken)
                    self.pair.far.send(b"x")
                self.pair.turn()
                assert self.pair.owner.lost is not None
                self.pair.owner.lost.trap(reason)
                self.assertEqual(self.pair.batch.fileno(), -1)
                self.assertTrue(self.pair.path.send_message(b"nobody"))

    def test_a_closing_connection_is_no_longer_read(self) -> None:
        for end in ("loseConnection", "abortConnection"):
            with self.subTest(end=end):
                self.setUp()
                self.say(b"x" * 200)
                getattr(self.pair.tcp, end)()
                self.pair.batch.doRead()
                self.assertEqual(self.pair.owner.heard, [])

    def test_reading_may_be_resumed(self) -> None:
        """Under twisted.web the channel resumes its transport after the upgrade."""
        self.pair.tcp.pauseProducing()
        self.say(b"x" * 200)
        self.pair.turn()
        self.assertEqual(self.pair.owner.heard, [])
        self.pair.tcp.resumeProducing()
        self.pair.turn()
        self.assertEqual(self.pair.owner.heard, [(b"x" * 200, False)])
        self.assertNotIn(self.pair.tcp, self.pair.reactor.readers)

    def test_a_failing_receiver_is_reported(self) -> None:
        def fail(*_: Any) -> None:
            raise MemoryError

        self.pair.path.receive = fail
        self.say(b"x" * 200)
        self.pair.turn()
        self.assertEqual((self.pair.owner.failures, self.pair.owner.lost), (1, None))

    def test_without_memory_the_loss_is_reported_at_the_next_read(self) -> None:
        def fail(_: Any) -> None:
            without.restore()
            raise MemoryError

        without = self.patch(self.pair.reactor, "removeWriter", fail)
        self.pair.far.close()
        self.pair.turn()
        self.assertIsNone(self.pair.owner.lost)
        self.pair.turn()
        self.assertIsNotNone(self.pair.owner.lost)

    def test_unsent_data_for_a_slow_peer_is_limited(self) -> None:
        path, payload = self.pair.path, b"x" * 50_000
        path.is_unread = True
        count = 0
        while path.send_message(payload):
            count += 1
            self.assertLess(count * len(payload), 3 * MAX_UNSENT_BYTES)
        self.assertGreater(path.unsent_bytes(), MAX_UNSENT_BYTES)
        self.assertLess(path.unsent_bytes(), MAX_UNSENT_BYTES + 2 * len(payload))
        path.is_unread = False
        self.assertTrue(path.send_message(payload))

    def test_after_a_close_nothing_is_sent_and_references_are_released(self) -> None:
        self.pair.path.is_open = False
        self.assertTrue(self.pair.path.send_message(b"x"))
        self.assertEqual(self.pair.taken(), b"")
        self.pair.tcp.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.pair.path._owner)
        self.assertEqual(
            {"stopReading", "startReading"} & {*vars(self.pair.tcp)}, set()
        )

    def test_without_a_batch_the_reactor_reads_it(self) -> None:
        self.pair = pair = PathPair(masks=True)
        self.addCleanup(pair.close)
        pair.far.send(encode_frame(OPCODE_BINARY, b"x" * 200))
        pair.turn()
        self.assertEqual(pair.owner.heard, [(b"x" * 200, True)])
        pair.path.send_message(b"y" * 300)
        self.assertEqual(frames_in(pair.taken(), masked=True), [(b"y" * 300, False)])


class TransportPathTests(SynchronousTestCase):
    def test_any_transport_works(self) -> None:
        pair = PathPair()
        self.addCleanup(pair.close)
        path = TransportPath(
            pair.tcp,
            pair.owner,
            pair.owner.receive,
            masks=True,
            max_payload_bytes=LIMIT,
        )
        self.assertTrue(path.send_message(b"x"))
        self.assertEqual(frames_in(pair.all_taken(), masked=True), [(b"x", False)])


class KeyTests(SynchronousTestCase):
    def test_a_failed_draw_of_masking_keys_is_repeated(self) -> None:
        keys = socket_path._Keys()

        def fail(_: int) -> bytes:
            raise MemoryError

        restore = self.patch(os, "urandom", fail)
        self.assertRaises(MemoryError, keys.refill)
        restore.restore()
        drawn = {keys.refill() for _ in range(100)}
        self.assertEqual({len(key) for key in drawn}, {4})
        self.assertGreater(len(drawn), 95)
