"""Carries audio in the WebSocket of the events, one message for each piece."""

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
    A L{chime_gateway.agents.transports.transport.Transport}.  The service's audio is
    ahead of what the caller hears, and the service has to be told of truncations.
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
        # Called for every frame, so bound directly to the socket.
        self._send = socket.send_message

    def send_audio(self, audio: bytes) -> None:
        """Called for every frame."""
        send = self._send
        if send is not None and not send(append_audio(audio)):
            assert self._user is not None
            self._user.audio_dropped("agent_slow", len(audio))

    def is_made(self, response_id: str) -> bool:
        return False  # a response is over when it was generated

    def probe(self, ask: Callable[[], None]) -> None:
        ask()

    def cancelled(self, response_id: str) -> None:
        """Do nothing: no audio is left at the service."""

    def close(self) -> None:
        self._send = self._user = None
