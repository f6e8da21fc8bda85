"""
Whole conversations in memory: the simulated service calls tools, the simulated
caller listens, and the recording contains what was heard.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU, Codec
from chime_gateway.call.reports.event_json import payload_json
from chime_gateway.call.reports.events import TurnCompleted
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.codec.registry import decode
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.realtime.voices import Script
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

ORDER = HttpTool(name="order", description="Look up.", url="https://crm.example/")


class Files:
    """Recordings in memory."""

    location = "memory"
    fault = ""

    def __init__(self) -> None:
        self.caller = b""
        self.agent = b""
        self.is_finished = False

    def open(self, call_id: str, codec: Codec, started_at: float) -> Files:
        return self

    def write(self, caller: bytes, agent: bytes) -> None:
        assert len(caller) == len(agent)
        self.caller += caller
        self.agent += agent

    def finish(self) -> None:
        self.is_finished = True


class Server:
    """A slow server of a tool."""

    def __init__(self, seconds: float) -> None:
        self.clock: Clock
        self.seconds = seconds
        self.bodies: list[Any] = []

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        self.bodies.append(json.loads(body))
        done: Deferred[str] = Deferred()
        self.clock.callLater(self.seconds, done.callback, '{"state":"sent"}')
        return done


def script(*answers: Any) -> Script:
    return Script([a if isinstance(a, list) else [a] for a in answers], Path("."))


class ToolConversationTests(SynchronousTestCase):
    def run_call(
        self, server: Server, voice: Script, profile: AgentProfile, **more: Any
    ) -> VirtualCall:
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=10.0)
        call = VirtualCall(plan, voice=voice, profile=profile, tools=server, **more)
        server.clock = call.clock
        self.report = call.run()
        self.assertEqual(len(call.measures.records), 1)
        return call

    def test_a_tool_is_called_and_the_agent_answers_with_its_result(self) -> None:
        server = Server(0.2)
        voice = script(
            [
                {"call": "order", "arguments": {"number": 1}},
                {"call": "order", "arguments": {"number": 2}},
            ],
            {"tone": 440, "seconds": 1, "say": "It was sent."},
        )
        for is_preview in (False, True):
            with self.subTest(is_preview=is_preview):
                server.bodies.clear()
                call = self.run_call(
                    server,
                    Script(voice._answers, Path(".")),
                    AgentProfile(tools=(ORDER,)),
                    is_preview=is_preview,
                )
                numbers = [body["arguments"]["number"] for body in server.bodies]
                self.assertEqual(numbers, [1, 2])
                (session,) = call.agents.sessions
                commands = session.log.commands
                self.assertEqual(commands.count("conversation.item.create"), 2)
                self.assertEqual(commands.count("response.create"), 1)
                self.assertEqual(session.log.errors, [])
                self.assertEqual(len(self.report.answer_latencies), 1)

    def test_the_agent_ends_the_call_when_its_goodbye_was_heard(self) -> None:
        voice = script(
            [{"tone": 440, "seconds": 1.5, "say": "Goodbye!"}, {"call": "end_call"}]
        )
        call = self.run_call(Server(0), voice, AgentProfile(tools=(EndCall(),)))
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertEqual(record.ending.reason, "the agent ended the call")
        self.assertEqual(call.closed, [(1000, "the agent ended the call")])
        heard = decode(PCMU, bytes(self.report.heard))
        # The whole second and a half, and no more.
        loud = (abs(heard.astype(int)) > 1000).sum() / 8000
        self.assertApproximates(loud, 1.5, 0.15)

    def test_a_filler_is_heard_in_a_long_pause(self) -> None:
        voice = script(
            {"call": "order", "arguments": {}},
            {"tone": 700, "seconds": 0.5, "say": "One moment."},
            {"tone": 440, "seconds": 1, "say": "It was sent."},
        )
        profile = AgentProfile(
            tools=(ORDER,), filler="One moment.", filler_after_seconds=1.0
        )
        call = self.run_call(Server(2.2), voice, profile)
        (session,) = call.agents.sessions
        self.assertEqual(session.log.commands.count("response.create"), 2)
        self.assertEqual(session.log.errors, [])
        texts = [
            event.payload.turn.text
            for event in call.events
            if isinstance(event.payload, TurnCompleted)
            and event.payload.turn.speaker == "agent"
        ]
        self.assertEqual(texts, ["One moment.", "It was sent."])


class RecordedConversationTests(SynchronousTestCase):
    #: After two of four seconds.
    heard_texts: tuple[str, ...] = ("one two",)

    def test_the_recording_has_what_was_said_and_heard_including_the_cut(
        self,
    ) -> None:
        for is_raw in (False, True):
            with self.subTest(is_raw=is_raw):
                files = Files()
                plan = CallPlan(
                    utterances=(phrase(PCMU, *LONG), phrase(PCMU, *SHORT)),
                    interrupt_after_seconds=(0.8,),
                )
                call = VirtualCall(plan, is_raw=is_raw, recordings=files)
                report = call.run()
                self.assertTrue(files.is_finished)
                self.assertEqual(len(report.interruptions), 1)
                said = self.shift(bytes(report.said), files.caller)
                heard = self.shift(bytes(report.heard), files.agent)
                # Both are shifted equally, so they are aligned with each other.
                self.assertLess(abs(said), 0.1)
                self.assertApproximates(said, heard, 0.045)

    def shift(self, lived: bytes, recorded: bytes) -> float:
        """Return by how many seconds sounds are later in the recording."""
        first, last = 1600, 6 * 8000
        score, at = correlation(decode(PCMU, lived[first:last]), decode(PCMU, recorded))
        self.assertGreater(score, 0.98)
        return (at - first) / 8000

    def test_the_transcript_says_what_was_heard(self) -> None:
        voice = script({"tone": 440, "seconds": 4, "say": "one two three four"})
        plan = CallPlan(
            utterances=(phrase(PCMU, *SHORT), phrase(PCMU, *SHORT)),
            interrupt_after_seconds=(2.0,),
        )
        call = VirtualCall(plan, voice=voice)
        report = call.run()
        (cut,) = report.interruptions
        turns = payload_json(call.events[-1].payload)["transcript"]
        first = next(turn for turn in turns if turn["speaker"] == "agent")
        self.assertTrue(first["interrupted"])
        self.assertApproximates(first["heard_ms"], cut.heard_ms, 20)
        self.assertEqual(first["text"], "one two three four")
        self.assertIn(first["heard_text"], self.heard_texts)
        ending = call.measures.records[0].ending
        assert ending is not None
        self.assertEqual(ending.outcome, Outcome.COMPLETED)
        callers = [turn for turn in turns if turn["speaker"] == "caller"]
        self.assertTrue(all("of speech" in turn["text"] for turn in callers))
