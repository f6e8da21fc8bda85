"""Requests of operators, and the events of a conversation, on fakes and one clock."""

from __future__ import annotations

from chime_gateway.call.reports.event_json import live_call_json
from tests.support.conversation import GONE, SECOND, ConversationTestCase


class OperatorTests(ConversationTestCase):
    def test_an_operator_s_text_is_said_at_once(self) -> None:
        self.response(speech=SECOND)
        self.assertTrue(self.call.say("We close in five minutes."))
        self.assertIn(("leg.clear",), self.log)
        ((_, words),) = self.called("agent.say")
        self.assertTrue(words.endswith("We close in five minutes."))

    def test_an_instruction_waits_for_the_next_turn_unless_requested_otherwise(
        self,
    ) -> None:
        self.assertTrue(self.call.instruct("Offer a discount.", False))
        self.assertEqual(self.log, [("agent.tell", "Offer a discount.", True)])
        self.call.instruct("Now.", True)
        self.assertEqual(self.log[-1], ("agent.respond",))

    def test_a_call_that_is_ending_accepts_no_more_texts(self) -> None:
        self.call.part(GONE)
        self.assertFalse(self.call.say("More"))
        self.assertFalse(self.call.instruct("More", True))

    def test_the_snapshot_shows_the_transcript_so_far(self) -> None:
        self.talk.agent_said("i", "Hello", True)
        shown = self.call.snapshot()
        self.assertEqual(live_call_json(shown)["state"], "live")
        self.assertEqual(shown.transcript[0].text, "Hello")


class EventTests(ConversationTestCase):
    def test_a_call_reports_its_events_in_order(self) -> None:
        self.talk.speech_started("u")
        self.run_for(0.5)
        self.talk.speech_stopped("u")
        self.talk.caller_said("u", "Hello?")
        self.run_for(0.6)
        self.talk.response_started("r")
        self.talk.agent_audio("r", "i", 0, SECOND)
        self.talk.agent_said("i", "Good morning", True)
        self.talk.response_done("r", "completed", "", {})
        self.run_for(1.6)
        self.call.leg_ended(GONE)
        self.assertEqual(
            self.kinds(),
            [
                *("call.started", "call.answered"),
                *("turn.completed", "turn.completed", "call.ended"),
            ],
        )
        self.assertEqual([event.number for event in self.events], [1, 2, 3, 4, 5])
        agent = self.heard(self.events[3])
        self.assertEqual((agent.heard_ms, agent.spoken_ms), (1000, 1000))
        self.assertFalse(agent.interrupted)

    def test_an_interrupted_turn_reports_what_was_heard(self) -> None:
        self.talk.response_started("r")
        self.talk.agent_audio("r", "i", 0, SECOND * 2)
        self.talk.agent_said("i", "one two three four", True)
        self.run_for(1.0)
        self.talk.speech_started("u")
        self.run_for(0.6)
        (event,) = [e for e in self.events if e.kind == "turn.completed"]
        heard = self.heard(event)
        self.assertTrue(heard.interrupted)
        self.assertApproximates(heard.heard_ms, 1000, 40)
        self.assertEqual(heard.heard_text, "one two")

    def test_a_turn_cut_by_hanging_up_reports_what_was_heard(self) -> None:
        self.talk.response_started("r")
        self.talk.agent_audio("r", "i", 0, SECOND * 2)
        self.run_for(0.5)
        self.call.leg_ended(GONE)
        (turn,) = self.transcript()
        assert turn.heard is not None
        self.assertTrue(turn.heard.interrupted)
        self.assertApproximates(turn.heard.heard_ms, 500, 40)
