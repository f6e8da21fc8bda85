"""Whole calls over SIP with keys by DTLS: nothing is said before the handshake ends."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.wire.sip.message import Request, Response
from tests.carriers.sip.keys.test_dtls import OTHERS, THEIRS, Trunk, offer
from tests.support.fakes import RecordingMeasures, RecordingTools
from tests.support.virtual import VirtualAgents
from tests.whole_calls.test_conversations import script

GREETING = {"tone": 440, "seconds": 1.5, "say": "Hello, who is there?"}


class Caller(Trunk):
    """
    A trunk whose call has an agent, if one is given.

    @ivar status: the status that it was answered with.
    """

    def answered(self, body: str) -> str:
        world = self.world
        self.agents = VirtualAgents(world.reactor, script(GREETING), Behaviour(), False)
        self.agents.most = self.agent_count
        self.measures = RecordingMeasures()
        profile = AgentProfile(greeting="Say hello.")
        table = CallTable(
            Lines(self.agents, Limits()),
            roster=Roster(agents={"default": profile}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=world.reactor,
            metronome=world.metronome,
            measures=self.measures,
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: "call",
        )
        world.carrier.context.switchboard = table
        world.invite(body=body)
        world.advance(0.5)
        responses = [m for m in world.heard() if isinstance(m, Response)]
        self.status = responses[-1].status
        self.answer = responses[-1].body.decode()
        return responses[-1].to_tag

    agent_count = 1_000

    def acknowledge(self) -> None:
        world = self.world
        world.say(world.request("ACK", to_tag=self.tag, cseq=world.cseq))

    def hear(self, seconds: float) -> bytes:
        found = b""
        for _ in range(round(seconds / 0.02)):
            self.world.advance(0.02)
            found += b"".join(self.heard())
        return found


class WithoutAgent(Caller):
    agent_count = 0


class KeysTests(SynchronousTestCase):
    @settings(max_examples=8, deadline=None)
    @example(1.4, "actpass", True, True)
    @given(
        st.floats(0.0, 4.0),
        st.sampled_from(("actpass", "active", "passive")),
        st.booleans(),
        st.booleans(),
    )
    def test_the_whole_greeting_is_heard_however_long_the_handshake_takes(
        self, seconds: float, setup: str, is_muxed: bool, is_acknowledged: bool
    ) -> None:
        caller = Caller(offer(setup=setup, is_muxed=is_muxed))
        self.assertEqual(caller.status, 200)
        if is_acknowledged:
            caller.acknowledge()
        caller.world.advance(seconds)
        dtls = caller.association(is_client=caller.value("setup") == "passive")
        caller.shake(dtls)
        caller.talk(dtls)
        caller.acknowledge()
        heard = caller.hear(3.0)
        (spoken,) = self.said(caller)
        self.assertIn(spoken, heard)

    def said(self, caller: Caller) -> list[bytes]:
        (session,) = caller.agents.sessions
        return [bytes(audio) for audio in session.log.spoken.values()]

    def test_after_a_failed_handshake_nothing_was_heard(self) -> None:
        caller = Caller(offer(), OTHERS)
        caller.acknowledge()
        with self.assertRaises(Exception):  # noqa: B017
            caller.shake(caller.association(is_client=True))
        caller.world.advance(0.2)
        self.assert_over(caller, Outcome.CALLER_PROTOCOL_ERROR)
        self.assertEqual(self.said(caller), [])

    def test_a_caller_who_hangs_up_during_the_handshake_has_heard_nothing(self) -> None:
        caller = Caller(offer())
        caller.acknowledge()
        caller.world.advance(0.3)
        caller.world.asks("BYE", caller.tag)
        caller.world.advance(0.2)
        self.assert_over(caller, Outcome.COMPLETED)
        self.assertEqual(self.said(caller), [])

    def assert_over(self, caller: Caller, outcome: Outcome) -> None:
        (record,) = caller.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, outcome)
        self.assertEqual(caller.world.ports.in_use, 0)

    def test_a_call_without_an_agent_is_not_answered_to_get_keys(self) -> None:
        caller = WithoutAgent(offer(), THEIRS)
        self.assertEqual(caller.status, 503)
        self.assertEqual(caller.world.ports.in_use, 0)
        found: list[Any] = [m for m in caller.world.heard() if isinstance(m, Request)]
        self.assertEqual(found, [])
