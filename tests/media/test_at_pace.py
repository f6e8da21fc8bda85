"""An agent that speaks in real time: more of what it says may still be to come."""

from __future__ import annotations

from tests.media.test_pump import FRAME, PumpTestCase
from tests.support.fakes import RecordingAgent


class AtPaceTests(PumpTestCase):
    buffers = False

    def setUp(self) -> None:
        super().setUp()
        self.pump.join(
            RecordingAgent(self.log, is_ahead=False, cuts_itself=True),
        )

    def speak_for(self, frames: int) -> None:
        for _ in range(frames):
            self.speak("i", FRAME)
            self.run_for(0.02)

    def is_drained(self) -> bool:
        return self.pump.is_drained(self.clock.seconds())

    def test_between_two_frames_more_is_to_come(self) -> None:
        self.assertTrue(self.is_drained())
        self.speak_for(10)
        self.run_for(0.1)
        self.assertFalse(self.is_drained())
        self.pump.agent_audio_done("i")
        self.run_for(0.1)
        self.assertTrue(self.is_drained())

    def test_last_words_get_more_time_than_the_queued_audio(self) -> None:
        self.speak_for(10)
        self.assertGreater(self.pump.rest_seconds(self.clock.seconds()), 30.0)
        self.pump.response_done("r1")
        self.run_for(0.1)
        self.assertLess(self.pump.rest_seconds(self.clock.seconds()), 1.0)

    def test_after_an_interruption_nothing_is_waited_for(self) -> None:
        self.speak_for(10)
        self.pump.interrupt()
        self.assertTrue(self.is_drained())
        self.assertEqual(self.truncations(), [])
        self.speak_for(3)
        self.assertTrue(self.is_drained())

    def test_nothing_more_comes_from_a_past_session(self) -> None:
        self.speak_for(10)
        self.pump.join(RecordingAgent(self.log, is_ahead=False))
        self.run_for(0.1)
        self.assertTrue(self.is_drained())

    def test_an_agent_that_is_ahead_has_said_all_that_came(self) -> None:
        self.pump.join(self.agent)
        self.speak_for(10)
        self.run_for(0.1)
        self.assertTrue(self.is_drained())
