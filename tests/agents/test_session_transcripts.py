"""Transcription of what callers say, in the session."""

from __future__ import annotations

from typing import Any

from chime_gateway.errors import AgentUnavailable
from chime_gateway.settings.agent_profile import AgentProfile
from tests.support.realtime_session import SessionTestCase


class TranscriptionTests(SessionTestCase):
    """If the transcriber refuses, the session continues."""

    def configure(self) -> None:
        self.session.opened(self.socket)
        self.receive("session.created", session={"id": "s"})

    def transcription(self) -> list[Any]:
        return [
            entry[1]["session"]["audio"]["input"]["transcription"]
            for entry in self.log
            if entry[0] == "send" and entry[1]["type"] == "session.update"
        ]

    def test_a_refused_transcriber_is_left_out(self) -> None:
        for error in (
            {"code": "invalid_value", "param": "session.audio.input.transcription"},
            {
                "code": "unknown_parameter",
                "message": "Unknown parameter:"
                " 'session.audio.input.transcription.prompt'.",
            },
            {"type": "invalid_request_error", "message": "Bad request."},
        ):
            with self.subTest(error=error):
                self.setUp()
                self.configure()
                self.receive("error", error={**error, "event_id": self.socket.ids[-1]})
                if "code" not in error:
                    # The reasoning effort was not the cause either.
                    self.receive("error", error=error)
                first, *_, last = self.transcription()
                self.assertEqual(first, {"model": "gpt-4o-mini-transcribe"})
                self.assertIsNone(last)
                self.assertNoResult(self.session.ready)
                self.receive("session.updated", session={})
                self.successResultOf(self.session.ready)
                failed = [e for e in self.log if e[0] == "transcription_failed"]
                self.assertEqual([entry[1:3] for entry in failed], [("", "refused")])

    def test_settings_refused_without_a_transcriber_have_another_fault(self) -> None:
        self.configure()
        self.error("invalid_value", "Bad request.")
        self.error("invalid_value", "Bad request.")
        self.error("invalid_value", "Bad voice.")
        failure = self.failureResultOf(self.session.ready, AgentUnavailable)
        self.assertTrue(failure.value.misconfigured)
        self.assertIn("Bad voice", str(failure.value))
        self.assertEqual(len(self.transcription()), 3)

    def test_a_failed_transcript_is_reported(self) -> None:
        self.open()
        self.receive(
            "conversation.item.input_audio_transcription.failed",
            item_id="u",
            error={"code": "DeploymentNotFound", "message": "No such deployment."},
        )
        text = "DeploymentNotFound: No such deployment."
        self.assertEqual(self.log, [("transcription_failed", "u", "failed", text)])

    def test_a_failure_without_a_reason_is_reported_as_well(self) -> None:
        self.open()
        self.receive("conversation.item.input_audio_transcription.failed", error=None)
        self.assertEqual(self.log[0][:3], ("transcription_failed", "", "failed"))

    def test_both_names_of_the_transcript_are_known(self) -> None:
        self.open()
        for name in ("input_audio_transcription", "audio_transcription"):
            kind = f"conversation.item.{name}.completed"
            self.receive(kind, item_id="u", transcript="Hi")
        self.assertEqual(self.log, [("caller_said", "u", "Hi")] * 2)


