"""
The two state machines of sent requests (RFC 3261 section 17.1, RFC 6026), in the form
of L{chime_gateway.wire.sip.transactions}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from chime_gateway.wire.sip.message import Response
from chime_gateway.wire.sip.transactions import (
    Cancel,
    Deliver,
    Outputs,
    Send,
    StartTimer,
    State,
    StopTimer,
    Terminated,
    TimedOut,
    Timers,
)

#: Timer C of proxies is more than three minutes (section 16.6): an INVITE without a
#: further response for this long is cancelled.
PROCEEDING_SECONDS: Final = 180.0


@define
class InviteClient:
    """
    A sent INVITE (figure 5 with RFC 6026 figure 3).

    It always ends.  Without any response, timer B ends it.  After provisional responses
    and then nothing, timer C cancels it (section 16.8).  Without a response after the
    CANCEL, timer X ends it (section 9.1: after 64*T1).

    @ivar make_ack: makes the ACK of a refusal.  The transaction user sends that of a
        2xx.
    """

    timers: Timers
    is_reliable: bool
    request: bytes
    make_ack: Callable[[Response], bytes]
    state: State = State.CALLING
    _ack: bytes = field(init=False, default=b"")
    _interval: float = field(init=False, default=0.0)
    _is_unwanted: bool = field(init=False, default=False)
    _is_cancelled: bool = field(init=False, default=False)

    def start(self) -> Outputs:
        outputs: Outputs = [
            Send(self.request),
            StartTimer("B", self.timers.give_up),
        ]
        if not self.is_reliable:
            self._interval = self.timers.t1
            outputs.append(StartTimer("A", self._interval))
        return outputs

    def cancel(self) -> Outputs:
        """
        Cancel the INVITE.  The CANCEL waits for a provisional response (section 9.1).
        """
        self._is_unwanted = True
        return self._cancel() if self.state is State.PROCEEDING else []

    def response_received(self, response: Response) -> Outputs:
        if self.state in (State.CALLING, State.PROCEEDING):
            return self._first_final(response)
        if self.state is State.COMPLETED and response.status >= 300:
            return [Send(self._ack)]
        if self.state is State.ACCEPTED and 200 <= response.status < 300:
            # A retransmission, for which the ACK is repeated, or a 2xx of another fork.
            return [Deliver(response)]
        return []

    def _first_final(self, response: Response) -> Outputs:
        stop: Outputs = [StopTimer(name) for name in "ABCX"]
        if response.status < 200:
            return self._proceed(response)
        if response.status < 300:
            self.state = State.ACCEPTED
            timer = StartTimer("M", self.timers.give_up)
            return [*stop, timer, Deliver(response)]
        self.state = State.COMPLETED
        self._ack = self.make_ack(response)
        outputs: Outputs = [*stop, Send(self._ack), Deliver(response)]
        if self.is_reliable:
            self.state = State.TERMINATED
            return [*outputs, Terminated()]
        # At least 32 s, independent of T1 (section 17.1.1.2).
        return [*outputs, StartTimer("D", max(32.0, self.timers.give_up))]

    def _proceed(self, response: Response) -> Outputs:
        self.state = State.PROCEEDING
        outputs: Outputs = [StopTimer("A"), StopTimer("B")]
        if self._is_unwanted:
            outputs += self._cancel()
        elif not self._is_cancelled:
            outputs.append(StartTimer("C", PROCEEDING_SECONDS))
        return [*outputs, Deliver(response)]

    def _cancel(self) -> Outputs:
        if self._is_cancelled:
            return []
        self._is_cancelled = True
        return [StopTimer("C"), Cancel(), StartTimer("X", self.timers.give_up)]

    def timer_fired(self, name: str) -> Outputs:
        if name == "A" and self.state is State.CALLING:
            self._interval *= 2
            return [Send(self.request), StartTimer("A", self._interval)]
        if name == "C" and self.state is State.PROCEEDING:
            return self._cancel()
        if (name == "B" and self.state is State.CALLING) or (
            name == "X" and self.state is State.PROCEEDING
        ):
            return self._fail()
        if (name == "D" and self.state is State.COMPLETED) or (
            name == "M" and self.state is State.ACCEPTED
        ):
            self.state = State.TERMINATED
            return [Terminated()]
        return []

    def transport_failed(self) -> Outputs:
        if self.state in (State.CALLING, State.PROCEEDING):
            return self._fail()
        return []

    def _fail(self) -> Outputs:
        self.state = State.TERMINATED
        return [*(StopTimer(name) for name in "ABCX"), TimedOut(), Terminated()]


@define
class NonInviteClient:
    """Any other sent request (figure 6)."""

    timers: Timers
    is_reliable: bool
    request: bytes
    state: State = State.TRYING
    _interval: float = field(init=False, default=0.0)

    def start(self) -> Outputs:
        outputs: Outputs = [
            Send(self.request),
            StartTimer("F", self.timers.give_up),
        ]
        if not self.is_reliable:
            self._interval = self.timers.t1
            outputs.append(StartTimer("E", self._interval))
        return outputs

    def response_received(self, response: Response) -> Outputs:
        if self.state not in (State.TRYING, State.PROCEEDING):
            return []
        if response.status < 200:
            self.state = State.PROCEEDING
            return [Deliver(response)]
        self.state = State.COMPLETED
        outputs: Outputs = [StopTimer("E"), StopTimer("F"), Deliver(response)]
        if self.is_reliable:
            self.state = State.TERMINATED
            return [*outputs, Terminated()]
        return [*outputs, StartTimer("K", self.timers.t4)]

    def timer_fired(self, name: str) -> Outputs:
        if name == "E" and self.state in (State.TRYING, State.PROCEEDING):
            if self.state is State.PROCEEDING:
                self._interval = self.timers.t2
            else:
                self._interval = min(2 * self._interval, self.timers.t2)
            return [Send(self.request), StartTimer("E", self._interval)]
        if name == "F" and self.state in (State.TRYING, State.PROCEEDING):
            return self._fail()
        if name == "K" and self.state is State.COMPLETED:
            self.state = State.TERMINATED
            return [Terminated()]
        return []

    def transport_failed(self) -> Outputs:
        if self.state in (State.TRYING, State.PROCEEDING):
            return self._fail()
        return []

    def _fail(self) -> Outputs:
        self.state = State.TERMINATED
        return [StopTimer("E"), StopTimer("F"), TimedOut(), Terminated()]
