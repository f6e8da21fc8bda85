"""Packets of peers that are dropped or not sent: every one is counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from chime_gateway.wire.webrtc.candidate import Path
from tests.support.rtc_network import Network
from tests.webrtc.test_peer import PeerTestCase


class DropsTests(PeerTestCase):
    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
    def test_packets_that_are_not_sent_are_counted_with_the_stream(
        self, fullness: list[tuple[bool, bool]]
    ) -> None:
        """Every media packet is either sent, or counted by the stream."""
        network = Network(Clock())
        pair = self.connect(network)
        for user in pair:
            user.stream.stats.packets_out = 0
        begun = len(network.sent)
        for both in fullness:
            for user, is_full in zip(pair, both, strict=True):
                user.sockets.is_full = is_full
                user.stream.send(b"\x11" * 160)
        for at, user in enumerate(pair):
            refused = sum(both[at] for both in fullness)
            out = [
                data
                for source, _, data in network.sent[begun:]
                if source == user.sockets.address and data[0] >> 6 == 2
            ]
            self.assertEqual(user.stream.stats.dropped["not_sent"], refused)
            self.assertEqual(len(out) + refused, user.stream.stats.packets_out)

    def test_media_of_strangers_is_not_even_decrypted(self) -> None:
        network = Network(Clock())
        pair = self.connect(network)
        sent = len(network.sent)
        self.talk(pair)
        _, target, packet = next(
            one for one in network.sent[sent:] if one[2][0] >> 6 == 2
        )
        there = network.sockets[target]
        assert there.peer is not None
        there.peer.received(packet, Path(there, "203.0.113.9", 9))
        (heard,) = [user for user in pair if user.peer is there.peer]
        self.assertEqual(heard.stream.stats.dropped, {"stranger": 1})

    def test_media_before_the_keys_is_dropped(self) -> None:
        network = Network(Clock())
        one, other = self.new_pair(network)
        self.introduce(one, other)
        path = Path(one.sockets, other.sockets.address[0], 40000)
        one.peer.received(b"\x80\0" + bytes(170), path)
        self.assertEqual(one.peer.dropped, {"early": 1})
