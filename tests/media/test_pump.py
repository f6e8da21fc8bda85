from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000, L16_24000, PCMU, Codec
from chime_gateway.codec.registry import decode, encode
from chime_gateway.codec.tone import tone
from chime_gateway.media.pump import MediaPump
from chime_gateway.media.stats import MediaStats
from chime_gateway.sim.caller.compare import correlation
from tests.support.fakes import Log, RecordingAgent, RecordingLeg

FRAME = bytes(range(160))


class PumpTestCase(SynchronousTestCase):
    buffers = True
    codec: Codec = PCMU
    agent_codec: Codec = PCMU

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.stats = MediaStats()
        self.leg = RecordingLeg(self.log, buffers=self.buffers, codec=self.codec)
        self.agent = RecordingAgent(self.log, self.agent_codec)
        self.turns: list[float] = []
        self.bridges: list[float] = []
        self.pump = MediaPump(
            self.leg,
            self.stats,
            self.clock.seconds,
            keep_early=True,
            max_queue_seconds=10.0,
            observe_turn=self.turns.append,
            observe_bridge=self.bridges.append,
        )

    def run_for(self, seconds: float) -> None:
        """Tick as the metronome does."""
        for _ in range(round(seconds / 0.02)):
            self.clock.advance(0.02)
            self.pump.tick(self.clock.seconds(), 1)

    def speak(self, item: str, audio: bytes, response: str = "r1") -> None:
        self.pump.agent_audio(response, item, 0, audio)

    def truncations(self) -> list[tuple[str, int]]:
        return [(e[1], e[3]) for e in self.log if e[0] == "agent.truncate"]

    def entries(self, *names: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if entry[0] in names]


