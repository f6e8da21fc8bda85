"""
The calls in progress: who may come in, who is there, and how to empty the house.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.call.call import Call, CallObserver
from chime_gateway.call.record import CallRecord
from chime_gateway.errors import CallRefused, UnknownAgent
from chime_gateway.interfaces import (
    Agents,
    CallLeg,
    Ending,
    LegEvents,
    OutboundLeg,
    Outcome,
)
from chime_gateway.media.metronome import Metronome
from chime_gateway.settings import AgentProfile, Limits


class Measures(Protocol):
    """Where finished calls and their latencies are counted."""

    def turn_answered(self, seconds: float) -> None: ...
    def bridged(self, seconds: float) -> None: ...
    def call_finished(self, record: CallRecord) -> None: ...
    def turned_away(self, carrier: str, outcome: Outcome) -> None: ...


class CallTable(CallObserver):
    """
    @param clock: for everything that is measured in seconds.
    @param wall_time: Unix seconds, for records only.
    @param new_id: a fresh call id.
    """

    _log = Logger()

    def __init__(
        self,
        agents: Agents,
        *,
        profiles: Mapping[str, AgentProfile],
        routes: Mapping[str, str],
        limits: Limits,
        clock: IReactorTime,
        metronome: Metronome,
        measures: Measures,
        wall_time: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._agents = agents
        self._profiles = profiles
        self._routes = routes
        self._limits = limits
        self._clock = clock
        self._metronome = metronome
        self._measures = measures
        self._wall_time = wall_time
        self._new_id = new_id
        self._calls: dict[str, Call] = {}
        self._is_draining = False
        self._emptied: list[Deferred[None]] = []

    # -- Switchboard -------------------------------------------------------------

    def refusal(self) -> str | None:
        """Why a new call would be refused now, or C{None}."""
        if self._is_draining:
            return "draining"
        if len(self._calls) >= self._limits.max_calls:
            return f"full: max_calls is {self._limits.max_calls}"
        return None

    def incoming(self, leg: CallLeg) -> LegEvents:
        """
        Take a call and open its agent.

        @raise CallRefused: before any agent session is opened.
        """
        call = self._new_call(leg)
        call.begin(self._agents)
        return call

    def outgoing(self, leg: OutboundLeg) -> LegEvents:
        """
        Open an agent, then dial.

        @raise CallRefused: before any agent session is opened.
        """
        call = self._new_call(leg)
        call.begin(self._agents, leg)
        return call

    def _new_call(self, leg: CallLeg) -> Call:
        why = self.refusal()
        if why is not None:
            raise CallRefused(why)
        name = leg.info.agent or self._routes.get(leg.info.called, "default")
        profile = self._profiles.get(name)
        if profile is None:
            raise UnknownAgent(f"there is no agent profile named {name[:64]!r}")
        record = CallRecord(
            call_id=self._new_id(),
            carrier=leg.carrier,
            agent_profile=name,
            codec=leg.codec.name,
            info=evolve(leg.info, agent=name),
            started_at=self._wall_time(),
        )
        call = Call(
            leg,
            profile,
            record,
            clock=self._clock.seconds,
            metronome=self._metronome,
            limits=self._limits,
            observer=self,
        )
        self._calls[record.call_id] = call
        return call

    def turned_away(self, carrier: str, ending: Ending) -> None:
        """A peer was sent off before there was a call."""
        self._measures.turned_away(carrier, ending.outcome)
        self._log.info(
            "call.refused {outcome}: {reason}",
            carrier=carrier,
            outcome=ending.outcome.value,
            reason=ending.reason,
        )

    # -- CallObserver --------------------------------------------------------------

    def turn_answered(self, seconds: float) -> None:
        self._measures.turn_answered(seconds)

    def bridged(self, seconds: float) -> None:
        self._measures.bridged(seconds)

    def call_ended(self, call: Call) -> None:
        del self._calls[call.record.call_id]
        self._measures.call_finished(call.record)
        if not self._calls:
            waiting, self._emptied = self._emptied, []
            for emptied in waiting:
                emptied.callback(None)

    # -- for operators ---------------------------------------------------------------

    def calls(self) -> list[Call]:
        """A snapshot."""
        return list(self._calls.values())

    def active_by_carrier(self) -> Counter[str]:
        return Counter(call.record.carrier for call in self._calls.values())

    def drain(self) -> Deferred[None]:
        """Refuse new calls.  Fires when the last one has ended by itself."""
        self._is_draining = True
        if not self._calls:
            return succeed(None)
        emptied: Deferred[None] = Deferred(lambda d: self._emptied.remove(d))
        self._emptied.append(emptied)
        return emptied

    def part_all(self) -> None:
        """The drain is over: every agent says goodbye and hangs up."""
        ending = Ending(Outcome.DRAINED, "the gateway is being stopped")
        for call in self.calls():
            call.part(ending)

    def hang_up_all(self) -> None:
        """End every call now."""
        ending = Ending(Outcome.DRAINED, "the gateway stopped")
        for call in self.calls():
            call.hang_up(ending)
