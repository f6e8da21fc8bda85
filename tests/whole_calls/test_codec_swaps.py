"""The next session may use another codec; the change cannot be heard."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_24000, PCMA, PCMU, Codec
from chime_gateway.codec.registry import decode
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import Sentence, heard, spoken
from tests.support.virtual import VirtualCall

RUNS: Final = 4

#: The service accepts telephone codecs unchanged, and any other as linear audio.
CODECS: Final = (PCMU, PCMA, L16_24000)

SAID: Final = (
    "My number is 4711.",
    "Tell me a story of 5 parts.",
    "What is my number?",
)

#: A resampler delays by less than a frame, and speech is detected a frame later.
LATE_SECONDS: Final = 0.08

#: The largest step between two samples; the highest tone of this speech has 14,500.
JUMP: Final = 15500


class CodecSwapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(MediaPump, "play_sound", lambda *_: None)

    def run_call(
        self, codec: Codec, codecs: Sequence[Codec], faults: Sequence[str]
    ) -> VirtualCall:
        """@param faults: of each session, in order."""
        at = [Scheduled.read(f"{n}/{fault}") for n, fault in enumerate(faults, 1)]
        behaviour = Behaviour(at=at)
        call = VirtualCall(
            CallPlan(
                utterances=tuple(spoken(codec, text) for text in SAID),
                wait_for_greeting=True,
                answer_seconds=40.0,
            ),
            codec=codec,
            voice=Answering(),
            behaviour=behaviour,
            later=behaviour,
            profile=AgentProfile(greeting="Hello."),
            is_raw=codec is L16_24000,
        )
        call.agents.codecs = codecs
        self.report = call.run(200.0)
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED, record.sessions)
        self.assertEqual(len(call.agents.sessions), len(faults) + 1)
        used = [azure.traits.codec for azure in call.agents.azure]
        self.assertEqual(used, [codecs[n % len(codecs)] for n in range(len(used))])
        for session in call.agents.sessions:
            self.assertEqual(session.log.violations, [])
        return call

    def sentences(self, codec: Codec) -> list[Sentence]:
        return heard(codec, bytes(self.report.heard))

    def jumps(self, codec: Codec) -> int:
        audio = bytes(self.report.heard)
        samples = decode(codec, audio[: len(audio) // 2 * 2]).astype(np.int32)
        return int((np.abs(np.diff(samples)) > JUMP).sum())

    def test_audio_and_its_timing_are_as_with_a_single_codec(self) -> None:
        dice = random.Random(26)
        for run in range(RUNS):
            codecs = dice.sample(CODECS, 3)
            codec = codecs[0]
            at = f"{dice.choice(('turn', 'audio'))}3+{dice.uniform(0.05, 1.0):.2f}"
            faults = [f"{at}:drop", "audio1+0.4:close:1001"][: dice.randint(1, 2)]
            with self.subTest(run=run, codecs=codecs, faults=faults):
                self.run_call(codec, (codec,), faults)
                expected, jumps = self.sentences(codec), self.jumps(codec)
                self.run_call(codec, codecs, faults)
                found = self.sentences(codec)
                self.assertEqual(
                    [one.text for one in found if one.is_whole],
                    [one.text for one in expected if one.is_whole],
                )
                for one, other in zip(found, expected, strict=True):
                    late = one.at_seconds - other.at_seconds
                    self.assertLessEqual(abs(late), LATE_SECONDS)
                self.assertLessEqual(self.jumps(codec), jumps)
