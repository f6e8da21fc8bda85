"""
The output audio buffer, where speech waits until it is due.

The service knows what it has sent, but not what was heard.  The sender takes one
frame every 20 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import Factory, define

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.conversation import Conversation, Item
from chime_gateway.sim.realtime.events import ServerEvents
from chime_gateway.sim.realtime.responses import Response


@define(eq=False)
class _Spoken:
    """
    One item in the buffer.

    @ivar waiting: audio that is generated but not sent.
    """

    item: Item
    waiting: bytearray = Factory(bytearray)
    sent_bytes: int = 0


@define(eq=False)
class _Playing:
    """
    The buffered audio of one response.

    @ivar is_done: the response has no more audio.
    @ivar is_started: a frame of the response was sent.
    """

    response: Response
    items: list[_Spoken] = Factory(list)
    is_done: bool = False
    is_started: bool = False

    def waiting_bytes(self) -> int:
        return sum(len(spoken.waiting) for spoken in self.items)

    def take(self, size: int) -> list[tuple[_Spoken, bytes]]:
        """Return the next bytes with their items; fewer, or none, at the end."""
        if not self.is_done and self.waiting_bytes() < size:
            return []
        taken = []
        for spoken in self.items:
            piece = bytes(spoken.waiting[:size])
            if piece:
                del spoken.waiting[: len(piece)]
                spoken.sent_bytes += len(piece)
                size -= len(piece)
                taken.append((spoken, piece))
        return taken


class PacedOutput:
    def __init__(
        self,
        codec: Codec,
        events: ServerEvents,
        conversation: Conversation,
        log: SessionLog,
    ) -> None:
        self._codec = codec
        self._events = events
        self._conversation = conversation
        self._log = log
        self._playing: deque[_Playing] = deque()
        self._cut_off: Response | None = None

    # -- from the model -----------------------------------------------------------

    def write(self, response: Response, item: Item, piece: bytes) -> None:
        if response is self._cut_off:
            return
        item.sent_bytes += len(piece)
        playing = self._of(response)
        if playing is None:
            playing = _Playing(response)
            self._playing.append(playing)
        if not playing.items or playing.items[-1].item is not item:
            playing.items.append(_Spoken(item))
        playing.items[-1].waiting += piece

    def done(self, response: Response) -> None:
        playing = self._of(response)
        if playing is not None:
            playing.is_done = True

    def interrupt(self) -> None:
        """Stop, and truncate the items to what was sent."""
        playing, self._playing = list(self._playing), deque()
        for one in playing:
            if not one.is_done:
                self._cut_off = one.response
            self._events.emit(
                "output_audio_buffer.cleared", response_id=one.response.id
            )
            for spoken in one.items:
                if spoken.sent_bytes < len(spoken.item.audio):
                    self._cut(one.response, spoken)

    def _cut(self, response: Response, spoken: _Spoken) -> None:
        if not response.request.is_out_of_band:
            end_ms = self._codec.duration_ms(spoken.sent_bytes)
            self._conversation.cut(spoken.item, 0, end_ms)

    def bytes_to_hear(self, response: Response) -> int:
        playing = self._of(response)
        return playing.waiting_bytes() if playing is not None else 0

    def _of(self, response: Response) -> _Playing | None:
        return next((one for one in self._playing if one.response is response), None)

    # -- commands -----------------------------------------------------------------

    def clear(self, message: Mapping[str, object]) -> None:
        """Handle C{output_audio_buffer.clear}."""
        self.interrupt()

    # -- to the caller -------------------------------------------------------------

    def next_frame(self) -> bytes:
        """Return the frame that is due; empty if there is no speech."""
        size = self._codec.frame_bytes
        while self._playing:
            playing = self._playing[0]
            taken = playing.take(size)
            if taken:
                return self._sent(playing, taken)
            if not playing.is_done:
                return b""  # the model generates slower than real time
            self._playing.popleft()
            if playing.is_started:
                self._events.emit(
                    "output_audio_buffer.stopped", response_id=playing.response.id
                )
        return b""

    def _sent(self, playing: _Playing, taken: list[tuple[_Spoken, bytes]]) -> bytes:
        frame = b""
        for spoken, piece in taken:
            self._log.spoken[spoken.item.id] += piece
            frame += piece
        if not playing.is_started:
            playing.is_started = True
            self._events.emit(
                "output_audio_buffer.started", response_id=playing.response.id
            )
        return frame + self._codec.silence(self._codec.frame_bytes - len(frame))
