"""
Connects the SIP carriers of a gateway's processes.

The newest process reads the shared sockets.  It passes on what is for an older one,
which never passes it on again.  An older process keeps its connections, and passes to
the newest what comes by them and is not for itself.  A response goes by the connection
of its request, through the process that holds that.

L{chime_gateway.net.generations} carries the messages between the processes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Mapping
from typing import Any, Final, Protocol

from twisted.internet.task import deferLater

from chime_gateway.carriers.sip.access import KnownCalls
from chime_gateway.carriers.sip.admission import Admission
from chime_gateway.carriers.sip.context import SipContext
from chime_gateway.carriers.sip.generations.holdings import Holdings
from chime_gateway.carriers.sip.generations.inheritance import Inheritance
from chime_gateway.carriers.sip.generations.marks import generation_of
from chime_gateway.carriers.sip.generations.records import Records
from chime_gateway.carriers.sip.generations.ways import DistantConnection, Ways
from chime_gateway.carriers.sip.transport.connections import Connection, Flow
from chime_gateway.carriers.sip.transport.places import Key
from chime_gateway.net.generations.channel import Message as Told
from chime_gateway.net.generations.kin import Kin, Peer
from chime_gateway.wire.sip.dialog import Hop
from chime_gateway.wire.sip.message import (
    DEFAULT_PORT,
    DEFAULT_TLS_PORT,
    BadMessage,
    Message,
    Request,
    Response,
    Source,
)
from chime_gateway.wire.sip.parser import parse
from chime_gateway.wire.sip.transactions import client_key

#: The maximum number of requests that came by connections and that other processes have
#: not answered.  Over UDP the peer repeats a request.
MOST_PENDING: Final = 1_000

#: How much longer than its last transaction a process stays.
_LINGER_MORE_SECONDS: Final = 5.0

_LOOK_SECONDS: Final = 0.1


class Carrier(Protocol):
    """The SIP carrier, as the succession uses it."""

    admission: Admission
    context: SipContext

    def message_received(
        self, data: bytes, flow: Flow, *, is_ours: bool = False
    ) -> None:
        """
        Process a message.

        @param is_ours: the newest process has decided that it is for this one.
        """


def _ignore() -> None:
    """Does nothing when sending fails."""


class Succession:
    """
    The SIP messages between this process and the others.

    @param calls: the calls of this process.
    @ivar records: what older processes have in progress.
    @ivar lost: the number of messages that another process did not accept.
    @ivar lingers: when this process ends, another one has the new calls.
    """

    lingers = False

    def __init__(self, kin: Kin, carrier: Carrier, calls: KnownCalls) -> None:
        self.lost = 0
        self._kin = kin
        self._carrier = carrier
        self._context = context = carrier.context
        self._linger_seconds = context.transactions.timers.give_up
        clock = context.clock
        self.records = Records(clock.seconds, self._linger_seconds)
        self._holdings = Holdings(kin.generation, context.transactions, calls)
        self._ways = Ways(kin.generation, self._send_by)
        # The generation that has the request, the message, and its flow.
        self._pending: OrderedDict[Key, tuple[str, bytes, Flow]] = OrderedDict()
        self._inheritance = Inheritance(
            kin, self.records, self._holdings, carrier.admission, context
        )
        kin.on("sip.message", self._message)
        kin.on("sip.out", self._out)
        kin.on("sip.closed", self._closed)
        kin.older_gone.append(self._older_gone)
        kin.taken_back.append(self._taken_back)
        context.transports.streams.told_closed = self._connection_closed

    async def linger(self) -> None:
        """
        Wait after the last call, while there is a newer process: only this one can
        answer late and repeated messages of its calls.
        """
        clock = self._context.clock
        until = clock.seconds() + self._linger_seconds + _LINGER_MORE_SECONDS
        while self._is_asked() and clock.seconds() < until:
            await deferLater(clock, _LOOK_SECONDS)
        self._inheritance.stop()

    def _is_asked(self) -> bool:
        return self.lingers and self.is_needed()

    def is_needed(self) -> bool:
        """Return whether a message may come that only this process can answer."""
        if self._kin.newest is None:
            return False
        return bool(self._context.transactions.count or self._pending)

    # -- each message ----------------------------------------------------------------

    def hands_on(self, message: Message, data: bytes, flow: Flow) -> bool:
        """Pass a message on if it is for another process; return whether it was."""
        peer = self._recipient(message, flow)
        if peer is None:
            return False
        if not self._send(peer, data, flow):
            self.lost += 1
            # A new call is refused here rather than left without an answer.
            return peer is not self._kin.newest
        if isinstance(message, Request):
            self.records.follow(message, peer.generation)
            self._wait(peer, message, data, flow)
        return True

    def _recipient(self, message: Message, flow: Flow) -> Peer | None:
        """@return: the process that a message is for; C{None}: this one."""
        kin, records = self._kin, self.records
        if kin.newest is None and records.is_empty:
            return None
        if isinstance(message, Request) and self._context.transactions.has(message):
            return None
        if kin.newest is None:
            owner = records.owner(message)
            if owner and owner not in kin.older:
                # It is gone, and the notice of that has not come yet.
                records.gone(owner)
            return kin.older.get(owner)
        if flow.transport == "udp":
            return None  # by a socket that the newest process does not have
        if isinstance(message, Request) and records.is_followed(message):
            return kin.newest
        return None if self._holdings.has(message) else kin.newest

    def _send(self, peer: Peer, data: bytes, flow: Flow) -> bool:
        head: dict[str, Any] = {
            "transport": flow.transport,
            "host": flow.source.host,
            "port": flow.source.port,
        }
        if flow.connection is not None:
            head["way"] = self._ways.name(flow.connection)
        return peer.send("sip.message", head, data)

    def _message(self, peer: Peer, told: Told) -> None:
        head = told.head
        transport, host = str(head["transport"]), str(head["host"])
        way = head.get("way")
        connection = (
            None if way is None else self._ways.distant(str(way), transport, host)
        )
        flow = Flow(transport, Source(host, int(head["port"])), connection)
        is_ours = peer.generation not in self._kin.older
        self._carrier.message_received(told.body, flow, is_ours=is_ours)

    # -- by connections of other processes -------------------------------------------

    def _send_by(self, distant: DistantConnection, data: bytes) -> None:
        head = {
            "way": distant.name,
            "transport": distant.transport,
            "host": distant.host,
        }
        self._towards(generation_of(distant.name), "sip.out", head, data)

    def _towards(
        self, generation: str, kind: str, head: Mapping[str, object], body: bytes = b""
    ) -> None:
        """Send to a process, through the newest one if that is another."""
        peer = self._kin.newest or self._kin.older.get(generation)
        if peer is None or not peer.send(kind, head, body):
            self.lost += 1

    def _out(self, peer: Peer, told: Told) -> None:
        name, data = str(told.head["way"]), told.body
        if self._pending:
            self._answered(data)
        generation = generation_of(name)
        if generation != self._kin.generation:
            # Between two older processes, through this one.
            other = None if self._kin.newest else self._kin.older.get(generation)
            if other is None or not other.send("sip.out", told.head, data):
                self.lost += 1
            return
        way = self._ways.ours(name)
        if way is not None and way.is_open:
            way.send(data)
        else:
            self._reach(data, str(told.head["transport"]), str(told.head["host"]))

    def _reach(self, data: bytes, transport: str, host: str) -> None:
        """
        The connection was closed a moment ago.  A response goes where its Via says (RFC
        3261 section 18.2.2); a request is repeated by the process that sent it.
        """
        try:
            message = parse(data)
        except BadMessage:
            return
        if isinstance(message, Response):
            default = DEFAULT_TLS_PORT if transport == "tls" else DEFAULT_PORT
            hop = Hop(host, message.via.port or default, transport)
            self._context.transports.connect(data, hop, _ignore)

    def _connection_closed(self, connection: Connection) -> None:
        name = self._ways.closed(connection)
        if name:
            self._tell_closed(name, "")

    def _closed(self, peer: Peer, told: Told) -> None:
        name = str(told.head["way"])
        self._ways.lost(name)
        if peer.generation in self._kin.older:
            self._tell_closed(name, peer.generation)

    def _tell_closed(self, name: str, teller: str) -> None:
        """Notify all processes: each may have passed the name on."""
        newest = self._kin.newest
        others = list(self._kin.older.values()) if newest is None else [newest]
        for peer in others:
            if peer.generation != teller:
                peer.send("sip.closed", {"way": name})

    # -- when a process is gone ------------------------------------------------------

    def _wait(self, owner: Peer, request: Request, data: bytes, flow: Flow) -> None:
        """Keep a request until it is answered: over a connection it is not repeated."""
        if not flow.is_reliable or request.method == "ACK":
            return
        self._pending[client_key(request)] = owner.generation, data, flow
        if len(self._pending) > MOST_PENDING:
            self._pending.popitem(last=False)

    def _answered(self, data: bytes) -> None:
        try:
            message = parse(data)
        except BadMessage:
            return
        if isinstance(message, Response) and message.status >= 200:
            self._pending.pop(client_key(message), None)

    def _older_gone(self, peer: Peer) -> None:
        self._ways.gone(peer.generation)
        self._answer_those_of((peer.generation,))

    def _taken_back(self) -> None:
        """The newest process is gone, and with it its connections."""
        self._ways.only_of(self._kin.older)
        others = {owner for owner, _, _ in self._pending.values()}
        self._answer_those_of(others - self._kin.older.keys())

    def _answer_those_of(self, generations: Container[str]) -> None:
        """Answer here what a process that is gone has not answered."""
        for key, (owner, data, flow) in list(self._pending.items()):
            if owner in generations:
                del self._pending[key]
                self._carrier.message_received(data, flow, is_ours=True)
