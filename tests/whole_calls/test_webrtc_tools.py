"""
Whole calls whose agent is reached over WebRTC: servers of tools that the service calls
itself, transfers, and usage.
"""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.tools.transfer_call import TransferCall
from chime_gateway.carriers.media_stream.leg import StreamLeg
from chime_gateway.codec.registry import decode
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import McpServer, Target
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import heard, spoken
from tests.support.virtual import VirtualCall
from tests.support.virtual_webrtc import VirtualRtcCall
from tests.whole_calls.test_conversations import script
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

OFFICE = Target(address="sip:office@example.com", description="Open from 9 to 5.")


class ServerTests(SynchronousTestCase):
    """MCP servers."""

    def test_their_results_are_answered_once(self) -> None:
        for name in ("look_up", "fail_up"):
            server = McpServer(
                name="crm", url="https://crm.example/mcp", allowed_tools=(name,)
            )
            plan = CallPlan(
                utterances=(
                    spoken(PCMU, f"Say I look it up. Call {name}."),
                    spoken(PCMU, "Goodbye."),
                ),
                answer_seconds=20.0,
            )
            call = VirtualRtcCall(
                plan, voice=Answering(), profile=AgentProfile(mcp_servers=(server,))
            )
            report = call.run()
            sentences = heard(PCMU, bytes(report.heard))
            texts = [one.text for one in sentences if one.is_whole]
            self.assertEqual(texts[0], "I look it up.")
            self.assertEqual(texts[-1], "Goodbye.")
            self.assertEqual(len(texts), len(set(texts)), texts)
            if name == "look_up":
                self.assertEqual(texts[1], "The result is look_up is done.")
            (session,) = call.agents.sessions
            self.assertEqual((session.log.errors, session.log.violations), ([], []))


class TransferTests(SynchronousTestCase):
    @settings(max_examples=5, deadline=None)
    @example(0.04)
    @given(st.floats(0.1, 8.0))
    def test_the_caller_is_transferred_after_hearing_the_announcement(
        self, seconds: float
    ) -> None:
        voice = script(
            [
                {"tone": 440, "seconds": seconds, "say": "I connect you."},
                {"call": "transfer_call", "arguments": {"target": "office"}},
            ]
        )
        profile = AgentProfile(tools=(TransferCall(),), targets={"office": OFFICE})
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=20.0)
        call = VirtualRtcCall(plan, voice=voice, profile=profile)
        loud: list[float] = []

        def transfer(leg: Any, target: str) -> Deferred[None]:
            self.assertEqual(target, OFFICE.address)
            samples = decode(PCMU, bytes(call.line.playout.heard)).astype(int)
            loud.append(float((abs(samples) > 1000).sum()) / 8000)
            done: Deferred[None] = Deferred()
            call.clock.callLater(0.5, done.callback, None)
            return done

        self.patch(StreamLeg, "transfer", transfer)
        call.run()
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.TRANSFERRED)
        (at_transfer,) = loud
        self.assertApproximates(at_transfer, seconds, 0.1 * seconds + 0.05)
        (rtc,) = call.rtc.calls
        self.assertTrue(rtc.ended)


class UsageTests(SynchronousTestCase):
    def test_usage_is_the_same_as_over_the_websocket(self) -> None:
        plan = CallPlan(utterances=(phrase(PCMU, *LONG), phrase(PCMU, *SHORT)))
        paid = []
        for kind in (VirtualCall, VirtualRtcCall):
            call = kind(plan)
            call.run()
            (record,) = call.measures.records
            paid.append(dict(record.tokens))
        self.assertGreater(paid[0]["output_tokens"], 0)
        self.assertEqual(paid[0].keys(), paid[1].keys())
        self.assertEqual(*(one["output_tokens"] for one in paid))
