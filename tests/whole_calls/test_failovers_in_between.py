"""A session that fails during ringing, a transfer or hold, when nobody talks to it."""

from __future__ import annotations

import random
from collections import deque
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMU
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.errors import TransferFailed
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import heard, spoken
from tests.support.fakes import Log, RecordingLeg, RecordingMeasures, RecordingTools
from tests.support.virtual import STEP_SECONDS, VirtualAgents

RUNS: Final = 6

FRAME_SECONDS: Final = 0.02

ENDS: Final = ("drop", "close:1001", "reset", "expire", "mute", "stall:created")

#: (what goes on meanwhile, from when to when in a call)
BEGINS, ENDS_AT = 9.0, 21.0


class InBetweenTests(SynchronousTestCase):
    def setUp(self) -> None:
        # The words are counted.
        self.patch(MediaPump, "play_sound", lambda *_: None)

    def start(self, *faults: str) -> None:
        self.clock = clock = Clock()
        self.log: Log = []
        self.to_say: deque[bytes] = deque()
        self.measures = RecordingMeasures()
        self.agents = agents = VirtualAgents(clock, Answering(), Behaviour(), False)
        behaviour = Behaviour(at=[Scheduled.read(fault) for fault in faults])
        agents._behaviour = agents.later = behaviour
        agents.delay_seconds = 0.3
        self.table = CallTable(
            Lines(agents, Limits()),
            roster=Roster(agents={"default": AgentProfile(greeting="Hello.")}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=clock,
            metronome=Metronome(clock),
            measures=self.measures,
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: "call",
        )
        self.leg = RecordingLeg(self.log, buffers=False)

    def wait_until(self, at: float, *, is_held: bool = False) -> None:
        """The caller speaks as planned; on hold the caller's side sends nothing."""
        while self.clock.seconds() < at and not self.measures.records:
            for _ in range(round(FRAME_SECONDS / STEP_SECONDS)):
                self.clock.advance(STEP_SECONDS)
            silence = PCMU.silence(160)
            if is_held:
                self.call.gap_filled(silence)
            else:
                frame = self.to_say.popleft() if self.to_say else silence
                self.call.caller_audio(frame)

    def say(self, text: str) -> None:
        audio = spoken(PCMU, text)
        audio += PCMU.silence(-len(audio) % 160)
        self.to_say.extend(audio[at : at + 160] for at in range(0, len(audio), 160))

    def whole(self) -> list[str]:
        return [one.text for one in heard(PCMU, self.leg.played) if one.is_whole]

    def hold(self, *expected: str) -> None:
        """Check that the caller is answered correctly, and hears nothing twice."""
        now = self.clock.seconds()
        self.say("What is my number?")
        self.wait_until(now + 14.0)
        whole = self.whole()
        self.assertEqual(whole[-1:], ["Your number is 4711."])
        self.assertEqual(len(whole), len(set(whole)), whole)
        for text in expected:
            self.assertIn(text, whole)
        self.assertGreater(len(self.agents.sessions), 1)
        self.call.leg_ended(Ending(Outcome.COMPLETED, "bye"))
        self.over(Outcome.COMPLETED)

    def over(self, outcome: Outcome) -> None:
        (record,) = self.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, outcome)
        for session in self.agents.sessions:
            self.assertEqual(session.log.violations, [])
            self.assertTrue(session.is_over)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def draw(self, dice: random.Random) -> tuple[str, ...]:
        first = f"1/{dice.uniform(BEGINS - 1.0, ENDS_AT):.2f}:{dice.choice(ENDS)}"
        second = f"2/{dice.uniform(0.5, 6.0):.2f}:{dice.choice(ENDS)}"
        return (first, second)[: dice.randint(1, 2)]

    def begin(self, faults: tuple[str, ...]) -> None:
        """Run a call up to the point at which the number was told."""
        self.start(*faults)
        self.call: Any = self.table.incoming(self.leg)
        self.wait_until(3.5)
        self.say("My number is 4711.")
        self.wait_until(BEGINS)

    def test_on_hold_only_the_session_is_lost(self) -> None:
        dice = random.Random(4)
        for run in range(RUNS):
            faults = self.draw(dice)
            with self.subTest(run=run, faults=faults):
                self.begin(faults)
                self.wait_until(ENDS_AT, is_held=True)
                self.wait_until(ENDS_AT + 1.0)
                self.hold("Hello.", "I have noted your number.")

    def test_a_transfer_continues_and_a_failed_one_returns_the_caller_to_the_agent(
        self,
    ) -> None:
        dice = random.Random(5)
        for run in range(RUNS):
            faults = self.draw(dice)
            is_done = dice.random() < 0.3
            with self.subTest(run=run, faults=faults, is_done=is_done):
                self.begin(faults)
                told: list[Any] = []
                self.call.transfer("+15559999").addBoth(told.append)
                self.wait_until(ENDS_AT)
                self.assertEqual(told, [])
                self.assertIn(("leg.transfer", "+15559999"), self.log)
                if is_done:
                    self.leg.transferring.callback(None)
                    self.assertEqual(told, [None])
                    self.over(Outcome.TRANSFERRED)
                    continue
                self.leg.transferring.errback(TransferFailed("busy"))
                told[0].trap(TransferFailed)
                self.wait_until(ENDS_AT + 6.0)
                self.hold("Hello.", "I have noted your number.")

    def test_the_callee_of_an_outbound_call_is_greeted_once(self) -> None:
        """It rings for a while, and the agent's session does not last."""
        dice = random.Random(6)
        for run in range(RUNS):
            rings = dice.uniform(1.0, 15.0)
            end = dice.choice(ENDS)
            faults = (f"1/{dice.uniform(0.5, rings + 1.0):.2f}:{end}",)
            with self.subTest(run=run, faults=faults, rings=rings):
                self.start(*faults)
                self.call = self.table.outgoing(self.leg)
                self.wait_until(rings, is_held=True)
                self.leg.dialling.callback(None)
                self.wait_until(rings + 8.0)
                self.say("My number is 4711.")
                self.wait_until(rings + 18.0)
                self.hold("Hello.", "I have noted your number.")
