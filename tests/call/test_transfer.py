"""Transfers of callers."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.errors import TransferFailed
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from tests.support.conversation import GONE, SECOND, ConversationTestCase


class TransferTests(ConversationTestCase):
    def transfer(self) -> None:
        self.response(("transfer_call", {"target": "office"}), speech=SECOND)
        self.done()

    def test_the_caller_is_transferred_once_the_announcement_was_heard(self) -> None:
        self.transfer()
        self.run_for(0.9)
        self.assertEqual(self.called("leg.transfer"), [])
        self.run_for(0.2)
        self.assertEqual(self.called("leg.transfer"), [("leg.transfer", "+15559999")])
        self.leg.transferring.callback(None)
        self.assertEqual(self.ending().outcome, Outcome.TRANSFERRED)
        (note,) = self.measures.records[0].transfers
        self.assertEqual((note.target, note.outcome), ("office", "transferred"))

    def test_a_failed_transfer_is_reported_to_the_agent_who_keeps_the_caller(
        self,
    ) -> None:
        self.transfer()
        self.run_for(1.1)
        self.leg.transferring.errback(TransferFailed("busy"))
        self.assertEqual(self.result("c1"), {"error": "busy"})
        self.assertEqual(self.log[-1], ("agent.respond",))
        self.assertEqual(len(self.table.calls()), 1)
        (note,) = self.call.record.transfers
        self.assertEqual((note.outcome, note.reason), ("failed", "busy"))
        self.assertIn("call.transfer_failed", self.kinds())

    def test_only_named_targets_can_be_chosen(self) -> None:
        self.response(("transfer_call", {"target": "+19005551234"}))
        self.assertIn("target", self.result("c1")["error"])
        self.run_for(1)
        self.assertEqual(self.called("leg.transfer"), [])

    def test_a_disallowed_transfer_is_reported_to_the_agent(self) -> None:
        refused = self.failureResultOf(self.call.transfer("+19005551234"))
        self.assertIn("premium", refused.getErrorMessage())
        said = self.call.transfer_when_said("x", "sip:+19005551234@pbx.example")
        self.assertIn("premium", self.failureResultOf(said).getErrorMessage())
        self.run_for(5)
        self.assertEqual(self.called("leg.transfer"), [])
        self.assertEqual(self.kinds().count("call.transfer_failed"), 2)
        self.assertEqual(self.call.record.transfers[0].outcome, "failed")
        self.assertEqual(len(self.table.calls()), 1)

    def test_a_caller_who_speaks_before_the_transfer_stays(self) -> None:
        self.transfer()
        self.run_for(0.5)
        self.talk.speech_started("u")
        self.run_for(2)
        self.assertEqual(self.called("leg.transfer"), [])
        self.assertIn("spoke", self.result("c1")["error"])

    def test_a_second_transfer_is_refused_at_once(self) -> None:
        self.transfer()
        self.run_for(1.1)
        self.talk.tool_called("r2", "c9", "transfer_call", '{"target":"office"}')
        self.assertIn("under way", self.result("c9")["error"])

    def test_a_caller_who_hangs_up_during_a_transfer_ends_the_call(self) -> None:
        self.transfer()
        self.run_for(1.1)
        self.call.leg_ended(GONE)
        self.assertEqual(self.ending(), GONE)
        self.leg.transferring.errback(TransferFailed("too late"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_an_agent_lost_during_a_transfer_does_not_stop_it(self) -> None:
        self.transfer()
        self.run_for(1.1)
        self.talk.agent_lost("broken")
        self.run_for(5)
        self.assertEqual(len(self.table.calls()), 1)
        self.leg.transferring.callback(None)
        self.assertEqual(self.ending().outcome, Outcome.TRANSFERRED)

    def test_a_failed_transfer_of_an_operator_is_reported_to_the_agent(self) -> None:
        done = self.call.transfer("+15551111")
        self.leg.transferring.errback(TransferFailed("no answer"))
        self.failureResultOf(done, TransferFailed)
        ((_, text, is_order),) = self.called("agent.tell")
        self.assertIn("no answer", text)
        self.assertTrue(is_order)
        self.assertEqual(self.log[-1], ("agent.respond",))

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(st.sampled_from(("leave", "wait", "busy", "taken")), max_size=6),
    )
    def test_an_operator_who_disconnects_changes_nothing(
        self, steps: list[str]
    ) -> None:
        self.setUp()
        told: list[Any] = []
        done = self.call.transfer("+15551111")
        done.addBoth(told.append)
        before = len(self.called("agent.tell"))
        outcome = ""
        for step in steps:
            if step == "leave":
                done.cancel()
            elif step == "wait":
                self.run_for(0.5)
            elif not outcome and step == "busy":
                outcome = step
                self.leg.transferring.errback(TransferFailed("busy"))
            elif not outcome:
                outcome = step
                self.leg.transferring.callback(None)
        # The agent is told of the result, and of nothing else.
        told_agent = len(self.called("agent.tell")) - before
        self.assertEqual(told_agent, int(outcome == "busy"))
        self.assertEqual(len(self.table.calls()), int(outcome != "taken"))
        self.assertEqual(len(self.call.record.transfers), 1)


class FallbackTests(ConversationTestCase):
    profile = AgentProfile(fallback="office", fallback_address="+15559999")

    def test_a_caller_whose_agent_is_lost_is_transferred_to_the_fallback(self) -> None:
        self.talk.agent_audio("r", "i", 0, SECOND)
        self.talk.agent_lost("the session broke")
        self.run_for(0.9)
        self.assertEqual(self.called("leg.transfer"), [])
        self.run_for(0.2)
        self.assertEqual(self.called("leg.transfer"), [("leg.transfer", "+15559999")])
        self.leg.transferring.callback(None)
        self.assertEqual(self.ending().outcome, Outcome.TRANSFERRED)

    def test_without_a_fallback_the_call_ends_for_its_first_reason(self) -> None:
        self.talk.agent_lost("the session broke")
        self.run_for(0.1)
        self.leg.transferring.errback(TransferFailed("busy"))
        self.assertEqual(self.ending(), Ending(Outcome.AGENT_LOST, "the session broke"))
        self.assertIn(("leg.hang_up", Outcome.AGENT_LOST), self.log)

    def test_the_fallback_takes_calls_that_never_had_an_agent(self) -> None:
        from chime_gateway.errors import AgentUnavailable

        self.call.leg_ended(GONE)
        self.measures.records.clear()
        call: Any = self.table.incoming(self.leg)
        self.agents.opening[-1].errback(AgentUnavailable("throttled"))
        self.clock.advance(0.02)
        self.assertEqual(self.called("leg.transfer"), [("leg.transfer", "+15559999")])
        call.leg_ended(GONE)
        self.leg.transferring.errback(TransferFailed("gone"))
