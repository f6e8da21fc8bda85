"""
One call: a caller's leg, an agent's session, the pump between them, a record.

L{Call} begins, runs and ends the call; its L{Conversation} handles what is said.  It
uses only the seams, so it is the same for every carrier and service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.call.context import CallContext
from chime_gateway.call.conversation.conversation import Conversation
from chime_gateway.call.limits import idle_ending, time_ending
from chime_gateway.call.machine import new_machine
from chime_gateway.call.opening import Opening
from chime_gateway.call.parting import CallRelease, Parting, hears_apology
from chime_gateway.call.recording import CallRecording, begin_recording
from chime_gateway.call.reports import events
from chime_gateway.call.reports.events import EventSequence, LiveCall, Payload
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.call.routing import limits_of
from chime_gateway.call.transfer import CallTransfers, detached
from chime_gateway.errors import TransferFailed
from chime_gateway.interfaces import AgentLine, AgentLines, CallLeg, OutboundLeg
from chime_gateway.media.metronome import Ticked
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile

_INTERNAL_ERROR: Final = Ending(Outcome.INTERNAL_ERROR, "internal error")

#: How often limits are checked: twice a second, on a tick of the metronome.
_CHECK_SECONDS: Final = 0.49


class Call:
    """
    @param profile: the agent profile, with this call's values filled in.
    @ivar record: the call's record, updated throughout the call.
    @ivar limits: the gateway's limits, overridden by the profile's own.
    @ivar conversation: receives the reports of the agent's line.
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
        self.limits = limits = limits_of(profile, context.limits)
        self._opening: Opening | None = None
        self._beat = Ticked(context.metronome, leg.traits.buffers)
        self._is_over = self._hangs_up_leg = False
        self._began = self._check_at = clock()
        self._events = EventSequence(record.call_id, record.started_at)
        self._parting = Parting(profile.goodbye)
        self._transfers = CallTransfers(
            self, leg.transfer, context.destinations, record, self._began
        )
        self._pump = MediaPump(
            leg,
            record.media,
            clock,
            # With a greeting, the agent speaks first.  Audio from the ringing phase
            # would only interrupt it.
            keep_early=not profile.greeting,
            max_queue_seconds=limits.play_queue_seconds,
            observe_turn=context.observer.turn_answered,
            observe_bridge=context.observer.bridged,
            observe_began=lambda *item: self.conversation.item_began(*item),
            observe_heard=lambda *item: self.conversation.item_heard(*item),
            want_beat=self._beat.want,
        )
        self.conversation = Conversation(
            *(self, profile, record, self._pump),
            clock=clock,
            began=self._began,
            limits=limits,
            tools=context.tools,
        )
        # Called for every frame, so bound directly to the pump.
        self.caller_audio: Callable[[bytes], None] = self._pump.caller_audio
        self.gap_filled: Callable[[bytes], None] = self._pump.gap_filled
        self._machine = new_machine(self)
        self._release = CallRelease(self, _ENDING)

    # -- requests from outside -------------------------------------------------

    def begin(self, lines: AgentLines, outbound: OutboundLeg | None = None) -> None:
        """
        Start the call and open its line to the agent.

        @param outbound: the leg, if it must be dialled once the agent is ready.
        """
        fields = self.record.start_fields(self._context.shown)
        self._log.info("call.started {call_id}", **fields)
        self.happened(events.CallStarted(self.record.facts()))
        self._beat.start(
            self._pump.tick, self._look, lambda _: self.hang_up(_INTERNAL_ERROR)
        )
        self._opening = Opening(
            lambda: lines.open(
                *(self._profile, self._leg.codec, self.conversation),
                *(self._clock, self.record.started_at),
            ),
            *(self._leg, outbound),
            hears_apology(self.record, self._profile, self._leg),
            waiting=self.conversation.wait_with,
            ready=self._machine.agent_ready,
            unavailable=self._agent_unavailable,
            bug=self.bug,
        )

    def hang_up(self, ending: Ending) -> None:
        """End the call now."""
        self._release.by(self._machine.hang_up, self.end, ending, True)

    def part(self, ending: Ending, farewell: str = "") -> None:
        """
        Let the agent say goodbye, then end the call.

        @param farewell: what the agent is told to say; empty: the profile's goodbye.
        """
        self._parting.farewell = farewell or self._profile.goodbye
        self._machine.part(ending)

    def leave(self, ending: Ending) -> None:
        """End the call once the caller has heard everything said so far."""
        self._machine.leave(ending)

    def transfer(self, target: str, name: str = "") -> Deferred[None]:
        """
        Transfer the caller now; if that fails, the caller stays with the agent.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.

        @param target: a number or a C{sip:} URI; C{name} is what records call it.
        """
        if self._parting.has_begun:
            return fail(TransferFailed("the call is ending"))
        transferring = self._transfers.begin(name or target, target, self._clock())
        transferring.addErrback(self._report_failed_transfer)
        return detached(transferring)

    def transfer_when_said(self, name: str, address: str) -> Deferred[None]:
        """Transfer the caller, once the caller has heard what the agent is saying."""
        now = self._clock()
        wait_seconds = self.limits.goodbye_seconds + self._pump.rest_seconds(now)
        return self._transfers.begin(name, address, now, wait_seconds)

    def send_digits(self, digits: str) -> bool:
        """Send DTMF digits; C{False}: this carrier or its peer cannot."""
        return self._leg.send_digits(digits)

    def pause_recording(self, is_paused: bool) -> bool:
        """Pause or resume the recording; C{False}: there is none."""
        if self.recording is None:
            return False
        if self.recording.pause(is_paused, self._clock()):
            self.happened(events.RecordingChanged(is_paused))
        return True

    def say(self, text: str) -> bool:
        """Have the agent say this now; C{False}: there is no agent."""
        return self.conversation.say(text)

    def instruct(self, text: str, respond: bool) -> bool:
        """Give the agent an instruction; C{False}: there is no agent."""
        return self.conversation.instruct(text, respond=respond)

    def queued_seconds(self) -> float:
        """Return how much of the agent's audio the caller has not heard yet."""
        return self._pump.queued_seconds(self._clock())

    @property
    def targets(self) -> Mapping[str, str]:
        """The addresses of the profile's targets, by name."""
        return {name: t.address for name, t in self._profile.targets.items()}

    def snapshot(self) -> LiveCall:
        """Return the current state of the call, for operators."""
        duration = round(self._clock() - self._began, 3)
        return LiveCall(
            call=evolve(self.record.facts(), duration_seconds=duration),
            transcript=self.conversation.turns.facts(),
            is_recording_paused=self.recording is not None and self.recording.is_paused,
        )

    # -- LegEvents ---------------------------------------------------------------

    def digit_pressed(self, digit: str) -> None:
        self.conversation.digit_pressed(digit)

    def mark_reached(self, name: str) -> None:
        self._pump.mark_reached(name, self._clock())

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
        self._release.by(self._machine.leg_ended, self.end, ending, False)

    # -- Owner of the conversation -------------------------------------------------

    def happened(self, payload: Payload) -> None:
        event = self._events.next(payload, self._clock() - self._began)
        self._context.observer.happened(event)

    def agent_gone(self, reason: str) -> None:
        self._agent_unavailable(Outcome.AGENT_LOST, reason)

    def text_missed(self, form: str) -> None:
        self._context.observer.text_missed(form)

    def goodbye_said(self) -> None:
        self._machine.goodbye_said()

    def interrupted(self) -> None:
        """The caller speaks: cancel a transfer that has not begun."""
        self._transfers.call_off("the caller spoke before it began")

    def bug(self, failure: Failure) -> None:
        self.hang_up(_INTERNAL_ERROR)
        call_id = self.record.call_id
        self._log.failure("a bug ended call {call_id}", failure, call_id=call_id)

    # -- CallEffects ---------------------------------------------------------------

    def join(self, agent: AgentLine) -> None:
        record, now = self.record, self._clock()
        self._opening = None
        record.answered_seconds = now - self._began
        fields = record.answered_fields(agent.traits.codec.name)
        self._log.info("call.answered {call_id}", **fields)
        self.recording = begin_recording(
            self._context.recordings, self._profile, record, self._leg.codec, now
        )
        if self.recording is not None:
            self._pump.record(self.recording.recorder)
        self._leg.answer()
        self._pump.join(agent)
        notice = self._profile.recording_notice if self.recording is not None else ""
        self.happened(events.CallAnswered(record.facts()))
        self.conversation.begin(agent, f"{notice} {self._profile.greeting}".strip())

    def say_goodbye(self, ending: Ending) -> None:
        self._parting.say_goodbye(ending, self._clock() + self.limits.goodbye_seconds)
        self.conversation.say_goodbye(self._parting.farewell)
        self._transfers.call_off("the call is ending")

    def play_out(self, ending: Ending | None) -> None:
        self.conversation.close()
        self._give_up_opening()
        self._pump.detach_agent()
        self._parting.play_out(ending, self._pump.heard_by(self._clock()))

    def end(self, ending: Ending | None, hang_up_leg: bool = False) -> None:
        if not self._is_over:
            self._is_over = True
            self.record.ending = ending or self._parting.ending or _INTERNAL_ERROR
            self._hangs_up_leg = hang_up_leg
        self._release.run()

    def _stop_clock(self) -> None:
        self.record.duration_seconds = self._clock() - self._began
        self._beat.stop()

    def _release_leg(self) -> None:
        if self._hangs_up_leg:
            self._leg.hang_up(self.record.ending or _INTERNAL_ERROR)

    def _finish_recording(self) -> None:
        if self.recording is not None:
            self.recording.finish(self._clock())
            self.record.recording_fault = self.recording.fault

    def _report_end(self) -> None:
        fields = self.record.log_fields(self._context.shown)
        self._log.info("call.ended {call_id} {outcome}: {reason}", **fields)
        turns = self.conversation.turns.facts()
        self.happened(events.CallEnded(self.record.facts(), turns))

    def discard(self, agent: AgentLine) -> None:
        agent.close()

    def _give_up_opening(self) -> None:
        if self._opening is not None:
            self._opening.give_up()

    # -- transfer and apology --------------------------------------------------------

    def transferred(self) -> None:
        self._machine.hang_up(Ending(Outcome.TRANSFERRED, "transferred"))

    def _report_failed_transfer(self, failure: Failure) -> Failure:
        """Tell the agent that a transfer it did not request has failed."""
        if not self._is_over and not self._parting.owed:
            self.conversation.transfer_failed(failure.getErrorMessage())
        return failure

    def _agent_unavailable(self, outcome: Outcome, why: str) -> None:
        """There is no agent: play the apology and transfer to the fallback, if any."""
        ending, parting = Ending(outcome, why), self._parting
        if not parting.is_saying_goodbye:
            if hears_apology(self.record, self._profile, self._leg):
                parting.owed += (self._apologise,)
            if self._profile.fallback_address:
                parting.owed += (self._fall_back,)
        (self._machine.leave if parting.owed else self._machine.agent_lost)(ending)

    def _apologise(self) -> None:
        if self.record.answered_seconds is None:
            self._leg.answer()
        self._pump.play_sound(self._profile.apology_sound)
        self._parting.play_out(None, self._pump.heard_by(self._clock()))

    def _fall_back(self) -> None:
        name, address = self._profile.fallback, self._profile.fallback_address

        def failed(failure: Failure) -> None:
            failure.trap(TransferFailed, CancelledError)
            if not self._is_over:
                self._machine.played_out()

        self._transfers.begin(name, address, self._clock()).addErrback(failed)

    # -- time ------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        self.conversation.tick(now)
        is_transferring = self._transfers.tick(now, self._pump.is_said)
        if not is_transferring and self._parting.take_heard(now, self._pump.is_drained):
            (self._parting.take_owed() or self._machine.played_out)()
        if now >= self._check_at and not self._is_over:
            self._check_at = now + _CHECK_SECONDS
            self._check(now)

    def _check(self, now: float) -> None:
        if self.recording is not None:
            self.recording.flush(now)
        self.conversation.check(now)
        if self._parting.has_begun:
            if self._parting.is_goodbye_overdue(now):
                self._machine.goodbye_said()
            return
        limits = self.limits
        is_listening = (
            # Before the answer there is no caller to hear.
            self.record.answered_seconds is not None
            # Carriers that suppress silence send nothing while the caller listens.
            and self._pump.is_drained(now)
            and not self._transfers.is_under_way
        )
        idle = idle_ending(limits, self._pump.idle_seconds(now))
        if is_listening and idle is not None:
            self._machine.hang_up(idle)
        elif not self._transfers.has_begun and (
            too_long := time_ending(limits, now - self._began)
        ):
            self.part(too_long)
        elif self.conversation.answer.is_overdue(now):
            seconds = limits.agent_silence_seconds
            self.conversation.close()
            self.conversation.agent_lost(f"the agent sent nothing for {seconds:g} s")


#: The steps that release a call, in order.
_ENDING: Final[tuple[Callable[[Call], object], ...]] = (
    *(Call._stop_clock, lambda call: call._pump.stop(), Call._give_up_opening),
    lambda call: call.conversation.close(),
    *(lambda call: call._transfers.close(), Call._release_leg),
    lambda call: call.conversation.turns.settle(is_over=True),
    *(Call._finish_recording, Call._report_end),
    lambda call: call._context.observer.call_ended(call),
)
