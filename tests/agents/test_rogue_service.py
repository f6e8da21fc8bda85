"""
A service that sends more than any agent has to say, and one that only says a lot.

What each sends is random; the session of the first is ended, that of the second never.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from chime_gateway.agents import intake
from chime_gateway.audio import PCMU
from tests.support.realtime_session import SessionTestCase

#: By this time the session is over, whatever was sent.
MOST_EVENTS = 6000
MOST_BYTES = 32 << 20
MOST_LOG_BYTES = 32_768

Made = Callable[[int], bytes]


def event(kind: str, **members: Any) -> bytes:
    return json.dumps({"type": kind, **members}).encode()


def _text(n: int, size: int) -> bytes:
    kind = "response.output_audio_transcript.delta"
    return event(kind, item_id="i", delta="x" * size)


def _item(n: int, size: int) -> bytes:
    kind = "response.output_audio_transcript.delta"
    return event(kind, item_id=f"i{n}", delta="x" * size)


def _tool(n: int, size: int) -> bytes:
    kind = "response.function_call_arguments.done"
    return event(
        kind, response_id="r", call_id=f"c{n}", name="x" * size, arguments="{}"
    )


def _error(n: int, size: int) -> bytes:
    return event("error", error={"code": f"odd{n}", "message": "x" * size})


def _failed(n: int, size: int) -> bytes:
    error = {"code": f"c{n}", "message": "x" * size}
    response = {"id": "r", "status": "failed", "status_details": {"error": error}}
    return event("response.done", response=response)


def _unknown(n: int, size: int) -> bytes:
    return event(f"what.{n}" + "x" * size)


def _expected(n: int, size: int) -> bytes:
    return event("response.function_call_arguments.delta", delta="x" * size)


def _started(n: int, size: int) -> bytes:
    return event("response.created", response={"id": f"r{n}" + "x" * size})


def _speech(n: int, size: int) -> bytes:
    kind = "input_audio_buffer.speech_started"
    return event(kind, audio_start_ms=n, item_id=f"t{n}")


def _audio(n: int, size: int) -> bytes:
    kind = "response.output_audio.delta"
    delta = "f39/f39/" * (size // 8)
    return event(kind, response_id="r", item_id="i", content_index=0, delta=delta)


def _mcp(n: int, size: int) -> bytes:
    item = {"type": "mcp_call", "name": "n" * size, "server_label": f"{n}"}
    return event("response.output_item.done", item=item)


def _written(n: int, size: int) -> bytes:
    kind = "conversation.item.input_audio_transcription.completed"
    return event(kind, item_id=f"i{n}", transcript="x" * size)


FLOODS = [
    *(_text, _item, _tool, _error, _failed, _unknown, _expected, _started, _speech),
    *(_audio, _mcp, _written),
]


@implementer(ILogObserver)
class LogBytes:
    """Counts the characters that are logged."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: LogEvent) -> None:
        self.count += sum(len(str(value)) for value in event.values())


class RogueServiceTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        # A fraction of the real limits, to keep the test short.
        self.patch(intake, "MESSAGES", intake.Bound(0, 50, 2000, "messages"))
        self.patch(intake, "AUDIO", intake.Bound(2, 10, 90, "seconds of audio"))
        self.logged = LogBytes()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)

    def lost(self) -> list[Any]:
        return [entry for entry in self.log if entry[0] == "agent_lost"]

    @settings(max_examples=8, deadline=None)
    @given(
        st.lists(st.sampled_from(FLOODS), min_size=1, max_size=3),
        st.sampled_from([0, 8, 100, 600, 400_000]),
        # Events per second; even the slowest is more than any agent says for long.
        st.sampled_from([1000.0, 1e9]),
    )
    def test_a_flood_ends_its_session_and_is_not_logged(
        self, kinds: list[Callable[[int, int], bytes]], size: int, rate: float
    ) -> None:
        note(f"{[kind.__name__ for kind in kinds]}")
        SessionTestCase.setUp(self)
        self.open()
        self.logged.count = events = came = 0
        while not self.lost():
            payload = kinds[events % len(kinds)](events, size)
            self.session.message_received(payload, False)
            self.clock.advance(1 / rate)
            events += 1
            came += len(payload)
            self.assertLess(events, MOST_EVENTS)
            self.assertLess(came, MOST_BYTES)
            del self.log[:-2]
        self.assertLess(self.logged.count, MOST_LOG_BYTES)
        self.assertLess(len(str(self.lost())), 1000)

    def test_frames_that_are_not_messages_count_as_well(self) -> None:
        self.session = self.new_session()
        self.open()
        sent = 0
        while self.session.frame_came():
            sent += 1
            self.assertLess(sent, MOST_EVENTS)
        self.assertEqual(len(self.lost()), 1)
        self.assertFalse(self.session.frame_came())


