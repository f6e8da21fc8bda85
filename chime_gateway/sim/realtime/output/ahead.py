"""
Sends speech in events as soon as it is generated, faster than it is heard.

Only the client's truncations tell the service how much was heard.
"""

from __future__ import annotations

import base64
from typing import Protocol

from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.conversation import Item
from chime_gateway.sim.realtime.events import ServerEvents
from chime_gateway.sim.realtime.responses import Response


class Output(Protocol):
    """Sends the speech of a session."""

    def write(self, response: Response, item: Item, piece: bytes) -> None:
        """Add generated audio of an item."""

    def done(self, response: Response) -> None:
        """The response has no more audio."""

    def interrupt(self) -> None:
        """The caller speaks: drop the audio that was not sent yet."""

    def bytes_to_hear(self, response: Response) -> int:
        """Return how much of a finished response the caller has not heard yet."""


class AheadOutput:
    def __init__(self, events: ServerEvents, log: SessionLog) -> None:
        self._events = events
        self._log = log

    def write(self, response: Response, item: Item, piece: bytes) -> None:
        item.sent_bytes += len(piece)
        self._log.spoken[item.id] += piece
        self._events.emit(
            "response.output_audio.delta",
            **response.members(
                item, content_index=0, delta=base64.b64encode(piece).decode()
            ),
        )

    def done(self, response: Response) -> None:
        """Do nothing: everything was sent."""

    def interrupt(self) -> None:
        """Do nothing: sent events cannot be recalled."""

    def bytes_to_hear(self, response: Response) -> int:
        return response.output_bytes