class CallerToAgentTests(PumpTestCase):
    def test_audio_is_unchanged_when_the_codecs_are_the_same(self) -> None:
        self.pump.join(self.agent)
        for size in (160, 1, 333):
            self.pump.caller_audio(FRAME[:1] * size)
        self.assertEqual(self.agent.audio, FRAME[:1] * 494)
        self.assertAlmostEqual(self.stats.frames_in, 494 / 160)

    def test_what_was_said_before_the_agent_was_ready_is_kept(self) -> None:
        self.pump.caller_audio(b"early")
        self.pump.join(self.agent)
        self.pump.caller_audio(b"late")
        self.assertEqual(self.agent.audio, b"earlylate")

    def test_only_the_last_two_seconds_are_kept_and_the_rest_is_counted(self) -> None:
        for _ in range(150):
            self.pump.caller_audio(FRAME)
        self.pump.join(self.agent)
        self.assertEqual(len(self.agent.audio), 100 * 160)
        self.assertEqual(self.stats.dropped, {"agent_not_ready": 50})

    def test_a_gap_is_filled_with_silence_in_real_time(self) -> None:
        self.pump.join(self.agent)
        self.pump.caller_audio(FRAME)
        self.run_for(1.0)
        silence = len(self.agent.audio) - 160
        self.assertApproximates(silence / 8000, 1.0, 0.021)
        self.assertEqual(self.agent.audio[160:], b"\xff" * silence)
        self.assertEqual(self.stats.frames_filled, silence // 160)

    def test_a_short_gap_is_not_filled(self) -> None:
        self.pump.join(self.agent)
        for _ in range(5):
            self.pump.caller_audio(FRAME)
            self.run_for(0.18)
        self.assertEqual(self.stats.frames_filled, 0)

    def test_the_agent_hears_silence_of_a_muted_caller(self) -> None:
        self.pump.join(self.agent)
        self.pump.mute_caller()
        self.pump.caller_audio(FRAME)
        self.assertEqual(self.agent.audio, b"\xff" * 160)

    def test_after_the_agent_is_gone_audio_is_dropped_and_counted(self) -> None:
        self.pump.join(self.agent)
        self.pump.detach_agent()
        self.pump.caller_audio(FRAME)
        self.assertEqual(self.stats.dropped, {"no_agent": 1})

    def test_the_delay_in_the_pump_is_measured_about_once_a_second(self) -> None:
        self.pump.join(self.agent)
        for _ in range(100):
            self.pump.caller_audio(FRAME)
            self.run_for(0.02)
        self.assertIn(len(self.bridges), (2, 3))


class BufferedLegTests(PumpTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pump.join(self.agent)

    def test_audio_goes_out_at_once_in_whole_frames(self) -> None:
        self.speak("i1", b"a" * 1000)
        self.assertEqual(self.leg.played, b"a" * 960)
        self.speak("i1", b"b" * 120)
        self.assertEqual(self.leg.played, b"a" * 1000 + b"b" * 120)
        self.assertTrue(all(e[1] % 160 == 0 for e in self.entries("leg.play")))

    def test_the_tail_of_an_item_is_padded_with_silence(self) -> None:
        self.speak("i1", b"a" * 200)
        self.pump.agent_audio_done("i1")
        self.assertEqual(self.leg.played, b"a" * 200 + b"\xff" * 120)

    def test_an_item_that_was_never_announced_and_never_ended_is_played(self) -> None:
        self.speak("", b"a" * 160, response="")
        self.speak("i2", b"b" * 160)
        self.assertEqual(self.leg.played, b"a" * 160 + b"b" * 160)

    def test_marks_follow_the_first_frame_each_second_and_the_end(self) -> None:
        self.speak("i1", b"a" * 20000)
        self.pump.agent_audio_done("i1")
        sent, marks = 0, []
        for entry in self.log:
            if entry[0] == "leg.play":
                sent += entry[1]
            elif entry[0] == "leg.mark":
                marks.append(sent)
        self.assertEqual(marks, [160, 20000])

    def test_barge_in_clears_and_truncates_to_what_was_heard(self) -> None:
        self.speak("i1", b"a" * 16000)
        self.run_for(0.5)
        self.assertTrue(self.pump.interrupt())
        self.assertEqual(self.truncations(), [("i1", 500)])
        self.assertEqual(len(self.entries("leg.clear")), 1)
        self.assertEqual(self.stats.barge_ins, 1)

    def test_barge_in_also_flushes_a_complete_response(self) -> None:
        self.pump.response_started("r1")
        self.speak("i1", b"a" * 16000)
        self.pump.response_done("r1")
        self.run_for(0.5)
        self.pump.interrupt()
        self.assertEqual(self.truncations(), [("i1", 500)])
        self.assertEqual(len(self.entries("leg.clear")), 1)

    def test_late_audio_of_a_cut_item_is_dropped_and_counted(self) -> None:
        self.speak("i1", b"a" * 1600)
        self.pump.interrupt()
        self.speak("i1", b"late" * 80)
        self.speak("i2", b"n" * 160, response="r2")
        self.assertEqual(self.leg.played, b"a" * 1600 + b"n" * 160)
        self.assertEqual(self.stats.dropped["stale"], 2)

    def test_audio_of_a_response_cut_before_its_first_word_is_dropped(self) -> None:
        self.pump.response_started("r1")
        self.assertFalse(self.pump.interrupt())
        self.speak("i1", b"a" * 160)
        self.assertEqual(self.leg.played, b"")
        self.assertEqual(self.stats.dropped, {"stale": 1})

    def test_later_items_are_truncated_at_zero(self) -> None:
        self.speak("i1", b"a" * 8000)
        self.pump.agent_audio_done("i1")
        self.speak("i2", b"b" * 8000)
        self.run_for(0.4)
        self.pump.interrupt()
        self.assertEqual(self.truncations(), [("i1", 400), ("i2", 0)])

    def test_an_item_heard_to_its_end_is_left_alone(self) -> None:
        self.speak("i1", b"a" * 1600)
        self.pump.agent_audio_done("i1")
        self.run_for(1.0)
        for entry in self.entries("leg.mark"):
            self.pump.mark_reached(str(entry[1]), self.clock.seconds())
        self.assertFalse(self.pump.interrupt())
        self.assertEqual(self.entries("leg.clear", "agent.truncate"), [])
        self.assertEqual(self.stats.barge_ins, 0)

    def test_an_item_played_up_to_its_padding_is_not_truncated(self) -> None:
        # The second frame is padded from 31 ms on.
        for seconds, truncations in ((0.03, [("i1", 30)]), (0.039, [])):
            self.setUp()
            self.pump.join(self.agent)
            self.speak("i1", b"a" * 250)
            self.pump.agent_audio_done("i1")
            self.clock.advance(seconds)
            self.pump.interrupt()
            self.assertEqual(self.truncations(), truncations)

    def test_marks_that_return_after_a_barge_in_are_ignored(self) -> None:
        self.speak("i1", b"a" * 16000)
        self.run_for(0.5)
        self.pump.interrupt()
        for entry in self.entries("leg.mark"):
            self.pump.mark_reached(str(entry[1]), self.clock.seconds())
        self.speak("i2", b"b" * 8000, response="r2")
        self.run_for(0.2)
        self.pump.interrupt()
        self.assertEqual(self.truncations(), [("i1", 500), ("i2", 200)])

    def test_a_second_interruption_has_nothing_to_cut(self) -> None:
        self.speak("i1", b"a" * 16000)
        self.assertTrue(self.pump.interrupt())
        self.assertFalse(self.pump.interrupt())
        self.assertEqual(len(self.entries("leg.clear")), 1)

    def test_audio_beyond_the_limit_of_the_queue_is_dropped_and_counted(self) -> None:
        for _ in range(20):
            self.speak("i1", b"a" * 8000)
        self.assertLessEqual(len(self.leg.played), 11 * 8000)
        self.assertGreater(self.stats.dropped["play_queue_full"], 400)

    def test_the_answer_is_timed_from_the_end_of_the_callers_turn(self) -> None:
        self.pump.turn_ended()
        self.clock.advance(0.75)
        self.speak("i1", b"a" * 320)
        self.speak("i1", b"a" * 320)
        self.assertEqual(self.turns, [0.75])
        self.assertEqual(self.stats.turn_latencies, [0.75])

    def test_the_pump_is_drained_when_all_was_heard(self) -> None:
        self.speak("i1", b"a" * 8000)
        self.assertFalse(self.pump.is_drained(self.clock.seconds()))
        self.assertApproximates(self.pump.queued_seconds(0.0), 1.0, 0.001)
        self.clock.advance(1.0)
        self.assertTrue(self.pump.is_drained(self.clock.seconds()))

    def test_after_stop_nothing_is_sent(self) -> None:
        self.speak("i1", b"a" * 100)
        self.pump.stop()
        self.log.clear()
        self.pump.caller_audio(FRAME)
        self.speak("i1", b"a" * 1000)
        self.run_for(1.0)
        self.assertEqual(self.log, [])

    def test_what_a_lost_agent_said_is_still_played(self) -> None:
        self.speak("i1", b"a" * 200)
        self.pump.detach_agent()
        self.assertEqual(self.leg.played, b"a" * 200 + b"\xff" * 120)


class PacedLegTests(PumpTestCase):
    buffers = False

    def setUp(self) -> None:
        super().setUp()
        self.pump.join(self.agent)

    def test_one_frame_is_sent_each_ptime(self) -> None:
        self.speak("i1", FRAME * 10)
        self.assertEqual(self.leg.played, b"")
        self.run_for(0.06)
        self.assertEqual(self.entries("leg.play"), [("leg.play", 160)] * 3)

    def test_a_late_tick_is_made_up(self) -> None:
        self.speak("i1", FRAME * 10)
        self.clock.advance(0.1)
        self.pump.tick(self.clock.seconds(), 5)
        self.assertEqual(self.leg.played, FRAME * 5)

    def test_barge_in_truncates_to_the_frame_being_heard(self) -> None:
        self.speak("i1", FRAME * 100)
        self.run_for(0.5)
        self.clock.advance(0.01)
        self.pump.interrupt()
        self.run_for(0.5)
        self.assertEqual(len(self.leg.played), 25 * 160)
        self.assertEqual(self.truncations(), [("i1", 490)])
        self.assertEqual(len(self.entries("leg.clear")), 1)

    def test_there_are_no_marks(self) -> None:
        self.speak("i1", FRAME * 100)
        self.run_for(3.0)
        self.assertEqual(self.entries("leg.mark"), [])

    def test_running_dry_within_an_item_is_one_underrun(self) -> None:
        self.speak("i1", FRAME * 2)
        self.run_for(0.2)
        self.speak("i1", FRAME * 2)
        self.pump.agent_audio_done("i1")
        self.run_for(0.2)
        self.assertEqual(self.stats.underruns, 1)


class TranscodingTests(PumpTestCase):
    codec = L16_16000
    agent_codec = L16_24000

    def setUp(self) -> None:
        super().setUp()
        self.pump.join(self.agent)

    def test_a_tone_arrives_as_the_same_tone(self) -> None:
        there = tone(L16_16000, 700, 0.5)
        for start in range(0, len(there), 637):  # odd pieces
            self.pump.caller_audio(there[start : start + 637])
        back = tone(L16_24000, 700, 0.5)
        for start in range(0, len(back), 4801):
            self.speak("i1", back[start : start + 4801])
        self.pump.agent_audio_done("i1")
        for codec, expected, got in (
            (L16_24000, back, self.agent.audio),
            (L16_16000, there, self.leg.played),
        ):
            edge = codec.frame_bytes
            middle = decode(codec, expected[edge * 5 : -edge * 5])
            score, _ = correlation(middle, decode(codec, got[: len(got) & ~1]))
            self.assertGreater(score, 0.999)

    def test_truncation_is_in_milliseconds_of_the_agents_audio(self) -> None:
        audio = encode(L16_24000, decode(L16_24000, bytes(48_000 * 2)))
        self.speak("i1", audio)
        self.run_for(0.5)
        self.pump.interrupt()
        self.assertEqual(self.truncations(), [("i1", 500)])


class NextSessionTests(PumpTestCase):
    """A call outlives its session; the next one may use another codec."""

    def setUp(self) -> None:
        super().setUp()
        self.pump.join(self.agent)
        self.next = RecordingAgent(self.log, L16_24000)

    def test_audio_is_transcoded_for_the_current_session(self) -> None:
        there = tone(PCMU, 700, 0.5)
        self.pump.caller_audio(there)
        self.assertEqual(self.agent.audio, there)
        self.pump.join(self.next)
        self.pump.caller_audio(there)
        self.assertEqual(len(self.agent.audio), len(there))
        heard = decode(L16_24000, self.next.audio)
        expected = decode(L16_24000, tone(L16_24000, 700, 0.5)[4800:-4800])
        self.assertGreater(correlation(expected, heard)[0], 0.99)
        self.speak("i2", tone(L16_24000, 500, 0.5))
        self.pump.agent_audio_done("i2")
        played = decode(PCMU, self.leg.played)
        expected = decode(PCMU, tone(PCMU, 500, 0.5)[800:-800])
        self.assertGreater(correlation(expected, played)[0], 0.99)

    def test_audio_of_a_past_session_is_played_and_not_reported_to_the_next(
        self,
    ) -> None:
        self.speak("i1", FRAME * 100)
        self.run_for(0.5)
        self.pump.join(self.next)
        self.speak("i2", tone(L16_24000, 500, 1.0))
        self.run_for(0.5)
        self.pump.interrupt()
        self.assertEqual(self.truncations(), [("i2", 0)])

    def test_half_a_frame_of_a_past_session_is_padded(self) -> None:
        self.speak("i1", FRAME[:100])
        self.pump.join(self.next)
        self.assertEqual(self.leg.played, FRAME[:100] + b"\xff" * 60)

    def test_a_session_that_cuts_itself_gets_no_truncation(self) -> None:
        self.pump.join(RecordingAgent(self.log, PCMU, cuts_itself=True))
        self.speak("i1", FRAME * 100)
        self.run_for(0.5)
        self.assertTrue(self.pump.interrupt())
        self.assertEqual(self.truncations(), [])
        self.assertEqual(len(self.entries("leg.clear")), 1)

    def test_an_id_of_a_past_session_is_another_item_in_the_next(self) -> None:
        self.speak("i1", FRAME * 100)
        self.run_for(0.5)
        self.pump.interrupt()
        self.speak("i2", FRAME * 100, "r2")
        self.pump.join(self.next)
        self.speak("i1", tone(L16_24000, 500, 1.0))
        self.speak("i2", tone(L16_24000, 500, 1.0))
        self.run_for(2.5)
        self.pump.interrupt()
        self.assertEqual(self.truncations(), [("i1", 500), ("i1", 500), ("i2", 0)])
