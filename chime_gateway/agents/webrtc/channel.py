"""
Carries the events of a call over WebRTC in a data channel, instead of a sideband: for
the preview, and for services that require a data channel in the offer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.websocket import SocketUser
from chime_gateway.webrtc.data_channel import DataChannel
from chime_gateway.wire.realtime.reader import MAX_EVENT_BYTES
from chime_gateway.wire.sdp.data_channel import RemoteChannel

#: The label that the service's own examples use.
LABEL: Final = "oai-events"


class EventsChannel:
    """
    Implements L{chime_gateway.agents.websocket.EventSocket}.

    @param send: sends a packet to the service; never raises.
    @ivar session: the user of the socket; C{None}: none yet, or none any more.
    """

    def __init__(self, clock: IReactorTime, send: Callable[[bytes], None]) -> None:
        self.session: SocketUser | None = None
        self._clock = clock
        self._most_bytes = 0
        self._channel = DataChannel(
            self,
            send,
            label=LABEL,
            most_message_bytes=MAX_EVENT_BYTES,
            clock=clock,
        )
        self.received = self._channel.received

    def start(self, remote: RemoteChannel, *, is_dtls_client: bool) -> None:
        """Open the channel, once DTLS has connected."""
        self._most_bytes = remote.most_message_bytes
        self._channel.start(remote, is_dtls_client=is_dtls_client)

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        session = self.session
        if session is None:
            return False
        if len(payload) > self._most_bytes:
            self._lose(f"a command has more than the {self._most_bytes} bytes allowed")
            return False
        if not self._channel.send(payload, is_binary):
            self._channel.close()
            session.socket_stalled()
            self.close(0, "")
            return False
        return True

    def close(self, code: int, reason: str) -> None:
        """Close the channel, which has no close codes; may be repeated."""
        self._lose("the agent's data channel was closed")

    # -- DataChannelUser -----------------------------------------------------------

    def channel_opened(self) -> None:
        if self.session is not None:
            self.session.opened(self)

    def channel_received(self, payload: bytes, is_binary: bool) -> None:
        if self.session is not None:
            self.session.message_received(payload, is_binary)

    def channel_closed(self, reason: str) -> None:
        self._lose(f"the agent's data channel: {reason}")

    def _lose(self, reason: str) -> None:
        """Release the session; report this in a later reactor turn, like a socket."""
        self._channel.close()
        session, self.session = self.session, None
        if session is not None:
            self._clock.callLater(0, session.socket_closed, reason)
