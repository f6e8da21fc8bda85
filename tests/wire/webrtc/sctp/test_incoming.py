from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp.incoming import WINDOW, Incoming, Message
from chime_gateway.wire.webrtc.sctp.packet import Data, SctpError


def pieces_of(sizes: list[int], first_tsn: int) -> tuple[list[Data], list[Message]]:
    """Make messages with the given numbers of fragments, one byte in each."""
    found: list[Data] = []
    messages: list[Message] = []
    tsn = first_tsn
    for number, size in enumerate(sizes):
        payload = b""
        for at in range(size):
            part = bytes([len(found) & 0xFF])
            payload += part
            is_first, is_last = at == 0, at == size - 1
            found.append(Data(tsn, 1, number, 51, part, is_first, is_last))
            tsn = (tsn + 1) & 0xFFFFFFFF
        messages.append(Message(1, 51, payload))
    return found, messages


class IncomingTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=8),
        st.sampled_from((0, 5, 2**31 - 3, 2**32 - 4)),
        st.randoms(use_true_random=False),
    )
    def test_any_order_gives_the_same_messages(
        self, sizes: list[int], first_tsn: int, draw: random.Random
    ) -> None:
        pieces, messages = pieces_of(sizes, first_tsn)
        drawn = pieces * 2
        draw.shuffle(drawn)
        incoming = Incoming(first_tsn, 1000)
        for piece in drawn:
            incoming.add(piece)
            sack = incoming.sack()
            told = (sack.tsn + 1 - first_tsn) & 0xFFFFFFFF
            told += sum(last - first + 1 for first, last in sack.gaps)
            self.assertLessEqual(told, len(pieces))
            self.assertLessEqual(sack.window, WINDOW)
        self.assertEqual(incoming.messages, messages)
        sack = incoming.sack()
        self.assertEqual((sack.window, list(sack.gaps)), (WINDOW, []))
        self.assertEqual((sack.tsn - pieces[-1].tsn) & 0xFFFFFFFF, 0)

    def test_gaps_are_reported(self) -> None:
        pieces, _ = pieces_of([1] * 9, 100)
        incoming = Incoming(100, 1000)
        for at in (0, 2, 3, 6):
            incoming.add(pieces[at])
        sack = incoming.sack()
        self.assertEqual((sack.tsn, list(sack.gaps)), (100, [(2, 3), (6, 6)]))

    def test_a_message_may_not_change_its_stream(self) -> None:
        incoming = Incoming(0, 1000)
        incoming.add(Data(0, 1, 0, 51, b"a", is_first=True, is_last=False))
        other = Data(1, 2, 0, 51, b"b", is_first=False, is_last=True)
        self.assertRaises(SctpError, incoming.add, other)

    def test_data_ahead_of_a_gap_is_limited(self) -> None:
        incoming = Incoming(0, 1 << 20)
        for ahead in range(1, 40_000):
            incoming.add(Data(ahead, 1, 0, 51, b"x", is_first=True, is_last=True))
        sack = incoming.sack()
        self.assertLess(len(incoming._held), WINDOW // 128)
        self.assertLess(sack.window, 256)
        incoming.add(Data(0, 1, 0, 51, b"x", is_first=True, is_last=True))
        self.assertEqual(incoming.sack().window, WINDOW)
