"""Audio in the WebSocket of the events, one message for each piece."""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.agents.transports.transport import (
    MOST_SECONDS,
    Socket,
    TransportUser,
)
from chime_gateway.audio import Codec
from chime_gateway.interfaces import AgentTraits
from chime_gateway.wire.realtime.commands import append_audio
from chime_gateway.wire.realtime.events import Event


class InSocket:
    """
    A L{chime_gateway.agents.transports.transport.Transport}: what comes is ahead of
    what is heard, and the service is told of cuts.
    """

    __slots__ = ("_send", "_user", "traits")

    is_ready = True

    def __init__(self, codec: Codec) -> None:
        self.traits = AgentTraits(codec=codec, most_seconds=MOST_SECONDS)
        self._send: Callable[[bytes], bool] | None = None
        self._user: TransportUser | None = None

    def join(self, user: TransportUser) -> None:
        self._user = user

    def event_came(self, event: Event) -> None:
        if self._user is not None:
            self._user.handle(event)

    def opened(self, socket: Socket) -> None:
        # Of every frame: nothing of the socket stands in between.
        self._send = socket.send_message

    def send_audio(self, audio: bytes) -> None:
        """Called for every frame."""
        send = self._send
        if send is not None and not send(append_audio(audio)):
            assert self._user is not None
            self._user.audio_dropped("agent_slow", len(audio))

    def is_made(self, response_id: str) -> bool:
        return False  # then it is over

    def probe(self, ask: Callable[[], None]) -> None:
        ask()

    def cancelled(self, response_id: str) -> None:
        """It has sent all that it has: there is nothing to be taken back."""

    def close(self) -> None:
        self._send = self._user = None
