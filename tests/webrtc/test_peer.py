"""Peers: two connect; the end of one is reported once, and nothing is left of it."""

from __future__ import annotations

import gc
import weakref

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.certificate import new_certificate
from chime_gateway.webrtc.peer import REMOTE, Peer, PeerFailure
from chime_gateway.wire.sdp.description import SdpError
from chime_gateway.wire.sdp.transport import Fingerprint, Setup
from chime_gateway.wire.webrtc.candidate import Path
from tests.support.rtc_network import (
    Datagram,
    Network,
    NetworkSockets,
    RtcUser,
    new_user,
    run,
)

_OFFERER, _ANSWERER = "192.0.2.11", "192.0.2.12"

#: Which of the two is ICE-lite; both cannot be.
_LITE = [(False, False), (False, True), (True, False)]


class PeerTestCase(SynchronousTestCase):
    def new_pair(
        self, network: Network, *, lite: tuple[bool, bool] = (False, False)
    ) -> tuple[RtcUser, RtcUser]:
        return (
            new_user(network, _OFFERER, is_offerer=True, is_lite=lite[0]),
            new_user(network, _ANSWERER, is_offerer=False, is_lite=lite[1]),
        )

    def introduce(
        self, one: RtcUser, other: RtcUser, setup: Setup = Setup.ACTPASS
    ) -> None:
        """Exchange offer and answer, with a delay."""
        other.peer.set_remote(evolve(one.peer.description, setup=setup))
        answer = other.peer.description
        run(one.network.clock, 0.1)
        one.peer.set_remote(answer)

    def connect(self, network: Network) -> tuple[RtcUser, RtcUser]:
        pair = self.new_pair(network, lite=(False, True))
        self.introduce(*pair)
        run(network.clock, 1.0)
        self.assertEqual([user.told for user in pair], [["connected"]] * 2)
        return pair

    def talk(self, pair: tuple[RtcUser, RtcUser], packets: int = 20) -> None:
        """Both send packets, and receive those of the other."""
        for user in pair:
            user.heard.clear()
        clock = pair[0].network.clock
        for _ in range(packets):
            pair[0].stream.play(b"\x11" * 160)
            pair[1].stream.play(b"\x22" * 160)
            run(clock, 0.02, pair)
        run(clock, 0.5, pair)
        self.assertGreater(pair[1].heard.count(0x11), packets * 80)
        self.assertGreater(pair[0].heard.count(0x22), packets * 80)


class ConnectingTests(PeerTestCase):
    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.floats(0, 0.3),
        st.sampled_from(_LITE),
        st.sampled_from(Setup),
    )
    def test_peers_connect_in_every_role_despite_losses(
        self, seed: int, loss: float, lite: tuple[bool, bool], setup: Setup
    ) -> None:
        network = Network(Clock(), seed, loss, repeated=0.1, spread=0.05)
        pair = self.new_pair(network, lite=lite)
        self.introduce(*pair, setup)
        for _ in range(70):
            run(network.clock, 0.0 if all(user.told for user in pair) else 1.0)
        if loss > 0.1 and PeerFailure.NO_PATH in pair[0].told + pair[1].told:
            return  # eight checks or their answers were lost: ICE has given up
        self.assertEqual([user.told for user in pair], [["connected"]] * 2)
        roles = {user.peer.setup for user in pair}
        self.assertEqual(roles, {Setup.ACTIVE, Setup.PASSIVE})
        self.talk(pair)

    def test_without_losses_nothing_is_delayed(self) -> None:
        for lite in _LITE:
            network = Network(Clock())
            pair = self.new_pair(network, lite=lite)
            self.introduce(*pair)
            run(network.clock, 0.3)
            self.assertEqual([user.told for user in pair], [["connected"]] * 2)

    def test_a_peer_has_one_timer_at_most(self) -> None:
        clock = Clock()
        network = Network(clock)
        network.passes = lambda datagram: False
        pair = self.new_pair(network)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.introduce(*pair)
        for _ in range(100):
            self.assertLessEqual(len(clock.getDelayedCalls()), 2)
            clock.advance(0.1)

    def test_a_client_hello_before_the_answer_is_kept(self) -> None:
        network = Network(Clock())
        one, other = self.new_pair(network, lite=(True, False))
        other.peer.set_remote(evolve(one.peer.description, setup=Setup.PASSIVE))
        run(network.clock, 0.2)
        hellos = [data for _, _, data in network.sent if data[0] == 22]
        self.assertTrue(hellos)
        # Later ones are lost.
        network.passes = lambda datagram: datagram[2] not in hellos
        one.peer.set_remote(other.peer.description)
        run(network.clock, 0.2)
        self.assertEqual(one.told, ["connected"])

    def test_an_answer_of_active_to_active_is_accepted(self) -> None:
        network = Network(Clock())
        one, other = self.new_pair(network)
        other.peer.set_remote(evolve(one.peer.description, setup=Setup.PASSIVE))
        self.assertEqual(other.peer.setup, Setup.ACTIVE)
        one.peer.set_remote(other.peer.description)
        self.assertEqual(one.peer.setup, Setup.PASSIVE)
        run(network.clock, 1.0)
        self.assertEqual(one.told, ["connected"])


