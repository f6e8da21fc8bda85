"""Events in a data channel, which its user sees as a socket."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.channel import LABEL, EventsChannel
from chime_gateway.wire.sdp.data_channel import RemoteChannel
from chime_gateway.wire.webrtc.sctp import dcep
from tests.agents.webrtc.test_sideband import Session
from tests.support.data_channels import Taker


class EventsChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.passes = True
        self.taker = Taker(random.Random(1))
        self.session = Session()
        self.socket = EventsChannel(self.clock, self.sends)
        self.socket.session = self.session
        self.socket.start(RemoteChannel(5000, 50_000), is_dtls_client=False)
        self.clock.pump([0.01] * 20)

    def sends(self, packet: bytes) -> None:
        if self.passes:
            self.clock.callLater(0.01, self.taken, packet)

    def taken(self, packet: bytes) -> None:
        self.taker.received(self.clock.seconds(), packet)
        self.carry()

    def carry(self) -> None:
        for packet in self.taker.take():
            self.clock.callLater(0.01, self.socket.received, packet)

    def say(self, text: bytes) -> None:
        self.taker.say(self.clock.seconds(), 1, dcep.TEXT, text)
        self.carry()
        self.clock.pump([0.01] * 50)

    def log(self) -> list[Any]:
        return [entry[0] for entry in self.session.log]

    def test_it_is_opened_with_the_service_s_label(self) -> None:
        self.assertEqual(self.session.log, [("opened", self.socket)])
        self.assertEqual(self.taker.labels, {1: LABEL.encode()})

    def test_messages_of_any_length_go_both_ways(self) -> None:
        self.assertTrue(self.socket.send_message(b"{}" * 20_000))
        self.say(b"[]" * 30_000)
        self.assertEqual(self.taker.texts, [b"{}" * 20_000])
        self.assertEqual(self.session.log[1:], [("message", b"[]" * 30_000)])

    def test_a_command_that_is_too_long_ends_the_session_in_a_later_turn(self) -> None:
        self.assertFalse(self.socket.send_message(bytes(50_001)))
        self.assertEqual(self.log(), ["opened"])
        self.clock.advance(0.1)
        self.assertEqual(self.log(), ["opened", "closed"])
        self.assertIn("more than the 50000 bytes", self.session.log[1][1])

    def test_a_service_that_stops_reading_is_reported(self) -> None:
        self.passes = False
        while self.socket.send_message(bytes(50_000)):
            self.assertLess(len(self.session.log), 2)
        self.assertEqual(self.log(), ["opened", "stalled"])
        self.assertFalse(self.socket.send_message(b"{}"))
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.log(), ["opened", "stalled", "closed"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_its_end_is_reported_once_whichever_side_ends_it(self) -> None:
        self.taker.association.close()
        self.carry()
        self.clock.pump([0.01] * 10)
        self.socket.close(1000, "")
        self.clock.pump([0.01] * 10)
        self.assertEqual(self.log(), ["opened", "closed"])
        self.assertIn("ABORT", self.session.log[1][1])

    def test_the_service_notices_when_the_gateway_closes_it(self) -> None:
        self.socket.close(1000, "")
        self.socket.close(1000, "")
        self.clock.pump([0.01] * 10)
        self.assertEqual(self.log(), ["opened", "closed"])
        self.assertIn("ABORT", self.taker.association.failure)
        self.assertEqual(self.clock.getDelayedCalls(), [])
