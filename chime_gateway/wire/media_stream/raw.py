"""
The media stream with audio as binary messages.

docs/reference/media-stream.md describes it.
"""

from __future__ import annotations

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.media_stream.dialect import Event
from chime_gateway.wire.media_stream.twilio import Stream, parse_envelope


class RawStream(Stream):
    """
    Audio as binary messages, everything else in the same JSON as L{TwilioStream}.

    For peers without a playout buffer: the gateway paces the audio.
    """

    __slots__ = ()

    carrier = "websocket-raw"
    buffers = False
    echoes_marks = False

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        if is_binary:
            return payload
        message = parse_envelope(payload, "message")
        if message.event == "media":
            raise RemoteProtocolError("media must be binary messages on this stream")
        return self._event(message)

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        return audio, True

    def mark(self, name: str) -> bytes | None:
        return None

    def clear(self) -> bytes | None:
        return self._command("clear")
