"""Packets in a byte stream."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.framing import MOST_BYTES, FrameReader, frame

PACKETS = st.lists(st.binary(min_size=1, max_size=400), max_size=12)


class FramingTests(SynchronousTestCase):
    @given(PACKETS, st.lists(st.integers(0, 4000), max_size=12))
    def test_pieces_of_any_size_give_the_same_packets(
        self, packets: list[bytes], cuts: list[int]
    ) -> None:
        stream = b"".join(frame(packet) for packet in packets)
        places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        reader = FrameReader()
        found = []
        for start, end in pairwise(places):
            found += reader.feed(stream[start:end])
        self.assertEqual(found, packets)

    @given(PACKETS)
    def test_single_bytes_give_the_same_packets(self, packets: list[bytes]) -> None:
        reader = FrameReader()
        stream = b"".join(frame(packet) for packet in packets)
        found = []
        for number in range(len(stream)):
            found += reader.feed(stream[number : number + 1])
        self.assertEqual(found, packets)

    @given(st.lists(st.binary(max_size=300), max_size=20))
    def test_any_data_is_split_into_frames(self, pieces: list[bytes]) -> None:
        reader = FrameReader()
        found = [packet for piece in pieces for packet in reader.feed(piece)]
        self.assertLessEqual(sum(map(len, found)), sum(map(len, pieces)))
        self.assertNotIn(b"", found)

    def test_the_longest_and_the_empty_packet(self) -> None:
        longest = b"x" * MOST_BYTES
        reader = FrameReader()
        self.assertEqual(reader.feed(b"\0\0" + frame(longest) + b"\0\0"), [longest])
        self.assertRaises(ValueError, frame, longest + b"x")
