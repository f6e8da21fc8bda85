"""
Reads Matroska incrementally, as Kinesis Video Streams sends it.

C{GetMedia} answers with a sequence of Matroska documents, one for each fragment, with
segments (and perhaps clusters) of unknown size.  So the tree is read flat: an element
that contains others is entered, regardless of its size, and any other element is either
read as a whole or skipped.

RFC 8794 (EBML), RFC 9559 (Matroska).
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from attrs import frozen

from chime_gateway.errors import RemoteProtocolError

#: Far more than any needed element; a block is one frame of 64 ms.
MAX_ELEMENT_BYTES: Final = 1 << 20

_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_INFO: Final = 0x1549A966
_TIMESTAMP_SCALE: Final = 0x2AD7B1
_TRACKS: Final = 0x1654AE6B
_TRACK_ENTRY: Final = 0xAE
_TRACK_NUMBER: Final = 0xD7
_CODEC_ID: Final = 0x86
_AUDIO: Final = 0xE1
_SAMPLING_FREQUENCY: Final = 0xB5
_CHANNELS: Final = 0x9F
_BIT_DEPTH: Final = 0x6264
_CLUSTER: Final = 0x1F43B675
_TIMESTAMP: Final = 0xE7
_SIMPLE_BLOCK: Final = 0xA3
_BLOCK_GROUP: Final = 0xA0
_BLOCK: Final = 0xA1
_TAGS: Final = 0x1254C367
_TAG: Final = 0x7373
_SIMPLE_TAG: Final = 0x67C8
_TAG_NAME: Final = 0x45A3
_TAG_STRING: Final = 0x4487
_TAG_BINARY: Final = 0x4485

#: Elements that are entered, regardless of their size.
_PARENTS: Final = frozenset(
    {
        *(_SEGMENT, _INFO, _TRACKS, _TRACK_ENTRY, _AUDIO, _CLUSTER, _BLOCK_GROUP),
        *(_TAGS, _TAG, _SIMPLE_TAG),
    }
)

#: Elements that are read as a whole.
_LEAVES: Final = frozenset(
    {
        *(_EBML, _TIMESTAMP_SCALE, _TRACK_NUMBER, _CODEC_ID, _SAMPLING_FREQUENCY),
        *(_CHANNELS, _BIT_DEPTH, _TIMESTAMP, _SIMPLE_BLOCK, _BLOCK),
        *(_TAG_NAME, _TAG_STRING, _TAG_BINARY),
    }
)


@frozen
class Track:
    """
    The description of a track.

    @ivar codec: C{A_PCM/INT/LIT} and the like; a Voice Connector's is not documented.
    @ivar rate: samples per second; the default is 8000 (RFC 9559).
    """

    number: int
    codec: str
    rate: float
    channels: int
    bits: int


@frozen
class Block:
    """
    One frame of a track.

    @ivar time_ms: time since the start of the document.
    """

    track: int
    time_ms: float
    payload: bytes


@frozen
class Tag:
    """A tag's name and value; binary values stay bytes."""

    name: str
    value: str | bytes


Event: TypeAlias = Track | Block | Tag


