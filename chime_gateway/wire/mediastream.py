"""
The WebSocket media stream, sans I/O: what a carrier says and how it is answered.

One call is one stream.  L{TwilioStream} is byte-compatible with Twilio Media
Streams (twilio.com/docs/voice/media-streams/websocket-messages) and tolerant
where other carriers differ; L{RawStream} carries the same call with audio as
binary messages.  docs/protocols/media-stream.md publishes both.

A dialect turns messages into events and commands into messages.  It does not
know about sockets, time, authentication or what a call does with its audio.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec
from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.frames import L16_8000, L16_16000, L16_24000, PCMA, PCMU, Codec

#: One message holds at most some seconds of audio: 256 KiB is 24 s of mu-law
#: in base64.  Larger is a mistake or an attack.
MAX_MESSAGE_BYTES: Final = 1 << 18

#: customParameters end up in records and logs, so their size is bounded.
MAX_PARAMETERS: Final = 64
MAX_PARAMETER_CHARS: Final = 4096


#: Messages beyond Twilio's that a carrier's side must ask for in C{start}.
HANG_UP: Final = "hangup"
TRANSFER: Final = "transfer"
SEND_DTMF: Final = "dtmf"
CAPABILITIES: Final = frozenset({HANG_UP, TRANSFER, SEND_DTMF})


@frozen
class Started:
    """
    The carrier describes the stream; its audio follows.

    @ivar stream_id: the carrier's name for the stream (C{streamSid}).
    @ivar carrier_call_id: the carrier's name for the call (C{callSid}).
    @ivar parameters: C{customParameters}; the token, if any, is among them.
    @ivar capabilities: which of L{CAPABILITIES} the carrier's side has.
    """

    stream_id: str
    carrier_call_id: str
    codec: Codec
    parameters: Mapping[str, str] = field(
        repr=lambda value: f"<{len(value)} parameters>"
    )
    capabilities: frozenset[str] = frozenset()


@frozen
class DigitPressed:
    """The caller pressed a key."""

    digit: str


@frozen
class MarkReached:
    """The carrier played, or after a clear discarded, all audio before the mark."""

    name: str


@frozen
class Transferred:
    """
    What became of a transfer.

    @ivar fault: why the caller is still here; empty: the caller is gone.
    """

    transfer_id: str
    fault: str


@frozen
class Stopped:
    """The carrier ended the stream: the caller is gone."""


@frozen
class Ignored:
    """Something harmless that means nothing here.  Counted by C{why}."""

    why: str


Event: TypeAlias = (
    Started | DigitPressed | MarkReached | Transferred | Stopped | Ignored
)


class StreamDialect(Protocol):
    """
    One carrier's variant of a media stream.

    @ivar carrier: the name in metrics and records.
    @ivar buffers: the carrier has a playout buffer, takes audio faster than
        real time and obeys C{clear}.  Otherwise it must be fed one frame each
        ptime.
    @ivar echoes_marks: it returns a mark when what came before it was played.
    @ivar codec: settled by the L{Started} event.
    """

    carrier: str
    buffers: bool
    echoes_marks: bool
    codec: Codec

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        """
        Parse one message: the caller's audio comes as plain C{bytes} in
        C{codec}, everything else as an event.

        @raise RemoteProtocolError: the message cannot be understood; the call
            must end.
        """

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        """A message that plays C{audio}, and whether it is a binary one."""

    def mark(self, name: str) -> bytes | None:
        """A text message, or C{None} where the dialect has no marks."""

    def clear(self) -> bytes | None:
        """A text message that empties the carrier's playout buffer."""

    def hang_up(self, outcome: str, reason: str) -> bytes:
        """The call is over; for carriers with L{HANG_UP}."""

    def transfer(self, transfer_id: str, target: str) -> bytes:
        """Hand the caller on; for carriers with L{TRANSFER}."""

    def press(self, digit: str) -> bytes:
        """Send a key to the caller's side; for carriers with L{SEND_DTMF}."""


class _Media(msgspec.Struct):
    payload: str
    track: str = "inbound"


class _Envelope(msgspec.Struct):
    """
    What is looked at in every message.  The rarer rest stays raw until the event
    is known, so that nothing is refused for a member that does not matter.
    """

    event: str
    streamSid: Any = None
    media: _Media | None = None
    start: msgspec.Raw = msgspec.Raw()
    mark: msgspec.Raw = msgspec.Raw()
    dtmf: msgspec.Raw = msgspec.Raw()
    transfer: msgspec.Raw = msgspec.Raw()


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


