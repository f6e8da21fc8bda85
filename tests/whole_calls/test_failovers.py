"""A call outlives the sessions of its agent, however and whenever they end."""

from __future__ import annotations

import random
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMU
from chime_gateway.capture.files import CaptureFiles
from chime_gateway.capture.replay import replay_file
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import heard, spoken
from tests.support.files import temporary_folder
from tests.support.virtual import VirtualCall

#: The number of random calls.
RUNS: Final = 5

SAID: Final = (
    "My number is 4711.",
    "Tell me a story of 3 parts.",
    "What is my number?",
)

ENDS: Final = (
    *("drop", "reset", "close:1001", "close:1011", "expire"),
    *("freeze", "mute", "stall:created", "stall:audio"),
    "respond:failed:server_error",
)

#: Faults after which the same session gives the answer when it is asked again.
AGAIN: Final = (
    *("respond:completed:text*1", "respond:completed:text*2", "respond:completed*2"),
    *("respond:failed:server_error*1", "respond:incomplete:content_filter*2"),
    *("refuse:response.create:server_error*1", "refuse:response.create:silence*1"),
)


def moment(dice: random.Random) -> str:
    after = dice.choice(("", f"+{dice.uniform(0.05, 1.5):.2f}"))
    kind = dice.choice(("turn", "response", "audio"))
    return f"{kind}{dice.randint(1, 3)}{after}"


class FailoverTests(SynchronousTestCase):
    def setUp(self) -> None:
        # This caller takes every sound for an answer.
        self.patch(MediaPump, "play_sound", lambda *_: None)

    def run_call(
        self, *faults: str, pauses: tuple[float, ...] = (0.0,) * len(SAID), **more: Any
    ) -> VirtualCall:
        """
        @param pauses: the caller's pauses before each utterance.
        @param faults: of the first session, and of later ones.
        """
        plan = CallPlan(
            utterances=tuple(
                PCMU.silence(160 * round(50 * pause)) + spoken(PCMU, text)
                for text, pause in zip(SAID, pauses, strict=True)
            ),
            wait_for_greeting=True,
            answer_seconds=40.0,
        )
        first, *others = [Behaviour(at=[Scheduled.read(fault)]) for fault in faults]
        call = VirtualCall(
            plan,
            voice=Answering(),
            behaviour=first,
            later=others[0] if others else Behaviour(),
            profile=AgentProfile(greeting="Hello."),
            **more,
        )
        call.agents.delay_seconds = 0.2
        self.report = call.run(200.0)
        return call

    def hold(self, call: VirtualCall) -> None:
        """The call has continued, and the agent knew what it was told before."""
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED, record.sessions)
        self.assertEqual(
            [note.deployment for note in record.sessions if note.ended is None],
            [f"d{len(call.agents.sessions)}"],
        )
        sentences = heard(PCMU, bytes(self.report.heard))
        whole = [one.text for one in sentences if one.is_whole]
        self.assertEqual(len(whole), len(set(whole)), whole)
        self.assertIn("Your number is 4711.", whole)
        # If the audio stops within an answer, the caller may speak.
        is_told = any(one.text.startswith("Part 3") for one in sentences)
        self.assertTrue(is_told or record.media.barge_ins, sentences)
        for session in call.agents.sessions:
            self.assertEqual(session.log.violations, [])
        self.assertEqual(call.clock.getDelayedCalls(), [])

    def test_the_call_continues_whatever_ends_a_session_and_when(self) -> None:
        dice = random.Random(25)
        sessions = 0
        for run in range(RUNS):
            faults = [f"{moment(dice)}:{dice.choice(ENDS)}"]
            if dice.random() < 0.5:
                faults.append(f"2/{moment(dice)}:{dice.choice(ENDS)}")
            with self.subTest(run=run, faults=faults):
                call = self.run_call(*faults, is_raw=dice.random() < 0.5)
                self.hold(call)
                sessions += len(call.agents.sessions)
        self.assertGreater(sessions, RUNS)

    def test_an_answer_that_was_not_heard_is_repeated(self) -> None:
        dice = random.Random(2)
        for answer in AGAIN:
            fault = f"response{dice.randint(1, 3)}+1.5:{answer}"
            with self.subTest(fault=fault):
                self.hold(self.run_call(fault, is_preview=dice.random() < 0.5))

    def test_a_caller_who_speaks_while_a_session_stalls_is_heard_by_the_next(
        self,
    ) -> None:
        """The stall is detected only three seconds later."""
        self.hold(self.run_call("audio2+0.06:mute"))

    def test_a_caller_who_speaks_to_a_session_that_died_unnoticed_is_heard(
        self,
    ) -> None:
        """It owed nothing then, or had reported that the caller speaks."""
        dice = random.Random(25)
        for run in range(RUNS):
            fault = f"audio{dice.randint(2, 3)}+{dice.uniform(2.0, 9.0):.2f}:mute"
            pauses = tuple(dice.uniform(2.0, 6.0) for _ in SAID)
            with self.subTest(run=run, fault=fault, pauses=pauses):
                self.hold(self.run_call(fault, pauses=pauses))

    def test_an_agent_whose_sessions_never_last_is_given_up(self) -> None:
        for behaviour, word in (
            (Behaviour(close_after_seconds=0.2, close_code=1011), "1011"),
            (Behaviour(drop_after_seconds=0.2), "closed"),
            (Behaviour(session_seconds=0.2), "session"),
        ):
            with self.subTest(behaviour=behaviour):
                plan = CallPlan(utterances=(spoken(PCMU, SAID[0]),) * 9)
                call = VirtualCall(plan, behaviour=behaviour)
                call.run(200.0)
                (record,) = call.measures.records
                assert record.ending is not None
                self.assertIs(record.ending.outcome, Outcome.AGENT_LOST)
                self.assertIn(word, record.ending.reason)
                self.assertLessEqual(len(call.agents.sessions), 20)
                self.assertTrue(all(one.is_over for one in call.agents.sessions))

    def captured(self, *faults: str, **more: Any) -> str:
        """Capture a call, and check that it replays without differences."""
        folder = temporary_folder(self)
        files = CaptureFiles(folder)
        files.start()
        self.run_call(*faults, capture=files, **more)
        files.stop(5.0)
        (path,) = folder.glob("*.jsonl")
        self.assertEqual(replay_file(str(path), Lines).differences, [])
        return path.read_text()

    def test_a_captured_call_with_failovers_replays_without_differences(self) -> None:
        text = self.captured("audio2+0.3:drop", "2/turn1:mute")
        self.assertIn('"agent3.recall"', text)

    def test_a_captured_deaf_session_replays_without_differences(self) -> None:
        text = self.captured("audio2+6:mute", pauses=(3.0, 3.0, 9.0))
        self.assertIn('"agent.probe"', text)

    def test_a_captured_call_that_cancels_an_opening_replays_without_differences(
        self,
    ) -> None:
        text = self.captured("audio2+0.3:drop", "2/0s:mute")
        self.assertIn("CancelledError", text)
