"""However the service fails, the caller gets an answer, or the call ends."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, note, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import Scheduled
from chime_gateway.sim.realtime.faults.which import ALL, Which
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_conversations import ORDER, Server, script
from tests.whole_calls.test_media_stream import SHORT, phrase

#: Ways in which a response may fail, as in C{simulate-azure --fault}.
_RESPONSES = st.sampled_from(
    (
        *("failed:server_error", "failed:rate_limit_exceeded/2.5s", "failed:429"),
        *("incomplete:content_filter", "completed", "completed:text"),
        "cancelled:turn_detected",
    )
)

_REFUSALS = st.sampled_from(
    (
        *("server_error", "rate_limit_exceeded/0.9s", "429", "invalid_value"),
        *("server_error:uncorrelated", "conversation_already_has_active_response"),
    )
)

#: The longest pause that a service may ask for, and the time around it.
_AT_MOST_SECONDS = 15.0


def _response_faults(which: str) -> st.SearchStrategy[ResponseFault]:
    return _RESPONSES.map(lambda what: ResponseFault.read(f"{what}{which}"))


def _refusals(which: str) -> st.SearchStrategy[CommandFault]:
    return _REFUSALS.map(lambda e: CommandFault.read(f"response.create:{e}{which}"))


class DeadAirTests(SynchronousTestCase):
    """A greeting, an answer that calls a tool, and an answer with its result."""

    def setUp(self) -> None:
        # This caller takes every sound for an answer.
        self.patch(MediaPump, "play_tone", lambda pump: None)

    def run_call(
        self, behaviour: Behaviour, later: Behaviour | None = None
    ) -> VirtualCall:
        server = Server(0.2)
        voice = script(
            {"tone": 500, "seconds": 0.5, "say": "Welcome."},
            {"call": "order", "arguments": {"number": 1}},
            {"tone": 440, "seconds": 0.5, "say": "It was sent."},
        )
        plan = CallPlan(
            utterances=(phrase(PCMU, *SHORT),),
            wait_for_greeting=True,
            answer_seconds=60.0,
        )
        call = VirtualCall(
            plan,
            voice=voice,
            profile=AgentProfile(greeting="Welcome.", tools=(ORDER,)),
            behaviour=behaviour,
            later=later,
            tools=server,
        )
        server.clock = call.clock
        self.report = call.run(90.0)
        return call

    @settings(max_examples=10, deadline=None)
    @given(
        st.integers(1, 3),
        st.sampled_from((_response_faults, _refusals)),
        st.data(),
    )
    def test_a_response_that_fails_once_is_repeated(
        self, number: int, faults: object, data: st.DataObject
    ) -> None:
        if faults is _refusals:
            fault = data.draw(_refusals(f"@{min(number, 2)}"))
            behaviour = Behaviour(refusals=[fault])
        else:
            behaviour = Behaviour(responses=[data.draw(_response_faults(f"@{number}"))])
        call = self.run_call(behaviour)
        note(str(call.agents.sessions[0].log.commands))
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED)
        (latency,) = self.report.answer_latencies
        self.assertLess(latency, _AT_MOST_SECONDS)
        heard = abs(decode(PCMU, bytes(self.report.heard)).astype(int)) > 1000
        self.assertApproximates(heard.sum() / 8000, 1.0, 0.25)

    @settings(max_examples=8, deadline=None)
    @given(
        _response_faults("@2-")
        | _refusals("")
        | st.builds(CommandFault, st.just("response.create"), st.none())
    )
    def test_responses_that_always_fail_end_the_call(
        self, fault: ResponseFault | CommandFault
    ) -> None:
        self.patch(MediaPump, "play_sound", lambda *_: None)
        if isinstance(fault, ResponseFault):
            # The greeting is heard.
            later = Behaviour(responses=[evolve(fault, which=ALL)])
            call = self.run_call(Behaviour(responses=[fault]), later)
        else:
            call = self.run_call(Behaviour(refusals=[fault]))
        for session in call.agents.sessions:
            self.assertLess(session.log.commands.count("response.create"), 20)
        self.assertLess(len(call.agents.sessions), 20)
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.AGENT_LOST)
        self.assertLess(record.duration_seconds, 45.0)

    def test_a_race_with_the_caller_loses_nothing(self) -> None:
        """C{creates}: requests until greeting and answer were each heard once."""
        for name, number, creates in (
            ("vad_first", 1, 3),  # the greeting, again
            ("vad_first", 2, 3),  # the answer, again
            ("speech_after_create", 1, 3),  # the greeting, again after the turn
            ("speech_after_create", 2, 2),  # the turn's own answer knows the result
        ):
            with self.subTest(name, number=number):
                behaviour: Any = {name: Which(number, number)}
                call = self.run_call(Behaviour(**behaviour))
                commands = call.agents.sessions[0].log.commands
                self.assertEqual(commands.count("response.create"), creates)
                self.assertEqual(
                    commands.count("response.cancel"), int(name != "vad_first")
                )
                (record,) = call.measures.records
                assert record.ending is not None
                self.assertIs(record.ending.outcome, Outcome.COMPLETED)

    @settings(max_examples=6, deadline=None)
    @given(
        st.sampled_from(("turn1", "turn2")),
        st.floats(0.2, 7.5),
        st.sampled_from(("*1", "*2", "*3", "")),
    )
    def test_a_caller_who_waits_for_another_attempt_hears_a_filler(
        self, when: str, seconds: float, times: str
    ) -> None:
        fault = f"{when}:respond:failed:rate_limit_exceeded/{seconds:.2f}s{times}"
        note(fault)
        sounds: list[float] = []
        plan = CallPlan(
            utterances=(phrase(PCMU, *SHORT), phrase(PCMU, *SHORT)),
            answer_seconds=60.0,
        )
        call = VirtualCall(
            plan, behaviour=Behaviour(at=[Scheduled.read(fault)]), later=Behaviour()
        )
        self.patch(
            MediaPump, "play_tone", lambda pump: sounds.append(call.clock.seconds())
        )
        call.run(120.0)
        log = [entry for one in call.agents.sessions for entry in one.log.notes]
        since = next(at for at, what, more in log if what == "fault")
        answered = min(at for at, what, _ in log if what == "audio" and at > since)
        sounds = [at for at in sounds if since < at < answered]
        for at in (*sounds, answered):
            self.assertLess(at - since, 3.4 if since in sounds else 1.5, sounds)
            since = at
