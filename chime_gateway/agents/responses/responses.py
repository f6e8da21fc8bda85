"""
Schedules the responses of one session: asks for the next one when the last is done.

Only one response is spoken at a time.  What is to be said waits until that one is
done, and until the caller has finished; what failed is asked for again, and reported
if it fails for good.  The service's VAD asks for responses by itself, at the same
time: those that the gateway asked for are recognised by a name that the service
repeats.
"""

from __future__ import annotations

from typing import Final

from attrs import asdict
from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.commands import OVERDUE_SECONDS, Asked, Commands, Kind
from chime_gateway.agents.responses.failures import Failures
from chime_gateway.agents.responses.making import Making, Response
from chime_gateway.agents.responses.retries import Fault
from chime_gateway.agents.responses.wanted import (
    PLAIN_RESPONSE,
    AskedFor,
    Sort,
    Wanted,
    WantedQueue,
)
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.interfaces import SILENCE, AgentEvents
from chime_gateway.net.timer import Timer
from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.error_codes import CONTENT_FILTER
from chime_gateway.wire.realtime.events import (
    ResponseDone,
    ResponseStarted,
    ServiceError,
)

#: Who was second to a response that nobody told us of looks for its end.
_BLIND_PAUSE_SECONDS: Final = 1.5

#: The VAD's answer to a turn is created when the turn ends; if it has not come by now,
#: none is coming that ours could be in the way of.
VAD_SECONDS: Final = 1.0


