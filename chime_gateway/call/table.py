"""
The table of calls in progress: admits new calls, finds a call by its id, and drains the
gateway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn, Protocol

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.call.admission.admission import (
    APOLOGISED_FOR,
    Admission,
    Place,
    Reason,
    Refusal,
)
from chime_gateway.call.admission.load import Load
from chime_gateway.call.admission.no_agent_lines import NoAgentLines
from chime_gateway.call.call import Call
from chime_gateway.call.capture import Capture
from chime_gateway.call.context import CallContext, CallObserver
from chime_gateway.call.destinations import Destinations
from chime_gateway.call.reports.events import CallEvent
from chime_gateway.call.reports.record import CallRecord, Shown
from chime_gateway.call.routing import Roster, personalise
from chime_gateway.errors import CallRefused, NoSuchCall
from chime_gateway.interfaces import AgentLines, CallLeg, LegEvents, OutboundLeg
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.services import Recordings, ToolRunner
from chime_gateway.settings.values import Limits, TransferSettings


class Measures(Protocol):
    """Counts finished calls and their latencies."""

    def turn_answered(self, seconds: float) -> None: ...
    def bridged(self, seconds: float) -> None: ...
    def text_missed(self, form: str) -> None:
        """Count a turn of the caller that has no text; C{form} says why."""

    def call_finished(self, record: CallRecord) -> None: ...
    def turned_away(self, carrier: str, outcome: Outcome) -> None: ...


class CallTable(CallObserver):
    """
    @ivar roster: chooses the profile of a call; may be replaced, for future calls.
    @param clock: for everything that is measured in seconds.
    @param wall_time: Unix seconds, for records only.
    @param new_id: returns a fresh call id.
    @param listeners: called with each event of each call.
    @param capture: captures whole calls for replay.
    @ivar limits: for future calls.
    @ivar admission: decides which calls may come in.
    @param agents_fault: returns why calls with these profiles would get no agent.
    @param shortage: returns what this machine lacks that every call needs.
    @param shown: reduces a record to what may be logged.
    @ivar destinations: limits transfers and outbound calls.
    @param begins: called with the leg of each admitted call, before the call begins.
    @param is_told: returns whether one more refusal of this kind gets its own log line.
    """

    _log = Logger()

    def __init__(
        self,
        lines: AgentLines,
        *,
        roster: Roster,
        limits: Limits,
        clock: IReactorTime,
        metronome: Metronome,
        measures: Measures,
        tools: ToolRunner,
        wall_time: Callable[[], float],
        new_id: Callable[[], str],
        recordings: Recordings | None = None,
        listeners: Sequence[Callable[[CallEvent], None]] = (),
        capture: Capture | None = None,
        agents_fault: Callable[[Collection[str]], str | None] = lambda _: None,
        shortage: Callable[[], str | None] = lambda: None,
        shown: Shown = lambda facts: facts,
        transfer: TransferSettings | None = None,
        is_told: Callable[[str], bool] = lambda _: True,
        admission: Admission | None = None,
        begins: Callable[[CallLeg], object] = lambda _: None,
    ) -> None:
        # This default does not measure the load of the process.
        self.admission = admission or Admission(
            limits, Load(limits, clock.seconds, lambda: 0.0)
        )
        self.roster = roster
        self._lines = lines
        self.limits = limits
        self._clock = clock
        self._metronome = metronome
        self._measures = measures
        self._tools = tools
        self._recordings = recordings
        self._listeners = listeners
        self._capture = capture
        self._agents_fault = agents_fault
        self._shortage = shortage
        self._shown = shown
        self.destinations = Destinations(transfer or TransferSettings(), clock.seconds)
        self._is_told = is_told
        self._begins = begins
        self._wall_time = wall_time
        self._new_id = new_id
        self._calls: dict[str, Call] = {}
        self._places: dict[str, Place] = {}
        self._is_draining = False
        self._waiting_for_drain: list[Deferred[None]] = []

    # -- Switchboard -------------------------------------------------------------

    def refusal(self) -> str | None:
        """Return why a new call would be refused now, or C{None}."""
        refusal = self._refusal()
        return None if refusal is None else refusal.text

    def _refusal(self) -> Refusal | None:
        if self._is_draining:
            return Refusal(Reason.DRAINING, "draining")
        refusal = self.admission.fault()
        if refusal is None and (shortage := self._shortage()) is not None:
            return Refusal(Reason.SHORTAGE, shortage)
        return refusal

    def is_overloaded(self) -> bool:
        return self.admission.load.fault() is not None

    def door(self, fails_over: bool) -> str | None:
        refusal = self._refusal()
        if refusal is None or self._is_apologised_for(refusal, fails_over):
            return None
        self.admission.refuse(refusal)
        return refusal.text

    def _is_apologised_for(self, refusal: Refusal, fails_over: bool) -> bool:
        is_our_fault = refusal.reason in APOLOGISED_FOR
        return is_our_fault and not fails_over and self.admission.can_apologise

    def fault(self) -> str | None:
        """Return why C{/ready} and OPTIONS report not ready, or C{None}."""
        return self.refusal() or self._agents_fault(self.roster.agents)

    def incoming(self, leg: CallLeg) -> LegEvents:
        """
        Take an inbound call and open its agent.

        @raise CallRefused: the call is not admitted; no agent session was opened.
        """
        return self._begin(leg, None)

    def outgoing(self, leg: OutboundLeg) -> LegEvents:
        """
        Open an agent, then dial.

        @raise CallRefused: the call is not admitted; no agent session was opened.
        """
        return self._begin(leg, leg)

    def _begin(self, leg: CallLeg, outbound: OutboundLeg | None) -> LegEvents:
        is_outbound = outbound is not None
        refusal = self._refusal()
        can_hear = not (is_outbound or leg.traits.fails_over)
        if refusal is not None and not self._is_apologised_for(refusal, not can_hear):
            self._refuse(refusal)
        name, profile = self.roster.choose(leg.info)
        refusal = refusal or self.admission.fault_of(
            name, profile, leg.info, is_outbound=is_outbound
        )
        can_hear = can_hear and bool(profile.apology)
        if refusal is not None and not self._is_apologised_for(refusal, not can_hear):
            self._refuse(refusal)
        self._begins(leg)
        call_id = self._new_id()
        record = CallRecord(
            call_id=call_id,
            carrier=leg.traits.name,
            agent_profile=name,
            codec=leg.codec.name,
            info=evolve(leg.info, agent=name),
            started_at=self._wall_time(),
            direction="inbound" if outbound is None else "outbound",
        )
        profile = personalise(profile, leg.info, call_id, name)
        context = CallContext(
            clock=self._clock.seconds,
            metronome=self._metronome,
            limits=self.limits,
            observer=self,
            tools=self._tools,
            destinations=self.destinations,
            recordings=self._recordings,
            shown=self._shown,
        )
        lines: AgentLines = self._lines
        capture = self._capture
        if refusal is not None:
            # Such a call has no conversation that would be worth a replay.
            lines, capture = NoAgentLines(refusal.text), None
        if capture is not None:
            captured = capture(record, profile, context, leg.traits)
            leg, lines = captured.leg(leg), lines.through(captured.agents)
            outbound = None if outbound is None else captured.leg(outbound)
            context = captured.context
        call = Call(leg, profile, record, context)
        is_captured = capture is not None
        operated = captured.operated(call) if is_captured else call
        # If this runs out of memory, the call does not begin.
        self._places[call_id] = (
            self.admission.take(name, leg.info, is_outbound=is_outbound)
            if refusal is None
            else self.admission.apologise(refusal)
        )
        self._calls[call_id] = operated
        try:
            call.begin(lines, outbound)
        except Exception:
            # The call hangs up, as it does for any later bug.
            call.bug(Failure())
        events: LegEvents = captured.leg_events(call) if is_captured else call
        return events

    def _refuse(self, refusal: Refusal) -> NoReturn:
        self.admission.refuse(refusal)
        raise CallRefused(refusal.text)

    def turned_away(self, carrier: str, ending: Ending) -> None:
        """Count and log a peer that was refused before there was a call."""
        self._measures.turned_away(carrier, ending.outcome)
        outcome = ending.outcome.value
        if not self._is_told(f"call.refused ({carrier}, {outcome})"):
            return
        self._log.info(
            "call.refused {outcome}: {reason}",
            carrier=carrier,
            outcome=outcome,
            reason=ending.reason,
        )

    # -- CallObserver --------------------------------------------------------------

    def turn_answered(self, seconds: float) -> None:
        self._measures.turn_answered(seconds)

    def bridged(self, seconds: float) -> None:
        self._measures.bridged(seconds)

    def text_missed(self, form: str) -> None:
        self._measures.text_missed(form)

    def happened(self, event: CallEvent) -> None:
        for listener in self._listeners:
            # A listener that fails must not end the call or starve the others.
            with self._log.failuresHandled(
                "a listener failed on {kind}", kind=event.kind
            ):
                listener(event)

    def call_ended(self, call: Call) -> None:
        self._calls.pop(call.record.call_id, None)
        place = self._places.pop(call.record.call_id, None)
        if place is not None:
            self.admission.give_back(place)
        with self._log.failuresHandled("a call was not counted"):
            self._measures.call_finished(call.record)
        if not self._calls:
            waiting, self._waiting_for_drain = self._waiting_for_drain, []
            for drained in waiting:
                drained.callback(None)

    # -- for operators ---------------------------------------------------------------

    def calls(self) -> list[Call]:
        """Return a snapshot of the calls in progress."""
        return list(self._calls.values())

    def call(self, call_id: str) -> Call:
        """
        Find a call in progress by its id.

        @raise NoSuchCall: no call in progress has this id.
        """
        call = self._calls.get(call_id)
        if call is None:
            raise NoSuchCall(f"there is no call {call_id[:64]!r} in progress here")
        return call

    def active_by_carrier(self) -> Counter[str]:
        return Counter(call.record.carrier for call in self._calls.values())

    def drain(self) -> Deferred[None]:
        """Refuse new calls.  Fires when the last call in progress has ended."""
        self._is_draining = True
        if not self._calls:
            return succeed(None)
        drained: Deferred[None] = Deferred(lambda d: self._waiting_for_drain.remove(d))
        self._waiting_for_drain.append(drained)
        return drained

    def goodbye_seconds(self) -> float:
        """Return the longest time that a call in progress may need for its goodbye."""
        return max((call.limits.goodbye_seconds for call in self.calls()), default=0.0)

    def part_all(self) -> None:
        """End every call politely, when the time to drain is over."""
        ending = Ending(Outcome.DRAINED, "the gateway is being stopped")
        for call in self.calls():
            # A bug in one call must not affect the others.
            with self._log.failuresHandled("a call did not say goodbye"):
                call.part(ending)

    def hang_up_all(self) -> None:
        """End every call now."""
        ending = Ending(Outcome.DRAINED, "the gateway stopped")
        for call in self.calls():
            with self._log.failuresHandled("a call was not hung up"):
                call.hang_up(ending)
