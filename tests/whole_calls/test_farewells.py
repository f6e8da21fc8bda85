"""
Whole calls that end: at any point of a conversation one whole goodbye is heard.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.events import CallEnded, HeardFacts, TurnFacts
from chime_gateway.codec.tone import tone
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.faults.which import Which
from chime_gateway.sim.realtime.voices import Part, Speech, Turn
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: Points at which a call is told to end; the same in each run.
RUNS = 40

#: Faults of a session that has to say goodbye.
UNABLE = (
    *("respond:failed:server_error", "respond:failed:rate_limit_exceeded/20s"),
    *("respond:incomplete:content_filter", "drop", "stall:created", "stall:audio"),
    *("refuse:response.create:server_error", "refuse:response.create:invalid_value"),
    "refuse:response.create:server_error:uncorrelated",
)

PROFILE = AgentProfile(goodbye="Say goodbye.")


class Polite:
    """Says goodbye when it is told to, and something else otherwise."""

    def answer(self, turn: Turn) -> Sequence[Part]:
        if turn.instructions.endswith(PROFILE.goodbye):
            return [Speech(tone(turn.output_codec, 900, 1.0), "Goodbye.")]
        return [Speech(tone(turn.output_codec, 440, 2.0), "Something else.")]


class FarewellTests(SynchronousTestCase):
    def part_at(
        self, at: float | None, *, has_keys: bool = False, **more: Any
    ) -> VirtualCall:
        said = phrase(PCMU, *LONG), phrase(PCMU, *SHORT)
        plan = CallPlan(
            utterances=said * 4, interrupt_after_seconds=(0.4, None, 0.9, None)
        )
        call = VirtualCall(plan, voice=Polite(), profile=PROFILE, **more)
        if at is not None:
            call.clock.callLater(at, call.table.part_all)
        if has_keys and at is not None:
            for after in range(1, 20):
                call.clock.callLater(at + after * 0.1, self.press, call)
        call.run()
        return call

    @staticmethod
    def press(call: VirtualCall) -> None:
        for live in call.table.calls():
            live.digit_pressed("1")

    def hold(
        self, call: VirtualCall, at: float, outcome: Outcome = Outcome.DRAINED
    ) -> None:
        ended = call.events[-1].payload
        assert isinstance(ended, CallEnded)
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, outcome)
        spoken = [turn for turn in ended.transcript if turn.speaker == "agent"]
        self.assertEqual(self.heard(spoken[-1]), ("Goodbye.", 1000))
        whole = [turn for turn in spoken if self.heard(turn) == ("Goodbye.", 1000)]
        self.assertEqual(len(whole), 1)
        self.assertLess(call.clock.seconds() - at, 10.0)

    @staticmethod
    def heard(turn: TurnFacts) -> tuple[str, int | None]:
        heard = turn.heard or HeardFacts(
            interrupted=False, heard_ms=None, spoken_ms=None, heard_text=""
        )
        return turn.text, heard.heard_ms

    def test_one_goodbye_is_heard_at_whatever_point_the_call_ends(self) -> None:
        dice = random.Random(23)
        for run in range(RUNS):
            at = dice.uniform(0.1, 9.0)
            with self.subTest(run=run, at=at):
                call = self.part_at(
                    at,
                    has_keys=bool(run % 2),
                    is_raw=dice.random() < 0.5,
                    is_preview=dice.random() < 0.5,
                )
                self.hold(call, at)

    def test_one_goodbye_is_heard_when_the_service_or_the_caller_acts_first(
        self,
    ) -> None:
        dice = random.Random(23)
        twice = Which(1, 2)
        for fault in (
            Behaviour(vad_first=twice),
            Behaviour(speech_after_create=twice),
        ):
            for run in range(10):
                at = dice.uniform(0.1, 9.0)
                with self.subTest(fault=fault, run=run, at=at):
                    self.hold(self.part_at(at, behaviour=fault), at)

    def test_one_goodbye_is_heard_from_another_session_if_the_first_cannot_say_it(
        self,
    ) -> None:
        self.patch(MediaPump, "play_tone", lambda pump: None)
        dice = random.Random(25)
        for fault in UNABLE:
            at = dice.uniform(0.1, 9.0)
            begins = Scheduled.read(f"{max(0.0, at - 0.01):.3f}s:{fault}")
            with self.subTest(fault=fault, at=at):
                call = self.part_at(
                    at,
                    is_preview=dice.random() < 0.5,
                    behaviour=Behaviour(at=[begins]),
                    later=Behaviour(),
                )
                self.hold(call, at)

    def test_goodbye_is_said_before_the_service_ends_the_session(self) -> None:
        for early in (0.0, 5.0):
            for is_preview in (False, True):
                with self.subTest(early=early, is_preview=is_preview):
                    service = Behaviour(session_seconds=40.0, early_seconds=early)
                    call = self.part_at(
                        None, behaviour=service, is_preview=is_preview, most_sessions=1
                    )
                    self.hold(call, 30.0, Outcome.TIME_LIMIT)