class RefusingTests(PeerTestCase):
    def test_a_description_that_cannot_work_is_refused(self) -> None:
        network = Network(Clock())
        one, other = self.new_pair(network, lite=(True, True))
        with self.assertRaises(SdpError):
            one.peer.set_remote(other.peer.description)
        weak = evolve(
            other.peer.description,
            is_lite=False,
            fingerprints=(Fingerprint("sha-1", bytes(20)),),
        )
        with self.assertRaises(SdpError):
            one.peer.set_remote(weak)

    def test_a_wrong_certificate_is_reported_once(self) -> None:
        for is_offerer_wrong in (True, False):
            for setup in (Setup.ACTIVE, Setup.PASSIVE):
                network = Network(Clock())
                pair = self.new_pair(network)
                wrong = new_certificate().fingerprint
                offer = evolve(pair[0].peer.description, setup=setup)
                if is_offerer_wrong:
                    offer = evolve(offer, fingerprints=(wrong,))
                pair[1].peer.set_remote(offer)
                answer = pair[1].peer.description
                if not is_offerer_wrong:
                    answer = evolve(answer, fingerprints=(wrong,))
                pair[0].peer.set_remote(answer)
                run(network.clock, 60.0)
                at = 1 if is_offerer_wrong else 0
                self.assertEqual(pair[at].told, [PeerFailure.FINGERPRINT])
                # The other side may have connected before.
                rest = [one for one in pair[1 - at].told if one != "connected"]
                self.assertEqual(rest, [PeerFailure.CLOSED_BY_PEER])

    def test_a_missing_peer_is_reported_once_and_leaves_no_timer(self) -> None:
        network = Network(Clock())
        network.passes = lambda datagram: False
        pair = self.new_pair(network, lite=(False, True))
        self.introduce(*pair)
        run(network.clock, 100.0)
        self.assertEqual([user.told for user in pair], [[PeerFailure.NO_PATH]] * 2)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_missing_dtls_is_reported_once(self) -> None:
        network = Network(Clock())
        network.passes = lambda datagram: datagram[2][0] < 20
        pair = self.new_pair(network)
        self.introduce(*pair)
        run(network.clock, 100.0)
        kinds = {PeerFailure.DTLS_FAILED, PeerFailure.CONSENT_LOST}
        for user in pair:
            self.assertEqual(len(user.told), 1)
            self.assertLessEqual(set(user.told), kinds)
        self.assertIn([PeerFailure.DTLS_FAILED], [user.told for user in pair])
        self.assertEqual(network.clock.getDelayedCalls(), [])


class TalkingTests(PeerTestCase):
    def test_a_lost_path_is_reported_when_consent_expires(self) -> None:
        clock = Clock()
        network = Network(clock)
        pair = self.connect(network)
        run(clock, 60.0)
        network.passes = lambda datagram: False
        sent = len(network.sent)
        run(clock, 36.0, pair)
        for user in pair:
            self.assertEqual(user.told, ["connected", PeerFailure.CONSENT_LOST])
        # No close_notify is sent, as there is no consent.
        self.assertFalse([data for _, _, data in network.sent[sent:] if data[0] == 21])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_consent_keeps_a_call_of_ten_minutes_alive(self) -> None:
        network = Network(Clock(), seed=1, loss=0.1)
        pair = self.connect(network)
        run(network.clock, 600.0)
        self.talk(pair)

    def test_a_duplicate_packet_is_ignored(self) -> None:
        network = Network(Clock(), repeated=1.0)
        pair = self.connect(network)
        self.talk(pair)
        for user in pair:
            self.assertLess(user.heard.count(0x11) + user.heard.count(0x22), 21 * 160)
            self.assertGreater(user.stream.stats.dropped["srtp"], 15)

    def test_no_handshake_begins_before_ice_has_verified_the_peer(self) -> None:
        network = Network(Clock())
        one, other = self.new_pair(network, lite=(True, False))
        self.introduce(one, other)
        hellos = [data for _, _, data in network.sent if data[0] == 22]
        path = Path(one.sockets, "203.0.113.9", 9)
        network.passes = lambda datagram: False
        again, _ = self.new_pair(network, lite=(True, False))
        again.peer.set_remote(evolve(other.peer.description, setup=Setup.ACTIVE))
        sent = len(network.sent)
        for _ in range(100):
            again.peer.received(hellos[0], path._replace(local=again.sockets))
        self.assertEqual(len(network.sent), sent)
        self.assertIsNone(again.peer._handshake._dtls)

    def test_a_change_of_a_nat_s_port_is_followed(self) -> None:
        network = Network(Clock())
        pair = self.connect(network)
        one, other = pair
        # From now on the offerer's packets come from another port, and packets to the
        # old one are lost.
        old, new = one.sockets.address, (_OFFERER, 50000)
        arrives = network.arrives

        def translate(source: Address, target: Address, data: bytes) -> None:
            if target == old:
                return
            arrives(
                new if source == old else source, old if target == new else target, data
            )

        network.arrives = translate  # type: ignore[method-assign]
        run(network.clock, 25.0, pair)
        self.assertEqual([user.told for user in pair], [["connected"]] * 2)
        self.talk(pair)
        assert other.peer.path is not None
        self.assertEqual(other.peer.path.port, 50000)

    def test_packets_of_strangers_change_nothing(self) -> None:
        network = Network(Clock(), seed=5)
        pair = self.connect(network)
        for user in pair:
            for first in range(256):
                for host in ("203.0.113.9", _OFFERER, _ANSWERER):
                    for size in (0, 1, 20, 100):
                        data = bytes([first]) + network.random.randbytes(size)
                        user.peer.received(data, Path(user.sockets, host, 40000))
            user.peer.received(b"", Path(user.sockets, _OFFERER, 40000))
        self.talk(pair)
        self.assertEqual([user.told for user in pair], [["connected"]] * 2)

    def test_a_bug_in_a_receiver_ends_only_its_peer(self) -> None:
        network = Network(Clock())
        pair = self.connect(network)
        pair[0].stream.rtp_received = None  # type: ignore[assignment]
        pair[0].peer._rtp_received = lambda data, address: [][0]
        pair[1].stream.tick(network.clock.seconds(), 1)
        run(network.clock, 1.0)
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual(pair[0].told, ["connected", PeerFailure.BROKEN])
        self.assertEqual(pair[1].told, ["connected", PeerFailure.CLOSED_BY_PEER])


