"""Packets of a data channel, which a peer carries in DTLS beside media."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.webrtc.certificate import process_certificate
from chime_gateway.webrtc.peer import Peer
from tests.support.rtc_network import Network, RtcUser, new_user, run

_OFFERER, _ANSWERER = "192.0.2.11", "192.0.2.12"


class PeerDataTests(SynchronousTestCase):
    def new_user(self, network: Network, host: str, got: list[bytes] | None) -> RtcUser:
        user = new_user(network, host, is_offerer=host == _OFFERER)
        user.peer.close()
        user.peer = Peer(
            user,
            sockets=[user.sockets],
            certificate=process_certificate(),
            clock=network.clock,
            rtp_received=user.stream.rtp_received,
            is_offerer=host == _OFFERER,
            is_lite=False,
            data_received=None if got is None else got.append,
        )
        user.stream.attach(user.peer.send, user.peer.send)
        user.peer.start()
        return user

    def connect(self, got: tuple[list[bytes], list[bytes] | None]) -> list[RtcUser]:
        self.network = Network(Clock())
        pair = [
            self.new_user(self.network, host, heard)
            for host, heard in zip((_OFFERER, _ANSWERER), got, strict=True)
        ]
        pair[1].peer.set_remote(pair[0].peer.description)
        pair[0].peer.set_remote(pair[1].peer.description)
        pair[0].peer.send_data(b"early")
        run(self.network.clock, 1.0)
        self.assertEqual([user.told for user in pair], [["connected"]] * 2)
        return pair

    def test_packets_pass_in_both_directions_with_a_datagram_each(self) -> None:
        got: tuple[list[bytes], list[bytes]] = ([], [])
        pair = self.connect(got)
        sent = len(self.network.sent)
        packets = [bytes([at]) * 1100 for at in range(5)]
        for user in pair:
            for packet in packets:
                user.peer.send_data(packet)
        datagrams = [data for _, _, data in self.network.sent[sent:]]
        self.assertEqual(len(datagrams), 10)
        self.assertLessEqual(max(map(len, datagrams)), 1200)
        run(self.network.clock, 0.5, pair)
        self.assertEqual(got, (packets, packets))

    def test_without_an_offered_channel_data_is_ignored(self) -> None:
        got: list[bytes] = []
        pair = self.connect((got, None))
        for _ in range(50):
            pair[0].peer.send_data(bytes(1100))
        run(self.network.clock, 0.5, pair)
        self.assertEqual([user.told for user in pair], [["connected"]] * 2)
        pair[1].peer.send_data(b"still there")
        run(self.network.clock, 0.5)
        self.assertEqual(got, [b"still there"])

    def test_after_the_end_nothing_is_sent_or_received(self) -> None:
        got: tuple[list[bytes], list[bytes]] = ([], [])
        pair = self.connect(got)
        pair[1].peer.send_data(b"on its way")
        pair[0].peer.close()
        sent = len(self.network.sent)
        pair[0].peer.send_data(b"late")
        self.assertEqual(len(self.network.sent), sent)
        run(self.network.clock, 0.5)
        self.assertEqual(got, ([], []))
