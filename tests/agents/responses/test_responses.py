"""Each request is spoken once, even if the VAD requests responses as well."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from chime_gateway.settings.agent_profile import AgentProfile
from tests.support.realtime_session import SessionTestCase
from tests.support.responding_session import RespondingTestCase


class ResponsesTests(RespondingTestCase):
    """Single cases, some of which the property tests do not generate."""

    def test_the_start_of_words_is_reported_and_that_of_answers_is_not(self) -> None:
        self.open()
        self.session.say("Hello")
        self.started("words")
        self.done("words", "cancelled")
        self.started("answer")
        told = [entry for entry in self.log if entry[0] == "words_start"]
        self.assertEqual(told, [("words_start", "words")])

    def test_a_response_that_was_heard_or_called_a_tool_is_not_repeated(self) -> None:
        self.open()
        self.started("cut short")
        self.audio("cut short", "i")
        self.done("cut short", "incomplete")
        self.started("calls")
        self.receive(
            "response.function_call_arguments.done",
            response_id="calls",
            call_id="c",
            name="order",
            arguments="{}",
        )
        self.done("calls", "completed")
        self.started("calls by itself")
        self.receive("response.mcp_call.in_progress", item_id="m")
        self.done("calls by itself", "completed")
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.creates(), [])

    def test_text_that_was_not_spoken_is_deleted_from_the_conversation(
        self,
    ) -> None:
        self.open()
        self.started("r")
        self.receive(
            "response.output_text.done", response_id="r", item_id="i", text="Yes."
        )
        self.done("r", "completed")
        self.clock.advance(0.6)
        self.assertEqual(
            self.sent()[-2:], ["conversation.item.delete", "response.create"]
        )
        self.receive("conversation.item.deleted", item_id="i")
        self.clock.pump([1.0] * 20)
        self.assertNotIn("unanswered.delete", self.notes())

    @given(
        code=st.sampled_from(("server_error", "rate_limit_exceeded", "invalid_value")),
        after=st.floats(0.0, 2.0),
        answers_in=st.one_of(st.none(), st.floats(0.0, 0.4)),
        is_speaking=st.booleans(),
    )
    @example("server_error", 0.0, None, False)
    @example("server_error", 0.0, 0.3, False)
    def test_an_error_instead_of_the_vad_s_answer_is_a_failed_answer(
        self, code: str, after: float, answers_in: float | None, is_speaking: bool
    ) -> None:
        """The error names no command, as the VAD's requests have none."""
        self.setUp()
        self.open()
        self.receive("input_audio_buffer.speech_started", item_id="t")
        self.receive("input_audio_buffer.speech_stopped", item_id="t")
        self.clock.advance(after)
        if is_speaking:
            self.receive("input_audio_buffer.speech_started", item_id="u")
        self.error(code)
        if answers_in is not None:
            # The error was about something else.
            self.clock.advance(answers_in)
            self.started("answer")
            self.audio("answer", "i")
            self.done("answer", "completed")
        self.clock.pump([0.1] * 30)
        is_failed = code != "invalid_value" and after < 1.0 and not is_speaking
        count = 1 if is_failed and answers_in is None else 0
        self.assertEqual(len(self.creates()), count)
        if count:
            self.error(code)
            self.clock.pump([0.1] * 50)
            is_stuck = code == "server_error"
            self.assertEqual(len(self.failures()), int(is_stuck))

    def test_words_that_failed_half_way_are_repeated(self) -> None:
        self.open()
        self.session.say("This call is recorded.")
        self.started("r")
        self.audio("r", "i")
        self.done("r", "failed")
        self.clock.advance(0.6)
        self.assertEqual(self.creates(), ["This call is recorded."] * 2)

    def test_a_response_that_starts_while_the_caller_speaks_is_stopped(self) -> None:
        self.open()
        self.session.say("Hello")
        name = self.socket.names[-1]
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.started("r", metadata={"asked_as": name})
        cancel = {"type": "response.cancel", "response_id": "r"}
        self.assertIn(("send", cancel), self.log)
        self.audio("r", "i")
        self.assertIn(("audio_dropped", "stale", 3), self.log)
        self.done("r", "cancelled")
        self.assertIn("conversation.item.truncate", self.sent())
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "j")
        self.done("to the turn", "completed")
        self.assertEqual(self.creates(), ["Hello", "Hello"])

    def test_a_result_known_to_the_turn_s_answer_gets_no_second_answer(self) -> None:
        self.open()
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.session.tool_result("c", "{}")
        self.session.respond()
        item = {"type": "function_call_output", "call_id": "c"}
        self.receive("conversation.item.added", item=item)
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "i")
        self.done("to the turn", "completed")
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.creates(), [])

    def test_a_result_unknown_to_the_turn_s_answer_gets_its_own_answer(self) -> None:
        self.open()
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.session.tool_result("c", "{}")
        self.session.respond()
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "i")
        self.done("to the turn", "completed")
        self.assertEqual(self.creates(), [""])

    def test_a_request_that_is_always_blocked_is_given_up_eventually(self) -> None:
        for ask, most in (("say", 11), ("respond", 2)):
            with self.subTest(ask):
                self.setUp()
                self.open()
                for number in range(20):
                    if number == 0:
                        getattr(self.session, ask)(*(["Hello"] if ask == "say" else []))
                    event_id = self.socket.ids[-1]
                    self.started(f"r{number}", metadata={"asked_as": "another"})
                    self.audio(f"r{number}", "i")
                    code = "conversation_already_has_active_response"
                    self.receive("error", error={"code": code, "event_id": event_id})
                    self.done(f"r{number}", "completed")
                self.assertEqual(len(self.creates()), most)
                causes = [("busy", 0.0)] if ask == "say" else []
                self.assertEqual(self.failures(), causes)

    def test_a_service_that_refuses_names_gets_none(self) -> None:
        self.open()
        self.session.respond()
        message = "Unknown parameter: 'response.metadata'."
        error = {"code": "unknown_parameter", "event_id": self.socket.ids[-1]}
        self.receive("error", error={**error, "message": message})
        self.clock.advance(1.6)
        self.assertEqual(self.socket.names[-2:], ["wanted_1", ""])

    def test_a_filler_that_cannot_be_said_now_is_dropped(self) -> None:
        self.open()
        self.started("r")
        self.session.interject("One moment")
        self.audio("r", "i")
        self.done("r", "completed")
        self.session.interject("One moment")
        self.error("server_error")
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.creates()), 1)

    def test_a_closed_session_sends_no_requests(self) -> None:
        self.open()
        self.started("r")
        self.done("r", "failed")
        self.session.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class UninterruptibleResponsesTests(SessionTestCase):
    profile = AgentProfile(instructions="", interruptible=False)

    def test_a_caller_who_cannot_interrupt_is_answered_afterwards(self) -> None:
        self.open()
        self.session.say("Hello")
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.receive("response.created", response={"id": "r"})
        self.audio("r", "i")
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.error("conversation_already_has_active_response")
        self.receive("response.done", response={"id": "r", "status": "completed"})
        self.clock.advance(1.1)
        self.assertIn(("agent_audio", "r", "i", 0, 3), self.log)
        creates = [entry[1] for entry in self.log if entry[0] == "send"]
        self.assertEqual(creates[1:], [{"type": "response.create"}])
