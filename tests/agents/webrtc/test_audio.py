"""The audio of a session, against the simulated service, in memory."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.audio import CONNECT_SECONDS
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.voices import Parrot
from tests.support.rtc_network import Network
from tests.support.virtual_webrtc import RtcAgents


class PartingTests(SynchronousTestCase):
    @settings(max_examples=10, deadline=None)
    @example(False, 0.0)
    @example(True, 0.0)
    @given(st.booleans(), st.floats(0.0, 0.3))
    def test_a_call_without_a_known_id_is_closed_by_dtls(
        self, is_blocked: bool, closed_after: float
    ) -> None:
        """At whatever point its session is closed, and even if nothing gets through."""
        clock = Clock()
        agents = RtcAgents(clock, Parrot(), Behaviour(), False, Network(clock, 1))
        audio = agents.new_audio()
        told: list[str] = []
        audio.path_lost = lambda: told.append("lost")
        call, answer = agents.answer(audio.offer())
        if is_blocked:
            agents.network.loss = 1.0
        audio.answered(answer)
        audio.part()
        clock.callLater(closed_after, audio.close)
        for _ in range(round((CONNECT_SECONDS + 1.0) / 0.01)):
            clock.advance(0.01)
        # Without any packet from the service it ends by its time limit.
        self.assertEqual(call.ended, "" if is_blocked else "close_notify")
        self.assertEqual(told, [])
        call.end("the test is over")
        self.assertEqual(clock.getDelayedCalls(), [])
