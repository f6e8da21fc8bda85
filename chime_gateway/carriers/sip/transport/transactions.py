"""
The transactions in progress: assigns messages to them, and runs their timers.

L{chime_gateway.wire.sip.transactions} has the rules; here they get a clock and a
transport.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.places import (
    IN_ALL,
    OF_ONE_SOURCE,
    Bound,
    Key,
    Places,
)
from chime_gateway.carriers.sip.transport.runner import Runner
from chime_gateway.net.strangers.connections import place_of
from chime_gateway.wire.sip.client_transactions import InviteClient, NonInviteClient
from chime_gateway.wire.sip.format import format_response
from chime_gateway.wire.sip.message import (
    DEFAULT_PORT,
    DEFAULT_TLS_PORT,
    Header,
    Request,
    Response,
    Source,
    parameter,
)
from chime_gateway.wire.sip.transactions import (
    ClientTransaction,
    InviteServer,
    NonInviteServer,
    ServerTransaction,
    State,
    Timers,
    cancelled_key,
    client_key,
    server_key,
)

Reply: TypeAlias = Callable[[bytes, Flow, int], None]


#: They have their answer, and only take in what comes again.  A 2xx to INVITE is one
#: once it has been acknowledged.
_FINISHED: Final = (State.COMPLETED, State.CONFIRMED, State.TERMINATED)


def _ignore() -> None:
    """There is nobody to tell."""


@frozen
class InviteParts:
    """
    @ivar make_ack: makes the ACK of a refusal.
    @ivar make_cancel: makes the CANCEL, which has the branch of the INVITE.
    """

    make_ack: Callable[[Response], bytes]
    make_cancel: Callable[[], bytes]


class Incoming:
    """
    A request that wants an answer.

    @ivar request: until its answer has been L{acknowledged}, or is L{settled}.
    @ivar cancelled: called when the other side takes an INVITE back.  It lives
        as long as the transaction, so L{forget} it with the call.
    """

    def __init__(
        self,
        request: Request,
        flow: Flow,
        machine: ServerTransaction,
        places: Places,
        key: Key,
    ) -> None:
        self.request = request
        self.cancelled: Callable[[], None] = _ignore
        self.flow = flow
        self._machine = machine
        self._is_settled = False
        self._runner: Runner
        self._places = places
        self._key = key

    def respond(
        self,
        status: int,
        *,
        to_tag: str = "",
        phrase: str = "",
        extra: tuple[Header, ...] = (),
        body: bytes = b"",
    ) -> None:
        """Once final, answers that follow are not sent; but a 2xx to INVITE may be
        said again."""
        if self._machine.state in _FINISHED:
            return
        data = format_response(
            self.request.headers,
            status,
            to_tag=to_tag,
            phrase=phrase,
            extra=extra,
            body=body,
        )
        self._runner.perform(self._machine.respond, status, data)
        if self._machine.state in _FINISHED:
            self._places.finish(self._key, len(data))
            if self._is_settled:
                del self.request

    @property
    def is_accepted(self) -> bool:
        """Whether an INVITE has its 2xx."""
        return self._machine.state is State.ACCEPTED

    def forget(self) -> None:
        """Nobody wants to know of it any more."""
        self.cancelled = _ignore

    def acknowledged(self) -> None:
        """
        The ACK of its 2xx is here, so nothing is answered to it any more.  The
        transaction stays for a while, and takes in what comes again (RFC 6026); what
        was said does not.
        """
        self.forget()
        del self.request
        self._places.finish(self._key, 0)

    def settled(self) -> None:
        """Whoever it is for has seen it; once it has its answer, it is let go."""
        self._is_settled = True
        if self._machine.state in _FINISHED:
            del self.request


class Transactions:
    """
    @param reply: sends a response: bytes, flow, port of the Via.
    @param bounds: of server transactions: of one source, and in all.
    """

    def __init__(
        self,
        clock: IReactorTime,
        timers: Timers,
        reply: Reply,
        bounds: tuple[Bound, Bound] = (OF_ONE_SOURCE, IN_ALL),
    ) -> None:
        self.timers = timers
        self._clock = clock
        self._reply = reply
        self._servers: dict[Key, tuple[Incoming, Runner]] = {}
        self.places = Places(self._evict, *bounds)
        self._merged: dict[Key, Key] = {}
        self._clients: dict[Key, Runner] = {}

    @property
    def count(self) -> int:
        return len(self._servers) + len(self._clients)

    # -- server ------------------------------------------------------------------

    def receive(self, request: Request, flow: Flow) -> Incoming | None:
        """
        A request came.

        @return: C{None}: it belongs to a transaction, which saw to it, or there is no
            room for one.
        """
        key = server_key(request)
        known = self._servers.get(key)
        if known is not None:
            incoming, runner = known
            runner.perform(incoming._machine.request_received, request)
            return None
        if not self.places.take(key, place_of(flow.source.host)):
            self._refuse(request, flow)
            return None
        try:
            return self._new(request, flow, key)
        except Exception:
            # Out of memory it has not begun.
            self.places.left(key)
            raise

    def absorbs_ack(self, request: Request) -> bool:
        """Whether an ACK belongs to a refusal."""
        known = self._servers.get(server_key(request))
        if known is None:
            return False
        incoming, runner = known
        is_refused = incoming._machine.state is not State.ACCEPTED
        runner.perform(incoming._machine.request_received, request)
        return is_refused

    def has(self, request: Request) -> bool:
        """Whether it belongs to a transaction that is there; a CANCEL: its INVITE."""
        if server_key(request) in self._servers:
            return True
        is_cancel = request.method == "CANCEL"
        return is_cancel and cancelled_key(request) in self._servers

    def has_another_of(self, request: Request) -> bool:
        """Whether the same has come by another way."""
        return merge_key(request) in self._merged

    def keys(self) -> tuple[Collection[Key], Collection[Key]]:
        """Of the server transactions, and of what they are by whichever way."""
        return self._servers.keys(), self._merged.keys()

    def is_merged(self, request: Request) -> bool:
        """
        The same request came by another way already (RFC 3261 section 8.2.2.2).
        """
        first = self._merged.get(merge_key(request))
        return first is not None and first != server_key(request)

    def cancelled(self, request: Request) -> Incoming | None:
        """The INVITE that a CANCEL means."""
        known = self._servers.get(cancelled_key(request))
        return None if known is None else known[0]

    def _refuse(self, request: Request, flow: Flow) -> None:
        """Without a transaction, so the same tag each time (section 8.2.7)."""
        extra = (("Retry-After", "1"),)
        answer = format_response(request.headers, 503, to_tag="full", extra=extra)
        self._way_back(request, flow)(answer)

    def _way_back(self, request: Request, flow: Flow) -> Callable[[bytes], None]:
        via = request.via
        default = DEFAULT_TLS_PORT if flow.transport == "tls" else DEFAULT_PORT
        via_port = via.port or default
        way = flow
        if not flow.is_reliable and parameter(via, "rport") is None:
            # Who did not ask for symmetric answers listens where its Via says
            # (RFC 3261 section 18.2.2, RFC 3581).
            way = Flow(flow.transport, Source(flow.source.host, via_port))

        def send(data: bytes) -> None:
            self._reply(data, way, via_port)

        return send

    def _new(self, request: Request, flow: Flow, key: Key) -> Incoming:
        make = InviteServer if request.method == "INVITE" else NonInviteServer
        machine: ServerTransaction = make(self.timers, flow.is_reliable)
        incoming = Incoming(request, flow, machine, self.places, key)
        send = self._way_back(request, flow)
        merged = merge_key(request)

        def forget() -> None:
            self._servers.pop(key, None)
            self.places.left(key)
            if self._merged.get(merged) == key:
                del self._merged[merged]

        incoming._runner = Runner(
            self._clock, machine, send, _not_delivered, _ignore, forget
        )
        # Without its timer it would never be forgotten.
        incoming._runner.perform(machine.start)
        self._servers[key] = (incoming, incoming._runner)
        self._merged.setdefault(merged, key)
        return incoming

    def _evict(self, key: Key) -> None:
        """The oldest of those that have their answer makes room."""
        self._servers[key][1].end()

    # -- client ------------------------------------------------------------------

    def start(
        self,
        data: bytes,
        branch: str,
        method: str,
        *,
        is_reliable: bool,
        send: Callable[[bytes], None],
        answered: Callable[[Response], None],
        timed_out: Callable[[], None],
        invite: InviteParts | None = None,
    ) -> Runner:
        """
        Send a request and wait for its answers.

        @param invite: for an INVITE: what else may have to be said in it.
        """
        machine: ClientTransaction
        send_cancel = _ignore
        if invite is not None:
            machine = InviteClient(self.timers, is_reliable, data, invite.make_ack)
            make_cancel = invite.make_cancel

            def send_cancel() -> None:
                self.start(
                    make_cancel(),
                    branch,
                    "CANCEL",
                    is_reliable=is_reliable,
                    send=send,
                    answered=lambda _: None,
                    timed_out=_ignore,
                )

        else:
            machine = NonInviteClient(self.timers, is_reliable, data)
        key = (branch, method)

        def forget() -> None:
            self._clients.pop(key, None)

        runner = Runner(
            *(self._clock, machine, send, answered, timed_out, forget, send_cancel)
        )
        self._clients[key] = runner
        try:
            runner.perform(machine.start)
        except Exception:
            # It may not even have begun.
            forget()
            raise
        return runner

    def awaits(self, response: Response) -> bool:
        """Whether it is the answer to a request that is under way."""
        return client_key(response) in self._clients

    def response_received(self, response: Response) -> bool:
        """Whether it was expected."""
        runner = self._clients.get(client_key(response))
        if runner is None:
            return False
        machine = runner.machine
        assert isinstance(machine, InviteClient | NonInviteClient)
        runner.perform(machine.response_received, response)
        return True

    def stop(self) -> None:
        """Forget all, without a word."""
        for _, runner in self._servers.values():
            runner.stop()
        for runner in self._clients.values():
            runner.stop()
        self._servers.clear()
        self.places.clear()
        self._merged.clear()
        self._clients.clear()


def merge_key(request: Request) -> Key:
    """What a request has by whichever way it comes (RFC 3261 section 8.2.2.2)."""
    return request.call_id, request.from_tag, str(request.cseq), request.method


def _not_delivered(_: Response) -> None:
    raise AssertionError("a server transaction has no responses")
