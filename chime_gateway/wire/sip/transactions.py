"""
SIP transactions, sans I/O (RFC 3261 section 17, corrected by RFC 6026): the common
parts, and the two state machines of received requests.

Each method of a machine reports an event, and returns a list of actions.  Timers are
actions, too: the code that runs the machine starts them, and reports when they fire.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol, TypeAlias

from attrs import define, field, frozen

from chime_gateway.wire.sip.format import host_port
from chime_gateway.wire.sip.message import MAGIC_COOKIE, Message, Request, Response

#: A received INVITE that is never answered is forgotten then; its call ends earlier.
UNANSWERED_SECONDS: Final = 240.0


@frozen(kw_only=True)
class Timers:
    """
    The base values (RFC 3261 table 4), in seconds.

    @ivar t1: estimate of a round trip.
    @ivar t2: longest interval between retransmissions.
    @ivar t4: maximum time that a message stays in the network.
    """

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def give_up(self) -> float:
        """64*T1: timers B, F, H, J, L and M."""
        return 64 * self.t1


@frozen
class Send:
    """Pass this message to the transport."""

    data: bytes


@frozen
class StartTimer:
    """Call C{timer_fired(name)} after that time; replaces a timer of that name."""

    name: str
    seconds: float


@frozen
class StopTimer:
    name: str


@frozen
class Deliver:
    """Pass this message to the transaction user."""

    message: Request | Response


@frozen
class Cancel:
    """Send a CANCEL of this INVITE; its answer is a transaction of its own."""


@frozen
class TimedOut:
    """Notify the transaction user that the peer did not answer."""


@frozen
class Terminated:
    """Forget the transaction."""


Output: TypeAlias = (
    Send | StartTimer | StopTimer | Deliver | Cancel | TimedOut | Terminated
)
Outputs: TypeAlias = list[Output]


class State(Enum):
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"  # RFC 6026
    TERMINATED = "terminated"


class Transaction(Protocol):
    """The common part of the four state machines."""

    state: State

    def timer_fired(self, name: str) -> Outputs: ...
    def transport_failed(self) -> Outputs: ...


class ServerTransaction(Transaction, Protocol):
    def start(self) -> Outputs: ...
    def request_received(self, request: Request) -> Outputs: ...
    def respond(self, status: int, data: bytes) -> Outputs: ...


class ClientTransaction(Transaction, Protocol):
    def start(self) -> Outputs: ...
    def response_received(self, response: Response) -> Outputs: ...


def server_key(request: Request) -> tuple[str, ...]:
    """
    Return the key of the server transaction that a request belongs to (RFC 3261 section
    17.2.3).

    An ACK has the key of its INVITE.  For a CANCEL, L{cancelled_key} returns the key of
    the INVITE.
    """
    method = "INVITE" if request.method == "ACK" else request.method
    return _server_key(request, method)


def cancelled_key(request: Request) -> tuple[str, ...]:
    """Return the key of the INVITE that a CANCEL refers to (RFC 3261 section 9.2)."""
    return _server_key(request, "INVITE")


def _server_key(request: Request, method: str) -> tuple[str, ...]:
    if request.branch.startswith(MAGIC_COOKIE) and request.branch != MAGIC_COOKIE:
        via = request.via
        sent_by = host_port(via.host.strip("[]").lower(), via.port or 0)
        return request.branch, sent_by, method
    # The rules for peers of RFC 2543.
    return (
        request.uri_text,
        request.from_tag,
        request.call_id,
        str(request.cseq),
        str(request.via),
        method,
    )


def client_key(message: Message) -> tuple[str, ...]:
    """Return the key of a response's client transaction (section 17.1.3)."""
    return message.branch, message.cseq_method


# -- server ------------------------------------------------------------------


