"""
A minimal service for counting frames: it sends one delta of 20 ms on request, and has
no voice activity detection that would interrupt it.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

_FRAME: Final = base64.b64encode(bytes(range(160))).decode()
_OF: Final = {"response_id": "resp_1", "output_index": 0}
_ITEM: Final = {"id": "item_1", "type": "message", "role": "assistant"}


class Session(WebSocketServerProtocol):  # type: ignore[misc]
    """
    One session.

    @ivar heard_bytes: bytes of the caller's audio.
    """

    heard_bytes = 0

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.factory.sessions.append(self)
        self._say("session.created", session={"id": "sess_1"})

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        event = json.loads(payload)
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self.heard_bytes += len(base64.b64decode(event["audio"]))
        elif kind == "session.update":
            self._say("session.updated", session={"id": "sess_1"})
            self._say(
                "response.created", response={"id": "resp_1", "status": "in_progress"}
            )
            self._say("response.output_item.added", item=_ITEM, **_OF)

    def speak(self) -> None:
        item = {"item_id": "item_1", "content_index": 0}
        self._say("response.output_audio.delta", delta=_FRAME, **item, **_OF)

    def _say(self, kind: str, **members: Any) -> None:
        event = {"type": kind, "event_id": "event_0123456789abcdefghijk", **members}
        self.sendMessage(json.dumps(event, separators=(",", ":")).encode())


class Service(WebSocketServerFactory):  # type: ignore[misc]
    noisy = False
    protocol = Session

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor, protocols=["realtime"])
        self.setProtocolOptions(openHandshakeTimeout=0)
        self.sessions: list[Session] = []

    def heard_bytes(self) -> int:
        return sum(session.heard_bytes for session in self.sessions)

    def speak(self) -> None:
        for session in self.sessions:
            session.speak()
