"""
The interface of a session's audio transport: in the WebSocket of its events, or
separate from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.agents.commands import Kind
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentTraits
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.events import AudioDelta, Event, Usage

#: The longest session by Azure's documents; a session's own C{expires_at} overrides it.
MOST_SECONDS: Final = 3600.0


class Socket(Protocol):
    """The connection of the events."""

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool: ...


class TransportUser(Protocol):
    """The interface of a session towards its transport."""

    def handle(self, event: Event) -> None:
        """An event other than audio, in its order."""

    def audio_came(self, audio: AudioDelta) -> None:
        """Audio has arrived outside the events."""

    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def audio_ready(self) -> None:
        """L{Transport.is_ready} has become true."""

    def audio_lost(self, why: AgentUnavailable) -> None:
        """The path of the audio is lost, or none was found."""

    def tokens_came(self, usage: Usage) -> None:
        """The tokens of a response whose end is reported later."""

    def ask(self, kind: Kind, command: Command, about: str) -> None:
        """Send a command."""


class Transport(Protocol):
    """
    @ivar traits: of the session that uses the transport.
    @ivar is_ready: whether audio may flow.
    """

    traits: AgentTraits
    is_ready: bool

    def send_audio(self, audio: bytes) -> None:
        """Send audio of the caller, in any length."""

    def join(self, user: TransportUser) -> None:
        """Set the user.  Called before anything else."""

    def event_came(self, event: Event) -> None:
        """An event other than audio; pass it to the user in its order."""

    def opened(self, socket: Socket) -> None:
        """The socket of the events is open."""

    def is_made(self, response_id: str) -> bool:
        """Return whether a response is generated, but not all of it was heard yet."""

    def probe(self, ask: Callable[[], None]) -> None:
        """
        Check whether audio still reaches the service: by C{ask} if audio uses the same
        connection, and otherwise by checking its own path.
        """

    def cancelled(self, response_id: str) -> None:
        """This response was cancelled, and the service was notified."""

    def close(self) -> None:
        """Stop the audio.  Reports nothing; may be called again."""
