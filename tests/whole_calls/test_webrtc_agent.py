"""Whole calls in memory with an agent over WebRTC, on good and bad networks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.outcomes import Outcome
from chime_gateway.sim.caller.caller import CallReport
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.wire.webrtc.stun import decode as decode_stun
from tests.support.rtc_network import Datagram
from tests.support.virtual_webrtc import SERVICE, VirtualRtcCall
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase, plan


class RtcAgentTests(SynchronousTestCase):
    def assert_as_it_should_be(self, call: VirtualRtcCall) -> None:
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED)
        self.assertEqual(len(call.agents.sessions), 1)
        (session,) = call.agents.sessions
        self.assertEqual(session.log.violations, [])
        self.assertNotIn("conversation.item.truncate", session.log.commands)
        (rtc,) = call.rtc.calls
        self.assertTrue(rtc.ended)

    def last_likeness(self, report: CallReport, *pitches: float) -> float:
        said = decode(PCMU, phrase(PCMU, *pitches))
        return correlation(said, decode(PCMU, bytes(report.heard)))[0]

    def test_the_caller_hears_what_it_said(self) -> None:
        for is_raw in (False, True):
            with self.subTest(is_raw=is_raw):
                call = VirtualRtcCall(plan(), is_raw=is_raw)
                report = call.run()
                self.assert_as_it_should_be(call)
                self.assertGreater(self.last_likeness(report, *LONG), 0.99)

    def test_the_service_cuts_at_what_it_has_sent(self) -> None:
        call = VirtualRtcCall(plan(interrupt_after=0.8))
        report = call.run()
        self.assert_as_it_should_be(call)
        (cut,) = report.interruptions
        ((item_id, told_ms, _),) = call.agents.sessions[0].log.truncations
        spoken = call.agents.sessions[0].log.spoken[item_id]
        self.assertEqual(told_ms, len(spoken) // 8)
        # Audio in transit or in buffers was not heard: never more than was sent.
        self.assertLessEqual(cut.heard_ms, told_ms)
        self.assertEqual(report.stale_bytes, 0)
        self.assertGreater(self.last_likeness(report, *SHORT), 0.99)

    @settings(max_examples=4, deadline=None)
    @given(st.integers(0, 2**20), st.sampled_from([0.0, 0.1]), st.floats(0.0, 3.0))
    def test_a_service_may_answer_only_checks_that_nominate(
        self, seed: int, loss: float, since: float
    ) -> None:
        """It nominates from the first check, or some seconds later."""
        call = VirtualRtcCall(plan(), seed=seed)
        deaf_at = since if since > 1.0 else 0.0

        def passes(datagram: Datagram) -> bool:
            _, to, data = datagram
            if to != SERVICE or data[0] > 3 or call.clock.seconds() < deaf_at:
                return True
            return decode_stun(data).use_candidate

        call.rtc.network.passes = passes
        call.clock.callLater(1.0, vars(call.rtc.network).update, {"loss": loss})
        report = call.run()
        self.assert_as_it_should_be(call)
        self.assertTrue(report.answer_latencies)

    @settings(max_examples=5, deadline=None)
    @given(
        st.floats(0.1, 1.6),
        st.integers(0, 2**20),
        st.sampled_from([0.0, 0.02, 0.1]),
        st.sampled_from([0.0, 0.05]),
        st.sampled_from([0.0, 0.01, 0.03]),
    )
    def test_the_call_continues_whatever_the_network_does(
        self,
        interrupt_after: float,
        seed: int,
        loss: float,
        repeated: float,
        spread: float,
    ) -> None:
        call = VirtualRtcCall(plan(interrupt_after=interrupt_after), seed=seed)
        # OpenSSL repeats lost parts of a handshake by its own clock.
        weather = {"loss": loss, "repeated": repeated, "spread": spread}
        call.clock.callLater(1.0, vars(call.rtc.network).update, weather)
        report = call.run()
        self.assert_as_it_should_be(call)
        self.assertEqual(report.stale_bytes, 0)
        self.assertTrue(report.answer_latencies)
        truncations = call.agents.sessions[0].log.truncations
        for cut, (_, told_ms, _) in zip(
            report.interruptions, truncations, strict=False
        ):
            self.assertLessEqual(cut.heard_ms, told_ms)
