"""
The WebSocket media stream in JSON: reads a carrier's messages, and writes the
gateway's.

One stream carries one call.  L{TwilioStream} is byte-compatible with Twilio Media
Streams (twilio.com/docs/voice/media-streams/websocket-messages), and accepts the
variants of other carriers.  docs/reference/media-stream.md describes it.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from chime_gateway.audio import L16_8000, L16_16000, L16_24000, PCMA, PCMU, Codec
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.media_stream.dialect import (
    CAPABILITIES,
    DigitPressed,
    Event,
    Ignored,
    MarkReached,
    Started,
    Stopped,
    Transferred,
)
from chime_gateway.wire.number import decimal

#: Carriers' ids of streams and calls have some tens of characters.
MAX_ID_CHARS: Final = 256

#: customParameters get into records and logs, so their size is limited.
MAX_PARAMETERS: Final = 64
MAX_PARAMETER_CHARS: Final = 4096


_Payload = TypeVar("_Payload", bytes, str)


class _Media(msgspec.Struct, Generic[_Payload], gc=False):
    payload: _Payload
    track: str = "inbound"


class _Envelope(msgspec.Struct, Generic[_Payload], gc=False):
    """
    The members of all messages.  Those of rare events stay raw until the event is
    known, so that no message is refused because of a member that does not matter.

    With C{bytes} as the type of a payload, base64 is decoded along with the rest; with
    C{str} it stays encoded.
    """

    event: str
    streamSid: Any = None
    media: _Media[_Payload] | None = None
    start: msgspec.Raw = msgspec.Raw()
    mark: msgspec.Raw = msgspec.Raw()
    dtmf: msgspec.Raw = msgspec.Raw()
    transfer: msgspec.Raw = msgspec.Raw()


AnyEnvelope: TypeAlias = _Envelope[bytes] | _Envelope[str]


class _MediaFormat(msgspec.Struct):
    encoding: str = "audio/x-mulaw"
    sampleRate: int | str = 8000
    channels: int | str = 1


class _Start(msgspec.Struct):
    streamSid: str | None = None
    callSid: str | None = None
    accountSid: str | None = None
    mediaFormat: _MediaFormat | None = None
    customParameters: dict[str, Any] | None = None
    capabilities: list[Any] | None = None


class _Mark(msgspec.Struct):
    name: str


class _Digit(msgspec.Struct):
    digit: str | int


class _Transfer(msgspec.Struct):
    id: str
    ok: bool
    reason: str = ""


_T = TypeVar("_T")

_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def _decoder(kind: type[_T]) -> Callable[[bytes | msgspec.Raw, str], _T]:
    decode = msgspec.json.Decoder(kind).decode

    def parse(text: bytes | msgspec.Raw, what: str) -> _T:
        try:
            return decode(text)
        except _UNREADABLE as exc:
            raise RemoteProtocolError(f"malformed {what}: {exc}") from exc

    return parse


parse_envelope: Final = _decoder(_Envelope[str])
_decode_frame: Final = msgspec.json.Decoder(_Envelope[bytes]).decode
_parse_start: Final = _decoder(_Start)
_parse_mark: Final = _decoder(_Mark)
_parse_digit: Final = _decoder(_Digit)
_parse_transfer: Final = _decoder(_Transfer)

#: (encoding, sample rate) as carriers write them -> codec.
_FORMATS: Final[Mapping[tuple[str, int], Codec]] = {
    **{(name, 8000): PCMU for name in ("audio/x-mulaw", "audio/pcmu", "pcmu", "mulaw")},
    **{(name, 8000): PCMA for name in ("audio/x-alaw", "audio/pcma", "pcma", "alaw")},
    **{
        (name, codec.clock_rate): codec
        for name in ("audio/x-l16", "audio/l16", "l16", "audio/pcm")
        for codec in (L16_8000, L16_16000, L16_24000)
    },
}

_MOST_HERTZ: Final = 999_999

_DIGITS: Final = frozenset("0123456789*#ABCD")


def _codec(media_format: _MediaFormat) -> Codec:
    rate = decimal(str(media_format.sampleRate), _MOST_HERTZ)
    channels = decimal(str(media_format.channels), _MOST_HERTZ)
    if rate is None or channels is None:
        raise RemoteProtocolError(
            "malformed mediaFormat: sampleRate and channels must be numbers"
        )
    codec = _FORMATS.get((media_format.encoding.lower(), rate))
    if codec is None or channels != 1:
        raise RemoteProtocolError(
            f"mediaFormat {media_format.encoding[:40]} at {rate} Hz with {channels}"
            " channels is not supported; use audio/x-mulaw or audio/x-alaw at 8000,"
            " or audio/x-l16 at 8000, 16000 or 24000, with one channel"
        )
    return codec


def _parameters(given: Mapping[str, object] | None) -> dict[str, str]:
    """Convert values to text: carriers write numbers with and without quotes."""
    if not given:
        return {}
    if len(given) > MAX_PARAMETERS:
        raise RemoteProtocolError(f"too many customParameters: {len(given)}")
    parameters = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in given.items()
    }
    if any(len(k) + len(v) > MAX_PARAMETER_CHARS for k, v in parameters.items()):
        raise RemoteProtocolError("a customParameter is too long")
    return parameters


class Stream:
    """The JSON messages that both dialects share: all except audio."""

    __slots__ = ("_started", "codec", "stream_id")

    def __init__(self) -> None:
        self.codec = PCMU
        self.stream_id = ""
        self._started = False

    def _event(self, message: AnyEnvelope) -> Event:
        kind = message.event
        if kind == "start":
            return self._start(message)
        if kind == "stop":
            return Stopped()
        if kind == "mark":
            return MarkReached(_parse_mark(message.mark, "mark").name)
        if kind == "dtmf":
            digit = str(_parse_digit(message.dtmf, "dtmf").digit).upper()
            return DigitPressed(digit) if digit in _DIGITS else Ignored("digit")
        if kind == "transferred":
            outcome = _parse_transfer(message.transfer, "transferred")
            fault = "" if outcome.ok else outcome.reason[:200] or "no reason given"
            return Transferred(outcome.id, fault)
        return Ignored("connected" if kind == "connected" else "unknown_event")

    def _start(self, message: AnyEnvelope) -> Started:
        if self._started:
            raise RemoteProtocolError("a second start")
        start = _parse_start(message.start, "start")
        stream_id = start.streamSid or message.streamSid or ""
        if not isinstance(stream_id, str):
            raise RemoteProtocolError("streamSid is not text")
        if max(len(stream_id), len(start.callSid or "")) > MAX_ID_CHARS:
            # One is repeated with every frame, the other is kept with the call.
            raise RemoteProtocolError(f"an id of more than {MAX_ID_CHARS} characters")
        codec = _codec(start.mediaFormat or _MediaFormat())
        parameters = _parameters(start.customParameters)
        self._started = True
        self.stream_id = stream_id
        self.codec = codec
        # Unknown capabilities are ignored.
        named = {c for c in start.capabilities or () if isinstance(c, str)}
        return Started(
            stream_id, start.callSid or "", codec, parameters, CAPABILITIES & named
        )

    def hang_up(self, outcome: str, reason: str) -> bytes:
        return self._command("hangup", hangup={"outcome": outcome, "reason": reason})

    def transfer(self, transfer_id: str, target: str) -> bytes:
        wanted = {"id": transfer_id, "target": target}
        return self._command("transfer", transfer=wanted)

    def press(self, digit: str) -> bytes:
        return self._command("dtmf", dtmf={"digit": digit})

    def _command(self, event: str, **members: object) -> bytes:
        message: dict[str, object] = {"event": event}
        if self.stream_id:
            message["streamSid"] = self.stream_id
        return msgspec.json.encode({**message, **members})


class TwilioStream(Stream):
    """All messages are JSON, with audio in base64; the carrier has a playout buffer."""

    __slots__ = ("_audio_head",)

    carrier = "websocket"
    buffers = True
    echoes_marks = True

    def __init__(self) -> None:
        super().__init__()
        self._audio_head = b'{"event":"media","media":{"payload":"'

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        if is_binary:
            raise RemoteProtocolError("binary message on a JSON media stream")
        message: AnyEnvelope
        try:
            message = _decode_frame(payload)
        except _UNREADABLE:
            # It also refuses some valid messages, and its errors have other texts.
            message = parse_envelope(payload, "message")
        if message.event != "media":
            return self._event(message)
        media = message.media
        if media is None:
            raise RemoteProtocolError("a media message without its media")
        if media.track == "outbound":
            return Ignored("outbound_track")
        if self._started and message.streamSid not in (None, self.stream_id):
            return Ignored("foreign_stream")
        audio = media.payload
        if isinstance(audio, bytes):
            return audio
        try:
            return binascii.a2b_base64(audio, strict_mode=True)
        except ValueError as exc:
            raise RemoteProtocolError(f"media payload is not base64: {exc}") from exc

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        encoded = binascii.b2a_base64(audio, newline=False)
        return self._audio_head + encoded + b'"}}', False

    def mark(self, name: str) -> bytes | None:
        return self._command("mark", mark={"name": name})

    def clear(self) -> bytes | None:
        return self._command("clear")

    def _start(self, message: AnyEnvelope) -> Started:
        started = super()._start(message)
        # Made once: the beginning of each audio message of this stream.
        head = self._command("media", media={"payload": ""})
        self._audio_head = head.removesuffix(b'"}}')
        return started
