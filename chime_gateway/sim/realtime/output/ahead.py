"""
Sends speech as events as soon as it is generated, faster than it is heard.

Only the client's truncations tell the service how far it was heard.
"""

from __future__ import annotations

import base64
from typing import Protocol

from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.conversation import Item
from chime_gateway.sim.realtime.events import ServerEvents
from chime_gateway.sim.realtime.responses import Response


class Output(Protocol):
    """What takes the speech of a session."""

    def write(self, response: Response, item: Item, piece: bytes) -> None:
        """So much more of an item was generated."""

    def done(self, response: Response) -> None:
        """No more of it comes."""

    def interrupt(self) -> None:
        """The caller speaks: what was not heard yet is not to be heard."""

    def bytes_to_hear(self, response: Response) -> int:
        """Of a response that is done, what the caller has yet to hear."""


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
        """All of it was sent."""

    def interrupt(self) -> None:
        """What was sent cannot be taken back."""

    def bytes_to_hear(self, response: Response) -> int:
        return response.output_bytes