@define
class InviteServer:
    """
    A received INVITE (figure 7 with RFC 6026 figure 5).

    The transaction user repeats a 2xx until its ACK comes, which is a transaction of
    its own.  All other final responses are repeated here.
    """

    timers: Timers
    is_reliable: bool
    state: State = State.PROCEEDING
    _last: bytes = field(init=False, default=b"")
    _interval: float = field(init=False, default=0.0)

    def start(self) -> Outputs:
        return [StartTimer("C", UNANSWERED_SECONDS)]

    def request_received(self, request: Request) -> Outputs:
        """The INVITE was received again, or the ACK of a refusal was received."""
        if request.method == "ACK":
            if self.state is not State.COMPLETED:
                return []
            self.state = State.CONFIRMED
            stop: Outputs = [StopTimer("G"), StopTimer("H")]
            if self.is_reliable:
                return stop + self._terminate()
            return [*stop, StartTimer("I", self.timers.t4)]
        if self.state in (State.PROCEEDING, State.COMPLETED) and self._last:
            return [Send(self._last)]
        return []

    def respond(self, status: int, data: bytes) -> Outputs:
        """Send a response of the transaction user, which may repeat a 2xx."""
        timers = self.timers
        if self.state is State.ACCEPTED:
            return [Send(data)] if 200 <= status < 300 else []
        if self.state is not State.PROCEEDING:
            return []
        if 200 <= status < 300:
            # The transaction user repeats it, so it is not kept here.
            self._last = b""
            self.state = State.ACCEPTED
            return [StopTimer("C"), Send(data), StartTimer("L", timers.give_up)]
        self._last = data
        if status < 200:
            return [Send(data)]
        self.state = State.COMPLETED
        outputs: Outputs = [
            *(StopTimer("C"), Send(data), StartTimer("H", timers.give_up))
        ]
        if not self.is_reliable:
            self._interval = timers.t1
            outputs.append(StartTimer("G", timers.t1))
        return outputs

    def timer_fired(self, name: str) -> Outputs:
        if name == "G" and self.state is State.COMPLETED:
            self._interval = min(2 * self._interval, self.timers.t2)
            return [Send(self._last), StartTimer("G", self._interval)]
        if name == "H" and self.state is State.COMPLETED:
            return [TimedOut(), *self._terminate()]
        expected = {
            State.PROCEEDING: "C",  # the transaction user never answered
            State.CONFIRMED: "I",
            State.ACCEPTED: "L",
        }
        return self._terminate() if expected.get(self.state) == name else []

    def transport_failed(self) -> Outputs:
        # RFC 6026 section 7.1: the transaction goes on; the request may come again.
        return []

    def _terminate(self) -> Outputs:
        self.state = State.TERMINATED
        return [Terminated()]


@define
class NonInviteServer:
    """Any other received request (figure 8)."""

    timers: Timers
    is_reliable: bool
    state: State = State.TRYING
    _last: bytes = field(init=False, default=b"")

    def start(self) -> Outputs:
        # RFC 4320 section 4.1: a later response would be useless.
        return [StartTimer("J", self.timers.give_up)]

    def request_received(self, request: Request) -> Outputs:
        """The request was received again."""
        if self.state in (State.PROCEEDING, State.COMPLETED):
            return [Send(self._last)]
        return []

    def respond(self, status: int, data: bytes) -> Outputs:
        if self.state not in (State.TRYING, State.PROCEEDING):
            return []
        self._last = data
        if status < 200:
            self.state = State.PROCEEDING
            return [Send(data)]
        self.state = State.COMPLETED
        if self.is_reliable:
            self.state = State.TERMINATED
            return [Send(data), Terminated()]
        return [Send(data), StartTimer("J", self.timers.give_up)]

    def timer_fired(self, name: str) -> Outputs:
        if name == "J" and self.state is not State.TERMINATED:
            self.state = State.TERMINATED
            return [Terminated()]
        return []

    def transport_failed(self) -> Outputs:
        self.state = State.TERMINATED
        return [TimedOut(), Terminated()]
