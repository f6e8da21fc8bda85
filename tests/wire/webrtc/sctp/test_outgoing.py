from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp.outgoing import MOST_TRIES, Outgoing
from chime_gateway.wire.webrtc.sctp.packet import (
    MOST_FRAGMENT_BYTES,
    MOST_PACKET_BYTES,
    Sack,
    SctpError,
)


def sizes(packets: list[list[bytes]]) -> list[int]:
    return [sum(map(len, chunks)) for chunks in packets if chunks]


class OutgoingTests(SynchronousTestCase):
    def test_short_messages_share_a_packet(self) -> None:
        outgoing = Outgoing(7, 100_000)
        for _ in range(20):
            outgoing.add(1, 51, bytes(84))
        packets = outgoing.take(0.0, used_bytes=88)
        self.assertEqual([len(chunks) for chunks in packets], [10, 10])
        outgoing.acknowledged(0.1, Sack(26, 100_000))
        self.assertEqual((outgoing.unsent_bytes, outgoing.due), (0, None))

    def test_the_congestion_window_is_small_at_first_and_grows(self) -> None:
        outgoing = Outgoing(0, 1 << 20)
        outgoing.add(1, 51, bytes(MOST_FRAGMENT_BYTES * 100))
        flights = []
        now, tsn = 0.0, -1
        while outgoing.unsent_bytes:
            count = len(sizes(outgoing.take(now)))
            flights.append(count)
            tsn += count
            now += 0.1
            outgoing.acknowledged(now, Sack(tsn & 0xFFFFFFFF, 1 << 20))
        self.assertEqual(flights[0], 4)
        self.assertEqual(sorted(flights[:-1]), flights[:-1])
        self.assertEqual(sum(flights), 100)

    def test_a_loss_is_repaired_at_once_and_a_timeout_resets_the_window(self) -> None:
        outgoing = Outgoing(0, 1 << 20)
        outgoing.add(1, 51, bytes(MOST_FRAGMENT_BYTES * 40))
        outgoing.take(0.0)
        for last in (2, 3, 4):
            outgoing.acknowledged(0.1, Sack(0xFFFFFFFF, 1 << 20, [(2, last)]))
        again = outgoing.take(0.1)
        self.assertEqual(again[0][0][4:8], bytes(4))
        due = outgoing.due
        assert due is not None
        outgoing.tick(due)
        self.assertEqual(len(sizes(outgoing.take(due))), 1)

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.integers(-3, 60),
                st.integers(0, 1 << 20),
                st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=5),
            ),
            max_size=20,
        )
    )
    def test_any_acknowledgements_keep_the_counts_consistent(
        self, drawn: list[tuple[int, int, list[tuple[int, int]]]]
    ) -> None:
        outgoing = Outgoing(0, 20_000)
        outgoing.add(1, 51, bytes(MOST_FRAGMENT_BYTES * 60))
        now = 0.0
        for tsn, window, gaps in drawn:
            for size in sizes(outgoing.take(now)):
                self.assertLessEqual(size, MOST_PACKET_BYTES)
            now += 0.3
            try:
                outgoing.acknowledged(now, Sack(tsn & 0xFFFFFFFF, window, gaps))
                outgoing.tick(now)
            except SctpError:
                return
            pieces = outgoing._pieces.values()
            flying = sum(len(one.chunk) for one in pieces if one.is_in_flight)
            self.assertEqual(outgoing._flight, flying)
            waiting = sum(len(one.chunk) for one in outgoing._new)
            kept = sum(len(one.chunk) for one in pieces)
            self.assertEqual(outgoing.unsent_bytes, kept + waiting)
            self.assertFalse(
                any(one.is_in_flight and one.has_arrived for one in pieces)
            )

    def test_a_peer_that_never_acknowledges_all_is_given_up(self) -> None:
        outgoing = Outgoing(0, 1 << 20)
        for _ in range(3):
            outgoing.add(1, 51, b"x")
        outgoing.take(0.0)
        outgoing.acknowledged(0.0, Sack(0xFFFFFFFF, 1 << 20, [(1, 3)]))
        with self.assertRaises(SctpError):
            for _ in range(MOST_TRIES + 1):
                assert outgoing.due is not None
                outgoing.tick(outgoing.due)
                self.assertEqual(sizes(outgoing.take(outgoing.due)), [])
