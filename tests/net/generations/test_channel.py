from __future__ import annotations

import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.generations.channel import (
    MOST_BYTES,
    MOST_WAITING,
    PIECE_BYTES,
    Channel,
    Message,
    pair,
)

MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(("sip.request", "kin.go")),
        st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4)),
        st.integers(0, 3 * PIECE_BYTES).map(
            lambda size: bytes(range(256)) * (size // 256)
        ),
    ),
    max_size=6,
)


class Turns:
    """A reactor whose turns a test takes."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def take(self, count: int = 1) -> None:
        for _ in range(count):
            for reader in list(self.readers):
                reader.doRead()
            for writer in list(self.writers):
                writer.doWrite()


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns = Turns()
        self.received: list[Message] = []
        self.lost = 0
        self.ours, self.theirs = self.channels(*pair())

    def channels(self, *ends: socket.socket) -> list[Channel]:
        made = []
        for end in ends:
            channel = Channel(end, self.turns, self.received.append, self.is_lost)
            channel.start()
            self.addCleanup(channel.close)
            made.append(channel)
        return made

    def is_lost(self) -> None:
        self.lost += 1

    def test_messages_arrive_complete_and_in_order(self) -> None:
        @settings(max_examples=25, deadline=None)
        @given(MESSAGES)
        def holds(messages: list[Message]) -> None:
            self.received.clear()
            for one in messages:
                self.assertTrue(self.ours.send(one.kind, one.head, one.body))
            self.turns.take(40)
            self.assertEqual(self.received, messages)

        holds()

    def test_the_next_reader_gets_all_unread_messages(self) -> None:
        """
        An end is passed on at any moment: each message is read by one of the two
        readers; only a message that the first has read in part may be lost.
        """

        @settings(max_examples=25, deadline=None)
        @given(st.lists(st.integers(0, 3), max_size=8), st.integers(0, 12))
        def holds(sizes: list[int], pieces: int) -> None:
            mine, end = pair()
            copy = end.dup()
            copy.setblocking(False)
            (ours, first, second) = self.channels(mine, end, copy)
            second.hold()
            self.received.clear()
            for at, size in enumerate(sizes):
                ours.send("sip.request", {"at": at}, b"x" * (size * PIECE_BYTES))
            for _ in range(pieces):
                # The pieces that the first reader reads before it is put on hold.
                try:
                    first._read(end.recv(PIECE_BYTES + 1))
                except BlockingIOError:
                    ours.doWrite()
            was_between = first._begun is not None
            first.hold()
            second.start()
            self.turns.take(40)
            read = [one.head["at"] for one in self.received]
            self.assertEqual(read, sorted(read))
            self.assertEqual(len(set(read)), len(sizes) - was_between)
            for channel in (ours, first, second):
                channel.close()

        holds()

    def test_unsent_messages_for_a_slow_reader_are_limited(self) -> None:
        self.theirs.hold()
        body = bytes(1_000_000)
        sent = 0
        while self.ours.send("api.answer", {}, body):
            sent += 1
            self.assertLess(sent, 12)
        self.assertLessEqual(self.ours._waiting_bytes, MOST_WAITING)
        self.theirs.start()
        self.turns.take(400)
        self.assertEqual([len(one.body) for one in self.received], [1_000_000] * sent)
        self.assertTrue(self.ours.send("api.answer", {}, body))

    def test_a_message_that_is_too_long_is_not_sent(self) -> None:
        self.assertFalse(self.ours.send("api.answer", {}, bytes(MOST_BYTES)))

    def test_the_last_messages_are_read_before_the_end(self) -> None:
        self.ours.send("kin.leaving")
        self.ours.close()
        self.turns.take(3)
        self.assertEqual([one.kind for one in self.received], ["kin.leaving"])
        self.assertEqual((self.lost, self.theirs.is_open), (1, False))
        self.assertFalse(self.theirs.send("kin.go"))
        self.assertFalse(self.ours.send("kin.go"))

    def test_malformed_messages_are_ignored(self) -> None:
        for data in (b"", b"\x03", b"\x03[]\n", b"\x03[1,{}]\n", b"\x03\xff", b"\x02x"):
            if data:
                self.ours._end.send(data)
        self.ours.send("kin.go")
        self.turns.take(3)
        self.assertEqual([one.kind for one in self.received], ["kin.go"])
        self.assertEqual(self.lost, 0)

    def test_a_message_that_fails_is_logged_and_the_next_is_read(self) -> None:
        def broken(_: Message) -> None:
            raise RuntimeError

        self.theirs._received = broken
        self.ours.send("kin.go")
        self.turns.take()
        self.theirs._received = self.received.append
        self.ours.send("kin.go")
        self.turns.take()
        self.assertEqual(len(self.received), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