class ClosingTests(PeerTestCase):
    def setUp(self) -> None:
        # Existing objects are excluded, so that only this test's are examined.
        gc.freeze()
        self.addCleanup(gc.unfreeze)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 24), st.sampled_from(_LITE), st.booleans(), st.booleans())
    def test_it_can_be_closed_at_any_step_and_leaves_nothing(
        self, steps: int, lite: tuple[bool, bool], is_offerer: bool, is_told: bool
    ) -> None:
        clock = Clock()
        network = Network(clock)
        pair = list(self.new_pair(network, lite=lite))
        who = 0 if is_offerer else 1
        count = 0

        def passes(datagram: Datagram) -> bool:
            nonlocal count
            count += 1
            if count == steps:
                pair[who].peer.close()
            return True

        network.passes = passes
        if is_told:
            pair[who].on_told = pair[who].peer.close
        self.introduce(pair[0], pair[1])
        run(clock, 1.0)
        network.passes = lambda datagram: True
        one, other = pair[who], pair[1 - who]
        one.peer.close()
        one.peer.close()
        self.assertIn(one.told, ([], ["connected"]))
        self.assertNotIn(one.sockets.address, network.sockets)
        gone: list[weakref.ref[object]] = [
            weakref.ref(one.peer),
            weakref.ref(one),
            weakref.ref(one.sockets),
        ]
        del one
        pair.clear()
        gc.collect()
        # Its last packets may still be in transit.
        run(clock, 0.1)
        self.assertEqual([ref() for ref in gone], [None] * 3)
        run(clock, 100.0)
        failures = [told for told in other.told if told != "connected"]
        # An ICE-lite side without consent checks does not notice the end.
        is_content = lite[1 - who] and not failures
        self.assertTrue(is_content or len(failures) == 1, other.told)
        other.peer.close()
        run(clock, 0.1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_close_notify_is_reported_at_once(self) -> None:
        network = Network(Clock())
        one, other = self.connect(network)
        one.peer.close()
        run(network.clock, 0.1)
        self.assertEqual(other.told, ["connected", PeerFailure.CLOSED_BY_PEER])
        self.assertEqual(one.told, ["connected"])
        self.assertEqual(network.clock.getDelayedCalls(), [])
        one.peer.send(b"\x80\0", REMOTE)
        one.peer.received(b"\x80\0" + bytes(20), Path(one.sockets, _ANSWERER, 40000))
        one.peer.set_remote(other.peer.description)

    def test_if_one_socket_cannot_be_opened_all_are_closed(self) -> None:
        network = Network(Clock())
        user = new_user(network, _OFFERER, is_offerer=True)
        user.peer.close()

        peer = new_user(network, _ANSWERER, is_offerer=True).peer
        peer._sockets = (*peer._sockets, Unopened(network, (_OFFERER, 1)))
        with self.assertRaises(OSError):
            peer.start()
        self.assertEqual(network.sockets, {})
        self.assertTrue(peer.is_closed)


class Unopened(NetworkSockets):
    """A port that is already in use."""

    def join(self, peer: Peer) -> None:
        raise OSError("taken")
