"""
Speech as the service sends it: answers of some seconds, in deltas of 100 to 200 ms,
three to ten times faster than real time.

An echo returns every frame all the time, which no model does, so it overstates the
agent's direction.  Here an answer of four seconds begins every six seconds, at a
different moment in each call, and callers send audio all the time.
"""

from __future__ import annotations

import asyncio
import random
import time
from binascii import a2b_base64, b2a_base64
from typing import Any

from attrs import define, field
from kinds import CYCLE_SECONDS
from load import _STAMP, AUDIO, FRAME_BYTES, PTIME_SECONDS, RECENT_NS, Service
from picows import WSFrame, WSMsgType, WSTransport

ANSWER_SECONDS = 4.0

#: Frames of 20 ms in one delta.
DELTA_FRAMES = (5, 6, 7, 8, 9, 10)

#: How much faster than real time an answer is generated.
SPEED = (3.0, 10.0)

_LOUD = b"\x20" * FRAME_BYTES

#: The first and the last events of an answer; NUMBER is replaced by the answer's
#: number.
_BEGIN = (
    b'{"type":"response.created","event_id":"e","response":{"id":"respNUMBER",'
    b'"object":"realtime.response","status":"in_progress"}}',
    b'{"type":"response.output_item.added","event_id":"e","response_id":"respNUMBER",'
    b'"output_index":0,"item":{"id":"itemNUMBER","object":"realtime.item",'
    b'"type":"message","role":"assistant","status":"in_progress","content":[]}}',
    b'{"type":"response.content_part.added","event_id":"e","response_id":"respNUMBER",'
    b'"item_id":"itemNUMBER","output_index":0,"content_index":0,'
    b'"part":{"type":"audio","transcript":""}}',
)
_END = (
    b'{"type":"response.output_audio.done","event_id":"e","response_id":"respNUMBER",'
    b'"item_id":"itemNUMBER","output_index":0,"content_index":0}',
    b'{"type":"response.done","event_id":"e","response":{"id":"respNUMBER",'
    b'"object":"realtime.response","status":"completed","output":[]}}',
)
_DELTA = (
    b'{"type":"response.output_audio.delta","event_id":"event_0123456789abcdefghijk",'
    b'"response_id":"respNUMBER","item_id":"itemNUMBER","output_index":0,'
    b'"content_index":0,"delta":"'
)


@define
class Heard:
    """
    Measurements of all agents while C{is_measuring}.

    @ivar seconds: delays of callers' frames on their way to the agent.
    @ivar said: number of frames sent, of 20 ms each.
    """

    is_measuring: bool = False
    said: int = 0
    seconds: list[float] = field(factory=list)


class Speaker(Service):
    """One agent that speaks."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._pause_seconds = 0.0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            start = payload.find(AUDIO, 0, 80)
            if start >= 0:
                if self._heard.is_measuring:
                    self._hear(payload, start + len(AUDIO))
                return
            if self._timer is None:
                self._after(random.random() * CYCLE_SECONDS, self._answer, transport)
        super().on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _hear(self, payload: bytes, start: int) -> None:
        sent = _STAMP.unpack_from(a2b_base64(payload[start : start + 12]))[0]
        now = time.monotonic_ns()
        if 0 <= now - sent < RECENT_NS:
            self._heard.seconds.append((now - sent) / 1e9)

    def _after(self, seconds: float, do: Any, *arguments: Any) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, do, *arguments)

    def _tell(self, transport: WSTransport, events: tuple[bytes, ...]) -> None:
        number = b"%d" % self._number
        for event in events:
            transport.send(WSMsgType.TEXT, event.replace(b"NUMBER", number))

    def _answer(self, transport: WSTransport) -> None:
        self._number += 1
        self._left = round(ANSWER_SECONDS / PTIME_SECONDS)
        self._pause_seconds = PTIME_SECONDS / random.uniform(*SPEED)
        self._tell(transport, _BEGIN)
        # The first frame of an answer begins with the time it was sent.
        self._delta(transport, _STAMP.pack(time.monotonic_ns()) + _LOUD[_STAMP.size :])

    def _delta(self, transport: WSTransport, first: bytes = _LOUD) -> None:
        frames = min(random.choice(DELTA_FRAMES), self._left)
        self._left -= frames
        head = _DELTA.replace(b"NUMBER", b"%d" % self._number)
        audio = b2a_base64(first + _LOUD * (frames - 1), newline=False)
        transport.send(WSMsgType.TEXT, head + audio + b'"}')
        if self._heard.is_measuring:
            self._heard.said += frames
        if self._left:
            self._after(frames * self._pause_seconds, self._delta, transport)
            return
        self._tell(transport, _END)
        made_in = ANSWER_SECONDS / PTIME_SECONDS * self._pause_seconds
        self._after(CYCLE_SECONDS - made_in, self._answer, transport)
