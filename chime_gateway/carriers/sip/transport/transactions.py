"""
The transactions in progress: assigns messages to them, and runs their timers.

L{chime_gateway.wire.sip.transactions} has the rules.  Here they get a clock and a
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


#: The states of transactions that have their answer and only absorb repetitions.  An
#: INVITE with a 2xx is finished when the ACK has come.
_FINISHED: Final = (State.COMPLETED, State.CONFIRMED, State.TERMINATED)


def _ignore() -> None:
    """The default of a callback that is not set."""


@frozen
class InviteParts:
    """
    Makes the other messages of an INVITE transaction.

    @ivar make_ack: makes the ACK of a refusal.
    @ivar make_cancel: makes the CANCEL, which has the branch of the INVITE.
    """

    make_ack: Callable[[Response], bytes]
    make_cancel: Callable[[], bytes]


class Incoming:
    """
    A request that has to be answered.

    @ivar request: deleted when its answer was L{acknowledged} or it is L{settled}.
    @ivar cancelled: called when the peer cancels an INVITE.  This object lives as long
        as the transaction, so call L{forget} when the call ends.
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
        """
        Send a response.  After a final one no other is sent, but a 2xx to an INVITE may
        be repeated.
        """
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
        """Stop reporting a CANCEL."""
        self.cancelled = _ignore

    def acknowledged(self) -> None:
        """
        The ACK of its 2xx has come: forget the request and its answer.  The transaction
        stays for a while, and absorbs repetitions (RFC 6026).
        """
        self.forget()
        del self.request
        self._places.finish(self._key, 0)

    def settled(self) -> None:
        """The request was processed.  It is forgotten when it has its answer."""
        self._is_settled = True
        if self._machine.state in _FINISHED:
            del self.request


class Transactions:
    """
    All transactions of the process.

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
        Take a request.

        @return: the request, if it begins a transaction; C{None}: it was processed by
            its transaction, or there was no place for a new one.
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
            # Without memory it has not begun.
            self.places.left(key)
            raise

    def absorbs_ack(self, request: Request) -> bool:
        """Process an ACK; return whether it belongs to a refusal."""
        known = self._servers.get(server_key(request))
        if known is None:
            return False
        incoming, runner = known
        is_refused = incoming._machine.state is not State.ACCEPTED
        runner.perform(incoming._machine.request_received, request)
        return is_refused

    def has(self, request: Request) -> bool:
        """Return whether a request, or the INVITE of a CANCEL, has a transaction."""
        if server_key(request) in self._servers:
            return True
        is_cancel = request.method == "CANCEL"
        return is_cancel and cancelled_key(request) in self._servers

    def has_another_of(self, request: Request) -> bool:
        """Return whether the same request has come, perhaps by another path."""
        return merge_key(request) in self._merged

    def keys(self) -> tuple[Collection[Key], Collection[Key]]:
        """Return the keys of server transactions, and their merge keys."""
        return self._servers.keys(), self._merged.keys()

    def is_merged(self, request: Request) -> bool:
        """
        Return whether the same request has come by another path (RFC 3261 section
        8.2.2.2).
        """
        first = self._merged.get(merge_key(request))
        return first is not None and first != server_key(request)

    def cancelled(self, request: Request) -> Incoming | None:
        """Return the INVITE that a CANCEL refers to."""
        known = self._servers.get(cancelled_key(request))
        return None if known is None else known[0]

    def _refuse(self, request: Request, flow: Flow) -> None:
        """Refuse without a transaction, so always with the same tag (section 8.2.7)."""
        extra = (("Retry-After", "1"),)
        answer = format_response(request.headers, 503, to_tag="full", extra=extra)
        self._way_back(request, flow)(answer)

    def _way_back(self, request: Request, flow: Flow) -> Callable[[bytes], None]:
        via = request.via
        default = DEFAULT_TLS_PORT if flow.transport == "tls" else DEFAULT_PORT
        via_port = via.port or default
        way = flow
        if not flow.is_reliable and parameter(via, "rport") is None:
            # Without rport, responses go to the port in the Via (RFC 3261 section
            # 18.2.2, RFC 3581).
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
        """End an answered transaction, to make room."""
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
        Send a request and wait for its responses.

        @param invite: makes the other messages of an INVITE.
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
        """Return whether a request waits for this response."""
        return client_key(response) in self._clients

    def response_received(self, response: Response) -> bool:
        """Process a response; return whether it was expected."""
        runner = self._clients.get(client_key(response))
        if runner is None:
            return False
        machine = runner.machine
        assert isinstance(machine, InviteClient | NonInviteClient)
        runner.perform(machine.response_received, response)
        return True

    def stop(self) -> None:
        """Forget everything, and send nothing."""
        for _, runner in self._servers.values():
            runner.stop()
        for runner in self._clients.values():
            runner.stop()
        self._servers.clear()
        self.places.clear()
        self._merged.clear()
        self._clients.clear()


def merge_key(request: Request) -> Key:
    """Return what identifies a request on every path (RFC 3261 section 8.2.2.2)."""
    return request.call_id, request.from_tag, str(request.cseq), request.method


def _not_delivered(_: Response) -> None:
    raise AssertionError("a server transaction has no responses")
