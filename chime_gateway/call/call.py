"""
One call: a caller's leg, an agent's session, the pump between them, a record.

The call begins, moves on and ends here; what is said in it is its
L{Conversation}'s.  It knows the seams only: which carrier or service is behind
them is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.call import events
from chime_gateway.call.conversation import Conversation
from chime_gateway.call.events import CallEvent, LiveCall, Payload
from chime_gateway.call.machine import new_machine
from chime_gateway.call.record import CallRecord
from chime_gateway.call.recording import CallRecording
from chime_gateway.call.routing import limits_of
from chime_gateway.call.transfer import Handover, TransferNote
from chime_gateway.errors import AgentUnavailable, TransferFailed
from chime_gateway.interfaces import (
    Agents,
    AgentSession,
    CallLeg,
    OutboundLeg,
    Recordings,
    ToolRunner,
)
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits

#: Limits are looked at this often.
_CHECK_SECONDS: Final = 0.5

#: A caller's speech right behind the agent's loss must not hold a call open.
_PLAY_OUT_SLACK_SECONDS: Final = 2.0


class CallObserver(Protocol):
    """Who wants to know what a call measures and does as it goes."""

    def turn_answered(self, seconds: float) -> None: ...
    def bridged(self, seconds: float) -> None: ...
    def text_missed(self, form: str) -> None: ...
    def happened(self, event: CallEvent) -> None: ...
    def call_ended(self, call: Call) -> None: ...


@define(kw_only=True, eq=False)
class CallContext:
    """
    What all calls share.

    @ivar clock: seconds, monotonic.
    @ivar recordings: C{None}: nothing is recorded.
    """

    clock: Callable[[], float]
    metronome: Metronome
    limits: Limits
    observer: CallObserver
    tools: ToolRunner
    recordings: Recordings | None = None


class Call:
    """
    @param profile: with this call's values filled in.
    @ivar record: grows with the call.
    @ivar conversation: what the agent's session reports to.
    """

    _log = Logger()

    def __init__(
        self,
        leg: CallLeg,
        profile: AgentProfile,
        record: CallRecord,
        context: CallContext,
    ) -> None:
        self.record = record
        self.recording: CallRecording | None = None
        self._leg = leg
        self._profile = profile
        self._context = context
        self._clock = clock = context.clock
        self._limits = limits = limits_of(profile, context.limits)
        self._opening: Deferred[None] | None = None
        self._ending: Ending | None = None
        self._is_over = False
        self._event_count = 0
        self._began = clock()
        self._check_at = self._began
        self._part_by: float | None = None
        self._farewell = profile.goodbye
        self._play_out_by: float | None = None
        self._handover: Handover | None = None
        self._wants_fallback = False
        observer = context.observer
        self._pump = MediaPump(
            leg,
            record.media,
            clock,
            # With a greeting the agent begins, as on any answered phone; what
            # was said into the ringing would only cut it short.
            keep_early=not profile.greeting,
            max_queue_seconds=limits.play_queue_seconds,
            observe_turn=observer.turn_answered,
            observe_bridge=observer.bridged,
            observe_began=self._item_began,
            observe_heard=self._item_heard,
        )
        self.conversation = Conversation(
            self,
            profile,
            record,
            self._pump,
            clock=clock,
            began=self._began,
            answer_seconds=limits.agent_silence_seconds,
            tools=context.tools,
        )
        self._machine = new_machine(self)

    # -- wanted from outside ---------------------------------------------------

    def begin(self, agents: Agents, outbound: OutboundLeg | None = None) -> None:
        """
        Open the agent's session; the call lives from here.

        @param outbound: the leg, if it must be dialled once the agent is there.
        """
        record = self.record
        self._log.info(
            "call.started {call_id}",
            call_id=record.call_id,
            carrier=record.carrier,
            carrier_call_id=record.info.carrier_call_id,
            agent_profile=record.agent_profile,
            codec=record.codec,
        )
        self.happened(events.CallStarted(record.facts()))
        self._context.metronome.add(self._tick, self._tick_failed)
        opening = agents.open(self._profile, self._leg.codec, self.conversation)
        if outbound is not None:
            opening.addCallback(self._dial, outbound)
        self._opening = opening.addCallbacks(
            self._machine.agent_ready, self._opening_failed
        )
        self._opening.addErrback(self.bug)

    def hang_up(self, ending: Ending) -> None:
        """End it now."""
        self._machine.hang_up(ending)

    def part(self, ending: Ending, farewell: str = "") -> None:
        """
        Let the agent say goodbye, then end it.

        @param farewell: what it is told to say; empty: the profile's goodbye.
        """
        self._farewell = farewell or self._profile.goodbye
        self._machine.part(ending)

    def leave(self, ending: Ending) -> None:
        """Let what was said be heard, then end it."""
        self._machine.leave(ending)

    def transfer(self, target: str, name: str = "") -> Deferred[None]:
        """
        Hand the caller on now; if that fails, the caller is still with the agent.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.

        @param target: a number or a C{sip:} URI; C{name} is what records say.
        """
        transferring = self._new_handover(name or target, target, wait=False)
        transferring.addErrback(self._transfer_failed_unasked)
        return transferring

    def transfer_when_said(self, name: str, address: str) -> Deferred[None]:
        """The same, for the agent, when it has said that it will."""
        return self._new_handover(name, address, wait=True)

    def send_digits(self, digits: str) -> bool:
        """Press keys; C{False}: this carrier or its peer cannot."""
        return self._leg.send_digits(digits)

    def pause_recording(self, is_paused: bool) -> bool:
        """Have silence recorded, or the call again; C{False}: there is none."""
        if self.recording is None:
            return False
        if is_paused != self.recording.is_paused:
            if is_paused:
                self.recording.pause(self._clock())
            else:
                self.recording.resume(self._clock())
            self.happened(events.RecordingChanged(is_paused))
        return True

    def say(self, text: str) -> bool:
        """Have the agent say this now; C{False}: there is none."""
        return self.conversation.say(text)

    def instruct(self, text: str, respond: bool) -> bool:
        """Give the agent an order; C{False}: there is none."""
        return self.conversation.instruct(text, respond=respond)

    def queued_seconds(self) -> float:
        """The agent's audio that the caller has not heard yet."""
        return self._pump.queued_seconds(self._clock())

    @property
    def targets(self) -> Mapping[str, str]:
        """Addresses of those whom the profile knows, by name."""
        return {name: t.address for name, t in self._profile.targets.items()}

    def snapshot(self) -> LiveCall:
        """The call as it is now, for operators."""
        duration = round(self._clock() - self._began, 3)
        return LiveCall(
            call=evolve(self.record.facts(), duration_seconds=duration),
            transcript=self.conversation.transcript.facts(),
            is_recording_paused=self.recording is not None and self.recording.is_paused,
        )

    # -- LegEvents ---------------------------------------------------------------

    def caller_audio(self, audio: bytes) -> None:
        self._pump.caller_audio(audio)

    def digit_pressed(self, digit: str) -> None:
        self.conversation.digit_pressed(digit)

    def mark_reached(self, name: str) -> None:
        self._pump.mark_reached(name)

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        self._pump.drop(reason, byte_count)

    def oddity_seen(self, kind: str) -> None:
        self.conversation.oddity_seen(kind)

    def leg_ended(self, ending: Ending) -> None:
        if (
            self.record.answered_seconds is None
            and ending.outcome is Outcome.COMPLETED
            and self.conversation.agent is None
        ):
            ending = Ending(Outcome.ABANDONED, ending.reason)
        self._machine.leg_ended(ending)

    # -- Owner of the conversation -------------------------------------------------

    def happened(self, payload: Payload) -> None:
        self._event_count += 1
        record = self.record
        at = record.started_at + self._clock() - self._began
        event = CallEvent(record.call_id, self._event_count, at, payload)
        self._context.observer.happened(event)

    def agent_gone(self, reason: str) -> None:
        self._lost(Ending(Outcome.AGENT_LOST, reason))

    def text_missed(self, form: str) -> None:
        self._context.observer.text_missed(form)

    def goodbye_said(self) -> None:
        self._machine.goodbye_said()

    def interrupted(self) -> None:
        """Whoever speaks wants to be heard, not sent away."""
        handover = self._handover
        if handover is not None and not handover.has_begun:
            handover.call_off("the caller spoke before it began")

    def bug(self, failure: Failure) -> None:
        self._log.failure(
            "a bug ends call {call_id}", failure, call_id=self.record.call_id
        )
        self._machine.hang_up(Ending(Outcome.INTERNAL_ERROR, "internal error"))

    # -- CallEffects ---------------------------------------------------------------

    def join(self, agent: AgentSession) -> None:
        record = self.record
        record.answered_seconds = self._clock() - self._began
        self._log.info(
            "call.answered {call_id}",
            call_id=record.call_id,
            answered_seconds=round(record.answered_seconds, 3),
            agent_codec=agent.traits.codec.name,
        )
        self._start_recording()
        self._leg.answer()
        self._pump.join(agent)
        notice = self._profile.recording_notice if self.recording is not None else ""
        self.happened(events.CallAnswered(record.facts()))
        self.conversation.begin(agent, f"{notice} {self._profile.greeting}".strip())

    def say_goodbye(self, ending: Ending) -> None:
        self._ending = ending
        self._part_by = self._clock() + self._limits.goodbye_seconds
        self.conversation.answer_due_at = None
        self.conversation.say_goodbye(self._farewell)

    def play_out(self, ending: Ending | None) -> None:
        self._ending = ending or self._ending
        self._part_by = None
        self.conversation.close()
        self._give_up_opening()
        self._pump.detach_agent()
        now = self._clock()
        owed = self._pump.queued_seconds(now)
        slack = _PLAY_OUT_SLACK_SECONDS + 2 * self._leg.traits.lag_seconds
        self._play_out_by = now + owed + slack

    def end(self, ending: Ending | None, *, hang_up_leg: bool) -> None:
        ending = ending or self._ending
        assert ending is not None
        self._is_over = True
        record = self.record
        record.ending = ending
        now = self._clock()
        record.duration_seconds = now - self._began
        self._context.metronome.remove(self._tick)
        self._pump.stop()
        self._give_up_opening()
        self.conversation.close()
        if self._handover is not None:
            self._handover.call_off("the call is over")
        if hang_up_leg:
            self._leg.hang_up(ending)
        self.conversation.settle(is_over=True)
        if self.recording is not None:
            self.recording.finish(now)
            record.recording_fault = self.recording.fault
        self._log.info(
            "call.ended {call_id} {outcome}: {reason}", **record.log_fields()
        )
        turns = self.conversation.transcript.facts()
        self.happened(events.CallEnded(record.facts(), turns))
        self._context.observer.call_ended(self)

    def discard(self, agent: AgentSession) -> None:
        agent.close()

    # -- opening -------------------------------------------------------------------

    def _dial(self, agent: AgentSession, leg: OutboundLeg) -> Deferred[AgentSession]:
        """The agent waits while it rings."""
        self.conversation.agent = agent

        def answered(_: None) -> AgentSession:
            return agent

        return leg.dial().addCallback(answered)

    def _give_up_opening(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()

    def _opening_failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        failure.trap(AgentUnavailable)
        self._lost(Ending(Outcome.AGENT_UNAVAILABLE, failure.getErrorMessage()))

    def _start_recording(self) -> None:
        recordings = self._context.recordings
        if recordings is None or self._profile.recording is False:
            return
        record = self.record
        file = recordings.open(record.call_id, self._leg.codec, record.started_at)
        self.recording = CallRecording(file, self._leg.codec, self._clock())
        self._pump.recorder = self.recording.recorder
        record.recording = file.location

    def _item_began(self, item_id: str, heard_at: float) -> None:
        self.conversation.item_began(item_id, heard_at)

    def _item_heard(self, item_id: str, heard: int, spoken: int, cut: bool) -> None:
        self.conversation.item_heard(item_id, heard, spoken, cut)

    # -- handing on ------------------------------------------------------------------

    def _new_handover(self, name: str, address: str, *, wait: bool) -> Deferred[None]:
        if self._handover is not None and not self._handover.is_over:
            return fail(TransferFailed("a transfer is under way"))
        if self._is_over:
            return fail(TransferFailed("the call is over"))
        self._log.info("call.transferring {call_id}", call_id=self.record.call_id)
        now = self._clock()
        note = TransferNote(target=name, at=now - self._began)
        self.record.transfers.append(note)
        self.happened(events.CallTransferring(note.facts()))
        wait_seconds = self._limits.goodbye_seconds + self._pump.queued_seconds(now)
        handover = Handover(
            note, lambda: self._leg.transfer(address), now + wait_seconds
        )
        self._handover = handover
        # Whoever asked may lose interest; the attempt goes on all the same.
        told: Deferred[None] = Deferred()

        def transferred(_: None) -> None:
            self._machine.hang_up(Ending(Outcome.TRANSFERRED, "transferred"))
            told.callback(None)

        def failed(failure: Failure) -> None:
            self.happened(events.CallTransferFailed(note.facts()))
            told.errback(failure)

        handover.done.addCallbacks(transferred, failed).addErrback(self.bug)
        if not wait:
            handover.start()
        return told

    def _transfer_failed_unasked(self, failure: Failure) -> Failure:
        """The agent has not asked for it, and must know all the same."""
        if not self._is_over and not self._wants_fallback:
            self.conversation.transfer_failed(failure.getErrorMessage())
        return failure

    def _lost(self, ending: Ending) -> None:
        """There is no agent; perhaps somebody else can talk with the caller."""
        if self._profile.fallback_address and self._part_by is None:
            self._wants_fallback = True
            self._machine.leave(ending)
        else:
            self._machine.agent_lost(ending)

    def _fall_back(self) -> None:
        """What the agent had said was heard."""
        self._wants_fallback = False
        name, address = self._profile.fallback, self._profile.fallback_address

        def failed(failure: Failure) -> None:
            failure.trap(TransferFailed, CancelledError)
            if not self._is_over:
                self._machine.played_out()

        self._new_handover(name, address, wait=False).addErrback(failed)

    # -- time ------------------------------------------------------------------------

    def _tick_failed(self, failure: Failure) -> None:
        self._machine.hang_up(Ending(Outcome.INTERNAL_ERROR, "internal error"))

    def _tick(self, now: float, due: int) -> None:
        self._pump.tick(now, due)
        self.conversation.tick(now)
        handover = self._handover
        if handover is not None and not handover.has_begun:
            handover.tick(now, self._pump.is_drained(now))
        if self._play_out_by is not None:
            is_moving = handover is not None and not handover.is_over
            if not is_moving and (
                self._pump.is_drained(now) or now >= self._play_out_by
            ):
                self._play_out_by = None
                if self._wants_fallback:
                    self._fall_back()
                else:
                    self._machine.played_out()
        elif now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            self._check(now)

    def _check(self, now: float) -> None:
        if self.recording is not None:
            self.recording.flush(now)
        self.conversation.check(now)
        limits = self._limits
        is_moving = self._handover is not None and not self._handover.is_over
        due_at = self.conversation.answer_due_at
        if self._part_by is not None:
            if now >= self._part_by:
                self._machine.goodbye_said()
        elif (
            # While it still rings there is nobody to hear.
            self.record.answered_seconds is not None
            and self._pump.idle_seconds(now) >= limits.idle_seconds
            # Carriers that send nothing in silence do so while they listen.
            and self._pump.is_drained(now)
            and not is_moving
        ):
            self._machine.hang_up(
                Ending(
                    Outcome.IDLE,
                    f"no audio from the caller for {limits.idle_seconds:g} s",
                )
            )
        elif now - self._began >= limits.max_call_seconds:
            self.part(
                Ending(
                    Outcome.TIME_LIMIT,
                    f"the call reached its limit of {limits.max_call_seconds:g} s",
                )
            )
        elif due_at is not None and now >= due_at:
            self.conversation.close()
            seconds = limits.agent_silence_seconds
            self.agent_gone(f"the agent sent nothing for {seconds:g} s")