def _decoder(kind: type[_T]) -> Callable[[bytes | msgspec.Raw, str], _T]:
    decode = msgspec.json.Decoder(kind).decode

    def parse(text: bytes | msgspec.Raw, what: str) -> _T:
        try:
            return decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
            raise RemoteProtocolError(f"malformed {what}: {exc}") from exc

    return parse


_parse_envelope: Final = _decoder(_Envelope)
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

_DIGITS: Final = frozenset("0123456789*#ABCD")


def _codec(media_format: _MediaFormat) -> Codec:
    try:
        rate = int(media_format.sampleRate)
        channels = int(media_format.channels)
    except ValueError as exc:
        raise RemoteProtocolError(f"malformed mediaFormat: {exc}") from exc
    codec = _FORMATS.get((media_format.encoding.lower(), rate))
    if codec is None or channels != 1:
        raise RemoteProtocolError(
            f"mediaFormat {media_format.encoding[:40]} at {rate} Hz with {channels}"
            " channels is not supported; use audio/x-mulaw or audio/x-alaw at 8000,"
            " or audio/x-l16 at 8000, 16000 or 24000, with one channel"
        )
    return codec


def _parameters(given: Mapping[str, Any] | None) -> dict[str, str]:
    """Values as text: carriers write numbers with and without quotes."""
    if not given:
        return {}
    if len(given) > MAX_PARAMETERS:
        raise RemoteProtocolError(f"{len(given)} customParameters")
    parameters = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in given.items()
    }
    if any(len(k) + len(v) > MAX_PARAMETER_CHARS for k, v in parameters.items()):
        raise RemoteProtocolError("a customParameter is too long")
    return parameters


class _Stream:
    """What the JSON side of both dialects shares: every event but audio."""

    def __init__(self) -> None:
        self.codec = PCMU
        self.stream_id = ""
        self._started = False

    def _event(self, message: _Envelope) -> Event:
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

    def _start(self, message: _Envelope) -> Started:
        if self._started:
            raise RemoteProtocolError("a second start")
        start = _parse_start(message.start, "start")
        stream_id = start.streamSid or message.streamSid or ""
        if not isinstance(stream_id, str):
            raise RemoteProtocolError("streamSid is not text")
        codec = _codec(start.mediaFormat or _MediaFormat())
        parameters = _parameters(start.customParameters)
        self._started = True
        self.stream_id = stream_id
        self.codec = codec
        # What is not known here is not used here.
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


class TwilioStream(_Stream):
    """JSON only; audio in base64; the carrier has the playout buffer."""

    carrier = "websocket"
    buffers = True
    echoes_marks = True

    def __init__(self) -> None:
        super().__init__()
        self._audio_head = b'{"event":"media","media":{"payload":"'

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        if is_binary:
            raise RemoteProtocolError("binary message on a JSON media stream")
        message = _parse_envelope(payload, "message")
        if message.event != "media":
            return self._event(message)
        media = message.media
        if media is None:
            raise RemoteProtocolError("media without media")
        if media.track == "outbound":
            return Ignored("outbound_track")
        if self._started and message.streamSid not in (None, self.stream_id):
            return Ignored("foreign_stream")
        try:
            return binascii.a2b_base64(media.payload, strict_mode=True)
        except ValueError as exc:
            raise RemoteProtocolError(f"media payload is not base64: {exc}") from exc

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        encoded = binascii.b2a_base64(audio, newline=False)
        return self._audio_head + encoded + b'"}}', False

    def mark(self, name: str) -> bytes | None:
        return self._command("mark", mark={"name": name})

    def clear(self) -> bytes | None:
        return self._command("clear")

    def _start(self, message: _Envelope) -> Started:
        started = super()._start(message)
        # Made once: the head of each audio message of this stream.
        head = self._command("media", media={"payload": ""})
        self._audio_head = head.removesuffix(b'"}}')
        return started


class RawStream(_Stream):
    """
    Audio as binary messages, everything else as the JSON of L{TwilioStream}.

    For peers that play what they get when they get it: we pace.
    """

    carrier = "websocket-raw"
    buffers = False
    echoes_marks = False

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        if is_binary:
            return payload
        message = _parse_envelope(payload, "message")
        if message.event == "media":
            raise RemoteProtocolError("media travels as binary messages here")
        return self._event(message)

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        return audio, True

    def mark(self, name: str) -> bytes | None:
        return None

    def clear(self) -> bytes | None:
        return self._command("clear")
