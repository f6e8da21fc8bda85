"""The built-in tools."""

from __future__ import annotations

import json

from attrs import evolve

from chime_gateway.call.reports.event_json import payload_json
from chime_gateway.outcomes import Outcome
from tests.support.conversation import GONE, PROFILE, SECOND, ConversationTestCase


class EndCallTests(ConversationTestCase):
    def test_the_call_ends_when_the_goodbye_was_heard(self) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.done()
        self.run_for(0.9)
        self.assertEqual(self.called("leg.hang_up"), [])
        self.run_for(0.2)
        self.assertEqual(self.ending().outcome, Outcome.COMPLETED)
        self.assertEqual(self.ending().reason, "the agent ended the call")
        self.assertEqual(self.called("agent.respond"), [])

    def test_an_agent_that_said_nothing_is_asked_for_a_goodbye(self) -> None:
        self.talk.speech_started("u")
        self.talk.speech_stopped("u")
        self.clock.advance(0.1)
        self.response(("end_call", {}))
        self.done()
        ((_, words),) = self.called("agent.last_words")
        self.assertIn("goodbye", words)
        self.talk.last_words_start("bye")
        self.talk.response_started("bye")
        self.talk.agent_audio("bye", "b", 0, SECOND)
        self.talk.response_done("bye", "completed", "", {})
        self.run_for(1.1)
        self.assertEqual(self.ending().reason, "the agent ended the call")

    def test_the_wait_for_an_unheard_goodbye_is_limited(self) -> None:
        self.talk.speech_stopped("u")
        self.clock.advance(0.1)
        self.response(("end_call", {}))
        self.done()
        self.run_for(4.6)
        self.assertEqual(self.ending().outcome, Outcome.COMPLETED)

    def test_a_caller_who_speaks_before_the_last_words_were_heard_stays(self) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.done()
        self.run_for(0.5)
        self.talk.speech_started("u")
        self.assertEqual(self.called("agent.close", "leg.hang_up"), [])
        self.assertEqual(len(self.called("agent.truncate")), 1)
        ((_, order, is_order),) = self.called("agent.tell")
        self.assertIn("goes on", order)
        self.assertTrue(is_order)
        self.run_for(1.0)
        self.talk.speech_stopped("u")
        self.run_for(1.0)
        self.assertEqual(len(self.table.calls()), 1)

    def test_a_caller_who_presses_a_key_before_the_last_words_were_heard_stays(
        self,
    ) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.done()
        self.run_for(0.5)
        self.call.digit_pressed("1")
        self.run_for(2.5)
        self.assertEqual(len(self.table.calls()), 1)
        self.assertEqual(self.called("agent.respond"), [("agent.respond",)])

    def test_an_agent_that_is_lost_after_its_last_words_has_hung_up(self) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.done()
        self.run_for(0.5)
        self.talk.agent_lost("the session expired")
        self.run_for(0.6)
        self.assertEqual(self.ending().reason, "the agent ended the call")

    def test_a_response_that_is_never_done_does_not_keep_the_call_open(self) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.run_for(5.1)
        self.assertEqual(self.ending().reason, "the agent ended the call")


class UninterruptedEndCallTests(ConversationTestCase):
    profile = evolve(PROFILE, interruptible=False)

    def test_the_last_words_cannot_be_interrupted(self) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.talk.speech_started("u")
        self.done()
        self.run_for(1.1)
        self.assertEqual(self.ending().reason, "the agent ended the call")


class DigitTests(ConversationTestCase):
    def press(self, digits: str) -> None:
        for digit in digits:
            self.call.digit_pressed(digit)

    def test_keys_reach_the_agent_as_text(self) -> None:
        self.press("12#")
        self.assertEqual(
            self.log,
            [
                ("agent.tell", "[The caller pressed 12# on the keypad]", False),
                ("agent.respond",),
            ],
        )

    def test_a_key_silences_the_agent(self) -> None:
        self.response(speech=SECOND)
        self.press("1")
        self.assertIn(("leg.clear",), self.log)
        self.assertIn(("agent.cancel",), self.log)
        self.assertEqual(len(self.called("agent.truncate")), 1)

    def test_digits_are_collected_for_the_agent_only(self) -> None:
        self.response(("collect_digits", {"max_digits": 6}))
        self.done()
        self.press("4711#")
        self.assertEqual(
            self.result("c1"), {"digits": "4711", "ended_by": "terminator"}
        )
        self.assertEqual(self.called("agent.tell"), [])
        self.call.leg_ended(GONE)
        everything = json.dumps([payload_json(event.payload) for event in self.events])
        self.assertNotIn("4711", everything)

    def test_a_timeout_without_digits_is_reported(self) -> None:
        self.response(("collect_digits", {"timeout_seconds": 2}))
        self.done()
        self.run_for(2.1)
        self.assertEqual(self.result("c1"), {"digits": "", "ended_by": "timeout"})

    def test_the_agent_can_press_keys(self) -> None:
        self.response(("send_digits", {"digits": "1#"}))
        self.assertIn(("leg.send_digits", "1#"), self.log)
        self.assertEqual(self.result("c1"), {"ok": True})

    def test_an_invalid_key_is_not_pressed(self) -> None:
        self.response(("send_digits", {"digits": "1;drop"}))
        self.assertEqual(self.called("leg.send_digits"), [])
        self.assertIn("digits", self.result("c1")["error"])

    def test_a_call_that_ends_during_a_question_closes_it(self) -> None:
        self.response(("collect_digits", {}))
        self.call.leg_ended(GONE)
        self.assertEqual(self.flushLoggedErrors(), [])
