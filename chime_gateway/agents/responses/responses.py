"""
Schedules the responses of one session: requests the next one when the last is done.

Only one response is spoken at a time.  A request waits until the current response is
done and the caller has finished speaking.  A failed response is requested again, and
reported if it fails for good.  The service's VAD requests responses as well; those that
the gateway requested are recognised by a name that the service repeats.
"""

from __future__ import annotations

from typing import Final

from attrs import asdict
from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.commands import OVERDUE_SECONDS, Commands, Kind, SentCommand
from chime_gateway.agents.responses.active_responses import ActiveResponses, Response
from chime_gateway.agents.responses.failures import Failures
from chime_gateway.agents.responses.request_queue import (
    PLAIN_RESPONSE,
    RequestQueue,
    ResponseRequest,
    SentRequests,
    Sort,
)
from chime_gateway.agents.responses.retries import Fault
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

#: The pause before a request is repeated that was blocked by an unknown response.
_BLIND_PAUSE_SECONDS: Final = 1.5

#: The VAD requests its answer when a turn ends.  After this time it will not any more,
#: so a request of the gateway cannot block it.
VAD_SECONDS: Final = 1.0


class Responses:
    """
    The responses of one session.

    @param clock: for pauses and time limits.
    @param is_interruptible: the agent is silent while the caller speaks.
    @param transport: notified of each response that is cancelled.
    @ivar active: the responses in progress.
    """

    __slots__ = (
        *("_clock", "_commands", "_events", "_failures", "_is_caller_speaking"),
        *("_is_closed", "_is_interruptible", "_is_parting", "_is_vad_blocked"),
        *("_queue", "_sent", "_timer", "_transport", "_vad_by", "active"),
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
        self._queue = RequestQueue()
        self._sent = SentRequests()
        self.active = ActiveResponses()
        self._failures = Failures(events, self._queue, clock)
        self._is_caller_speaking = False
        self._is_parting = False
        self._vad_by = 0.0
        self._is_vad_blocked = False
        self._is_closed = False
        self._timer = Timer(clock)

    # -- requests ----------------------------------------------------------------

    def respond(self) -> None:
        """Answer what the agent knows by now."""
        if not self._is_parting:
            self._queue.add_answer()
            self._go_on()

    def say(self, command: Command, *, is_last: bool) -> None:
        """Speak now, in place of the response in progress."""
        are_said = self._is_due or self.active.are_last_words()
        if self._is_parting and (are_said or not is_last):
            return
        if is_last:
            self._is_parting = True
            self._queue.clear()
        sort = Sort.LAST_WORDS if is_last else Sort.WORDS
        self._queue.add(self._queue.new(sort, command))
        for response in self.active.values():
            response.is_postponed = True
        self._silence_active()
        self._go_on()

    def interject(self, command: Command) -> None:
        """Speak now, if nothing else is said or queued."""
        if not self._queue and self._is_free(self._clock.seconds()):
            self._ask(self._queue.new(Sort.ASIDE, command))

    def cancel(self) -> None:
        """
        Cancel the response in progress and a waiting request for an answer, as another
        answer is requested soon.  Prescribed words are still said.
        """
        self._queue.drop_answer()
        for request in (self._sent.out, *(r.request for r in self.active.values())):
            if request is not None and request.sort is Sort.ANSWER:
                request.is_dropped = True
        self._silence_active()

    def _silence_active(self) -> None:
        for response_id, response in self.active.items():
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
        """Stop: request nothing more."""
        self._is_closed = self._failures.is_closed = True
        self._queue.clear()
        self._timer.stop()

    # -- the caller ----------------------------------------------------------------

    def caller_began(self) -> None:
        """The caller speaks; the service stops its responses itself."""
        self._is_caller_speaking = True
        if self._is_interruptible and not self._is_parting:
            for response in self.active.values():
                response.silence()

    def caller_stopped(self) -> None:
        """The VAD requests an answer now, unless a response in progress blocks it."""
        self._is_caller_speaking = False
        self._vad_by = self._clock.seconds() + VAD_SECONDS
        self._is_vad_blocked = bool(self.active)
        if self._is_vad_blocked and not self._is_parting:
            self._queue.add_answer()
        self._go_on()

    # -- sending ---------------------------------------------------------------------

    def _go_on(self) -> None:
        """Send the next queued request, if nothing blocks it."""
        self._timer.stop()
        now = self._clock.seconds()
        if not self._is_free(now):
            return
        request = self._queue.take_due(now)
        if request is not None:
            self._ask(request)
        elif (at := self._queue.next_at()) is not None:
            self._wait_until(at)

    def _is_free(self, now: float) -> bool:
        """Return whether a request may be sent now; if not, try again when it may."""
        if self._is_closed or self.active:
            return False
        if self._commands.is_waiting(Kind.RESPONSE):
            doubted = self._sent.take_doubted(now)
            if doubted is None:
                # Try again when the answer is overdue.
                self._wait_until(self._sent.doubted_until or now + OVERDUE_SECONDS)
                return False
            self._commands.answer(Kind.RESPONSE, doubted.name)
            if not doubted.is_moot:
                self._queue.put_back(doubted)
            return self._is_free(now)
        overdue, self._sent.out = self._sent.out, None
        if overdue is not None and not overdue.is_moot:
            fault = Fault("unanswered", "no answer to response.create")
            self._failures.report(self._failures.give_up(overdue, fault))
            return self._is_free(now)
        if self._is_parting:
            return True
        if self._is_caller_speaking and self._is_interruptible:
            return False
        if now < self._vad_by and self._queue:
            self._wait_until(self._vad_by)
            return False
        return True

    def _ask(self, request: ResponseRequest) -> None:
        command = self._sent.ask(request)
        self._commands.ask(Kind.RESPONSE, command, request.name)
        self._wait_until(self._clock.seconds() + OVERDUE_SECONDS)

    def _wait_until(self, at: float) -> None:
        if not self._is_closed:  # sending may have broken the connection
            self._timer.start(max(0.0, at - self._clock.seconds()), self._go_on)

    # -- refused by the service --------------------------------------------------------

    def was_blocked(self, sent: SentCommand | None) -> None:
        """
        A request was refused because another response, usually the VAD's, is in
        progress; it is repeated when that one is done.

        @param sent: C{None}: the service does not say which command was refused.
        """
        if sent is None and self._is_vad_blocked:
            # If the gateway's response begins all the same, the VAD's was refused.
            self._is_vad_blocked = False
            self._sent.doubt(self._clock.seconds() + _BLIND_PAUSE_SECONDS)
            self._go_on()
            return
        request = self._take_out(sent) or self._take_mistaken(sent)
        if request is not None and not request.is_moot:
            request.times_blocked += 1
            if request.is_hopeless:
                fault = Fault("busy", "another response was always in progress")
                self._failures.report(self._failures.give_up(request, fault))
            elif request.times_blocked == 1 or not self.active.is_answering(request):
                # Without a known response, one is in progress that was not reported.
                pause = 0.0 if self.active else _BLIND_PAUSE_SECONDS
                self._queue.put_back(request, self._clock.seconds() + pause)
        self._go_on()

    def response_may_follow(self) -> None:
        """A response outside the conversation is done; it may have blocked others."""
        self._queue.hurry()
        self._go_on()

    def was_refused(self, sent: SentCommand | None, error: ServiceError) -> None:
        """
        A request was refused.

        @param sent: C{None}: the service does not say which command it refuses.
        """
        if "metadata" in f"{error.param} {error.message}":
            self._sent.gives_names = False
        request = self._take_out(sent)
        if request is None and sent is not None:
            request = self._take_mistaken(sent)
        elif request is None and error.cause and self._is_vad_awaited:
            # The VAD's response seems to have failed before it began.
            self._vad_by = 0.0
            request = self._queue.new(Sort.ANSWER, PLAIN_RESPONSE)
        if request is not None:
            reason = f"{error.code}: {error.message}"
            fault = Fault(error.cause or "refused", reason, error.retry_seconds)
            self._failures.report(self._failures.failed(request, fault))
        self._go_on()

    @property
    def _is_vad_awaited(self) -> bool:
        is_turn = not (self.active or self._is_caller_speaking or self._is_parting)
        return is_turn and self._clock.seconds() < self._vad_by

    def _take_out(self, sent: SentCommand | None) -> ResponseRequest | None:
        if sent is None:
            sent = self._commands.answer(Kind.RESPONSE)
        return None if sent is None else self._sent.refused(sent.about)

    def _take_mistaken(self, sent: SentCommand | None) -> ResponseRequest | None:
        request = self._sent.mistaken(None if sent is None else sent.about)
        for response_id, response in self.active.items():
            if request is not None and response.request is request:
                response.request = None
                self._queue.drop_answer(response.knows_until)
                if self._is_parting:
                    response.is_unheard = True
                    self._cancel(response_id, response)
        return request

    # -- reports of the service ----------------------------------------------------

    def started(self, event: ResponseStarted) -> None:
        self._timer.stop()
        request = self._sent.made(event.asked_as)
        if request is not None:
            self._queue.discard(request)
            self._commands.answer(Kind.RESPONSE, request.name)
        response = Response(request)
        self.active.begin(event.response_id, response)
        if not self._commands.is_waiting(Kind.ITEM):
            # It knows everything that the agent was given.
            response.knows_until = self._queue.count
        if request is None or request.sort is Sort.ANSWER:
            self._queue.drop_answer(response.knows_until, request)
        self._vad_by, self._is_vad_blocked = 0.0, False
        if request is not None and request.is_last:
            self._events.last_words_start(event.response_id)
        elif request is not None and request.sort is Sort.WORDS:
            self._events.words_start(event.response_id)
        self._events.response_started(event.response_id)
        if self._is_unwelcome(request):
            response.is_unheard = True
            self._cancel(event.response_id, response)

    def _is_unwelcome(self, request: ResponseRequest | None) -> bool:
        if request is not None and (request.is_last or request.is_dropped):
            return request.is_dropped
        if self._is_parting:
            # It would block the last words.  Or it is the last words, late, from a
            # service that does not repeat names.
            return self._is_due or self._sent.repeats_names
        return self._is_caller_speaking and self._is_interruptible

    @property
    def _is_due(self) -> bool:
        return self._sent.out is not None or len(self._queue) > 0

    def unheard(self, item_id: str, content_index: int) -> None:
        """Audio was cut before any of it was heard."""
        response = self.active.unheard(item_id, content_index)
        if response is None or self._is_closed:
            return
        if response not in self.active:
            response.is_postponed = True
            self._stopped_unheard(response)
            # What cut it may have its own request, which comes first.
            self._wait_until(self._clock.seconds())

    def done(self, event: ResponseDone) -> None:
        response = self.active.end(event.response_id)
        if event.status == "cancelled":
            self._commands.answer(Kind.CANCEL, event.response_id)
        status, fault = event.status, None
        if response is not None:
            status = response.final_status(event.status)
            fault = self._judge(response, event)
        tokens = asdict(event.usage)
        self._events.response_done(event.response_id, status, event.detail, tokens)
        self._failures.report(fault)
        self._go_on()

    def _judge(self, response: Response, event: ResponseDone) -> Fault | None:
        """
        Decide whether the request was fulfilled.

        @return: the fault to report, if any.
        """
        request = response.request
        if response.is_unheard or response.is_cancelled:
            is_wanted = request is not None and (
                request.is_last or not self._is_parting
            )
            if not (is_wanted and response.had_failed(event.status)):
                if not response.has_begun:
                    self._stopped_unheard(response)
                return None
        is_cut = event.status == "failed" or event.cause == CONTENT_FILTER
        if response.has_called or (response.has_begun and not is_cut):
            self._failures.succeeded()
            return None
        for item_id in response.written:
            # The caller has not heard it, so the agent must not believe it was said.
            command = realtime_commands.delete_item(item_id)
            self._commands.ask(Kind.DELETE, command, item_id)
        if request is None and self._is_parting:
            return None
        cause = "empty" if event.status == "completed" else event.status
        if response.is_silence(event.status):
            cause = SILENCE
        return self._failures.failed(
            request or self._queue.new(Sort.ANSWER, PLAIN_RESPONSE),
            Fault(event.cause or cause, event.detail, event.retry_seconds),
        )

    def _stopped_unheard(self, response: Response) -> None:
        """A response was stopped before any of it was heard; tell the agent so."""
        if not self._transport.traits.cuts_itself:
            for item_id, content_index in response.dropped:
                command = realtime_commands.truncate_item(item_id, content_index, 0)
                self._commands.ask(Kind.TRUNCATE, command, item_id)
        request = response.request
        if request is not None and request.is_last:
            self._queue.put_back(request)
        elif self._is_parting:
            return
        elif request is not None and not request.is_moot:
            self._queue.put_back(request)
        elif request is None and response.is_postponed:
            self._queue.add_answer()
