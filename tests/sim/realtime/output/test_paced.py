"""Speech in real time: the conversation has what was sent, whatever interrupts it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.audio import PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.voices import Part, Speech
from tests.sim.realtime.test_session import QUIET, SPEECH, SessionTestCase


class Talker:
    """Says something different each time, in one or two items."""

    def __init__(self) -> None:
        self.count = 0

    def answer(self, turn: Any) -> list[Part]:
        self.count += 1
        first = Speech(tone(PCMU, 300 + 10 * self.count, 1.013), "first")
        if self.count % 2:
            return [first]
        return [first, Speech(tone(PCMU, 900 + 10 * self.count, 0.5), "second")]


class PacedTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sent = b""

    def rtc(self, speed: float = 5.0, *, is_set: bool = True) -> SimulatedSession:
        session = SimulatedSession(
            Talker(),
            Behaviour(speed=speed, rate_limits=False),
            is_preview=False,
            send=self.events.append,
            close=lambda code, reason: self.closes.append((code, reason)),
            clock=self.clock,
            wall_time=lambda: 1_700_000_000.0,
            rtp_codec=PCMU,
        )
        session.start()
        if is_set:
            self.configure(session)
        return session

    def beat(self, session: SimulatedSession, count: int = 1) -> None:
        assert session.speech is not None
        for _ in range(count):
            self.clock.advance(0.02)
            self.sent += session.speech.next_frame()

    def hear(self, session: SimulatedSession, audio: bytes) -> None:
        for at in range(0, len(audio), 160):
            session.hear(audio[at : at + 160])
            self.beat(session)

    def extra(self) -> list[str]:
        return [kind for kind in self.kinds() if kind.startswith("output_audio_buffer")]

    def test_an_answer_is_sent_in_real_time(self) -> None:
        session = self.rtc()
        self.say(session, "response.create")
        self.beat(session, 200)
        spoken = b"".join(map(bytes, session.log.spoken.values()))
        self.assertEqual(self.sent[: len(spoken)], spoken)
        self.assertEqual(len(spoken), 8104)
        # 51 frames: the last one is padded.
        self.assertEqual(len(self.sent), 51 * 160)
        self.assertNotIn("response.output_audio.delta", self.kinds())
        kinds = self.kinds()
        self.assertLess(
            kinds.index("output_audio_buffer.started"), kinds.index("response.done")
        )
        self.assertLess(
            kinds.index("response.done"), kinds.index("output_audio_buffer.stopped")
        )

    def test_the_callers_speech_truncates_to_what_was_sent(self) -> None:
        session = self.rtc()
        self.say(session, "response.create")
        self.beat(session, 40)
        self.hear(session, SPEECH + QUIET)
        cut = [e for e in self.events if e["type"] == "conversation.item.truncated"]
        self.assertEqual(len(cut), 1)
        spoken = session.log.spoken[cut[0]["item_id"]]
        self.assertEqual(cut[0]["audio_end_ms"], len(spoken) // 8)
        order = [
            kind
            for kind in self.kinds()
            if kind.endswith(("speech_started", "cleared", "truncated"))
        ]
        self.assertEqual(
            order,
            [
                "input_audio_buffer.speech_started",
                "output_audio_buffer.cleared",
                "conversation.item.truncated",
            ],
        )

    def test_commands_about_audio_are_refused(self) -> None:
        session = self.rtc()
        self.say(session, "response.create")
        self.beat(session, 30)
        (item_id,) = session.log.spoken
        self.say(session, "input_audio_buffer.append", audio="AAAA")
        self.assertEqual(self.last_error()["code"], "invalid_value")
        self.say(
            session,
            "conversation.item.truncate",
            item_id=item_id,
            content_index=0,
            audio_end_ms=100,
        )
        self.assertEqual(self.last_error()["code"], "invalid_value")
        self.assertEqual(session.log.truncations, [])
        self.assertEqual(len(session.log.violations), 2)
        self.assertEqual(bytes(session.log.appended), b"")

    def test_only_silence_may_come_before_the_first_update(self) -> None:
        for audio, found in ((QUIET, 0), (QUIET + SPEECH, 1)):
            session = self.rtc(is_set=False)
            self.hear(session, audio)
            self.assertEqual(len(session.log.violations), found)

    def test_the_client_may_clear_the_buffer(self) -> None:
        session = self.rtc()
        self.say(session, "response.create")
        self.beat(session, 30)
        self.say(session, "response.cancel")
        self.say(session, "output_audio_buffer.clear")
        before = len(self.sent)
        self.beat(session, 50)
        self.assertEqual(len(self.sent), before)
        self.assertEqual(self.extra()[-1], "output_audio_buffer.cleared")
        self.assertEqual(len(session.log.truncations), 1)

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from([0.7, 1.0, 5.0]),
        st.lists(
            st.one_of(
                st.integers(1, 60),
                st.sampled_from(["create", "cancel", "clear", "speak", "update"]),
            ),
            max_size=25,
        ),
    )
    def test_the_conversation_has_what_was_sent(
        self, speed: float, steps: list[int | str]
    ) -> None:
        self.setUp()
        session = self.rtc(speed)
        for step in steps:
            if isinstance(step, int):
                self.beat(session, step)
            elif step == "create":
                self.say(session, "response.create")
            elif step == "cancel":
                self.say(session, "response.cancel")
            elif step == "clear":
                self.say(session, "output_audio_buffer.clear")
            elif step == "speak":
                self.hear(session, SPEECH + QUIET)
            else:
                self.configure(session, interrupt_response=bool(len(self.events) % 2))
        self.beat(session, 600)
        spoken = b"".join(map(bytes, session.log.spoken.values()))
        # In the order of the conversation, each item up to its truncation.
        self.assertEqual(self.sent.replace(b"\xff", b""), spoken.replace(b"\xff", b""))
        for item_id, end_ms, generated_ms in session.log.truncations:
            sent = len(session.log.spoken[item_id])
            self.assertEqual(end_ms, sent // 8)
            self.assertLessEqual(end_ms, generated_ms)
        self.assert_each_is_started_and_ended_once()
        self.assertNotIn("response.output_audio.delta", self.kinds())

    def assert_each_is_started_and_ended_once(self) -> None:
        playing = ""
        seen: set[tuple[str, str]] = set()
        for event in self.events:
            kind = str(event["type"])
            if not kind.startswith("output_audio_buffer"):
                continue
            response_id = event["response_id"]
            what = kind.rpartition(".")[2]
            self.assertNotIn((what, response_id), seen)
            seen.add((what, response_id))
            if what == "started":
                self.assertEqual(playing, "")
                playing = response_id
            elif response_id == playing:
                playing = ""
            else:
                self.assertEqual(what, "cleared")  # it was queued behind another
        self.assertEqual(playing, "")
