"""Whole calls in memory: what one side says is what the other hears."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000, L16_24000, PCMA, PCMU, Codec
from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.realtime.behaviour import Behaviour
from tests.support.virtual import VirtualCall

#: Barge-ins at random moments; the same in each run.
RUNS = 200


def phrase(codec: Codec, *pitches: float) -> bytes:
    """Return audio that differs from itself at every other moment."""
    return b"".join(tone(codec, hz, 0.17) for hz in pitches)


LONG = (400, 560, 700, 480, 900, 620, 1100, 520, 760, 1000)
SHORT = (800, 500, 950)


def plan(codec: Codec = PCMU, interrupt_after: float | None = None) -> CallPlan:
    said = [phrase(codec, *LONG)]
    if interrupt_after is not None:
        said.append(phrase(codec, *SHORT))
    return CallPlan(utterances=tuple(said), interrupt_after_seconds=(interrupt_after,))


class ParrotTests(SynchronousTestCase):
    def likeness(
        self, codec: Codec, *, is_raw: bool, is_preview: bool = False
    ) -> float:
        call = VirtualCall(
            plan(codec), codec=codec, is_raw=is_raw, is_preview=is_preview
        )
        report = call.run()
        self.assertIs(self.outcome(call), Outcome.COMPLETED)
        said = decode(codec, phrase(codec, *LONG))
        return correlation(said, decode(codec, bytes(report.heard)))[0]

    def outcome(self, call: VirtualCall) -> Outcome:
        (record,) = call.measures.records
        assert record.ending is not None
        return record.ending.outcome

    def test_the_caller_hears_what_it_said_with_both_codecs_and_paths(self) -> None:
        for codec in (PCMU, PCMA):
            for is_raw in (False, True):
                with self.subTest(codec=codec.name, is_raw=is_raw):
                    self.assertGreater(self.likeness(codec, is_raw=is_raw), 0.99)

    def test_the_preview_dialect_carries_the_same_call(self) -> None:
        likeness = self.likeness(PCMU, is_raw=False, is_preview=True)
        self.assertGreater(likeness, 0.99)

    def test_linear_audio_through_24_khz(self) -> None:
        for codec in (L16_16000, L16_24000):
            for is_raw in (False, True):
                with self.subTest(codec=codec.name, is_raw=is_raw):
                    self.assertGreater(self.likeness(codec, is_raw=is_raw), 0.95)

    def test_audio_of_items_that_were_never_announced_is_played(self) -> None:
        call = VirtualCall(
            plan(), behaviour=Behaviour(unannounced_items=True, unknown_events=True)
        )
        report = call.run()
        heard = decode(PCMU, bytes(report.heard))
        said = decode(PCMU, phrase(PCMU, *LONG))
        self.assertGreater(correlation(said, heard)[0], 0.99)

    def test_messages_contain_only_whole_frames(self) -> None:
        report = VirtualCall(plan()).run()
        self.assertEqual({size % 160 for size in report.audio_sizes}, {0})

    def test_the_greeting_is_heard_first(self) -> None:
        call = VirtualCall(
            CallPlan(utterances=(phrase(PCMU, *SHORT),), wait_for_greeting=True),
            profile=AgentProfile(greeting="Good morning"),
        )
        report = call.run()
        first = self.first_sound(bytes(report.said))
        self.assertLess(self.first_sound(bytes(report.heard)), first)
        self.assertEqual(len(report.answer_latencies), 1)

    @staticmethod
    def first_sound(audio: bytes) -> int:
        return len(audio) - len(audio.lstrip(b"\xff"))


class BargeInTests(SynchronousTestCase):
    """The promised figures: no stale audio, and truncations exact to 20 ms."""

    def barge_in(self, after: float, *, is_raw: bool) -> tuple[float, int]:
        """
        @return: what the model was told minus what was heard, in ms, and the
            bytes of old speech that came after the clear.
        """
        call = VirtualCall(plan(interrupt_after=after), is_raw=is_raw)
        report = call.run()
        (session,) = call.agents.sessions
        ((_, told_ms, _),) = session.log.truncations
        (cut,) = report.interruptions
        self.assertEqual(session.log.errors, [])
        return told_ms - cut.heard_ms, report.stale_bytes

    def test_two_hundred_interruptions_at_random_moments(self) -> None:
        chance = random.Random(20261122)
        for run in range(RUNS):
            after, is_raw = chance.uniform(0.05, 1.5), bool(run % 2)
            with self.subTest(after=after, is_raw=is_raw):
                error_ms, stale_bytes = self.barge_in(after, is_raw=is_raw)
                self.assertEqual(stale_bytes, 0)
                self.assertLessEqual(abs(error_ms), 20.0)

    def test_an_answer_still_being_generated_is_cut_as_well(self) -> None:
        call = VirtualCall(plan(interrupt_after=0.4), behaviour=Behaviour(speed=1.2))
        report = call.run()
        (session,) = call.agents.sessions
        done = [e for e in call.agents.server_events if e["type"] == "response.done"]
        self.assertEqual(done[0]["response"]["status"], "cancelled")
        ((_, told_ms, _),) = session.log.truncations
        self.assertApproximates(told_ms, report.interruptions[0].heard_ms, 20)
        self.assertEqual(report.stale_bytes, 0)
        self.assertEqual(session.log.errors, [])

    def test_a_caller_who_does_not_interrupt_causes_no_truncation(self) -> None:
        call = VirtualCall(plan())
        call.run()
        self.assertEqual(call.agents.sessions[0].log.truncations, [])
