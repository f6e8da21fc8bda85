"""A caller whose agent is finally lost hears an apology; nobody is left in silence."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.admission.no_agent_lines import NoAgentLines
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.codec.prompt import prompt
from chime_gateway.errors import AgentUnavailable, TransferFailed
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.sound import TONE, Sound
from chime_gateway.settings.values import Limits
from chime_gateway.sim.caller.caller import CallReport
from tests.support.conversation import ConversationTestCase
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingMeasures,
    RecordingTools,
)
from tests.whole_calls.test_sip import VirtualSipCall

#: 1.3 s of a sound that occurs nowhere else.
SORRY = Sound("sorry.wav", 8000, 1, 2, b"\x00\x30\x00\xd0" * 5200)
HEARD = prompt(SORRY, PCMU)

#: When the agent is lost: before it is ready, while it talks, during a transfer.
MOMENTS = st.sampled_from(["opening", "talking", "silent", "transferring"])


class ApologyTests(SynchronousTestCase):
    def begin(self, profile: AgentProfile, *, buffers: bool, fails_over: bool) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        self.table = CallTable(
            self.agents,
            roster=Roster(agents={"default": profile}),
            tools=RecordingTools(self.log),
            limits=Limits(idle_seconds=300),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: 0.0,
            new_id=lambda: "call1",
        )
        self.leg = RecordingLeg(self.log, buffers=buffers)
        self.leg.traits = evolve(self.leg.traits, fails_over=fails_over)
        self.events: Any = self.table.incoming(self.leg)

    def lose(self, moment: str) -> None:
        if moment == "opening":
            self.agents.opening[0].errback(AgentUnavailable("no agent available"))
            return
        self.agents.opening[0].callback(RecordingAgent(self.log))
        talk = self.agents.events[0]
        if moment == "talking":
            talk.response_started("r1")
            talk.agent_audio("r1", "i1", 0, b"\x21" * 4000)
        if moment == "transferring":
            transferring = self.table.call("call1").transfer("+15550009")
            transferring.addErrback(lambda failure: failure.trap(TransferFailed))
        talk.agent_lost("it broke")

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.clock.advance(0.02)

    @settings(max_examples=80, deadline=None)
    @given(
        moment=MOMENTS,
        apology=st.sampled_from(["sorry.wav", TONE, ""]),
        has_fallback=st.booleans(),
        falls_back=st.booleans(),
        buffers=st.booleans(),
        fails_over=st.booleans(),
        leaves_after=st.one_of(st.none(), st.floats(0, 2)),
    )
    def test_the_caller_hears_an_apology_and_is_transferred_or_hung_up(
        self,
        moment: str,
        apology: str,
        has_fallback: bool,
        falls_back: bool,
        buffers: bool,
        fails_over: bool,
        leaves_after: float | None,
    ) -> None:
        sound = SORRY if apology == "sorry.wav" else None
        profile = AgentProfile(
            apology=apology,
            apology_sound=sound,
            fallback="office" if has_fallback else "",
            fallback_address="+15559999" if has_fallback else "",
        )
        self.begin(profile, buffers=buffers, fails_over=fails_over)
        self.lose(moment)
        is_handed_on = False
        if moment == "transferring":
            # The transfer fails; while it may succeed, there is no apology.
            self.run_for(1.0)
            self.assertEqual(self.leg.played, b"")
            self.leg.transferring.errback(TransferFailed("busy"))
        if leaves_after is not None:
            self.run_for(leaves_after)
            if not self.measures.records:
                self.events.leg_ended(Ending(Outcome.COMPLETED, "hung up"))
        else:
            self.run_for(1.9)
            names = [name for name, *_ in self.log]
            if has_fallback and apology and ("leg.answer" in names or fails_over):
                # First everything is heard, then the transfer is requested.
                self.run_for(6.0)
            if ("leg.transfer", "+15559999") in self.log:
                is_handed_on = falls_back
                if falls_back:
                    self.leg.transferring.callback(None)
                else:
                    self.leg.transferring.errback(TransferFailed("busy"))
            self.run_for(6.0)
            self.assert_told(moment, apology, has_fallback, fails_over)
        self.assertEqual(len(self.measures.records), 1)
        self.assertEqual(self.table.calls(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        ending = self.measures.records[0].ending
        assert ending is not None
        lost = Outcome.AGENT_LOST
        if is_handed_on:
            lost = Outcome.TRANSFERRED
        elif moment == "opening":
            lost = Outcome.AGENT_UNAVAILABLE
        self.assertIs(ending.outcome, lost)

    def assert_told(
        self, moment: str, apology: str, has_fallback: bool, fails_over: bool
    ) -> None:
        is_answered = moment != "opening" or (bool(apology) and not fails_over)
        self.assertEqual(("leg.answer",) in self.log, is_answered)
        told = is_answered and bool(apology)
        rest = self.leg.played.replace(b"\x21", b"").strip(b"\xff")
        self.assertEqual(bool(rest), told)
        if told and apology != TONE:
            self.assertEqual(self.leg.played.count(HEARD), 1)
            # What the agent had said was heard before the apology.
            self.assertTrue(self.leg.played.endswith(HEARD))
        asked = [entry for entry in self.log if entry == ("leg.transfer", "+15559999")]
        self.assertEqual(len(asked), has_fallback)
        if told and asked:
            played = [n for n, (what, *_) in enumerate(self.log) if what == "leg.play"]
            self.assertLess(played[-1], self.log.index(asked[0]))
        self.assertEqual([name for name, *_ in self.log].count("leg.hang_up"), 1)


class SipApologyTests(SynchronousTestCase):
    def call(self, *, failover: bool) -> VirtualSipCall:
        profile = AgentProfile(apology="sorry.wav", apology_sound=SORRY)
        call = VirtualSipCall(profile=profile)
        context = call.world.carrier.context
        context.settings = evolve(context.settings, failover=failover)
        return call

    def heard(self, report: CallReport) -> bytes:
        return bytes(report.heard)

    def test_with_a_single_route_the_caller_hears_that_there_is_no_agent(self) -> None:
        call = self.call(failover=False)
        call.table._lines = NoAgentLines("no agent available")
        report = call.run()
        self.assertEqual(report.close_code, 200)
        self.assertIn(HEARD, self.heard(report))
        self.assertEqual(call.world.ports.in_use, 0)
        (record,) = call.measures.records
        self.assertEqual(record.ending, Ending(Outcome.REFUSED, "no agent available"))

    def test_with_a_single_route_the_caller_hears_that_the_gateway_is_full(
        self,
    ) -> None:
        call = self.call(failover=False)
        admission = call.table.admission
        for _ in range(200):
            admission.take("default", CallerInfo(), is_outbound=False)
        report = call.run()
        self.assertEqual(report.close_code, 200)
        self.assertIn(HEARD, self.heard(report))
        self.assertEqual(call.agents.sessions, [])
        (record,) = call.measures.records
        full = Ending(Outcome.REFUSED, "full: max_calls is 200")
        self.assertEqual(record.ending, full)
        self.assertEqual(call.world.ports.in_use, 0)

    def test_with_several_routes_the_call_is_refused_for_another_gateway(self) -> None:
        call = self.call(failover=True)
        call.table._lines = NoAgentLines("no agent available")
        report = call.run()
        self.assertEqual(report.close_code, 503)
        self.assertEqual(self.heard(report), b"")
        self.assertEqual(call.world.ports.in_use, 0)


class FillerTests(ConversationTestCase):
    def test_a_caller_who_waits_for_the_next_session_hears_the_filler(self) -> None:
        for sound in (SORRY, None):
            self.profile = AgentProfile(filler="One moment.", filler_sound=sound)
            self.setUp()
            self.talk.agent_waits(False)
            self.run_for(0.1)
            self.assertEqual(self.leg.played == HEARD, sound is not None)
            self.assertTrue(self.leg.played.strip(b"\xff"))
            # The filler does not overlap itself or the caller.
            played = len(self.leg.played)
            self.talk.agent_waits(False)
            self.assertEqual(len(self.leg.played), played)

    def test_no_filler_is_played_while_the_caller_speaks(self) -> None:
        self.profile = AgentProfile(filler_sound=SORRY)
        self.setUp()
        self.talk.speech_started("u1")
        self.talk.agent_waits(False)
        self.assertEqual(self.leg.played, b"")

    def test_a_silent_caller_who_is_taken_to_speak_hears_a_filler(self) -> None:
        self.profile = AgentProfile(filler_sound=SORRY)
        self.setUp()
        self.talk.speech_started("u1")
        self.talk.agent_waits(True)
        self.assertTrue(self.leg.played)
