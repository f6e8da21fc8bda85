"""A dispensable member of an unexpected type does not end the session."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.realtime.dialects import GA
from chime_gateway.wire.realtime.events import ResponseDone, ServiceError
from chime_gateway.wire.realtime.faults import retry_seconds
from chime_gateway.wire.realtime.reader import RealtimeReader

_ERROR = {
    "type": "invalid_request_error",
    "code": "invalid_value",
    "message": "Bad.",
    "param": "response.x",
    "event_id": "cmd_1",
}

#: Events that a call needs, with all members that are read.
_EVENTS: tuple[Mapping[str, Any], ...] = (
    {"type": "error", "error": _ERROR},
    {"type": "session.created", "session": {"id": "s", "expires_at": 1756324625}},
    {
        "type": "response.created",
        "response": {"id": "r", "metadata": {"asked_as": "wanted_1"}},
    },
    {
        "type": "response.done",
        "response": {
            "id": "r",
            "status": "failed",
            "status_details": {"type": "failed", "reason": "x", "error": _ERROR},
            "usage": {
                "input_tokens": 1,
                "output_tokens": 2,
                "input_token_details": {"audio_tokens": 1, "cached_tokens": 0},
                "output_token_details": {"audio_tokens": 1},
            },
            "metadata": {"asked_as": "wanted_1"},
        },
    },
    {
        "type": "input_audio_buffer.speech_started",
        "audio_start_ms": 7,
        "item_id": "u",
    },
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 9, "item_id": "u"},
    {
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": "u",
        "error": _ERROR,
    },
)

#: Mandatory members.
_NEEDED = {("type",), ("response",), ("response", "id"), ("session",), ("item_id",)}

#: Events that a call can do without.
_DISPENSABLE: tuple[Mapping[str, Any], ...] = (
    {"type": "response.output_audio.done", "item_id": "i"},
    {
        "type": "response.output_audio_transcript.delta",
        "item_id": "i",
        "response_id": "r",
        "content_index": 0,
        "delta": "Hel",
    },
    {
        "type": "response.output_audio_transcript.done",
        "item_id": "i",
        "transcript": "Hello.",
    },
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u",
        "transcript": "Hello?",
    },
    {"type": "response.output_text.done", "response_id": "r", "text": "Hello?"},
    {
        "type": "conversation.item.added",
        "item": {
            "id": "i",
            "type": "message",
            "call_id": "c",
            "content": [{"type": "input_text"}],
        },
    },
    {"type": "conversation.item.truncated", "item_id": "i"},
    {"type": "input_audio_buffer.committed", "item_id": "u"},
    {
        "type": "response.output_item.done",
        "item": {
            "type": "mcp_call",
            "name": "find",
            "server_label": "crm",
            "error": None,
        },
    },
    {"type": "mcp_list_tools.failed", "item_id": "m"},
)

_ODD = st.sampled_from(
    (429, 4.5, True, None, [], ["x"], {}, {"x": 1}, "", "text", -1, 10**400)
)


def _paths(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*at, name)
            yield from _paths(member, (*at, name))


class UnexpectedMembersTests(SynchronousTestCase):
    def receive(self, message: Mapping[str, Any]) -> Any:
        return RealtimeReader(GA).receive(json.dumps(message).encode(), False)

    def with_one_unexpected_member(
        self, data: st.DataObject, message: Mapping[str, Any], needed: set[Any]
    ) -> dict[str, Any]:
        path = data.draw(st.sampled_from(sorted(set(_paths(message)) - needed)))
        odd: Any = copy.deepcopy(dict(message))
        parent = odd
        for name in path[:-1]:
            parent = parent[name]
        if data.draw(st.booleans()):
            parent[path[-1]] = data.draw(_ODD)
        else:
            del parent[path[-1]]
        return dict(odd)

    @given(st.data())
    def test_a_dispensable_member_may_have_any_type_or_be_missing(
        self, data: st.DataObject
    ) -> None:
        message = data.draw(st.sampled_from(_EVENTS))
        event = self.receive(message)
        odd = self.with_one_unexpected_member(data, message, _NEEDED)
        self.assertIs(type(self.receive(odd)), type(event))

    @given(st.data())
    def test_a_malformed_dispensable_event_ends_no_session(
        self, data: st.DataObject
    ) -> None:
        message = data.draw(st.sampled_from(_DISPENSABLE))
        self.receive(message)
        self.receive(self.with_one_unexpected_member(data, message, {("type",)}))

    def test_a_code_may_be_a_number(self) -> None:
        event = self.receive({"type": "error", "error": {"code": 429}})
        self.assertEqual(event.code, "429")
        details = {"error": {"code": 500, "message": "Please try again in 2s."}}
        response = {"id": "r", "status": "failed", "status_details": details}
        event = self.receive({"type": "response.done", "response": response})
        assert isinstance(event, ResponseDone)
        self.assertEqual((event.detail, event.retry_seconds), ("500", 2.0))

    def test_a_number_that_is_too_large_is_not_a_count(self) -> None:
        """It could not be stored in a database."""
        usage = {"input_tokens": 10**30, "output_tokens": 7}
        event = self.receive(
            {"type": "response.done", "response": {"id": "r", "usage": usage}}
        )
        assert isinstance(event, ResponseDone)
        self.assertEqual((event.usage.input_tokens, event.usage.output_tokens), (0, 7))
        code = b'{"type": "error", "error": {"code": 1e400}}'
        event = RealtimeReader(GA).receive(code, False)
        assert isinstance(event, ServiceError)
        self.assertEqual(event.code, "unknown")

    def test_an_error_may_be_a_plain_text(self) -> None:
        event = self.receive({"type": "error", "error": "out of order"})
        assert isinstance(event, ServiceError)
        self.assertEqual((event.code, event.message), ("unknown", "out of order"))


class RetryHintTests(SynchronousTestCase):
    def test_the_time_of_the_next_attempt_is_read_from_the_text(self) -> None:
        for text, seconds in (
            ("Rate limit reached. Please try again in 1.2s. Visit", 1.2),
            ("Please try again in 20ms.", 0.02),
            ("Please try again in 6m0s", 360.0),
            ("Please retry after 3 seconds.", 3.0),
            ("Try again in 1 minute", 60.0),
            ("try again in 100 milliseconds", 0.1),
            ("try again in 2 days", 172_800.0),
            ("try again in 2 fortnights", None),
            ("try again in 0s", 0.0),
            ("retry after 3 seconds 4 times", 3.0),
            ("try again in a moment", None),
            ("We recommend you retry your request.", None),
            ("", None),
        ):
            with self.subTest(text=text):
                self.assertEqual(retry_seconds(text), seconds)