class MatroskaReader:
    """
    Reads tracks, blocks and tags from a stream of bytes, in their order.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0
        self._has_begun = False
        self._begin()

    def _begin(self) -> None:
        """Begin a new document."""
        self._scale_ms = 1.0
        self._cluster_at = 0
        self._tag_name = ""
        self._track: dict[int, bytes] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """
        Read the next bytes, of any number.

        @raise RemoteProtocolError: this is not Matroska; reading cannot continue.
        """
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        at = 0
        while True:
            if self._skip:
                passed = min(self._skip, len(buffer) - at)
                at += passed
                self._skip -= passed
                if self._skip:
                    break
            header = _header(buffer, at)
            if header is None:
                break
            element, size, length = header
            if not self._has_begun:
                # Nearly all bytes form some element, but the first must be this one.
                if element != _EBML:
                    raise RemoteProtocolError("this is not Matroska")
                self._has_begun = True
            if element in _PARENTS:
                self._enter(element, events)
                at += length
                continue
            if size is None:
                raise RemoteProtocolError(f"element {element:X} of unknown size")
            if element not in _LEAVES:
                at += length
                self._skip = size
                continue
            if size > MAX_ELEMENT_BYTES:
                raise RemoteProtocolError(f"element {element:X} of {size} bytes")
            if len(buffer) < at + length + size:
                break
            at += length
            self._take(element, bytes(buffer[at : at + size]), events)
            at += size
        del buffer[:at]
        return events

    def _enter(self, element: int, events: list[Event]) -> None:
        if element in (_AUDIO, _TAG, _BLOCK_GROUP):
            return
        if element == _SIMPLE_TAG:
            self._tag_name = ""
            return
        # Any other element ends a track's description.
        track, self._track = self._track, None
        if track:
            events.append(_track(track))
        if element == _TRACK_ENTRY:
            self._track = {}

    def _take(self, element: int, data: bytes, events: list[Event]) -> None:
        if element in (_SIMPLE_BLOCK, _BLOCK):
            number, at = _number(data, 0)
            if len(data) < at + 3:
                raise RemoteProtocolError("a block is too short")
            offset, flags = struct.unpack_from(">hB", data, at)
            time_ms = (self._cluster_at + offset) * self._scale_ms
            payload = data[at + 3 :]
            if flags & 0x06:
                payload = _without_lacing(payload, flags & 0x06)
            events.append(Block(number, time_ms, payload))
        elif element == _TIMESTAMP:
            self._cluster_at = _unsigned(data)
        elif element == _TAG_NAME:
            self._tag_name = _text(data)
        elif element == _TAG_STRING:
            events.append(Tag(self._tag_name, _text(data)))
        elif element == _TAG_BINARY:
            events.append(Tag(self._tag_name, data))
        elif element == _EBML:
            self._begin()
        elif element == _TIMESTAMP_SCALE:
            self._scale_ms = _unsigned(data) / 1e6
        elif self._track is not None:
            self._track[element] = data


def _header(buffer: bytearray, at: int) -> tuple[int, int | None, int] | None:
    """
    Read an element's header (RFC 8794 sections 4 to 6).

    @return: the element's id, its size (C{None}: unknown), and the length of the
        header; C{None}: the header is incomplete.
    """
    available = len(buffer) - at
    if available < 2:
        return None
    first = buffer[at]
    id_length = 9 - first.bit_length()
    if id_length > 4:
        raise RemoteProtocolError(f"no element begins with {first:02X}")
    if available <= id_length:
        return None
    element = int.from_bytes(buffer[at : at + id_length], "big")
    first = buffer[at + id_length]
    size_length = 9 - first.bit_length()
    if size_length > 8:
        raise RemoteProtocolError("a size of more than eight bytes")
    if available < id_length + size_length:
        return None
    start = at + id_length
    bits = 7 * size_length
    size = int.from_bytes(buffer[start : start + size_length], "big") & (1 << bits) - 1
    is_unknown = size == (1 << bits) - 1
    return element, None if is_unknown else size, id_length + size_length


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a variable-size integer; return also the position after it."""
    length = 9 - data[at].bit_length() if at < len(data) else 9
    if length > 8 or len(data) < at + length:
        raise RemoteProtocolError("a number is cut short")
    value = int.from_bytes(data[at : at + length], "big")
    return value & (1 << 7 * length) - 1, at + length


def _without_lacing(data: bytes, kind: int) -> bytes:
    """
    Join the laced frames of a block: skip their sizes, which come first (RFC 9559
    section 10.3).
    """
    if not data:
        raise RemoteProtocolError("a laced block without frames")
    at = 1
    if kind != 0x04:  # fixed-size lacing has no sizes
        for index in range(data[0]):
            if kind == 0x02:  # Xiph
                while at < len(data) and data[at] == 0xFF:
                    at += 1
                at += 1
            else:
                _, at = _number(data, at)
            if at > len(data):
                raise RemoteProtocolError(f"laced frame {index} has no size")
    return data[at:]


def _track(found: dict[int, bytes]) -> Track:
    rate = found.get(_SAMPLING_FREQUENCY, b"")
    kinds = {4: ">f", 8: ">d"}
    if rate and len(rate) not in kinds:
        raise RemoteProtocolError(f"a sampling rate of {len(rate)} bytes")
    return Track(
        number=_unsigned(found.get(_TRACK_NUMBER, b"")),
        codec=_text(found.get(_CODEC_ID, b"")),
        rate=struct.unpack(kinds[len(rate)], rate)[0] if rate else 8000.0,
        channels=_unsigned(found.get(_CHANNELS, b"\1")),
        bits=_unsigned(found.get(_BIT_DEPTH, b"")),
    )


def _unsigned(data: bytes) -> int:
    """Read an unsigned integer of up to eight bytes (RFC 8794 section 7.2)."""
    if len(data) > 8:
        raise RemoteProtocolError(f"an integer of {len(data)} bytes")
    return int.from_bytes(data, "big")


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")
