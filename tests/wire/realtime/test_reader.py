from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.realtime import dialects
from chime_gateway.wire.realtime import reader as realtime_reader
from chime_gateway.wire.realtime.dialects import GA, PREVIEW
from chime_gateway.wire.realtime.events import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    McpCalled,
    ResponseDone,
    ResponseStarted,
    ServiceError,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    Unrecognized,
    Usage,
)
from chime_gateway.wire.realtime.reader import READERS, RealtimeReader
from tests.support.odd_json import base64_texts, messages

AUDIO = bytes(range(200))
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": base64.b64encode(AUDIO).decode(),
}


def text(message: Any) -> bytes:
    return json.dumps(message).encode()


def receive(message: Any, dialect: dialects.Dialect = GA) -> Any:
    payload = message if isinstance(message, bytes) else text(message)
    return RealtimeReader(dialect).receive(payload, False)


class RealtimeReaderTests(SynchronousTestCase):
    def test_each_needed_event_is_read(self) -> None:
        session = {"id": "sess_1", "expires_at": 1756324625, "type": "realtime"}
        usage = {
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {"audio_tokens": 13, "cached_tokens": 64},
            "output_token_details": {"audio_tokens": 91},
        }
        done = {"id": "resp_1", "status": "completed", "usage": usage}
        cancelled = {
            "id": "resp_1",
            "status": "cancelled",
            "status_details": {"type": "cancelled", "reason": "turn_detected"},
        }
        failed = {
            "id": "resp_1",
            "status": "failed",
            "status_details": {"error": {"type": "server_error", "code": None}},
        }
        for message, event in (
            (
                {"type": "session.created", "session": session},
                SessionCreated("sess_1", 1756324625),
            ),
            ({"type": "session.updated", "session": session}, SessionUpdated()),
            (DELTA, AudioDelta("resp_1", "item_1", 0, AUDIO)),
            (
                {"type": "response.output_audio.done", "item_id": "item_1"},
                AudioDone("item_1"),
            ),
            (
                {
                    "type": "input_audio_buffer.speech_started",
                    "audio_start_ms": 7,
                    "item_id": "u",
                },
                SpeechStarted(7, "u"),
            ),
            (
                {
                    "type": "input_audio_buffer.speech_stopped",
                    "audio_end_ms": 9,
                    "item_id": "u",
                },
                SpeechStopped(9, "u"),
            ),
            (
                {"type": "response.created", "response": {"id": "resp_1"}},
                ResponseStarted("resp_1"),
            ),
            (
                {"type": "response.done", "response": done},
                ResponseDone("resp_1", "completed", "", Usage(132, 121, 13, 91, 64)),
            ),
            (
                {"type": "response.done", "response": cancelled},
                ResponseDone("resp_1", "cancelled", "turn_detected", Usage()),
            ),
            (
                {"type": "response.done", "response": failed},
                ResponseDone(
                    *("resp_1", "failed", "server_error", Usage(), None),
                    cause="server_error",
                ),
            ),
            (
                {
                    "type": "response.output_audio_transcript.delta",
                    "item_id": "item_1",
                    "delta": "Hel",
                },
                AgentTranscript("item_1", "Hel", False),
            ),
            (
                {
                    "type": "response.output_audio_transcript.done",
                    "item_id": "item_1",
                    "transcript": "Hello",
                },
                AgentTranscript("item_1", "Hello", True),
            ),
            (
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "item_id": "item_0",
                    "transcript": "Hi",
                },
                CallerTranscript("item_0", "Hi"),
            ),
            (
                {
                    "type": "response.function_call_arguments.done",
                    "response_id": "resp_1",
                    "call_id": "call_1",
                    "name": "look_up",
                    "arguments": "{}",
                },
                ToolCalled("resp_1", "call_1", "look_up", "{}"),
            ),
            (
                {
                    "type": "response.output_item.done",
                    "item": {
                        "type": "mcp_call",
                        "server_label": "crm",
                        "name": "find",
                        "error": None,
                    },
                },
                McpCalled("crm.find", "", "", False),
            ),
            (
                {"type": "response.output_item.done", "item": {"type": "message"}},
                Unrecognized("response.output_item.done"),
            ),
            (
                {"type": "mcp_list_tools.failed", "item_id": "m"},
                McpCalled("list_tools", "its tools are not known"),
            ),
            ({"type": "rate_limits.updated"}, Unrecognized("rate_limits.updated")),
            ({"type": "of.the.future", "delta": 5}, Unrecognized("of.the.future")),
        ):
            with self.subTest(kind=message["type"]):
                self.assertEqual(receive(message), event)

    def test_the_preview_s_event_names_are_read(self) -> None:
        delta = {**DELTA, "type": "response.audio.delta"}
        self.assertEqual(
            receive(delta, PREVIEW), AudioDelta("resp_1", "item_1", 0, AUDIO)
        )
        self.assertEqual(receive(delta, GA), Unrecognized("response.audio.delta"))

    def test_races_are_benign_and_an_expired_session_is_fatal(self) -> None:
        for code, message, benign, fatal in (
            ("response_cancel_not_active", "Cancellation failed", True, False),
            ("item_truncate_invalid_item_id", "does not exist", True, False),
            (
                "invalid_value",
                "Audio content of 9250ms is already shorter than 57340ms",
                True,
                False,
            ),
            ("session_expired", "maximum duration", False, True),
            ("invalid_value", "Invalid value: 'x'.", False, False),
        ):
            with self.subTest(code=code, message=message):
                error = {"type": "invalid_request_error", "code": code}
                event = receive(
                    {"type": "error", "error": {**error, "message": message}}
                )
                self.assertEqual(event, ServiceError(code, message, benign, fatal))

    def test_malformed_messages_break_the_session(self) -> None:
        for name, message in {
            "empty": b"",
            "not JSON": b"<html>",
            "no type": b"{}",
            "type is a list": b'{"type": []}',
            "deep": b"[" * 100_000,
            "delta is not base64": text({**DELTA, "delta": "!"}),
            "delta is a number": text({**DELTA, "delta": 1}),
            "no delta": b'{"type":"response.output_audio.delta"}',
            "no session": b'{"type":"session.created"}',
        }.items():
            with self.subTest(name), self.assertRaises(RemoteProtocolError):
                receive(message)

    def test_binary_breaks_the_session(self) -> None:
        reader = RealtimeReader(GA)
        self.assertRaises(RemoteProtocolError, reader.receive, text(DELTA), True)

    def test_a_repr_contains_neither_audio_nor_text(self) -> None:
        events = [
            receive(DELTA),
            AgentTranscript("i", "secret words", True),
            CallerTranscript("i", "secret words"),
            ToolCalled("r", "c", "name", "secret words"),
        ]
        self.assertNotIn("secret", repr(events))
        self.assertNotIn("\\x", repr(events))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["session", "id", "delta", "item_id", "response", "error"]
                    ),
                    inner,
                )
            ),
            max_leaves=8,
        ),
        st.sampled_from(sorted(realtime_reader._PARSERS)),
    )
    def test_json_of_any_shape_gives_an_event_or_the_documented_error(
        self, value: Any, kind: str
    ) -> None:
        message = {**value, "type": kind} if isinstance(value, dict) else value
        with contextlib.suppress(RemoteProtocolError):
            receive(message)


