"""
Recording fakes of the interfaces between legs, calls and agents.

All fakes of one test append to one list, so that a test can assert the order across
them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from chime_gateway.audio import PCMU, Codec
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.history import History
from chime_gateway.interfaces import (
    AgentEvents,
    AgentLine,
    Agents,
    AgentSession,
    AgentTraits,
    CallLeg,
    CarrierTraits,
    LegEvents,
    LineEvents,
    OutboundLeg,
)
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool

Log = list[tuple[Any, ...]]


class RecordingLeg:
    """A caller's leg."""

    def __init__(
        self,
        log: Log,
        *,
        buffers: bool = True,
        codec: Codec = PCMU,
        agent: str = "",
        keeps_time: bool = False,
        arrives_later: bool = False,
    ) -> None:
        self.traits = CarrierTraits(
            name="websocket" if buffers else "websocket-raw",
            buffers=buffers,
            reports_playback=buffers,
            keeps_time=keeps_time,
            arrives_later=arrives_later,
        )
        self.codec = codec
        self.info = CallerInfo(agent=agent, caller="+15550001", called="+15550002")
        self.log = log
        self.played = b""

    def answer(self) -> None:
        self.log.append(("leg.answer",))

    def play(self, audio: bytes) -> None:
        self.played += audio
        self.log.append(("leg.play", len(audio)))

    def clear(self) -> None:
        self.log.append(("leg.clear",))

    def mark(self, name: str) -> None:
        self.log.append(("leg.mark", name))

    def hang_up(self, ending: Ending) -> None:
        self.log.append(("leg.hang_up", ending.outcome))

    def send_digits(self, digits: str) -> bool:
        self.log.append(("leg.send_digits", digits))
        return True

    def transfer(self, target: str) -> Deferred[None]:
        self.log.append(("leg.transfer", target))
        self.transferring: Deferred[None] = Deferred()
        return self.transferring

    def dial(self) -> Deferred[None]:
        self.log.append(("leg.dial",))
        self.dialling: Deferred[None] = Deferred(
            lambda _: self.log.append(("leg.dial_cancelled",))
        )
        return self.dialling

    def arrive(self) -> Deferred[None]:
        self.log.append(("leg.arrive",))
        self.arriving: Deferred[None] = Deferred(
            lambda _: self.log.append(("leg.arrive_cancelled",))
        )
        return self.arriving


class RecordingAgent:
    """An agent's session that is ready, or a line with one."""

    def __init__(self, log: Log, codec: Codec = PCMU, **traits: Any) -> None:
        self.traits = AgentTraits(codec=codec, **traits)
        self.deployment = "here"
        self.log = log
        self.audio = b""

    def recall(self, history: History) -> None:
        self.log.append(("agent.recall", history))

    def tick(self, now: float) -> None:
        """Too frequent to record."""

    def heard(self, *item: Any) -> None:
        self.log.append(("agent.heard", *item))

    def probe(self) -> None:
        self.log.append(("agent.probe",))

    def send_audio(self, audio: bytes) -> None:
        self.audio += audio

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        self.log.append(("agent.truncate", item_id, content_index, played_ms))

    def say(self, instructions: str, *, is_last: bool = False) -> None:
        self.log.append(("agent.last_words" if is_last else "agent.say", instructions))

    def interject(self, instructions: str) -> None:
        self.log.append(("agent.interject", instructions))

    def tell(self, text: str, *, is_order: bool = False) -> None:
        self.log.append(("agent.tell", text, is_order))

    def respond(self) -> None:
        self.log.append(("agent.respond",))

    def cancel(self) -> None:
        self.log.append(("agent.cancel",))

    def tool_result(self, call_id: str, output: str) -> None:
        self.log.append(("agent.tool_result", call_id, output))

    def close(self) -> None:
        self.log.append(("agent.close",))


class PlainFilling:
    """A lost packet becomes C{EE}; a pause C{FF}, or the level of its noise."""

    def heard(self, audio: bytes) -> None:
        """Ignore it."""

    def conceal(self, byte_count: int) -> bytes:
        return b"\xee" * byte_count

    def silence(self, byte_count: int, noise: int | None) -> bytes:
        return (b"\xff" if noise is None else bytes([noise])) * byte_count


