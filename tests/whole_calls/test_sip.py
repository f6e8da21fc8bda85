"""
Whole calls over SIP and RTP without a socket: the simulated softphone, the
gateway's carrier, call and session, and the simulated service, on one clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sipmessage import URI
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.cli.demo import prepare_call
from chime_gateway.codec.registry import decode
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from chime_gateway.sim.caller.caller import CallReport
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.sip_line import SipCall
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.voices import Parrot, Script, Voice
from tests.support.fakes import RecordingMeasures, RecordingTools
from tests.support.sip_peer import PEER, SipWorld
from tests.support.virtual import STEP_SECONDS, VirtualAgents
from tests.whole_calls.test_conversations import Files

Loss = Callable[[bytes], list[tuple[float, bytes]]]


def whole(packet: bytes) -> list[tuple[float, bytes]]:
    return [(0.0, packet)]


class VirtualSipCall:
    """
    @param to_gateway: what the network does to a packet: delays and copies.
    """

    def __init__(
        self,
        codec: Codec = PCMU,
        interrupt_after: float | None = None,
        to_gateway: Loss = whole,
        voice: Voice | None = None,
        profile: AgentProfile | None = None,
        recordings: Any = None,
    ) -> None:
        self.world = SipWorld()
        self.clock = self.world.reactor
        voice = voice or Parrot()
        self.agents = VirtualAgents(self.clock, voice, Behaviour(), False)
        self.measures = RecordingMeasures()
        self.table = CallTable(
            Lines(self.agents, Limits()),
            roster=Roster(agents={"default": profile or AgentProfile()}),
            recordings=recordings,
            tools=RecordingTools([]),
            limits=Limits(),
            clock=self.clock,
            metronome=self.world.metronome,
            measures=self.measures,
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: "call",
        )
        self.world.carrier.context.switchboard = self.table
        self.plan = prepare_call((), codec, interrupt_after=interrupt_after)
        self.reports: list[CallReport] = []
        self._to_gateway = to_gateway
        self._seen = 0
        self._seen_rtp = 0
        self.call = SipCall(
            URI.parse("sip:desk@192.0.2.10"),
            self.plan,
            codec,
            self.clock,
            transport="udp",
            local=PEER,
            rtp_port=36488,
            send=self.world.say,
            send_rtp=lambda packet, to: self._carry(packet),
            meter=None,
            finished=self.reports.append,
        )

    def _carry(self, packet: bytes) -> None:
        receive = self.world.port.receive_rtp
        for delay, copy in self._to_gateway(packet):
            self.clock.callLater(delay, receive, copy, (PEER[0], 36488))

    def run(self, most_seconds: float = 60.0) -> CallReport:
        self.call.invite()
        while not self.reports and self.clock.seconds() < most_seconds:
            self.step()
        return self.reports[0]

    def step(self) -> None:
        """Let a moment pass, and hear what the gateway has sent."""
        self.clock.advance(STEP_SECONDS)
        sent = self.clock.sent
        while self._seen < len(sent):
            self._seen += 1
            self.call.message_received(sent[self._seen - 1][0])
        if self.world.ports.lent:
            packets = self.world.port.sent
            while self._seen_rtp < len(packets):
                self._seen_rtp += 1
                self.call.rtp_received(packets[self._seen_rtp - 1][0])

    def answer_score(self, report: CallReport) -> float:
        codec = report.codec
        said = decode(codec, self.plan.utterances[-1])
        score, _ = correlation(said, decode(codec, bytes(report.heard)))
        return score


class VirtualSipCallTests(SynchronousTestCase):
    def test_the_parrot_s_answer_is_what_was_said(self) -> None:
        for codec in (PCMU, PCMA):
            call = VirtualSipCall(codec)
            report = call.run()
            self.assertGreater(call.answer_score(report), 0.999)
            self.assertEqual(report.audio_sizes, {160})
            self.assertEqual(report.close_code, 200)
            self.assertEqual(call.world.ports.in_use, 0)

    def test_an_interruption_is_exact_to_a_frame_and_reported_to_the_model(
        self,
    ) -> None:
        for after in (0.4, 0.77, 1.2):
            call = VirtualSipCall(interrupt_after=after)
            report = call.run()
            (cut,) = report.interruptions
            ((_, told_ms, _),) = call.agents.sessions[0].log.truncations
            self.assertApproximates(told_ms, cut.heard_ms, 20.0)
            self.assertEqual(report.stale_bytes, 0)
            self.assertEqual(self.record(call).media.barge_ins, 1)

    def test_the_agent_hangs_up_when_its_goodbye_was_heard(self) -> None:
        script: Any = [
            [{"tone": 440, "seconds": 1.5, "say": "Goodbye!"}, {"call": "end_call"}]
        ]
        call = VirtualSipCall(
            voice=Script(script, Path(".")), profile=AgentProfile(tools=(EndCall(),))
        )
        report = call.run()
        ending = self.record(call).ending
        assert ending is not None
        self.assertEqual(ending.reason, "the agent ended the call")
        heard = decode(PCMU, bytes(report.heard)).astype(int)
        self.assertApproximates((abs(heard) > 1000).sum() / 8000, 1.5, 0.15)
        self.assertEqual(call.world.ports.in_use, 0)

    def test_both_sides_are_recorded_as_they_were_heard(self) -> None:
        files = Files()
        call = VirtualSipCall(interrupt_after=0.8, recordings=files)
        report = call.run()
        shifts = []
        for lived, recorded in (
            (bytes(report.said), files.caller),
            (bytes(report.heard), files.agent),
        ):
            first, last = 1600, 6 * 8000
            score, at = correlation(
                decode(PCMU, lived[first:last]), decode(PCMU, recorded)
            )
            self.assertGreater(score, 0.98)
            shifts.append((at - first) / 8000)
        self.assertApproximates(shifts[0], shifts[1], 0.06)

    def record(self, call: VirtualSipCall) -> CallRecord:
        return call.measures.records[0]

    def test_loss_and_reordering_are_tolerated(self) -> None:
        rng = random.Random(3)

        def bad(packet: bytes) -> list[tuple[float, bytes]]:
            if rng.random() < 0.05:
                return []
            delay = rng.random() * (0.03 if rng.random() < 0.1 else 0.005)
            copies = 2 if rng.random() < 0.02 else 1
            return [(delay, packet)] * copies

        call = VirtualSipCall(to_gateway=bad)
        report = call.run()
        self.assertGreater(call.answer_score(report), 0.9)
        dropped = self.record(call).media.dropped
        self.assertGreater(dropped["lost_in_network"], 5)