class OneDecodeTests(SynchronousTestCase):
    """Audio deltas are decoded in one step, with the same result as in several."""

    @settings(max_examples=300, deadline=None)
    @given(
        messages(
            {
                "type": st.sampled_from(
                    (
                        *('"response.output_audio.delta"', '"response.audio.delta"'),
                        '"response.output_audio_transcript.delta"',
                    )
                ),
                "response_id": st.just('"resp_1"'),
                "item_id": st.just('"item_1"'),
                "content_index": st.sampled_from("01"),
                "delta": base64_texts,
            }
        ),
        st.sampled_from((GA, PREVIEW)),
    )
    def test_the_fast_path_gives_the_same_result_as_the_general_one(
        self, payload: bytes, dialect: dialects.Dialect
    ) -> None:
        reader = READERS[dialect.name]

        def outcome(receive: Callable[[bytes], object]) -> object:
            try:
                return receive(payload)
            except RemoteProtocolError as exc:
                return str(exc)

        self.assertEqual(
            outcome(lambda payload: reader.receive(payload, False)),
            outcome(reader._receive_any),
        )

    def test_a_usual_audio_delta_is_decoded_once(self) -> None:
        payload = text({**DELTA, "type": "response.audio.delta"})
        for reader, data in (
            (RealtimeReader(GA), text(DELTA)),
            (RealtimeReader(PREVIEW), payload),
        ):
            reader._parsers = {}
            self.assertEqual(
                reader.receive(data, False), AudioDelta("resp_1", "item_1", 0, AUDIO)
            )
