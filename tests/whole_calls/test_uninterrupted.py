"""
Whole calls with an agent that cannot be interrupted: speech during its answer is
answered afterwards, once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.events import CallEnded
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.voices import Script
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import SHORT, phrase

#: Moments of an answer at which the caller speaks; the same in each run.
RUNS = 30

VADS: tuple[Mapping[str, Any], ...] = (
    {"type": "server_vad", "silence_duration_ms": 500},
    {"type": "semantic_vad", "eagerness": "high"},
)


class UninterruptedTests(SynchronousTestCase):
    def run_call(self, dice: random.Random) -> VirtualCall:
        said = phrase(PCMU, *SHORT)
        plan = CallPlan(
            # A caller who waits for the answer says nothing meanwhile.
            utterances=(said, said, PCMU.silence(6 * PCMU.bytes_per_second)),
            interrupt_after_seconds=(dice.uniform(0.05, 4.0),),
            answer_seconds=8.0,
        )
        reply = {"tone": 440, "seconds": 3.0, "say": "A long reply."}
        return VirtualCall(
            plan,
            is_raw=dice.random() < 0.5,
            is_preview=dice.random() < 0.3,
            voice=Script([[reply]], Path(".")),
            # From a service in real time to one that sends everything at once.
            behaviour=Behaviour(speed=dice.choice([1.0, 1.5, 5.0])),
            profile=AgentProfile(interruptible=False, turn_detection=dice.choice(VADS)),
        )

    def test_speech_during_an_answer_is_answered_afterwards_and_once(self) -> None:
        dice = random.Random(21)
        for run in range(RUNS):
            call = self.run_call(dice)
            with self.subTest(run=run):
                call.run()
                ended = call.events[-1].payload
                assert isinstance(ended, CallEnded)
                spoken = [turn for turn in ended.transcript if turn.speaker == "agent"]
                self.assertEqual(len(spoken), 2)
                assert spoken[0].heard is not None
                self.assertEqual(spoken[0].heard.heard_ms, 3000)
                (record,) = call.measures.records
                self.assertEqual(record.responses, 2)
