"""
A data channel to a peer, opened by the gateway: messages in both directions, complete
and in order.

It opens after the DTLS handshake.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from chime_gateway.net.timer import Timer
from chime_gateway.wire.sdp.data_channel import SCTP_PORT, RemoteChannel
from chime_gateway.wire.webrtc.sctp import dcep
from chime_gateway.wire.webrtc.sctp.association import Association, State
from chime_gateway.wire.webrtc.sctp.incoming import Message

#: Time limit after the DTLS handshake: some round trips, with lost packets.
OPEN_SECONDS: Final = 5.0


class DataChannelUser(Protocol):
    """The user of a data channel."""

    def channel_opened(self) -> None:
        """The channel is open; called once."""

    def channel_received(self, payload: bytes, is_binary: bool) -> None: ...
    def channel_closed(self, reason: str) -> None:
        """
        The channel has closed: the last call, at most once, and never after
        L{DataChannel.close}.
        """


class DataChannel:
    """
    One data channel.

    @param send: sends a packet to the peer; it never raises.
    @param most_message_bytes: maximum size of a received message, as in our
        description.
    """

    def __init__(
        self,
        user: DataChannelUser,
        send: Callable[[bytes], None],
        *,
        label: str,
        most_message_bytes: int,
        clock: IReactorTime,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._user: DataChannelUser | None = user
        self._send = send
        self._label = label
        self._most_message_bytes = most_message_bytes
        self._clock = clock
        self._random_bytes = random_bytes
        self._timer = Timer(clock)
        self._opens_until = 0.0
        self._association: Association | None = None
        self._remote: RemoteChannel | None = None
        self._stream = 0
        self._due: float | None = None
        self._is_asked = self._is_open = False

    def start(self, remote: RemoteChannel, *, is_dtls_client: bool) -> None:
        """Open the channel after the DTLS handshake; nothing is received before."""
        now = self._clock.seconds()
        self._opens_until = now + OPEN_SECONDS
        self._remote = remote
        self._stream = dcep.first_stream(is_dtls_client=is_dtls_client)
        self._association = Association(
            (SCTP_PORT, remote.port), self._most_message_bytes, self._random_bytes
        )
        self._association.start(now)
        self._go_on(self._association, now)

    def received(self, packet: bytes) -> None:
        """Process a packet of the peer."""
        association = self._association
        if association is not None:
            now = self._clock.seconds()
            association.received(now, packet)
            self._go_on(association, now)

    def send(self, payload: bytes, is_binary: bool = False) -> bool:
        """
        Send a message.

        @return: C{False}: it was not sent: the channel is not open, too much is
            unacknowledged, or the message is too long for the peer.
        """
        association, remote = self._association, self._remote
        if not self._is_open or association is None or remote is None:
            return False
        if len(payload) > remote.most_message_bytes:
            return False
        now = self._clock.seconds()
        message = dcep.encode_message(payload, is_binary=is_binary)
        is_taken = association.send(now, self._stream, *message)
        self._flush(association)
        self._wait(association)
        return is_taken

    def close(self) -> None:
        """Close the channel; may be repeated."""
        self._user = None
        self._timer.stop()
        association, self._association = self._association, None
        if association is not None:
            association.close()
            self._flush(association)

    # -- inside ------------------------------------------------------------------

    def _flush(self, association: Association) -> None:
        outbox, association.outbox = association.outbox, []
        for packet in outbox:
            self._send(packet)

    def _go_on(self, association: Association, now: float) -> None:
        if association.state is State.OPEN and not self._is_asked:
            self._is_asked = True
            name = dcep.open_channel(self._label)
            association.send(now, self._stream, dcep.CONTROL, name)
        while association.messages and self._user is not None:
            self._message_came(association, now, association.messages.pop(0))
        self._flush(association)
        if self._user is None:
            return
        if association.state is State.CLOSED:
            self._end(association.failure)
        elif not self._is_open and now >= self._opens_until:
            self._end(f"it was not opened within {OPEN_SECONDS:g} s")
        else:
            self._wait(association)

    def _message_came(
        self, association: Association, now: float, message: Message
    ) -> None:
        user = self._user
        if message.ppid == dcep.CONTROL:
            if dcep.is_open(message.payload):
                # The peer's own channel: it is accepted, and its data is ignored.
                name = dcep.acknowledge()
                association.send(now, message.stream, dcep.CONTROL, name)
            elif not dcep.is_acknowledged(message.payload):
                return
        if message.stream != self._stream or user is None:
            return
        if not self._is_open:
            # Opened by the acknowledgement, or by the first message.
            self._is_open = True
            user.channel_opened()
        found = dcep.decode_message(message.ppid, message.payload)
        if found is not None and self._user is not None:
            user.channel_received(*found)

    def _end(self, reason: str) -> None:
        user = self._user
        self.close()
        if user is not None:
            user.channel_closed(reason)

    def _wait(self, association: Association) -> None:
        due = association.due
        if not self._is_open:
            due = self._opens_until if due is None else min(due, self._opens_until)
        if due == self._due and self._timer.is_running:
            return
        self._due = due
        if due is None:
            self._timer.stop()
        else:
            self._timer.start(max(0.0, due - self._clock.seconds()), self._tick)

    def _tick(self) -> None:
        association = self._association
        if association is not None:
            # Rounding may have made the timer fire slightly too early.
            now = max(self._clock.seconds(), self._due or 0.0)
            association.tick(now)
            self._go_on(association, now)
