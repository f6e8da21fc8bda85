from __future__ import annotations

from chime_gateway.audio import L16_16000, L16_24000, PCMU
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from tests.support.realtime_session import SessionTestCase


class AzureSessionTests(SessionTestCase):
    def test_it_is_ready_when_the_service_has_accepted_the_settings(self) -> None:
        self.session.opened(self.socket)
        self.assertEqual(self.log, [])
        self.receive("session.created", session={"id": "s", "expires_at": 99})
        self.assertEqual(self.sent(), ["session.update"])
        self.assertNoResult(self.session.ready)
        self.receive("session.updated", session={})
        self.assertIs(self.successResultOf(self.session.ready), self.session)
        self.assertEqual(self.session.traits.expires_at, 99)

    def test_the_leg_s_codec_is_used_if_the_service_supports_it(self) -> None:
        self.assertIs(self.new_session(PCMU).traits.codec, PCMU)
        self.assertIs(self.new_session(L16_16000).traits.codec, L16_24000)

    def test_audio_flows_in_both_directions(self) -> None:
        self.open()
        self.session.send_audio(b"abc")
        append = {"type": "input_audio_buffer.append", "audio": "YWJj"}
        self.assertEqual(self.log, [("send", append)])
        self.audio("r", "i")
        self.assertEqual(self.events.audio, b"xyz")

    def test_audio_that_a_slow_service_cannot_take_is_counted(self) -> None:
        self.open()
        self.socket.is_full = True
        self.session.send_audio(b"abc")
        self.assertEqual(self.log, [("audio_dropped", "agent_slow", 3)])

    def test_events_reach_the_call(self) -> None:
        self.open()
        self.receive("input_audio_buffer.speech_started", audio_start_ms=1, item_id="u")
        self.receive("input_audio_buffer.speech_stopped", audio_end_ms=2, item_id="u")
        self.receive("response.created", response={"id": "r"})
        self.audio("r", "i")
        self.receive("response.output_audio.done", item_id="i")
        self.receive(
            "response.output_audio_transcript.done", item_id="i", transcript="Hi"
        )
        self.receive(
            "conversation.item.input_audio_transcription.completed",
            item_id="u",
            transcript="Hello",
        )
        self.receive("rate_limits.updated", rate_limits=[])
        self.receive("event.of.the.future")
        self.receive("response.done", response={"id": "r", "status": "completed"})
        self.assertEqual(
            self.log,
            [
                ("speech_started", "u"),
                ("speech_stopped", "u"),
                ("response_started", "r"),
                ("agent_audio", "r", "i", 0, 3),
                ("agent_audio_done", "i"),
                ("agent_said", "i", "Hi", True),
                ("caller_said", "u", "Hello"),
                ("oddity_seen", "event.of.the.future"),
                ("response_done", "r", "completed", ""),
            ],
        )

    def test_a_response_that_was_taken_for_the_goodbye_does_not_end_as_one(
        self,
    ) -> None:
        """The response was complete before it could be cancelled."""
        self.open()
        self.session.say("Goodbye.", is_last=True)
        code = "conversation_already_has_active_response"
        error = {"code": code, "event_id": self.socket.ids[-1]}
        self.receive("response.created", response={"id": "r"})
        self.audio("r", "i")
        self.receive("error", error=error)
        self.receive("response.done", response={"id": "r", "status": "completed"})
        self.assertIn(("response_done", "r", "cancelled", ""), self.log)
        self.assertEqual(self.sent().count("response.create"), 2)

    def test_say_cancels_the_active_response_and_waits_for_it(self) -> None:
        self.open()
        self.receive("response.created", response={"id": "r"})
        self.session.say("Goodbye")
        self.assertEqual(self.sent(), ["response.cancel"])
        self.receive("response.done", response={"id": "r", "status": "cancelled"})
        self.assertEqual(self.sent(), ["response.cancel", "response.create"])

    def test_one_response_at_a_time_is_requested(self) -> None:
        self.open()
        self.session.say("Hello")
        self.session.tool_result("call_1", "{}")
        self.session.respond()
        self.assertEqual(self.sent(), ["response.create", "conversation.item.create"])
        self.receive("response.created", response={"id": "r"})
        self.receive("response.done", response={"id": "r", "status": "completed"})
        self.assertEqual(self.sent()[2:], ["response.create"])

    def test_an_interjection_is_outside_the_conversation(self) -> None:
        self.open()
        self.session.interject("One moment")
        ((_, create),) = self.log
        self.assertEqual(create["response"]["conversation"], "none")

    def test_texts_and_results_wait_for_a_request_to_respond(self) -> None:
        self.open()
        self.session.tell("[1#]")
        self.session.tell("Be brief", is_order=True)
        self.session.tool_result("call_1", "{}")
        self.assertEqual(self.sent(), ["conversation.item.create"] * 3)
        self.session.respond()
        self.assertEqual(self.sent()[3:], ["response.create"])

    def test_cancel_stops_the_active_response_and_a_waiting_answer(self) -> None:
        self.open()
        self.session.cancel()
        self.assertEqual(self.sent(), [])
        self.receive("response.created", response={"id": "r"})
        self.session.respond()
        self.session.cancel()
        self.receive("response.done", response={"id": "r", "status": "cancelled"})
        self.assertEqual(self.sent(), ["response.cancel"])

    def test_two_responses_at_the_same_time_are_both_waited_for(self) -> None:
        self.open()
        self.receive("response.created", response={"id": "aside"})
        self.receive("response.created", response={"id": "vad"})
        self.session.respond()
        self.receive("response.done", response={"id": "vad", "status": "completed"})
        self.assertEqual(self.sent(), [])
        self.receive("response.done", response={"id": "aside", "status": "completed"})
        self.assertEqual(self.sent(), ["response.create"])

    def test_a_waiting_answer_and_a_new_request_are_one_answer(self) -> None:
        self.open()
        self.receive("response.created", response={"id": "r"})
        self.session.respond()
        # A call does this when all tools have their results.
        self.patch(self.events, "response_done", lambda *_: self.session.respond())
        self.receive("response.done", response={"id": "r", "status": "completed"})
        self.assertEqual(self.sent(), ["response.create"])
        self.patch(self.events, "response_done", lambda *_: None)
        self.receive("response.created", response={"id": "next"})
        self.receive("response.done", response={"id": "next", "status": "completed"})
        self.assertEqual(self.sent(), ["response.create"])

    def test_a_response_of_the_vad_only_delays_the_gateway_s(self) -> None:
        self.open()
        self.session.say("Hello")
        self.receive("response.created", response={"id": "vad"})
        self.error("conversation_already_has_active_response")
        self.receive("response.done", response={"id": "vad", "status": "cancelled"})
        create = {"type": "response.create", "response": {"instructions": "Hello"}}
        self.assertEqual(self.log[-1], ("send", create))

    def test_a_blocked_request_is_found_by_its_id(self) -> None:
        """The VAD's C{response.created} looked like the answer to the request."""
        self.open()
        self.session.say("Hello")
        (command_id,) = self.socket.ids[-1:]
        self.receive("response.created", response={"id": "vad"})
        code = "conversation_already_has_active_response"
        self.receive("error", error={"code": code, "event_id": command_id})
        self.receive("response.done", response={"id": "vad", "status": "completed"})
        create = {"type": "response.create", "response": {"instructions": "Hello"}}
        self.assertEqual(self.log[-1], ("send", create))

    def test_an_unanswered_request_can_be_repeated(self) -> None:
        self.open()
        self.session.respond()
        self.session.say("Hello")
        self.assertEqual(self.sent(), ["response.create"])
        self.clock.advance(15.0)
        self.session.say("Hello again")
        self.assertEqual(self.sent(), ["response.create"] * 2)
        self.assertIn(("oddity_seen", "unanswered.response"), self.log)

    def test_answers_are_matched_to_commands(self) -> None:
        self.open()
        self.session.tell("[1#]")
        self.session.tool_result("call_1", "{}")
        self.session.truncate("i", 0, 20)
        text = {"type": "message", "content": [{"type": "input_text"}]}
        audio = {"type": "message", "content": [{"type": "input_audio"}]}
        result = {"type": "function_call_output", "call_id": "call_1"}
        for item in (audio, text, result, {"type": "message", "content": None}):
            self.receive("conversation.item.added", item=item)
        self.receive("conversation.item.truncated", item_id="i")
        self.clock.advance(60.0)
        self.session.respond()
        self.assertNotIn("oddity_seen", {entry[0] for entry in self.log})

    def test_benign_errors_are_only_counted(self) -> None:
        self.open()
        for code in ("response_cancel_not_active", "item_truncate_invalid_item_id"):
            self.error(code)
        self.error("invalid_value", "Audio content of 5ms is already shorter than 9ms")
        self.assertEqual({entry[0] for entry in self.log}, {"oddity_seen"})

    def test_the_end_of_the_session_is_reported_once_with_its_reason(self) -> None:
        self.open()
        self.error("session_expired", "maximum duration of 60 minutes")
        self.session.socket_closed("closed (1001)")
        lost = [entry for entry in self.log if entry[0] == "agent_lost"]
        expected = "session_expired: maximum duration of 60 minutes"
        self.assertEqual(lost, [("agent_lost", expected)])

    def test_garbage_ends_the_session(self) -> None:
        self.open()
        self.session.message_received(b"<html>", False)
        self.assertEqual(self.log[0], ("close", 4002))
        self.assertEqual([e[0] for e in self.log].count("agent_lost"), 1)

    def test_refused_settings_are_the_profile_s_fault(self) -> None:
        for param, is_of_call in (
            ("session.audio.output.voice", False),
            ("session.instructions", True),
        ):
            with self.subTest(param):
                session = self.session = self.new_session(PCMU)
                session.opened(self.socket)
                self.receive("session.created", session={"id": "s"})
                error = {"code": "invalid_value", "message": "No.", "param": param}
                self.receive("error", error={**error, "type": "invalid_request_error"})
                failure = self.failureResultOf(session.ready, ProfileRefused)
                self.assertEqual(failure.value.is_of_call, is_of_call)
                self.assertIn("invalid_value: No.", str(failure.value))

    def test_a_temporary_error_while_configuring_is_not_the_profile_s_fault(
        self,
    ) -> None:
        for code, is_for_operators in (
            ("rate_limit_exceeded", False),
            ("server_error", False),
            ("session_expired", False),
            ("insufficient_quota", True),
        ):
            with self.subTest(code):
                session = self.session = self.new_session(PCMU)
                session.opened(self.socket)
                self.receive("session.created", session={"id": "s"})
                self.error(code, "Not now.")
                failure = self.failureResultOf(session.ready, AgentUnavailable)
                self.assertNotIsInstance(failure.value, ProfileRefused)
                self.assertEqual(failure.value.misconfigured, is_for_operators)

    def test_an_error_instead_of_a_session_fails_at_once(self) -> None:
        for code, is_for_operators in (
            ("rate_limit_exceeded", False),
            ("server_error", False),
            ("invalid_api_key", True),
            ("model_not_found", True),
        ):
            with self.subTest(code):
                session = self.session = self.new_session(PCMU)
                session.opened(self.socket)
                self.error(code, "No.")
                failure = self.failureResultOf(session.ready, AgentUnavailable)
                self.assertNotIsInstance(failure.value, ProfileRefused)
                self.assertEqual(failure.value.misconfigured, is_for_operators)

    def test_a_session_that_lost_its_call_reports_nothing_more(self) -> None:
        self.session.opened(self.socket)
        self.session.forget_call()
        self.receive("session.created", session={"id": "s"})
        self.error("response_cancel_not_active", "Not so.")
        self.receive("session.updated", session={})
        self.assertIs(self.successResultOf(self.session.ready), self.session)
        self.receive("input_audio_buffer.speech_started", item_id="i")
        self.assertEqual([e for e in self.log if e[0] not in ("send", "close")], [])

    def test_a_service_that_closes_early_is_not_misconfigured(self) -> None:
        ready = self.session.ready
        self.session.opened(self.socket)
        self.session.socket_closed("closed (1011)")
        failure = self.failureResultOf(ready, AgentUnavailable)
        self.assertFalse(failure.value.misconfigured)

    def test_after_close_nothing_is_reported(self) -> None:
        self.open()
        self.session.close()
        self.log.clear()
        self.receive("input_audio_buffer.speech_started")
        self.session.socket_closed("closed")
        self.assertEqual(self.log, [])

    def test_after_cancelling_a_socket_that_opens_late_is_closed(self) -> None:
        self.session.ready.addErrback(lambda _: None)
        self.session.ready.cancel()
        self.session.opened(self.socket)
        self.assertEqual(self.log, [("close", 1000)])

    def test_an_event_that_is_not_needed_may_have_another_form(self) -> None:
        """The gateway does not use its content, so it is no reason to hang up."""
        self.open()
        for kind, members in (
            ("input_audio_buffer.committed", {}),
            ("input_audio_buffer.committed", {"item_id": None}),
            ("conversation.item.added", {"item": {"id": None, "content": "text"}}),
            ("conversation.item.truncated", {}),
            ("response.output_text.done", {"response_id": "r"}),
            (
                "conversation.item.input_audio_transcription.failed",
                {"item_id": ["u"], "error": {"code": 404}},
            ),
        ):
            with self.subTest(kind):
                self.log.clear()
                self.receive(kind, **members)
                self.assertEqual(self.log, [("oddity_seen", kind)])

    def test_unused_members_of_errors_and_responses_may_have_another_form(self) -> None:
        self.open()
        error = {"code": "invalid_value", "param": 3, "event_id": ["cmd_1"]}
        self.receive("error", error=error)
        self.receive("response.created", response={"id": "r", "metadata": "none"})
        self.assertEqual(
            self.log, [("oddity_seen", "invalid_value"), ("response_started", "r")]
        )

    def test_an_added_item_may_have_its_old_event_name(self) -> None:
        self.open()
        self.session.tool_result("call_1", "{}")
        item = {"type": "function_call_output", "call_id": "call_1"}
        self.receive("conversation.item.created", item=item)
        self.clock.advance(60.0)
        self.session.respond()
        self.assertNotIn("oddity_seen", {entry[0] for entry in self.log})

    def test_a_waiting_request_follows_a_refused_one(self) -> None:
        self.open()
        self.session.respond()
        self.session.say("Hello")
        error = {"code": "invalid_value", "event_id": self.socket.ids[-1]}
        self.receive("error", error=error)
        create = {"type": "response.create", "response": {"instructions": "Hello"}}
        sent = [entry[1] for entry in self.log if entry[0] == "send"]
        self.assertEqual(sent[1:], [create])

    def test_no_response_follows_the_last_words(self) -> None:
        self.open()
        self.session.respond()
        self.session.say("Hello")
        self.session.say("Goodbye", is_last=True)
        self.session.say("One more thing")
        self.session.respond()
        self.receive("response.created", response={"id": "r"})
        self.receive("response.done", response={"id": "r", "status": "cancelled"})
        self.receive("response.created", response={"id": "bye"})
        self.audio("bye", "i")
        self.receive("response.done", response={"id": "bye", "status": "completed"})
        self.clock.advance(1.0)
        goodbye = {"type": "response.create", "response": {"instructions": "Goodbye"}}
        creates = [e[1] for e in self.log if e[0] == "send" and "create" in str(e[1])]
        self.assertEqual(creates[1:], [goodbye])
