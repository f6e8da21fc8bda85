"""Whole calls with the behaviour of other generations of models, and their tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.codec.tone import tone
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.which import ALL
from chime_gateway.sim.realtime.voices import Part, RemoteCall, Speech, Turn
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_conversations import ORDER
from tests.whole_calls.test_media_stream import SHORT, phrase


class Answers:
    """One answer after the other; C{None}: the service calls a tool."""

    def __init__(self, *answers: str | None) -> None:
        self._answers = list(answers)
        self.instructions: list[str] = []

    def answer(self, turn: Turn) -> Sequence[Part]:
        self.instructions.append(turn.instructions)
        said = self._answers.pop(0) if self._answers else "More."
        if said is None:
            return [RemoteCall("crm", "find", "{}", "found")]
        return [Speech(tone(turn.output_codec, 440, 0.5), said)]


class GenerationTestCase(SynchronousTestCase):
    def run_call(self, answers: Answers, **behaviour: Any) -> CallRecord:
        plan = CallPlan(
            utterances=(phrase(PCMU, *SHORT),),
            wait_for_greeting=True,
            answer_seconds=30.0,
        )
        self.call = VirtualCall(
            plan,
            voice=answers,
            profile=AgentProfile(
                instructions="Never say prices.", greeting="Hello.", tools=(ORDER,)
            ),
            behaviour=Behaviour(**behaviour),
        )
        self.report = self.call.run(60.0)
        (record,) = self.call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED)
        return record

    def commands(self, kind: str) -> int:
        (session,) = self.call.agents.sessions
        return session.log.commands.count(kind)


class GenerationTests(GenerationTestCase):
    def test_an_older_model_keeps_instructions_and_tools(self) -> None:
        answers = Answers("Hello.", "An answer.")
        record = self.run_call(answers, is_older_model=True)
        self.assertEqual(self.commands("session.update"), 2)
        self.assertEqual(record.protocol_notes["refused.reasoning"], 1)
        for instructions in answers.instructions:
            self.assertIn("Never say prices.", instructions)
        (updated,) = (
            event["session"]
            for event in self.call.agents.server_events
            if event["type"] == "session.updated"
        )
        self.assertEqual([tool["name"] for tool in updated["tools"]], ["order"])

    def test_a_preamble_is_the_first_audio_of_the_answer(self) -> None:
        self.run_call(Answers("Hello.", "An answer."), commentary=ALL)
        (with_preamble,) = self.report.answer_latencies
        self.run_call(Answers("Hello.", "An answer."))
        (without,) = self.report.answer_latencies
        self.assertApproximates(with_preamble, without, 0.1)
        self.assertEqual(self.commands("response.create"), 1)  # the greeting

    def test_the_agent_continues_with_the_result_of_a_tool_of_the_service(self) -> None:
        for seconds in (-1.0, 0.0, 10.0):
            with self.subTest(seconds=seconds):
                record = self.run_call(
                    Answers("Hello.", None, "It was found."), remote_seconds=seconds
                )
                # The greeting, and the answer with the result.
                self.assertEqual(self.commands("response.create"), 2)
                self.assertEqual(record.tool_calls, 1)
                (latency,) = self.report.answer_latencies
                self.assertLess(latency, max(seconds, 0.0) + 1.5)


class FailedResponseTests(GenerationTestCase):
    def test_an_answer_that_fails_once_comes_within_two_and_a_half_seconds(
        self,
    ) -> None:
        for fault, cause in (
            ("failed:server_error", "server_error"),
            ("failed:rate_limit_exceeded", "rate_limit"),
            ("incomplete:content_filter", "content_filter"),
            ("incomplete:max_output_tokens", "max_output_tokens"),
            ("completed", "silence"),
            ("completed:text", "empty"),
        ):
            with self.subTest(fault):
                record = self.run_call(
                    Answers("Hello.", "An answer.", "An answer."),
                    responses=[ResponseFault.read(f"{fault}@2")],
                )
                (latency,) = self.report.answer_latencies
                self.assertLess(latency, 2.5)
                self.assertEqual(record.protocol_notes[f"came_to_nothing.{cause}"], 1)
