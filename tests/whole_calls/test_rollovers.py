"""A call is longer than any session of its agent, and the caller does not notice."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMU
from chime_gateway.capture.files import CaptureFiles
from chime_gateway.capture.replay import replay_file
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import heard, spoken
from tests.support.files import temporary_folder
from tests.support.virtual import VirtualCall

NUMBERS = ("1111", "2222", "3333", "4444")


class RolloverTests(SynchronousTestCase):
    def test_rollovers_lose_nothing_and_are_not_noticed(self) -> None:
        asked = [
            text
            for number in NUMBERS
            for text in (f"My number is {number}.", "What is my number?")
        ]
        folder = temporary_folder(self)
        files = CaptureFiles(folder)
        files.start()
        call = VirtualCall(
            CallPlan(utterances=tuple(spoken(PCMU, text) for text in asked)),
            voice=Answering(),
            behaviour=Behaviour(session_seconds=16.0, early_seconds=2.0),
            profile=AgentProfile(),
            capture=files,
        )
        call.agents.delay_seconds = 0.2
        report = call.run(200.0)
        files.stop(5.0)
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED)
        self.assertGreater(len(record.sessions), 3)
        self.assertEqual(
            {note.reason for note in record.sessions[:-1]},
            {"the session was about to expire"},
        )
        self.assertEqual({note.silent_seconds for note in record.sessions}, {0.0})
        said = [one.text for one in heard(PCMU, bytes(report.heard))]
        answers = [text for text in said if text.startswith("Your number is")]
        self.assertEqual(answers, [f"Your number is {n}." for n in NUMBERS])
        # Everything that the caller said was heard by one session, once.
        texts = [
            line.text
            for session in call.agents.sessions
            for answer in session.log.answers
            for line in answer.lines[-1:]
            if line.role == "user"
        ]
        self.assertEqual(texts, asked)
        (path,) = folder.glob("*.jsonl")
        self.assertEqual(replay_file(str(path), Lines).differences, [])
