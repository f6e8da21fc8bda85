"""Realtime services over WebSocket that do more than echo."""

from __future__ import annotations

import base64
import json
from typing import Any, ClassVar

from load import APPEND, Service
from picows import WSFrame, WSMsgType, WSTransport, ws_create_server

from suites.faults.processes import Echoes
from suites.rtc.audio import speech, to_ulaw

ANSWER_SECONDS = 30.0


def _event(kind: str, **members: Any) -> bytes:
    return json.dumps({"type": kind, "event_id": "e", **members}).encode()


class _Listener(Service):
    """Echoes the audio, and stores all other messages."""

    texts: ClassVar[list[str]]

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            if APPEND not in payload[:60]:
                self.texts.append(payload.decode())


class Listeners(Echoes):
    """
    An echoing service.

    @ivar texts: messages other than audio, of all sessions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def listen(self) -> None:
        kind = type("Listener", (_Listener,), {"texts": self.texts})
        self._server = await ws_create_server(lambda _: kind(), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]


class _Talker(Service):
    """Sends a long answer at once, when it hears the caller for the first time."""

    all_of: Talkers
    has_answered = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        self.transport = transport
        self.all_of.sessions.append(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            if APPEND in payload[:60]:
                if not self.has_answered:
                    self.has_answered = True
                    self._answer(transport)
                return
            if b"conversation.item.truncate" in payload:
                self.all_of.truncated.append(json.loads(payload))
        super().on_ws_frame(transport, frame)

    def _answer(self, transport: WSTransport) -> None:
        ids = {"response_id": "r", "item_id": "i", "output_index": 0}
        audio = to_ulaw(speech(ANSWER_SECONDS, 5))
        events = [_event("response.created", response={"id": "r"})]
        for at in range(0, len(audio), 4000):
            delta = base64.b64encode(audio[at : at + 4000]).decode()
            kind = "response.output_audio.delta"
            events.append(_event(kind, **ids, content_index=0, delta=delta))
        for event in events:
            transport.send(WSMsgType.TEXT, event)

    def interrupt(self) -> None:
        kind = "input_audio_buffer.speech_started"
        event = _event(kind, audio_start_ms=3000, item_id="u")
        self.transport.send(WSMsgType.TEXT, event)


class Talkers(Echoes):
    """
    A service with long answers.

    @ivar truncated: the truncations of its answers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[Any] = []
        self.truncated: list[Any] = []

    async def listen(self) -> None:
        kind = type("Talker", (_Talker,), {"all_of": self})
        self._server = await ws_create_server(lambda _: kind(), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def interrupt(self) -> None:
        for session in self.sessions:
            session.interrupt()
