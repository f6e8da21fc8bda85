"""
One call: a caller's leg, an agent's session, the pump between them, a record.

The call reacts to both sides and to time.  It knows the seams only; which
carrier or service is behind them is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.call.machine import new_machine
from chime_gateway.call.record import CallRecord
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import (
    Agents,
    AgentSession,
    CallLeg,
    Ending,
    OutboundLeg,
    Outcome,
)
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.pump import MediaPump
from chime_gateway.settings import AgentProfile, Limits

#: Limits are looked at this often.
_CHECK_SECONDS: Final = 0.5

#: Kinds of oddities that a record tells apart.
_MAX_NOTES: Final = 50

#: A caller's speech right behind the agent's loss must not hold a call open.
_PLAY_OUT_SLACK_SECONDS: Final = 2.0


class CallObserver(Protocol):
    """Who wants to know what a call measures as it goes."""

    def turn_answered(self, seconds: float) -> None: ...
    def bridged(self, seconds: float) -> None: ...
    def call_ended(self, call: Call) -> None: ...


class Call:
    """
    @ivar record: grows with the call.
    @param clock: seconds, monotonic.
    """

    _log = Logger()

    def __init__(
        self,
        leg: CallLeg,
        profile: AgentProfile,
        record: CallRecord,
        *,
        clock: Callable[[], float],
        metronome: Metronome,
        limits: Limits,
        observer: CallObserver,
    ) -> None:
        self.record = record
        self._leg = leg
        self._profile = profile
        self._clock = clock
        self._metronome = metronome
        self._limits = limits
        self._observer = observer
        self._agent: AgentSession | None = None
        self._opening: Deferred[None] | None = None
        self._ending: Ending | None = None
        self._began = clock()
        self._check_at = self._began
        self._answer_due_at: float | None = None
        self._part_by: float | None = None
        self._goodbye_id: str | None = None
        self._play_out_by: float | None = None
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
        self._metronome.add(self._tick, self._tick_failed)
        opening = agents.open(self._profile, self._leg.codec, self)
        if outbound is not None:
            opening.addCallback(self._dial, outbound)
        self._opening = opening.addCallbacks(
            self._machine.agent_ready, self._opening_failed
        )
        self._opening.addErrback(self._bug)

    def hang_up(self, ending: Ending) -> None:
        """End it now."""
        self._machine.hang_up(ending)

    def transfer(self, target: str) -> Deferred[None]:
        """
        Hand the caller on; if that fails, the caller is still with the agent.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.
        """
        self._log.info("call.transferring {call_id}", call_id=self.record.call_id)

        def transferred(_: None) -> None:
            ending = Ending(Outcome.TRANSFERRED, "transferred")
            self._machine.hang_up(ending)

        return self._leg.transfer(target).addCallback(transferred)

    def send_digits(self, digits: str) -> bool:
        """Press keys; C{False}: this carrier or its peer cannot."""
        return self._leg.send_digits(digits)

    def part(self, ending: Ending) -> None:
        """Let the agent say goodbye, then end it."""
        self._machine.part(ending)

    def queued_seconds(self) -> float:
        """The agent's audio that the caller has not heard yet."""
        return self._pump.queued_seconds(self._clock())

    # -- LegEvents ---------------------------------------------------------------

    def caller_audio(self, audio: bytes) -> None:
        self._pump.caller_audio(audio)

    def digit_pressed(self, digit: str) -> None:
        self.oddity_seen("digit_pressed")

    def mark_reached(self, name: str) -> None:
        self._pump.mark_reached(name)

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        self._pump.drop(reason, byte_count)

    def oddity_seen(self, kind: str) -> None:
        # A peer chooses the names, so their number is bounded.
        notes = self.record.protocol_notes
        notes[kind[:64] if len(notes) < _MAX_NOTES else "other"] += 1

    def leg_ended(self, ending: Ending) -> None:
        if self._agent is None and ending.outcome is Outcome.COMPLETED:
            ending = Ending(Outcome.ABANDONED, ending.reason)
        self._machine.leg_ended(ending)

    # -- AgentEvents -------------------------------------------------------------

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None:
        self._pump.agent_audio(response_id, item_id, content_index, audio)
        if self._answer_due_at is not None:
            self._expect_answer()

    def agent_audio_done(self, item_id: str) -> None:
        self._pump.agent_audio_done(item_id)

    def speech_started(self) -> None:
        self._answer_due_at = None
        if self._profile.interruptible and self._part_by is None:
            self._pump.interrupt()

    def speech_stopped(self) -> None:
        self.record.turns += 1
        self._pump.turn_ended()
        self._expect_answer()

    def response_started(self, response_id: str) -> None:
        self.record.responses += 1
        self._pump.response_started(response_id)
        if self._part_by is not None:
            self._goodbye_id = response_id
        self._expect_answer()

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        self._answer_due_at = None
        self.record.tokens.update(tokens)
        if status in ("failed", "incomplete"):
            self.record.failed_responses += 1
            self._log.warn(
                "the agent's response is {status}: {detail}",
                call_id=self.record.call_id,
                status=status,
                detail=detail,
            )
        self._pump.response_done(response_id)
        if self._part_by is not None and response_id == self._goodbye_id:
            self._machine.goodbye_said()

    def caller_said(self, text: str) -> None:
        self._transcribe("caller", text)

    def agent_said(self, item_id: str, text: str) -> None:
        self._transcribe("agent", text)

    def tool_called(self, call_id: str, name: str, arguments: str) -> None:
        # No tools are declared, so the model invented one; it must be told, or
        # it waits for ever.
        self._log.warn(
            "the agent called the unknown tool {tool}",
            call_id=self.record.call_id,
            tool=name,
        )
        if self._agent is not None:
            self._agent.tool_result(call_id, '{"error":"there is no such tool"}')

    def agent_active(self) -> None:
        if self._answer_due_at is not None:
            self._expect_answer()

    def agent_lost(self, reason: str) -> None:
        self._agent = None
        self._machine.agent_lost(Ending(Outcome.AGENT_LOST, reason))

    # -- CallEffects ---------------------------------------------------------------

    def join(self, agent: AgentSession) -> None:
        self._agent = agent
        self.record.answered_seconds = self._clock() - self._began
        self._log.info(
            "call.answered {call_id}",
            call_id=self.record.call_id,
            answered_seconds=round(self.record.answered_seconds, 3),
            agent_codec=agent.codec.name,
        )
        self._leg.answer()
        self._pump.start(agent)
        if self._profile.greeting:
            agent.say(
                "Greet the caller now, with these words and no others: "
                + self._profile.greeting
            )
            self._expect_answer()

    def say_goodbye(self, ending: Ending) -> None:
        self._ending = ending
        self._part_by = self._clock() + self._limits.goodbye_seconds
        assert self._agent is not None
        self._pump.interrupt()
        self._pump.mute_caller()
        self._agent.say(self._profile.goodbye)

    def play_out(self, ending: Ending | None) -> None:
        self._ending = ending or self._ending
        self._answer_due_at = None
        self._part_by = None
        self._close_agent()
        self._pump.detach_agent()
        now = self._clock()
        owed = self._pump.queued_seconds(now)
        slack = _PLAY_OUT_SLACK_SECONDS + 2 * self._leg.lag_seconds
        self._play_out_by = now + owed + slack

    def end(self, ending: Ending | None, *, hang_up_leg: bool) -> None:
        ending = ending or self._ending
        assert ending is not None
        record = self.record
        record.ending = ending
        record.duration_seconds = self._clock() - self._began
        self._metronome.remove(self._tick)
        self._pump.stop()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        self._close_agent()
        if hang_up_leg:
            self._leg.hang_up(ending)
        self._log.info(
            "call.ended {call_id} {outcome}: {reason}", **record.log_fields()
        )
        self._observer.call_ended(self)

    def discard(self, agent: AgentSession) -> None:
        agent.close()

    # -- inside ----------------------------------------------------------------------

    def _close_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()

    def _dial(self, agent: AgentSession, leg: OutboundLeg) -> Deferred[AgentSession]:
        """The agent waits while it rings."""
        self._agent = agent

        def answered(_: None) -> AgentSession:
            return agent

        return leg.dial().addCallback(answered)

    def _opening_failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        failure.trap(AgentUnavailable)
        self._machine.agent_lost(
            Ending(Outcome.AGENT_UNAVAILABLE, failure.getErrorMessage())
        )

    def _bug(self, failure: Failure) -> None:
        self._log.failure(
            "a bug ends call {call_id}", failure, call_id=self.record.call_id
        )
        self._machine.hang_up(Ending(Outcome.INTERNAL_ERROR, "internal error"))

    def _tick_failed(self, failure: Failure) -> None:
        self._machine.hang_up(Ending(Outcome.INTERNAL_ERROR, "internal error"))

    def _transcribe(self, speaker: str, text: str) -> None:
        self._log.debug(
            "{speaker} said: {text}",
            call_id=self.record.call_id,
            speaker=speaker,
            text=text,
        )

    def _expect_answer(self) -> None:
        self._answer_due_at = self._clock() + self._limits.agent_silence_seconds

    def _tick(self, now: float, due: int) -> None:
        self._pump.tick(now, due)
        if self._play_out_by is not None:
            if self._pump.is_drained(now) or now >= self._play_out_by:
                self._play_out_by = None
                self._machine.played_out()
        elif now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            self._check(now)

    def _check(self, now: float) -> None:
        limits = self._limits
        if self._part_by is not None:
            if now >= self._part_by:
                self._machine.goodbye_said()
        elif (
            # While it still rings there is nobody to hear.
            self.record.answered_seconds is not None
            and self._pump.idle_seconds(now) >= limits.idle_seconds
            # Carriers that send nothing in silence do so while they listen.
            and self._pump.is_drained(now)
        ):
            self._machine.hang_up(
                Ending(
                    Outcome.IDLE,
                    f"no audio from the caller for {limits.idle_seconds:g} s",
                )
            )
        elif now - self._began >= limits.max_call_seconds:
            self._machine.part(
                Ending(
                    Outcome.TIME_LIMIT,
                    f"the call reached its limit of {limits.max_call_seconds:g} s",
                )
            )
        elif self._answer_due_at is not None and now >= self._answer_due_at:
            self._close_agent()
            self.agent_lost(
                f"the agent sent nothing for {limits.agent_silence_seconds:g} s"
            )
