"""
A whole call without a socket: a simulated caller, the gateway's leg, call, pump
and Azure session, and the simulated service, joined in memory on one clock.

All parts are real, except the sockets.  So a call of ten seconds takes some hundredths
of a second, and its result is the same each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from chime_gateway.agents.line.lines import Lines
from chime_gateway.agents.session import AzureSession
from chime_gateway.audio import PCMU, Codec
from chime_gateway.call.reports.events import CallEvent
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.carriers.media_stream.leg import StreamLeg
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.media.metronome import Metronome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from chime_gateway.sim.caller.caller import CallPlan, CallReport, SimulatedCaller
from chime_gateway.sim.caller.stream_line import StreamLine
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.voices import Parrot, Voice
from chime_gateway.wire.media_stream.raw import RawStream
from chime_gateway.wire.media_stream.twilio import TwilioStream
from chime_gateway.wire.realtime.dialects import GA, PREVIEW
from tests.support.fakes import RecordingMeasures, RecordingTools

#: The resolution of the clock.
STEP_SECONDS = 0.001


class _CarrierSocket:
    def __init__(self, call: VirtualCall) -> None:
        self._call = call

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        self._call.line.message_received(payload, is_binary)
        return True

    place = ""

    def accepted(self) -> None:
        """Do nothing: it is not counted here."""

    def close(self, code: int, reason: str) -> None:
        self._call.closed.append((code, reason))


class _ServiceSocket:
    def __init__(self, session: SimulatedSession) -> None:
        self._session = session

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        self._session.receive(payload)
        return True

    def close(self, code: int, reason: str) -> None:
        self._session.stop()


class VirtualAgents:
    """
    Sessions with the simulated service.

    @ivar later: the behaviour of sessions after the first; C{None}: the same.
    @ivar most: the most sessions that can be opened.
    @ivar codecs: codecs of sessions, in turn; empty: that of the leg.
    @ivar delay_seconds: how late the service answers, in sessions after the first.
    @ivar azure: the gateway's side of C{sessions}.
    @ivar failures: the deployments of failed sessions.
    """

    def __init__(
        self, clock: Clock, voice: Voice, behaviour: Behaviour, is_preview: bool
    ) -> None:
        self._clock = clock
        self._voice = voice
        self._behaviour = behaviour
        self._is_preview = is_preview
        self.later: Behaviour | None = None
        self.most = 1_000
        self.delay_seconds = 0.0
        self.codecs: Sequence[Codec] = ()
        self.azure: list[AzureSession] = []
        self.failures: list[str] = []
        self.sessions: list[SimulatedSession] = []
        self.server_events: list[Mapping[str, Any]] = []

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> Deferred[AgentSession]:
        number = len(self.sessions) + 1
        if number > self.most:
            return fail(AgentUnavailable("there are no more"))
        dialect = PREVIEW if self._is_preview else GA
        if self.codecs:
            leg_codec = self.codecs[(number - 1) % len(self.codecs)]
        azure = AzureSession(dialect, profile, leg_codec, events, self._clock)
        azure.deployment = f"d{number}"

        def send(event: Mapping[str, Any]) -> None:
            self.server_events.append(event)
            payload = json.dumps(event).encode()
            # Never within the gateway's call that has caused it.
            self._clock.callLater(0, azure.message_received, payload, False)

        behaviour = self._behaviour
        if number > 1 and self.later is not None:
            behaviour = self.later
        behaviour = behaviour.of_session(number)
        session = SimulatedSession(
            self._voice,
            behaviour,
            is_preview=self._is_preview,
            send=send,
            close=lambda code, reason: azure.socket_closed(f"closed ({code})"),
            freeze=lambda: None,
            clock=self._clock,
            wall_time=lambda: 1_000_000.0 + self._clock.seconds(),
        )
        self.sessions.append(session)
        self.azure.append(azure)
        azure.opened(_ServiceSocket(session))
        if number > 1 and self.delay_seconds:
            self._clock.callLater(self.delay_seconds, session.start)
        else:
            session.start()
        return azure.ready

    def failed(self, deployment: str) -> None:
        self.failures.append(deployment)


class VirtualCall:
    """
    One call.

    @ivar closed: (code, reason) with which the gateway closed the stream.
    """

    def __init__(
        self,
        plan: CallPlan,
        *,
        codec: Codec = PCMU,
        is_raw: bool = False,
        voice: Voice | None = None,
        behaviour: Behaviour | None = None,
        is_preview: bool = False,
        profile: AgentProfile | None = None,
        tools: Any = None,
        recordings: Any = None,
        capture: Any = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        later: Behaviour | None = None,
        most_sessions: int = 1_000,
        new_agents: Callable[..., VirtualAgents] = VirtualAgents,
    ) -> None:
        self.clock = clock or Clock()
        limits = limits or Limits()
        self.events: list[CallEvent] = []
        self.agents = new_agents(
            self.clock, voice or Parrot(), behaviour or Behaviour(), is_preview
        )
        self.agents.later = later
        self.agents.most = most_sessions
        self.measures = RecordingMeasures()
        self.closed: list[tuple[int, str]] = []
        self.table = table = CallTable(
            Lines(self.agents, limits),
            roster=Roster(agents={"default": profile or AgentProfile()}, routes={}),
            tools=tools or RecordingTools([]),
            recordings=recordings,
            listeners=[self.events.append],
            capture=capture,
            limits=limits,
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: "call",
        )
        leg: StreamLeg = StreamLeg(
            RawStream() if is_raw else TwilioStream(),
            _CarrierSocket(self),
            table,
            is_authorized=True,
            check_token=lambda token: False,
            clock=self.clock,
            start_seconds=5.0,
        )
        self.line = StreamLine(
            codec,
            self.clock,
            is_raw=is_raw,
            parameters=plan.parameters,
            send=leg.message_received,
            hang_up=lambda: leg.socket_closed(1000, True),
        )
        self.caller = SimulatedCaller(plan, codec, self.clock, self.line)
        self.line.caller = self.caller

    def run(self, most_seconds: float = 60.0) -> CallReport:
        """Run until the caller or the gateway hangs up."""
        self.caller.start()
        while not self.measures.records and self.clock.seconds() < most_seconds:
            self.clock.advance(STEP_SECONDS)
        return self.caller.stop()
