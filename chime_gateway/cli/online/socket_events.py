"""Collects the events of one session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from twisted.internet.task import deferLater

from chime_gateway.agents.websocket import EventSocket
from chime_gateway.errors import AgentUnavailable

_MOST_EVENTS: Final = 1000
_LOOK_SECONDS: Final = 0.05


class KeptEvents:
    """A L{chime_gateway.agents.websocket.SocketUser} that collects events."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.socket: EventSocket | None = None
        self.closed = ""
        self.why: AgentUnavailable | None = None

    def opened(self, socket: EventSocket) -> None:
        self.socket = socket

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        try:
            event = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if isinstance(event, dict) and len(self.events) < _MOST_EVENTS:
            self.events.append(event)

    def frame_came(self) -> bool:
        return True

    def socket_closed(self, reason: str) -> None:
        self.closed = reason or "the service closed the connection"

    def socket_stalled(self) -> None:
        self.closed = "the service stopped reading"

    def handshake_failed(self, why: AgentUnavailable) -> None:
        self.closed, self.why = str(why), why

    def find(self, *kinds: str) -> Mapping[str, Any] | None:
        found = (e for e in self.events if e.get("type") in kinds)
        return next(found, None)

    def kinds(self, since: int = 0) -> str:
        names = dict.fromkeys(str(e.get("type")) for e in self.events[since:])
        return ", ".join(names) or "nothing"


async def until(reactor: Any, is_so: Callable[[], bool], seconds: float) -> bool:
    """@return: whether the condition became true within this time."""
    deadline = reactor.seconds() + seconds
    while not is_so() and reactor.seconds() < deadline:
        await deferLater(reactor, _LOOK_SECONDS)
    return is_so()