class RecordingAgents:
    """Opens lines to agents; the test decides when and whether."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.opening: list[Deferred[AgentLine]] = []
        self.events: list[LineEvents] = []

    def through(self, wrap: Callable[[Agents], Agents]) -> RecordingAgents:
        return self

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: LineEvents,
        clock: Callable[[], float],
        started_at: float,
    ) -> Deferred[AgentLine]:
        self.log.append(("agents.open", leg_codec.name))
        opening: Deferred[AgentLine] = Deferred(
            lambda _: self.log.append(("agents.cancelled",))
        )
        self.opening.append(opening)
        self.events.append(events)
        return opening


class RecordingSessions:
    """Opens sessions for lines; the test decides when and whether."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.opening: list[Deferred[AgentSession]] = []
        self.events: list[AgentEvents] = []
        self.running: list[bool] = []

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> Deferred[AgentSession]:
        self.running.append(is_running)
        self.log.append(("sessions.open", avoid))
        opening: Deferred[AgentSession] = Deferred(
            lambda _: self.log.append(("sessions.cancelled",))
        )
        self.opening.append(opening)
        self.events.append(events)
        return opening

    def failed(self, deployment: str) -> None:
        self.log.append(("sessions.failed", deployment))


class RecordingTools:
    """The servers of HTTP tools; the test decides what they answer."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.asked: dict[str, Deferred[str]] = {}
        self.bodies: list[Any] = []

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        self.log.append(("tool.run", tool.name, request_id))
        self.bodies.append(json.loads(body))
        self.asked[request_id] = Deferred(
            lambda _: self.log.append(("tool.cancelled", request_id))
        )
        return self.asked[request_id]


class RecordingMeasures:
    def __init__(self) -> None:
        self.turns: list[float] = []
        self.bridges: list[float] = []
        self.records: list[CallRecord] = []
        self.away: list[tuple[str, Outcome]] = []
        self.connects: list[float] = []
        self.sessions: list[str] = []
        self.texts_missed: list[str] = []

    def turn_answered(self, seconds: float) -> None:
        self.turns.append(seconds)

    def bridged(self, seconds: float) -> None:
        self.bridges.append(seconds)

    def text_missed(self, form: str) -> None:
        self.texts_missed.append(form)

    def call_finished(self, record: CallRecord) -> None:
        self.records.append(record)

    def turned_away(self, carrier: str, outcome: Outcome) -> None:
        self.away.append((carrier, outcome))

    def agent_connected(self, seconds: float) -> None:
        self.connects.append(seconds)

    def agent_session(self, outcome: str) -> None:
        self.sessions.append(outcome)


class RecordingCall:
    """What a leg or a session reports to; every report becomes an entry."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.audio = b""

    def caller_audio(self, audio: bytes) -> None:
        self.audio += audio
        self.log.append(("caller_audio", len(audio)))

    def agent_audio(self, response: str, item: str, index: int, audio: bytes) -> None:
        self.audio += audio
        self.log.append(("agent_audio", response, item, index, len(audio)))

    def agent_active(self) -> None:
        """Too frequent to record."""

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        self.log.append(("response_done", response_id, status, detail))

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: self.log.append((name, *args))


class RecordingSwitchboard:
    def __init__(self, log: Log, refusal: str | None = None) -> None:
        self.log = log
        self.why = refusal
        self.agents_fault: str | None = None
        self.raises: Exception | None = None
        self.legs: list[CallLeg] = []
        self.call = RecordingCall(log)

    def refusal(self) -> str | None:
        return self.why

    def fault(self) -> str | None:
        return self.why or self.agents_fault

    def is_overloaded(self) -> bool:
        return False

    def door(self, fails_over: bool) -> str | None:
        return self.why

    def incoming(self, leg: CallLeg) -> LegEvents:
        self.legs.append(leg)
        self.log.append(("incoming", leg.codec.name))
        if self.raises is not None:
            raise self.raises
        return self.call

    def outgoing(self, leg: OutboundLeg) -> LegEvents:
        return self.incoming(leg)

    def turned_away(self, carrier: str, ending: Ending) -> None:
        self.log.append(("turned_away", carrier, ending.outcome, ending.reason))
