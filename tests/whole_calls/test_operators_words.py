"""
Whole calls in which an operator has the agent say something: each text is heard, and so
is an answer to the caller, whoever speaks when.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.events import CallEnded
from chime_gateway.codec.tone import tone
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.voices import Part, Speech, Turn
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The number of calls, which are the same in each run.
RUNS = 14

ANSWER = "An answer."


class Obedient:
    """Says what it is told to say, at length."""

    def answer(self, turn: Turn) -> Sequence[Part]:
        words = turn.instructions.rpartition(": ")[2]
        return [Speech(tone(turn.output_codec, 440, 3.0), words)]


class OperatorsWordsTests(SynchronousTestCase):
    def run_call(self, dice: random.Random) -> list[str]:
        """
        @return: what was not heard.
        """
        plan = CallPlan(
            # A caller who waits for the rest says nothing meanwhile.
            utterances=(
                *(phrase(PCMU, *SHORT), phrase(PCMU, *LONG)),
                PCMU.silence(30 * PCMU.bytes_per_second),
            ),
            interrupt_after_seconds=(dice.uniform(0.1, 3.0), dice.uniform(0.1, 3.0)),
        )
        call = VirtualCall(
            plan,
            is_raw=dice.random() < 0.5,
            is_preview=dice.random() < 0.5,
            voice=Obedient(),
            profile=AgentProfile(
                instructions=ANSWER,
                greeting="Hello.",
                interruptible=dice.random() < 0.6,
            ),
            behaviour=Behaviour(speed=dice.choice([1.2, 5.0, 50.0])),
        )
        words = [f"Words {number}." for number in range(4)]
        for text in words:
            at = dice.uniform(0.3, 10.0)
            call.clock.callLater(at, lambda t: call.table.call("call").say(t), text)
            if dice.random() < 0.5:
                at += dice.uniform(0.1, 2.0)
                call.clock.callLater(
                    at, lambda: call.table.call("call").digit_pressed("1")
                )
        call.run(90.0)
        ended = call.events[-1].payload
        assert isinstance(ended, CallEnded)
        heard = {
            turn.text.strip(): turn.number
            for turn in ended.transcript
            if turn.heard and turn.heard.heard_ms
        }
        missing = [text for text in words if text not in heard]
        turns = [t.number for t in ended.transcript if t.speaker == "caller"]
        if heard.get(ANSWER, 0) < turns[-1]:
            missing.append(ANSWER)
        return missing

    def test_each_text_is_heard_and_so_is_an_answer(self) -> None:
        dice = random.Random(6)
        for run in range(RUNS):
            with self.subTest(run=run):
                self.assertEqual(self.run_call(dice), [])
