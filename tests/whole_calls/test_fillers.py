"""A caller who waits hears a filler, and a caller who does not hears none."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.media.pump import MediaPump
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import spoken
from tests.support.virtual import VirtualCall

RUNS: Final = 4

#: The line's interval of checks, and the call's beat.
SLACK: Final = 0.15


class FillerTests(SynchronousTestCase):
    def setUp(self) -> None:
        # This caller takes every sound for an answer.
        self.sounds: list[float] = []
        self.patch(
            MediaPump,
            "play_sound",
            lambda pump, _: self.sounds.append(pump._clock()),
        )

    def run_call(self, fault: str = "", **behaviour: Any) -> VirtualCall:
        self.sounds.clear()
        at = [Scheduled.read(fault)] if fault else []
        call = VirtualCall(
            CallPlan(
                utterances=(
                    spoken(PCMU, "My number is 4711."),
                    spoken(PCMU, "Tell me a story of 3 parts."),
                    PCMU.silence(80_000) + spoken(PCMU, "What is my number?"),
                ),
                wait_for_greeting=True,
                answer_seconds=40.0,
            ),
            voice=Answering(),
            behaviour=Behaviour(at=at, **behaviour),
            later=Behaviour(),
            profile=AgentProfile(greeting="Hello.", filler_after_seconds=1.7),
        )
        call.agents.delay_seconds = 0.3
        call.run(100.0)
        return call

    def noted(self, call: VirtualCall, what: str, number: int) -> float:
        """Return when the service of the first session did this."""
        notes = call.agents.sessions[0].log.notes
        return next(at for at, w, m in notes if w == what and m["number"] == number)

    def test_a_filler_is_played_in_time_whatever_is_missing(self) -> None:
        for stage, after in (("created", 1.2), ("audio", 1.7)):
            with self.subTest(stage=stage):
                call = self.run_call(f"turn2:stall:{stage}")
                wanted = self.noted(call, "turn", 2) + after
                self.assertTrue(
                    wanted <= self.sounds[0] <= wanted + SLACK, (wanted, self.sounds)
                )
                # It is repeated while that lasts.
                gaps = [b - a for a, b in pairwise([wanted, *self.sounds])]
                self.assertTrue(all(gap < 3.0 + SLACK for gap in gaps), gaps)

    def test_within_a_sentence_it_is_played_after_everything_received_was_heard(
        self,
    ) -> None:
        call = self.run_call("audio3+0.2:stall:within")
        began = self.noted(call, "audio", 3)
        # A second of audio arrived in the first 0.2 s, at five times real time.
        self.assertTrue(began + 2.0 < self.sounds[0] < began + 3.0, self.sounds)

    def test_in_a_call_without_faults_no_filler_is_played(self) -> None:
        dice = random.Random(7)
        for run in range(RUNS):
            first = dice.uniform(0.1, 1.6)
            speed = dice.choice((1.1, 2.0, 5.0))
            with self.subTest(run=run, first=first, speed=speed):
                self.run_call(first_delta_seconds=first, speed=speed)
                self.assertEqual(self.sounds, [])

    def test_a_long_thinking_time_is_filled_and_the_session_is_kept(self) -> None:
        call = self.run_call(first_delta_seconds=3.0)
        self.assertEqual(len(call.agents.sessions), 1)
        # Once for the greeting and once for each answer.
        self.assertEqual(len(self.sounds), 4)
