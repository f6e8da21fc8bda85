"""
SIP transactions as tables (RFC 3261 section 17, corrected by RFC 6026): their parts,
and the two state machines of received requests.

Each machine takes what happened and returns what is to be done: a list of values.
Timers are values, too: whoever runs the machine starts them and says when they fire.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol, TypeAlias

from attrs import define, field, frozen

from chime_gateway.wire.sip.format import host_port
from chime_gateway.wire.sip.message import MAGIC_COOKIE, Message, Request, Response

#: An INVITE that came in and is never answered is forgotten; its call ends before.
UNANSWERED_SECONDS: Final = 240.0


@frozen(kw_only=True)
class Timers:
    """
    The base values (RFC 3261 table 4), in seconds.

    @ivar t1: estimate of a round trip.
    @ivar t2: longest interval between retransmissions.
    @ivar t4: how long a message may stay in the network.
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
    """To the transport."""

    data: bytes


@frozen
class StartTimer:
    """Say C{timer_fired(name)} after so many seconds; replaces one so named."""

    name: str
    seconds: float


@frozen
class StopTimer:
    name: str


@frozen
class Deliver:
    """To the transaction user."""

    message: Request | Response


@frozen
class Cancel:
    """Send a CANCEL of this INVITE; its answer is a transaction of its own."""


@frozen
class TimedOut:
    """The other side did not answer: tell the transaction user."""


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
    """What the four have in common."""

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
    Which server transaction a request belongs to (RFC 3261 section 17.2.3).

    An ACK has the key of its INVITE; so has a CANCEL with L{cancelled_key}.
    """
    method = "INVITE" if request.method == "ACK" else request.method
    return _server_key(request, method)


def cancelled_key(request: Request) -> tuple[str, ...]:
    """The INVITE that a CANCEL means (RFC 3261 section 9.2)."""
    return _server_key(request, "INVITE")


def _server_key(request: Request, method: str) -> tuple[str, ...]:
    if request.branch.startswith(MAGIC_COOKIE) and request.branch != MAGIC_COOKIE:
        via = request.via
        sent_by = host_port(via.host.strip("[]").lower(), via.port or 0)
        return request.branch, sent_by, method
    # A peer of RFC 2543 time: the old rules.
    return (
        request.uri_text,
        request.from_tag,
        request.call_id,
        str(request.cseq),
        str(request.via),
        method,
    )


def client_key(message: Message) -> tuple[str, ...]:
    """Which client transaction a response belongs to (section 17.1.3)."""
    return message.branch, message.cseq_method


# -- server ------------------------------------------------------------------


@define
class InviteServer:
    """
    An INVITE that came in (figure 7 with RFC 6026 figure 5).

    2xx are repeated by the transaction user until the ACK, which is a
    transaction of its own; all other final answers are repeated here.
    """

    timers: Timers
    is_reliable: bool
    state: State = State.PROCEEDING
    _last: bytes = field(init=False, default=b"")
    _interval: float = field(init=False, default=0.0)

    def start(self) -> Outputs:
        return [StartTimer("C", UNANSWERED_SECONDS)]

    def request_received(self, request: Request) -> Outputs:
        """The same INVITE again, or the ACK of a refusal."""
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
        """The transaction user answers; a 2xx may be said again and again."""
        timers = self.timers
        if self.state is State.ACCEPTED:
            return [Send(data)] if 200 <= status < 300 else []
        if self.state is not State.PROCEEDING:
            return []
        if 200 <= status < 300:
            # Whoever answers says it again, so it is not kept here.
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
            State.PROCEEDING: "C",  # whoever had to answer never did
            State.CONFIRMED: "I",
            State.ACCEPTED: "L",
        }
        return self._terminate() if expected.get(self.state) == name else []

    def transport_failed(self) -> Outputs:
        # RFC 6026 section 7.1: not the end of it; the request may come again.
        return []

    def _terminate(self) -> Outputs:
        self.state = State.TERMINATED
        return [Terminated()]


@define
class NonInviteServer:
    """Any other request that came in (figure 8)."""

    timers: Timers
    is_reliable: bool
    state: State = State.TRYING
    _last: bytes = field(init=False, default=b"")

    def start(self) -> Outputs:
        # RFC 4320 section 4.1: an answer that is later is no use to anybody.
        return [StartTimer("J", self.timers.give_up)]

    def request_received(self, request: Request) -> Outputs:
        """The same request again."""
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
