"""A tool runs once even if its session ends; the next session gets its result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.media.pump import MediaPump
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.speech import heard, spoken
from tests.support.virtual import VirtualCall

RUNS: Final = 4

SAID: Final = ("My number is 4711.", "Call look_up.", "What did the tool say?")

ENDS: Final = ("drop", "mute", "close:1011", "expire")

#: Fates of a session that has said everything, but has not reported the end.
THEN: Final = ("", "drop", "mute", "close:1011")

TOOL: Final = HttpTool(
    name="look_up",
    description="Look up.",
    url="https://crm.example",
    parameters={"type": "object", "properties": {}},
)


class SlowServer:
    def __init__(self, seconds: float) -> None:
        self.clock: IReactorTime | None = None
        self.seconds = seconds
        self.asked = 0

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        self.asked += 1
        assert self.clock is not None
        return deferLater(self.clock, self.seconds, lambda: "fortytwo")


class FailoverToolTests(SynchronousTestCase):
    def test_the_current_session_answers_with_the_result(self) -> None:
        # This caller takes every sound for an answer.
        self.patch(MediaPump, "play_tone", lambda pump: None)
        dice = random.Random(2)
        for _ in range(RUNS):
            seconds = dice.choice((0.3, 1.5, 6.0))
            fault = f"turn2+{dice.uniform(0.2, 2.0):.2f}:{dice.choice(ENDS)}"
            with self.subTest(fault=fault, seconds=seconds):
                self.check(fault, SlowServer(seconds))

    def call(
        self,
        server: SlowServer,
        *said: str,
        faults: Sequence[str],
        pause: float = 0.0,
    ) -> VirtualCall:
        """@param pause: the caller's pause before the last part."""
        utterances = [spoken(PCMU, text) for text in said]
        silence = PCMU.silence(round(pause * PCMU.bytes_per_second))
        utterances[-1] = silence + utterances[-1]
        call = VirtualCall(
            CallPlan(
                utterances=tuple(utterances),
                wait_for_greeting=True,
                answer_seconds=40.0,
            ),
            voice=Answering(),
            behaviour=Behaviour(at=[Scheduled.read(fault) for fault in faults]),
            later=Behaviour(),
            profile=AgentProfile(greeting="Hello.", tools=(TOOL,)),
            tools=server,
        )
        server.clock = call.clock
        call.agents.delay_seconds = 0.2
        self.report = call.run(200.0)
        for session in call.agents.sessions:
            self.assertEqual(session.log.violations, [])
        return call

    def whole(self, call: VirtualCall) -> list[str]:
        sentences = heard(PCMU, bytes(self.report.heard))
        return [one.text for one in sentences if one.is_whole]

    def check(self, fault: str, server: SlowServer) -> None:
        call = self.call(server, *SAID, faults=[fault])
        whole = self.whole(call)
        self.assertEqual(
            whole[-2:], ["The result is fortytwo.", "The tool said fortytwo."]
        )
        self.assertEqual(len(whole), len(set(whole)))
        self.assertEqual(server.asked, 1)
        self.assertEqual(len(call.agents.sessions), 2)

    def test_a_tool_call_that_was_to_follow_the_words_is_made_by_the_next_session(
        self,
    ) -> None:
        """All audio arrived, but the service did not report that it was complete."""
        self.patch(MediaPump, "play_tone", lambda pump: None)
        # The session may then end at once, or report nothing more.
        for then in THEN:
            with self.subTest(then=then):
                faults = ["audio3:stall:done"] + (
                    [f"audio3+1.5:{then}"] if then else []
                )
                server = SlowServer(0.3)
                call = self.call(
                    server,
                    "My number is 4711.",
                    "Say I look it up. Call look_up.",
                    "What did the tool say?",
                    faults=faults,
                    pause=10.0,
                )
                whole = self.whole(call)
                self.assertEqual(
                    whole[-3:],
                    [
                        "I look it up.",
                        "The result is fortytwo.",
                        "The tool said fortytwo.",
                    ],
                )
                self.assertEqual(len(whole), len(set(whole)))
                self.assertEqual(server.asked, 1)

    def test_an_agent_that_had_said_everything_still_says_a_word(self) -> None:
        self.patch(MediaPump, "play_tone", lambda pump: None)
        call = self.call(
            SlowServer(0.3),
            "My number is 4711.",
            "What is my number?",
            "Say goodbye then.",
            faults=["audio3:stall:done"],
            pause=10.0,
        )
        self.assertEqual(
            self.whole(call)[-3:],
            ["Your number is 4711.", "Is there anything else?", "goodbye then."],
        )