class TranscriptByTheModelTests(SessionTestCase):
    profile = AgentProfile(
        instructions="",
        transcription_kind="realtime-model",
        language="de",
        transcription_prompt="Names: Smith",
    )

    def committed(self) -> Any:
        self.open()
        self.receive("input_audio_buffer.committed", item_id="u")
        ((_, create),) = self.log
        self.log.clear()
        return create["response"]

    def started(self) -> None:
        metadata = self.committed()["metadata"]
        self.receive("response.created", response={"id": "t", "metadata": metadata})

    def done(self, status: str = "completed") -> None:
        usage = {"input_tokens": 30, "output_tokens": 3}
        self.receive(
            "response.done", response={"id": "t", "status": status, "usage": usage}
        )

    def test_each_turn_is_transcribed_outside_the_conversation(self) -> None:
        response = self.committed()
        self.assertEqual(response["conversation"], "none")
        self.assertEqual(response["output_modalities"], ["text"])
        self.assertEqual(response["input"], [{"type": "item_reference", "id": "u"}])
        self.assertIn("'de'", response["instructions"])
        self.assertIn("Smith", response["instructions"])

    def test_the_session_names_no_transcriber(self) -> None:
        self.session.opened(self.socket)
        self.receive("session.created", session={"id": "s"})
        update = self.log[0][1]["session"]
        self.assertIsNone(update["audio"]["input"]["transcription"])

    def test_its_text_is_what_the_caller_said_and_its_tokens_count(self) -> None:
        self.started()
        self.receive("response.output_text.done", response_id="t", text=" Hello. \n")
        self.done()
        self.assertEqual(self.log[0], ("caller_said", "u", "Hello."))
        ((_, tokens),) = self.log[1:]
        self.assertEqual((tokens["input_tokens"], tokens["output_tokens"]), (30, 3))

    def test_a_transcript_is_not_an_answer_and_delays_none(self) -> None:
        self.started()
        self.session.respond()
        self.assertEqual(self.sent(), ["response.create"])
        self.receive("response.created", response={"id": "r"})
        self.done()
        self.session.cancel()
        self.assertEqual(self.sent(), ["response.create", "response.cancel"])
        self.assertNotIn("response_done", {entry[0] for entry in self.log})

    def test_a_failed_or_refused_transcript_is_reported(self) -> None:
        self.started()
        self.done("failed")
        self.assertEqual(self.log[-1][:3], ("transcription_failed", "u", "failed"))
        self.receive("input_audio_buffer.committed", item_id="v")
        refused = {"code": "invalid_value", "event_id": self.socket.ids[-1]}
        self.receive("error", error=refused)
        self.assertEqual(self.log[-1][:3], ("transcription_failed", "v", "failed"))
        self.assertNotIn("agent_lost", {entry[0] for entry in self.log})

    def test_transcripts_that_never_end_cost_no_memory(self) -> None:
        self.open()
        for number in range(2000):
            response = {"id": f"t{number}", "metadata": {"transcript_of": f"u{number}"}}
            self.receive("response.created", response=response)
            if number % 2:
                text = {"response_id": f"t{number}", "text": "Hello"}
                self.receive("response.output_text.done", **text)
        transcripts = self.session._hearing.transcripts
        self.assertLessEqual(len(transcripts._items), 256)
        self.assertLessEqual(len(transcripts._written), 256)

    def test_a_text_of_another_response_is_ignored(self) -> None:
        self.open()
        self.receive("response.output_text.done", response_id="x", text="Hello.")
        self.assertEqual(self.log, [])

    def test_a_turn_without_speech_has_an_empty_text(self) -> None:
        """The model is told to write nothing then; some write no part at all."""
        self.started()
        self.done()
        self.assertIn(("caller_said", "u", ""), self.log)
        self.assertNotIn("transcription_failed", {entry[0] for entry in self.log})

    def test_no_transcript_is_requested_of_a_turn_without_an_item(self) -> None:
        self.open()
        self.receive("input_audio_buffer.committed", item_id="")
        self.assertEqual(self.log, [])

    def test_a_fatal_error_about_a_transcript_ends_the_session(self) -> None:
        self.committed()
        fatal = {"code": "insufficient_quota", "event_id": self.socket.ids[-1]}
        self.receive("error", error=fatal)
        self.assertIn("agent_lost", {entry[0] for entry in self.log})

    def test_settings_without_a_transcriber_are_not_tried_twice(self) -> None:
        self.session.opened(self.socket)
        self.receive("session.created", session={"id": "s"})
        error = {"code": "invalid_value", "message": "Transcription is unknown."}
        error["param"] = "session.audio.input.transcription"
        self.receive("error", error=error)
        self.failureResultOf(self.session.ready, AgentUnavailable)
        self.assertEqual(self.sent(), ["session.update"])

    def test_an_answer_blocked_by_a_transcript_follows(self) -> None:
        """Some services make only one response of any kind at a time."""
        self.started()
        self.session.say("Hello")
        code = "conversation_already_has_active_response"
        self.receive("error", error={"code": code, "event_id": self.socket.ids[-1]})
        self.log.clear()
        self.done()
        create = {"type": "response.create", "response": {"instructions": "Hello"}}
        self.assertIn(("send", create), self.log)
