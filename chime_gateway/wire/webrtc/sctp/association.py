"""
An SCTP association inside DTLS (RFC 9260, RFC 8261): both sides set it up, and exchange
messages until one of them ends it.

It is sans I/O: times are arguments, in monotonic seconds.  DTLS authenticates the peer,
so a cookie need not be signed.  ICE checks that the peer is alive, so no heartbeats are
sent; the peer's are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from chime_gateway.wire.webrtc.sctp import packet
from chime_gateway.wire.webrtc.sctp.incoming import WINDOW, Incoming, Message
from chime_gateway.wire.webrtc.sctp.outgoing import (
    FIRST_RTO,
    MOST_TRIES,
    MOST_UNSENT_BYTES,
    Outgoing,
)
from chime_gateway.wire.webrtc.sctp.packet import (
    MOST_PACKET_BYTES,
    Chunk,
    Init,
    SctpError,
    encode_chunk,
    encode_init,
)

_STREAMS: Final = 0xFFFF

_MOST_PAUSE: Final = 4.0

#: RFC 9260 section 3.3.10.12.
_USER_INITIATED: Final = b"\0\x0c\0\x04"

#: Unknown chunk types below this end the processing of the packet (RFC 9260 section
#: 3.2); others are skipped.
_STOPS: Final = 0x80


class State(Enum):
    NEW = "new"
    COOKIE_WAIT = "cookie wait"
    COOKIE_ECHOED = "cookie echoed"
    OPEN = "open"
    CLOSED = "closed"


class Association:
    """
    One association.

    @param ports: ours and the peer's, from the session descriptions.
    @param most_message_bytes: maximum size of a received message.
    @ivar outbox: packets to send; the owner removes them.
    @ivar messages: received messages; the owner removes them.
    @ivar failure: why it is closed; empty: we have closed it.
    @ivar dropped: number of invalid packets received.
    """

    def __init__(
        self,
        ports: tuple[int, int],
        most_message_bytes: int,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.outbox: list[bytes] = []
        self.messages: list[Message] = []
        self.state = State.NEW
        self.failure = ""
        self.dropped = 0
        self._ports = ports
        self._most_message_bytes = most_message_bytes
        self._tag = int.from_bytes(random_bytes(4), "big") or 1
        self._tsn = int.from_bytes(random_bytes(4), "big")
        self._cookie = random_bytes(16)
        self._remote: Init | None = None
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        # Chunks for the next packet, and the one that is repeated until its answer.
        self._control: list[bytes] = []
        self._asking = b""
        self._asking_tag = 0
        self._asked_again_at: float | None = None
        self._pause = FIRST_RTO
        self._tries = 0

    @property
    def is_closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def due(self) -> float | None:
        """When L{tick} must be called; C{None}: never."""
        if self._asked_again_at is not None or self._outgoing is None:
            return self._asked_again_at
        return self._outgoing.due

    def start(self, now: float) -> None:
        """Begin, as the peer can now be reached."""
        if self.state is State.NEW:
            self.state = State.COOKIE_WAIT
            init = Init(self._tag, WINDOW, self._tsn)
            self._ask(now, encode_init(packet.INIT, init, _STREAMS), tag=0)

    def send(self, now: float, stream: int, ppid: int, payload: bytes) -> bool:
        """
        Send a message.

        @return: C{False}: the association is not open, or too much is unacknowledged.
        """
        outgoing = self._outgoing
        if self.state is not State.OPEN or outgoing is None:
            return False
        if outgoing.unsent_bytes > MOST_UNSENT_BYTES:
            return False
        outgoing.add(stream, ppid, payload)
        self._send(now)
        return True

    def received(self, now: float, data: bytes) -> None:
        """Process a received packet."""
        if self.is_closed:
            return
        try:
            come = packet.decode(data)
            if not self._is_ours(come):
                raise SctpError("wrong verification tag")
        except SctpError:
            self.dropped += 1
            return
        try:
            has_data = False
            for chunk in come.chunks:
                act = _CHUNKS.get(chunk.kind)
                if act is not None:
                    act(self, now, chunk)
                elif chunk.kind < _STOPS:
                    break
                if self.is_closed:
                    return
                has_data |= chunk.kind == packet.DATA
            if has_data and self._incoming is not None:
                sack = packet.encode_sack(self._incoming.sack())
                self._control.append(sack)
            self._send(now)
        except SctpError as exc:
            self._abort(str(exc))

    def tick(self, now: float) -> None:
        """Retransmit what is due."""
        again_at, outgoing = self._asked_again_at, self._outgoing
        if again_at is not None:
            if now < again_at:
                return
            self._tries += 1
            if self._tries > MOST_TRIES:
                self._abort("the peer does not answer")
                return
            self._ask_again(now)
        elif outgoing is not None and self.state is State.OPEN:
            try:
                outgoing.tick(now)
            except SctpError as exc:
                self._abort(str(exc))
                return
            self._send(now)

    def close(self) -> None:
        """End the association at once (ABORT)."""
        if self.state is not State.CLOSED:
            self._abort("")

    # -- inside ------------------------------------------------------------------

    def _is_ours(self, come: packet.Packet) -> bool:
        """Check the packet's verification tag (RFC 9260 section 8.5)."""
        first = come.chunks[0]
        if first.kind == packet.INIT:
            return come.tag == 0 and len(come.chunks) == 1
        if first.kind == packet.ABORT and first.flags & packet.REFLECTED:
            return self._remote is not None and come.tag == self._remote.tag
        return come.tag == self._tag

    def _ask(self, now: float, chunk: bytes, tag: int) -> None:
        """Send a chunk, and repeat it until it is answered."""
        self._asking, self._asking_tag = chunk, tag
        self._pause, self._tries = FIRST_RTO, 0
        self._ask_again(now)

    def _ask_again(self, now: float) -> None:
        self._put(self._asking_tag, [self._asking])
        self._asked_again_at = now + self._pause
        self._pause = min(2 * self._pause, _MOST_PAUSE)

    def _put(self, tag: int, chunks: list[bytes]) -> None:
        self.outbox.append(packet.encode(self._ports, tag, chunks))

    def _send(self, now: float) -> None:
        """Send control chunks, and as much data as possible."""
        remote, outgoing = self._remote, self._outgoing
        if remote is None:
            return
        control, self._control = self._control, []
        packets = [control]
        if outgoing is not None and self.state is State.OPEN:
            packets = outgoing.take(now, sum(map(len, control)))
            packets[0][:0] = control
        for chunks in packets:
            if chunks:
                self._put(remote.tag, chunks)

    def _set_peer(self, remote: Init) -> None:
        """The peer's INIT or INIT ACK has come."""
        if self._remote is None or self._remote.tag != remote.tag:
            self._remote = remote
            self._incoming = Incoming(remote.tsn, self._most_message_bytes)
            self._incoming.messages = self.messages
            self._outgoing = Outgoing(self._tsn, remote.window)

    def _abort(self, reason: str) -> None:
        remote = self._remote
        self._end(reason)
        if remote is not None:
            self._put(remote.tag, [encode_chunk(packet.ABORT, _USER_INITIATED)])

    def _end(self, reason: str) -> None:
        self.state = State.CLOSED
        self.failure = reason
        self._asked_again_at = self._incoming = self._outgoing = None
        self._control = []

    # -- chunks ------------------------------------------------------------------

    def _init_came(self, now: float, chunk: Chunk) -> None:
        """Answer INIT, even a second one, or one beside ours (RFC 9260 5.2.1)."""
        remote = packet.read_init(chunk)
        if self.state is State.OPEN and (
            self._remote is None or self._remote.tag != remote.tag
        ):
            return  # an association does not restart with the same DTLS keys
        if self.state is State.COOKIE_ECHOED:
            assert self._remote is not None
            if self._remote.tag != remote.tag:
                return
        self._set_peer(remote)
        answer = Init(self._tag, WINDOW, self._tsn, self._cookie)
        self._put(remote.tag, [encode_init(packet.INIT_ACK, answer, _STREAMS)])

    def _init_ack_came(self, now: float, chunk: Chunk) -> None:
        if self.state is not State.COOKIE_WAIT:
            return
        remote = packet.read_init(chunk)
        if not 0 < len(remote.cookie) <= MOST_PACKET_BYTES - 16:
            raise SctpError("INIT ACK without a cookie that can be sent")
        self._set_peer(remote)
        self.state = State.COOKIE_ECHOED
        cookie = encode_chunk(packet.COOKIE_ECHO, remote.cookie)
        self._ask(now, cookie, remote.tag)

    def _cookie_came(self, now: float, chunk: Chunk) -> None:
        if chunk.body == self._cookie and self._remote is not None:
            self._control.append(encode_chunk(packet.COOKIE_ACK))
            self._opened()

    def _cookie_ack_came(self, now: float, chunk: Chunk) -> None:
        if self.state is State.COOKIE_ECHOED:
            self._opened()

    def _opened(self) -> None:
        self.state = State.OPEN
        self._asked_again_at = None

    def _data_came(self, now: float, chunk: Chunk) -> None:
        if self.state is State.OPEN and self._incoming is not None:
            self._incoming.add(packet.read_data(chunk))

    def _sack_came(self, now: float, chunk: Chunk) -> None:
        if self.state is State.OPEN and self._outgoing is not None:
            self._outgoing.acknowledged(now, packet.read_sack(chunk))

    def _heartbeat_came(self, now: float, chunk: Chunk) -> None:
        if len(chunk.body) <= MOST_PACKET_BYTES // 2 and not self._control:
            self._control.append(encode_chunk(packet.HEARTBEAT_ACK, chunk.body))

    def _abort_came(self, now: float, chunk: Chunk) -> None:
        self._end("the peer has ended it (ABORT)")

    def _shutdown_came(self, now: float, chunk: Chunk) -> None:
        remote = self._remote
        self._end("the peer has ended it (SHUTDOWN)")
        if remote is not None:
            self._put(remote.tag, [encode_chunk(packet.SHUTDOWN_ACK)])


#: Functions that process the known chunk types.
_CHUNKS: Final[Mapping[int, Callable[[Association, float, Chunk], Any]]] = {
    packet.DATA: Association._data_came,
    packet.INIT: Association._init_came,
    packet.INIT_ACK: Association._init_ack_came,
    packet.SACK: Association._sack_came,
    packet.HEARTBEAT: Association._heartbeat_came,
    packet.ABORT: Association._abort_came,
    packet.SHUTDOWN: Association._shutdown_came,
    packet.COOKIE_ECHO: Association._cookie_came,
    packet.COOKIE_ACK: Association._cookie_ack_came,
    packet.ERROR: lambda *_: None,  # it does not end the association
}
