"""Associations: complete messages in order, whatever the network and the peer do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp import packet
from chime_gateway.wire.webrtc.sctp.association import Association, State
from chime_gateway.wire.webrtc.sctp.outgoing import MOST_UNSENT_BYTES
from chime_gateway.wire.webrtc.sctp.packet import (
    MOST_FRAGMENT_BYTES,
    MOST_PACKET_BYTES,
    Chunk,
    Data,
    decode,
    encode,
    encode_chunk,
    encode_data,
)
from tests.support.sctp_network import SctpNetwork

_SIZES = st.lists(
    st.integers(1, 9000)
    | st.integers(1, 8).map(lambda count: count * MOST_FRAGMENT_BYTES),
    min_size=1,
    max_size=8,
)


def kinds(packets: list[bytes]) -> list[int]:
    return [chunk.kind for one in packets for chunk in decode(one).chunks]


class LossTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32), st.floats(0, 0.3), st.booleans(), _SIZES, _SIZES)
    def test_all_messages_arrive_once_and_in_order(
        self, seed: int, loss: float, is_alone: bool, one: list[int], other: list[int]
    ) -> None:
        network = SctpNetwork(seed, loss, repeated=0.1)
        network.sides[0].start(0.0)
        if not is_alone:
            network.sides[1].start(0.0)
        network.run(lambda: all(s.state is State.OPEN for s in network.sides))
        said = [
            [network.random.randbytes(size) for size in sizes] for sizes in (one, other)
        ]
        for at, side in enumerate(network.sides):
            for payload in said[at]:
                self.assertTrue(side.send(network.now, 1, 51, payload))
        network.run(lambda: all(side.due is None for side in network.sides))
        for at in range(2):
            heard = [message.payload for message in network.heard[1 - at]]
            self.assertEqual(heard, said[at])
        packets = network.sent[0] + network.sent[1]
        self.assertLessEqual(max(map(len, packets)), MOST_PACKET_BYTES)

    def test_every_single_loss_is_repaired(self) -> None:
        for side in range(2):
            for lost in range(12):
                network = SctpNetwork()
                count = [0, 0]

                def passes(
                    at: int,
                    _: bytes,
                    count: list[int] = count,
                    lost: tuple[int, int] = (side, lost),
                ) -> bool:
                    count[at] += 1
                    return (at, count[at] - 1) != lost

                network.passes = passes
                network.open()
                for at in range(2):
                    network.sides[at].send(network.now, 1, 51, bytes(5000))
                network.run(lambda: False, 20.0)
                sizes = [[len(m.payload) for m in one] for one in network.heard]
                self.assertEqual(sizes, [[5000], [5000]], (side, lost))

    def test_a_single_loss_is_repaired_without_a_timeout(self) -> None:
        network = SctpNetwork()
        network.open()
        lost: list[bytes] = []

        def passes(at: int, data: bytes) -> bool:
            if at == 0 and not lost and decode(data).chunks[0].kind == packet.DATA:
                lost.append(data)
                return False
            return True

        network.passes = passes
        began = network.now
        network.sides[0].send(began, 1, 51, bytes(10_000))
        network.run(lambda: bool(network.heard[1]))
        self.assertTrue(lost)
        self.assertEqual(kinds(network.sent[0]).count(packet.DATA), 11)
        self.assertLess(network.now - began, 0.5)

    def test_unacknowledged_data_is_limited_and_ends_the_association(self) -> None:
        network = SctpNetwork()
        network.open()
        network.passes = lambda at, data: False
        side = network.sides[0]
        count = 0
        while side.send(network.now, 1, 51, bytes(60_000)):
            count += 1
        self.assertLess(count * 60_000, MOST_UNSENT_BYTES * 1.1)
        network.run(lambda: side.state is State.CLOSED, 60.0)
        self.assertIn("no longer acknowledges", side.failure)
        self.assertIsNone(side.due)
        self.assertLess(len(network.sent[0]), 40)

    def test_without_an_answer_it_gives_up(self) -> None:
        network = SctpNetwork()
        network.passes = lambda at, data: False
        network.sides[0].start(0.0)
        network.run(lambda: network.sides[0].state is State.CLOSED, 60.0)
        self.assertIn("does not answer", network.sides[0].failure)


class EndTests(SynchronousTestCase):
    def test_an_abort_ends_the_association(self) -> None:
        network = SctpNetwork()
        network.open()
        network.sides[0].close()
        network.run(lambda: False, 1.0)
        self.assertEqual(network.sides[0].failure, "")
        self.assertIn("ABORT", network.sides[1].failure)

    def test_a_shutdown_is_answered(self) -> None:
        network = SctpNetwork()
        network.open()
        side = network.sides[0]
        chunk = encode_chunk(packet.SHUTDOWN, bytes(4))
        side.received(network.now, encode((5000, 5000), side._tag, [chunk]))
        self.assertIn("SHUTDOWN", side.failure)
        self.assertEqual(kinds(side.outbox), [packet.SHUTDOWN_ACK])

    def test_a_heartbeat_is_answered(self) -> None:
        network = SctpNetwork()
        network.open()
        side = network.sides[0]
        chunk = encode_chunk(packet.HEARTBEAT, b"\0\1\0\x08abcd")
        side.received(network.now, encode((5000, 5000), side._tag, [chunk]))
        (answer,) = decode(side.outbox[0]).chunks
        self.assertEqual(answer, Chunk(packet.HEARTBEAT_ACK, 0, b"\0\1\0\x08abcd"))


class HostileTests(SynchronousTestCase):
    def new_open(self) -> tuple[SctpNetwork, Association]:
        network = SctpNetwork()
        network.open()
        return network, network.sides[0]

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.lists(
                st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary()),
                min_size=1,
                max_size=4,
            ),
            max_size=20,
        ),
        st.booleans(),
    )
    def test_random_chunks_break_nothing(
        self, packets: list[list[tuple[int, int, bytes]]], is_open: bool
    ) -> None:
        network = SctpNetwork()
        if is_open:
            network.open()
        side = network.sides[0]
        for drawn in packets:
            chunks = [
                encode_chunk(kind % 16 if kind < 200 else kind, body, flags)
                for kind, flags, body in drawn
            ]
            tag = 0 if drawn[0][0] % 16 == packet.INIT else side._tag
            side.received(network.now, encode((5000, 5000), tag, chunks))
        self.assertLessEqual(len(side.outbox), 4 * len(packets) + 8)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.integers(-5, 70_000), st.integers(0, 3)), max_size=40))
    def test_random_numbers_never_exceed_the_window(
        self, drawn: list[tuple[int, int]]
    ) -> None:
        network, side = self.new_open()
        incoming = side._incoming
        assert incoming is not None
        for ahead, flags in drawn:
            tsn = (incoming._tsn + ahead) & 0xFFFFFFFF
            data = Data(tsn, 1, 0, 51, bytes(9000), bool(flags & 2), bool(flags & 1))
            chunk = encode_data(data)
            side.received(network.now, encode((5000, 5000), side._tag, [chunk]))
        self.assertLessEqual(incoming._held_bytes, 256 << 10)
        held = sum(len(one.payload) + 128 for one in incoming._held.values())
        self.assertEqual(incoming._held_bytes, held)

    def test_a_fragment_without_a_beginning_ends_it(self) -> None:
        for first, last in ((False, True), (False, False)):
            network, side = self.new_open()
            remote = network.sides[1]
            chunk = encode_data(Data(remote._tsn, 1, 0, 51, b"x", first, last))
            side.received(network.now, encode((5000, 5000), side._tag, [chunk]))
            self.assertIn("out of order", side.failure)
            self.assertEqual(kinds(side.outbox), [packet.ABORT])

    def test_an_endless_message_ends_it(self) -> None:
        network, side = self.new_open()
        remote = network.sides[1]
        for number in range(2000):
            data = Data(remote._tsn + number, 1, 0, 51, bytes(1000), number == 0, False)
            chunk = encode_data(data)
            side.received(network.now, encode((5000, 5000), side._tag, [chunk]))
        self.assertIn("too long", side.failure)

    def test_acknowledging_unsent_data_ends_it(self) -> None:
        network, side = self.new_open()
        sack = packet.encode_sack(packet.Sack(side._tsn + 5, 1000))
        side.received(network.now, encode((5000, 5000), side._tag, [sack]))
        self.assertIn("never sent", side.failure)

    def test_packets_with_a_wrong_tag_or_checksum_are_ignored(self) -> None:
        network, side = self.new_open()
        abort = encode_chunk(packet.ABORT)
        side.received(network.now, encode((5000, 5000), side._tag ^ 1, [abort]))
        whole = encode((5000, 5000), side._tag, [abort])
        for at in range(len(whole)):
            for bit in (1, 0x80):
                broken = bytearray(whole)
                broken[at] ^= bit
                side.received(network.now, bytes(broken))
        self.assertIs(side.state, State.OPEN)
        self.assertEqual(side.dropped, 1 + 2 * len(whole))

    def test_an_open_association_is_not_restarted(self) -> None:
        network, side = self.new_open()
        init = packet.encode_init(packet.INIT, packet.Init(77, 1000, 5), 10)
        side.received(network.now, encode((5000, 5000), 0, [init]))
        self.assertEqual(side.outbox, [])
        network.sides[1].send(network.now, 1, 51, b"still there")
        network.run(lambda: bool(network.heard[0]))
        self.assertIs(side.state, State.OPEN)

    def test_a_closed_window_is_probed(self) -> None:
        network, side = self.new_open()
        outgoing = side._outgoing
        assert outgoing is not None
        outgoing._window = 0
        side.send(network.now, 1, 51, b"one")
        side.send(network.now, 1, 51, b"two")
        self.assertEqual(kinds(side.outbox), [packet.DATA])
        network.run(lambda: len(network.heard[1]) == 2)
        self.assertEqual(len(network.heard[1]), 2)