class TalkativeServiceTests(SessionTestCase):
    """The most that a healthy service sends, as fast as possible."""

    def answer(self, n: int, seconds: float, ms: int) -> Iterator[bytes]:
        response = {"id": f"r{n}"}
        yield event("response.created", response=response)
        audio = event(
            "response.output_audio.delta",
            **{"response_id": f"r{n}", "item_id": f"i{n}", "content_index": 0},
            delta="fn5+" * (PCMU.bytes_per_second * ms // 3000),
        )
        kind = "response.output_audio_transcript.delta"
        text = event(kind, item_id=f"i{n}", delta="abcd ")
        words = round(seconds * 4)  # pieces of words, at a high rate
        pieces = round(seconds * 1000 / ms)
        for piece in range(max(pieces, words)):
            if piece < pieces:
                yield audio
            if piece < words:
                yield text
        kind = "response.output_audio_transcript.done"
        yield event(kind, item_id=f"i{n}", transcript="abcd " * words)
        yield event("response.done", response={**response, "text": "abcd " * words})

    def tools(self, n: int, count: int, arguments: int) -> Iterator[bytes]:
        response = {"id": f"r{n}"}
        delta = event("response.function_call_arguments.delta", delta="abcd")
        yield event("response.created", response=response)
        for tool in range(count):
            item = {"id": f"f{n}.{tool}", "type": "function_call"}
            yield event("conversation.item.added", item=item)
            yield from [delta] * arguments
            yield event(
                "response.function_call_arguments.done",
                **{"response_id": f"r{n}", "call_id": f"c{n}.{tool}"},
                **{"name": "order", "arguments": "{}" + " " * 4 * arguments},
            )
            yield event("response.output_item.done", item=item)
        yield event("response.done", response=response)

    @settings(max_examples=5, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([2.0, 30.0, 600.0]),
                st.sampled_from([100, 200]),
                st.sampled_from([0, 1, 24]),
                st.floats(0.1, 1.0),
            ),
            min_size=1,
            max_size=3,
        )
    )
    def test_a_healthy_session_is_never_ended(self, answers: Any) -> None:
        self.assert_continues(answers)

    def test_a_session_with_long_answers_and_many_tools_is_never_ended(self) -> None:
        self.assert_continues([(600.0, 20, 24, 0.1), (600.0, 50, 24, 1.0)])
        self.assert_continues([(4.0, 100, 24, 1.0)] * 10)

    def assert_continues(self, answers: Any) -> None:
        """@param answers: (seconds, ms of a piece, tool calls, share that is heard)."""
        SessionTestCase.setUp(self)
        self.open()
        self.patch(self.events, "agent_audio", lambda *_: None)
        for n, (seconds, ms, tools, share) in enumerate(answers):
            self.receive("input_audio_buffer.speech_started", item_id=f"t{n}")
            self.receive("input_audio_buffer.speech_stopped", item_id=f"t{n}")
            for payload in (
                *self.tools(2 * n, tools, 100),
                *self.answer(2 * n + 1, seconds, ms),
            ):
                self.session.message_received(payload, False)
            lost = [entry for entry in self.log if entry[0] == "agent_lost"]
            self.assertEqual(lost, [])
            self.log.clear()
            self.clock.advance(seconds * share)
