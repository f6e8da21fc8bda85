"""
The interface of a session's audio transport: in the WebSocket of its events, or
beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.agents.commands import Kind
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentTraits
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.events import AudioDelta, Event, Usage

#: The longest session by the documents; what one says itself (C{expires_at}) counts.
MOST_SECONDS: Final = 3600.0


class Socket(Protocol):
    """The connection of the events."""

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool: ...


class TransportUser(Protocol):
    """The session, as its transport needs it."""

    def handle(self, event: Event) -> None:
        """Anything but audio, in its turn."""

    def audio_came(self, audio: AudioDelta) -> None:
        """Audio came beside the events."""

    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def audio_ready(self) -> None:
        """L{Transport.is_ready} from now on."""

    def audio_lost(self, why: AgentUnavailable) -> None:
        """The path of the audio is lost, or none was found."""

    def tokens_came(self, usage: Usage) -> None:
        """The tokens of a response whose end is reported later."""

    def ask(self, kind: Kind, command: Command, about: str) -> None:
        """Send a command."""


class Transport(Protocol):
    """
    @ivar traits: of the session that has it.
    @ivar is_ready: audio may flow.
    """

    traits: AgentTraits
    is_ready: bool

    def send_audio(self, audio: bytes) -> None:
        """What the caller says, in any length."""

    def join(self, user: TransportUser) -> None:
        """Before anything else."""

    def event_came(self, event: Event) -> None:
        """Any but audio; the user is given it when it is its turn."""

    def opened(self, socket: Socket) -> None:
        """The socket of the events is open."""

    def is_made(self, response_id: str) -> bool:
        """All of this response was made, and some of it is not heard yet."""

    def probe(self, ask: Callable[[], None]) -> None:
        """
        Find out whether the service hears us: by C{ask}, if audio goes where that goes,
        and otherwise if there is still a way for it.
        """

    def cancelled(self, response_id: str) -> None:
        """This response was cancelled, and the service was told."""

    def close(self) -> None:
        """Audio flows no more.  Reports nothing, and may be done again."""