class Responses:
    """
    @param clock: for what waits.
    @param is_interruptible: the agent is silent while the caller speaks.
    @param transport: told of each response that nobody wants to hear any more.
    @ivar making: those that are being made.
    """

    __slots__ = (
        *("_asked", "_clock", "_commands", "_events", "_is_caller_speaking"),
        *("_is_closed", "_is_interruptible", "_is_parting", "_is_vad_second"),
        *("_failures", "_queue", "_timer", "_transport", "_vad_by", "making"),
    )

    def __init__(
        self,
        commands: Commands,
        events: AgentEvents,
        clock: IReactorTime,
        transport: Transport,
        *,
        is_interruptible: bool,
    ) -> None:
        self._commands = commands
        self._transport = transport
        self._events = events
        self._clock = clock
        self._is_interruptible = is_interruptible
        self._queue = WantedQueue()
        self._asked = AskedFor()
        self.making = Making()
        self._failures = Failures(events, self._queue, clock)
        self._is_caller_speaking = False
        self._is_parting = False
        self._vad_by = 0.0
        self._is_vad_second = False
        self._is_closed = False
        self._timer = Timer(clock)

    # -- wanted ------------------------------------------------------------------

    def respond(self) -> None:
        """Speak to what the agent knows by now."""
        if not self._is_parting:
            self._queue.add_answer()
            self._go_on()

    def say(self, command: Command, *, is_last: bool) -> None:
        """Speak now, in place of the response in progress."""
        are_said = self._is_due or self.making.are_last_words()
        if self._is_parting and (are_said or not is_last):
            return
        if is_last:
            self._is_parting = True
            self._queue.clear()
        sort = Sort.LAST_WORDS if is_last else Sort.WORDS
        self._queue.add(self._queue.new(sort, command))
        for response in self.making.values():
            response.is_put_off = True
        self._silence_active()
        self._go_on()

    def interject(self, command: Command) -> None:
        """Speak now, if nothing else is said or queued."""
        if not self._queue and self._is_free(self._clock.seconds()):
            self._ask(self._queue.new(Sort.ASIDE, command))

    def cancel(self) -> None:
        """
        Neither the one that is being made nor the answer that waits: another is asked
        for soon.  Words that somebody chose are still to be said.
        """
        self._queue.drop_answer()
        for wanted in (self._asked.out, *(r.wanted for r in self.making.values())):
            if wanted is not None and wanted.sort is Sort.ANSWER:
                wanted.is_dropped = True
        self._silence_active()

    def _silence_active(self) -> None:
        for response_id, response in self.making.items():
            response.silence()
            self._cancel(response_id, response)

    def _cancel(self, response_id: str, response: Response) -> None:
        if not response.is_cancelled:
            response.is_cancelled = True
            if not self._transport.is_made(response_id):
                command = realtime_commands.cancel_response(response_id)
                self._commands.ask(Kind.CANCEL, command, response_id)
            self._transport.cancelled(response_id)

    def close(self) -> None:
        """Stop: nothing more is asked for."""
        self._is_closed = self._failures.is_closed = True
        self._queue.clear()
        self._timer.stop()

    # -- the caller ----------------------------------------------------------------

    def caller_began(self) -> None:
        """Whatever is being made the service stops by itself."""
        self._is_caller_speaking = True
        if self._is_interruptible and not self._is_parting:
            for response in self.making.values():
                response.silence()

    def caller_stopped(self) -> None:
        """The VAD asks for an answer now, unless there is a response in its way."""
        self._is_caller_speaking = False
        self._vad_by = self._clock.seconds() + VAD_SECONDS
        self._is_vad_second = bool(self.making)
        if self._is_vad_second and not self._is_parting:
            self._queue.add_answer()
        self._go_on()

    # -- asking ----------------------------------------------------------------------

    def _go_on(self) -> None:
        """Ask for what is queued, if nothing is in its way."""
        self._timer.stop()
        now = self._clock.seconds()
        if not self._is_free(now):
            return
        wanted = self._queue.take_due(now)
        if wanted is not None:
            self._ask(wanted)
        elif (at := self._queue.next_at()) is not None:
            self._wait_until(at)

    def _is_free(self, now: float) -> bool:
        """Whether something may be asked for; if not, it is known until when."""
        if self._is_closed or self.making:
            return False
        if self._commands.is_waiting(Kind.RESPONSE):
            doubted = self._asked.take_doubted(now)
            if doubted is None:
                # It looks again when that is overdue.
                self._wait_until(self._asked.doubted_until or now + OVERDUE_SECONDS)
                return False
            self._commands.answer(Kind.RESPONSE, doubted.name)
            if not doubted.is_moot:
                self._queue.put_back(doubted)
            return self._is_free(now)
        overdue, self._asked.out = self._asked.out, None
        if overdue is not None and not overdue.is_moot:
            fault = Fault("unanswered", "no answer to response.create")
            self._failures.report(self._failures.gave_up(overdue, fault))
            return self._is_free(now)
        if self._is_parting:
            return True
        if self._is_caller_speaking and self._is_interruptible:
            return False
        if now < self._vad_by and self._queue:
            self._wait_until(self._vad_by)
            return False
        return True

    def _ask(self, wanted: Wanted) -> None:
        command = self._asked.ask(wanted)
        self._commands.ask(Kind.RESPONSE, command, wanted.name)
        self._wait_until(self._clock.seconds() + OVERDUE_SECONDS)

    def _wait_until(self, at: float) -> None:
        if not self._is_closed:  # the socket may break as it is written to
            self._timer.start(max(0.0, at - self._clock.seconds()), self._go_on)

    # -- refused by the service --------------------------------------------------------

    def was_second(self, asked: Asked | None) -> None:
        """
        Another response is being made, most often the VAD's; ours follows when that
        one is done.

        @param asked: C{None}: the service does not say which command was second.
        """
        if asked is None and self._is_vad_second:
            # It was the VAD's, if ours begins all the same.
            self._is_vad_second = False
            self._asked.doubt(self._clock.seconds() + _BLIND_PAUSE_SECONDS)
            self._go_on()
            return
        wanted = self._take_out(asked) or self._take_mistaken(asked)
        if wanted is not None and not wanted.is_moot:
            wanted.times_second += 1
            if wanted.is_hopeless:
                fault = Fault("busy", "always second")
                self._failures.report(self._failures.gave_up(wanted, fault))
            elif wanted.times_second == 1 or not self.making.is_making(wanted):
                # If we know of no other, it is one that nobody told us of.
                pause = 0.0 if self.making else _BLIND_PAUSE_SECONDS
                self._queue.put_back(wanted, self._clock.seconds() + pause)
        self._go_on()

    def way_is_free(self) -> None:
        """A response beside the conversation is done, which may have been first."""
        self._queue.hurry()
        self._go_on()

    def was_refused(self, asked: Asked | None, error: ServiceError) -> None:
        """
        One that was asked for will not be made.

        @param asked: C{None}: the service does not say what it refuses.
        """
        if "metadata" in f"{error.param} {error.message}":
            self._asked.gives_names = False
        wanted = self._take_out(asked)
        if wanted is None and asked is not None:
            wanted = self._take_mistaken(asked)
        elif wanted is None and error.cause and self._is_vad_awaited:
            # It has failed before it began, as it seems.
            self._vad_by = 0.0
            wanted = self._queue.new(Sort.ANSWER, PLAIN_RESPONSE)
        if wanted is not None:
            reason = f"{error.code}: {error.message}"
            fault = Fault(error.cause or "refused", reason, error.retry_seconds)
            self._failures.report(self._failures.came_to_nothing(wanted, fault))
        self._go_on()

    @property
    def _is_vad_awaited(self) -> bool:
        is_turn = not (self.making or self._is_caller_speaking or self._is_parting)
        return is_turn and self._clock.seconds() < self._vad_by

    def _take_out(self, asked: Asked | None) -> Wanted | None:
        if asked is None:
            asked = self._commands.answer(Kind.RESPONSE)
        return None if asked is None else self._asked.refused(asked.about)

    def _take_mistaken(self, asked: Asked | None) -> Wanted | None:
        wanted = self._asked.mistaken(None if asked is None else asked.about)
        for response_id, response in self.making.items():
            if wanted is not None and response.wanted is wanted:
                response.wanted = None
                self._queue.drop_answer(response.knows_until)
                if self._is_parting:
                    response.is_unheard = True
                    self._cancel(response_id, response)
        return wanted

    # -- told by the service -------------------------------------------------------

    def started(self, event: ResponseStarted) -> None:
        self._timer.stop()
        wanted = self._asked.made(event.asked_as)
        if wanted is not None:
            self._queue.discard(wanted)
            self._commands.answer(Kind.RESPONSE, wanted.name)
        response = Response(wanted)
        self.making.begin(event.response_id, response)
        if not self._commands.is_waiting(Kind.ITEM):
            # It knows all that the agent was given.
            response.knows_until = self._queue.count
        if wanted is None or wanted.sort is Sort.ANSWER:
            self._queue.drop_answer(response.knows_until, wanted)
        self._vad_by, self._is_vad_second = 0.0, False
        if wanted is not None and wanted.is_last:
            self._events.last_words_start(event.response_id)
        elif wanted is not None and wanted.sort is Sort.WORDS:
            self._events.words_start(event.response_id)
        self._events.response_started(event.response_id)
        if self._is_unwelcome(wanted):
            response.is_unheard = True
            self._cancel(event.response_id, response)

    def _is_unwelcome(self, wanted: Wanted | None) -> bool:
        if wanted is not None and (wanted.is_last or wanted.is_dropped):
            return wanted.is_dropped
        if self._is_parting:
            # It would be in the way of the last words; or it is them, late, from a
            # service that does not say so.
            return self._is_due or self._asked.repeats_names
        return self._is_caller_speaking and self._is_interruptible

    @property
    def _is_due(self) -> bool:
        return self._asked.out is not None or len(self._queue) > 0

    def unheard(self, item_id: str, content_index: int) -> None:
        """It was cut before anything of it was heard."""
        response = self.making.unheard(item_id, content_index)
        if response is None or self._is_closed:
            return
        if response not in self.making:
            response.is_put_off = True
            self._was_stopped(response)
            # Whoever has cut it has more to say first.
            self._wait_until(self._clock.seconds())

    def done(self, event: ResponseDone) -> None:
        response = self.making.end(event.response_id)
        if event.status == "cancelled":
            self._commands.answer(Kind.CANCEL, event.response_id)
        status, fault = event.status, None
        if response is not None:
            status = response.became(event.status)
            fault = self._judge(response, event)
        tokens = asdict(event.usage)
        self._events.response_done(event.response_id, status, event.detail, tokens)
        self._failures.report(fault)
        self._go_on()

    def _judge(self, response: Response, event: ResponseDone) -> Fault | None:
        """
        Whether what was wanted has been said.

        @return: what is to be reported.
        """
        wanted = response.wanted
        if response.is_unheard or response.is_cancelled:
            is_wanted = wanted is not None and (wanted.is_last or not self._is_parting)
            if not (is_wanted and response.was_in_vain(event.status)):
                if not response.has_begun:
                    self._was_stopped(response)
                return None
        is_cut = event.status == "failed" or event.cause == CONTENT_FILTER
        if response.has_called or (response.has_begun and not is_cut):
            self._failures.went_well()
            return None
        for item_id in response.written:
            # Nobody has heard it: an agent that thinks so would say something else.
            command = realtime_commands.delete_item(item_id)
            self._commands.ask(Kind.DELETE, command, item_id)
        if wanted is None and self._is_parting:
            return None
        cause = "empty" if event.status == "completed" else event.status
        if response.is_silence(event.status):
            cause = SILENCE
        return self._failures.came_to_nothing(
            wanted or self._queue.new(Sort.ANSWER, PLAIN_RESPONSE),
            Fault(event.cause or cause, event.detail, event.retry_seconds),
        )

    def _was_stopped(self, response: Response) -> None:
        """Nothing of it was heard, whatever the agent thinks that it has said."""
        if not self._transport.traits.cuts_itself:
            for item_id, content_index in response.dropped:
                command = realtime_commands.truncate_item(item_id, content_index, 0)
                self._commands.ask(Kind.TRUNCATE, command, item_id)
        wanted = response.wanted
        if wanted is not None and wanted.is_last:
            self._queue.put_back(wanted)
        elif self._is_parting:
            return
        elif wanted is not None and not wanted.is_moot:
            self._queue.put_back(wanted)
        elif wanted is None and response.is_put_off:
            self._queue.add_answer()
