"""Races between commands and what is in progress, on the service's side."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.audio import L16_24000, PCMU, Codec
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.which import FIRST
from chime_gateway.sim.realtime.voices import Part, Speech
from tests.sim.realtime.test_session import (
    QUIET,
    SERVER_EVENT,
    SPEECH,
    Answers,
    SessionTestCase,
)

CREATE = "response.create"
ACTIVE = "conversation_already_has_active_response"


def long(count: int = 1, codec: Codec = PCMU) -> Answers:
    answer: list[Part] = [Speech(tone(codec, 500, 4.0), "long")]
    return Answers(*[answer] * count)


class RaceTests(SessionTestCase):
    def errors(self) -> list[tuple[Any, Any]]:
        found = [e["error"] for e in self.events if e["type"] == "error"]
        return [(error["code"], error["event_id"]) for error in found]

    def test_the_vads_response_can_come_first(self) -> None:
        for is_speaking in (False, True):
            with self.subTest(is_speaking=is_speaking):
                self.events.clear()
                session = self.session(long(), Behaviour(vad_first=FIRST))
                self.configure(session)
                self.append(session, QUIET + SPEECH * is_speaking)
                self.say(session, CREATE, event_id="mine")
                self.assertEqual(
                    self.kinds()[2:],
                    [
                        "input_audio_buffer.speech_started",
                        "input_audio_buffer.speech_stopped",
                        "input_audio_buffer.committed",
                        "conversation.item.added",
                        "conversation.item.done",
                        "response.created",
                        "rate_limits.updated",
                        "error",
                    ],
                )
                self.assertEqual(self.errors(), [(ACTIVE, "mine")])
                self.run_for(2.0)
                self.assertEqual(self.kinds().count("response.done"), 1)
                session.stop()

    def test_the_caller_can_begin_just_after_response_create(self) -> None:
        session = self.session(long(2), Behaviour(speech_after_create=FIRST))
        self.configure(session)
        self.events.clear()
        self.say(session, CREATE)
        self.assertEqual(
            self.kinds()[:2],
            ["input_audio_buffer.speech_started", "response.created"],
        )
        for _ in range(6):
            self.run_for(0.5)
            self.append(session, QUIET)
        kinds = self.kinds()
        stopped = kinds.index("input_audio_buffer.speech_stopped")
        self.assertGreater(kinds[:stopped].count("response.output_audio.delta"), 2)
        # The requested response is done by then, so the turn is answered.
        self.assertEqual(kinds.count("response.created"), 2)
        self.assertEqual(self.errors(), [])

    def test_the_vads_response_can_be_refused(self) -> None:
        session = self.session(long())
        self.configure(session, interrupt_response=False)
        self.say(session, CREATE)
        self.append(session, QUIET + SPEECH + QUIET)
        self.assertEqual(self.errors(), [(ACTIVE, None)])

    def test_only_one_response_is_in_progress_at_a_time(self) -> None:
        session = self.session(long(3))
        self.configure(session, idle_timeout_ms=5000)
        self.say(session, CREATE)
        self.run_for(1.5)
        # The idle timeout expires during this response.
        self.run_for(4.0 + 5.0 - 0.8)
        self.say(session, CREATE)
        self.run_for(3.0)
        kinds = self.kinds()
        self.assertNotIn("input_audio_buffer.timeout_triggered", kinds)
        self.assertEqual(kinds.count("response.created"), 2)
        self.assertEqual(kinds.count("response.done"), 2)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.sampled_from(("create", "cancel", "speak", "wait", "wait long")),
            max_size=12,
        ),
        st.booleans(),
    )
    def test_each_response_ends_once_and_each_command_is_answered_once(
        self, steps: list[str], interrupts: bool
    ) -> None:
        self.setUp()
        session = self.session(
            long(50), Behaviour(vad_first=FIRST, speech_after_create=FIRST)
        )
        self.configure(session, interrupt_response=interrupts)
        for number, step in enumerate(steps):
            before = len(self.events)
            if step == "create":
                self.say(session, CREATE, event_id=f"{number}")
                answers = [e["type"] for e in self.events[before:]]
                if "error" in answers:
                    self.assertEqual(self.errors()[-1], (ACTIVE, f"{number}"))
                else:
                    self.assertIn("response.created", answers)
            elif step == "cancel":
                self.say(session, "response.cancel", event_id=f"{number}")
                answer = self.events[-1]
                self.assertIn(answer["type"], ("response.done", "error"))
            elif step == "speak":
                self.append(session, QUIET + SPEECH + QUIET)
            else:
                self.run_for(0.4 if step == "wait" else 2.0)
            active: list[str] = []
            for event in self.events:
                if event["type"] == "response.created":
                    self.assertEqual(active, [])
                    active.append(event["response"]["id"])
                elif event["type"] == "response.done":
                    self.assertEqual(active.pop(), event["response"]["id"])
        for event in self.events:
            SERVER_EVENT.validate_python(event)
        session.stop()


class TruncationTests(SessionTestCase):
    def spoken(self) -> tuple[Any, str]:
        session = self.session(long())
        self.configure(session)
        self.say(session, CREATE)
        self.run_for(2.0)
        return session, str(self.events[-1]["response"]["output"][0]["id"])

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, 5000), min_size=1, max_size=4))
    def test_an_item_never_becomes_longer(self, ends: list[int]) -> None:
        self.setUp()
        session, item_id = self.spoken()
        length = 4000
        for end_ms in ends:
            self.say(
                session,
                "conversation.item.truncate",
                item_id=item_id,
                content_index=0,
                audio_end_ms=end_ms,
            )
            if end_ms <= length:
                self.assertEqual(self.events[-1]["type"], "conversation.item.truncated")
                length = end_ms
            else:
                self.assertIn(
                    f"Audio content of {length}ms is already shorter than {end_ms}ms",
                    self.last_error()["message"],
                )
        session.stop()

    def test_missing_or_invalid_members_are_refused(self) -> None:
        session, item_id = self.spoken()
        whole = {"item_id": item_id, "content_index": 0, "audio_end_ms": 1}
        for name in whole:
            rest = {k: v for k, v in whole.items() if k != name}
            self.say(session, "conversation.item.truncate", **rest)
            self.assertEqual(self.last_error()["code"], "missing_required_parameter")
            self.assertEqual(self.last_error()["param"], name)
        for name, value in (
            ("content_index", 1),
            ("content_index", -1),
            ("content_index", True),
            ("audio_end_ms", -1),
            ("audio_end_ms", 1.5),
            ("audio_end_ms", None),
            ("item_id", None),
        ):
            with self.subTest(name=name, value=value):
                self.events.clear()
                self.say(
                    session, "conversation.item.truncate", **{**whole, name: value}
                )
                self.last_error()
        self.assertEqual(session.log.truncations, [])


class OddDeltaTests(SessionTestCase):
    def test_deltas_that_split_samples_lose_nothing(self) -> None:
        speech = tone(L16_24000, 500, 1.0)
        session = self.session(
            Answers([Speech(speech, "x")]), Behaviour(odd_deltas=True)
        )
        self.say(session, CREATE)
        self.run_for(2.0)
        pieces = [
            base64.b64decode(e["delta"])
            for e in self.events
            if e["type"] == "response.output_audio.delta"
        ]
        self.assertEqual({len(piece) % 2 for piece in pieces[:-1]}, {1})
        self.assertEqual(b"".join(pieces), speech)


class VoiceTests(SessionTestCase):
    def test_an_unknown_voice_is_refused(self) -> None:
        session = self.session()
        for voice, is_there in (
            ("cedar", True),
            ({"id": "voice_1"}, True),
            ("nova", False),
            ("", False),
            (5, False),
        ):
            output = {"audio": {"output": {"voice": voice}}}
            with self.subTest(voice=voice):
                self.say(
                    session, "session.update", session={"type": "realtime", **output}
                )
                self.assertEqual(self.events[-1]["type"] == "session.updated", is_there)
        self.assertEqual(self.last_error()["param"], "session.audio.output.voice")
