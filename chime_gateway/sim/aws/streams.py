"""Simulates the part of Kinesis Video Streams that a gateway uses."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from chime_gateway.sim.aws.protocol import ACCOUNT, REGION, Fault

_Parameters = Mapping[str, Any]


def _element(number: int, payload: bytes, *, is_unknown: bool = False) -> bytes:
    """Encode an EBML element (RFC 8794)."""
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    size = (1 << 56) - 1 if is_unknown else len(payload)
    return name + (size | 1 << 56).to_bytes(8, "big") + payload


def _tags(tags: Mapping[str, str]) -> bytes:
    found = b""
    for name, value in tags.items():
        inner = _element(0x45A3, name.encode()) + _element(0x4487, value.encode())
        found += _element(0x7373, _element(0x67C8, inner))
    return _element(0x1254C367, found)


def _fragment(
    tags: Mapping[str, str], after: Mapping[str, str], at_ms: int, frames: list[bytes]
) -> bytes:
    """Encode a fragment as GetMedia sends it: as one Matroska document."""
    audio = _element(0xB5, struct.pack(">d", 8000.0)) + _element(0x9F, b"\1")
    entry = (
        _element(0xD7, b"\1")
        + _element(0x83, b"\2")
        + _element(0x86, b"A_PCM/INT/LIT")
        + _element(0xE1, audio + _element(0x6264, b"\x10"))
    )
    blocks = b"".join(
        _element(0xA3, b"\x81" + struct.pack(">hB", 64 * n, 0x80) + frame)
        for n, frame in enumerate(frames)
    )
    timecode = _element(0xE7, at_ms.to_bytes(8, "big"))
    return _element(0x1A45DFA3, _element(0x4282, b"matroska")) + _element(
        0x18538067,
        _element(0x1549A966, _element(0x2AD7B1, (10**6).to_bytes(4, "big")))
        + _element(0x1654AE6B, _element(0xAE, entry))
        + _tags(tags)
        + _element(0x1F43B675, timecode + blocks)
        + _tags(after),
        is_unknown=True,
    )


@define(eq=False, slots=False)
class Stream:
    """
    One Kinesis video stream.

    @ivar fragments: number and bytes of each fragment, from the beginning.
    @ivar readers: the current GetMedia requests, which receive new fragments.
    """

    arn: str
    clock: IReactorTime
    fragments: list[tuple[int, bytes]] = Factory(list)
    readers: list[_Reader] = Factory(list)
    _tail: bytes = b""
    _frames: list[bytes] = field(factory=list)

    #: The number of frames, each of 64 ms, in a fragment.
    frames_each = 8

    def write(self, samples: bytes, tags: Mapping[str, str]) -> None:
        """Write 16 bit samples of the leg that has these tags."""
        data = self._tail + samples
        while len(data) >= 1024:
            self._frames.append(data[:1024])
            data = data[1024:]
            if len(self._frames) == self.frames_each:
                self.cut(tags)
        self._tail = data

    def cut(self, tags: Mapping[str, str]) -> None:
        """End the fragment here."""
        frames, self._frames = self._frames, []
        number = 91343852333181437442444219794598596340754947404 + len(self.fragments)
        now = f"{time.time():.3f}"
        before = {
            "AWS_KINESISVIDEO_FRAGMENT_NUMBER": str(number),
            "AWS_KINESISVIDEO_SERVER_TIMESTAMP": now,
            "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP": now,
            **tags,
        }
        after = {
            "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW": "0",
            "AWS_KINESISVIDEO_CONTINUATION_TOKEN": str(number),
        }
        self.append(number, _fragment(before, after, 0, frames))

    def append(self, number: int, data: bytes) -> None:
        self.fragments.append((number, data))
        for reader in tuple(self.readers):
            reader.write(data)

    def error(self, code: str) -> None:
        """Send the error with which GetMedia reports that it cannot continue."""
        tags = {"AWS_KINESISVIDEO_ERROR_CODE": code, "AWS_KINESISVIDEO_ERROR_ID": "1"}
        for reader in tuple(self.readers):
            reader.write(_element(0x1A45DFA3, b"") + _tags(tags))

    def end(self) -> None:
        """End every GetMedia request."""
        for reader in tuple(self.readers):
            reader.finish()

    def next_number(self) -> int:
        return 91343852333181437442444219794598596340754947404 + len(self.fragments)


class _Reader:
    """One GetMedia request."""

    def __init__(self, stream: Stream, after: int | None) -> None:
        self._stream = stream
        self._after = after

    def start(self, write: Callable[[bytes], None], finish: Callable[[], None]) -> None:
        self.write = write
        self.finish = finish
        self._stream.readers.append(self)
        for number, data in self._stream.fragments:
            if self._after is not None and number > self._after:
                write(data)

    def stop(self) -> None:
        self._stream.readers.remove(self)


class Streams:
    """
    Kinesis Video Streams.

    @ivar endpoint: the URL of the media operations.
    """

    def __init__(self, clock: IReactorTime, region: str = REGION) -> None:
        self._region = region
        self.endpoint = "http://127.0.0.1"
        self.streams: dict[str, Stream] = {}
        self._clock = clock

    def operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {"GetDataEndpoint": self._get_endpoint}

    def media_operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {"GetMedia": self._get_media}

    def new_stream(self, voice_connector_id: str) -> Stream:
        name = f"ChimeVoiceConnector-{voice_connector_id}-{secrets.token_hex(8)}"
        place = f"arn:aws:kinesisvideo:{self._region}:{ACCOUNT}"
        arn = f"{place}:stream/{name}/1680731924044"
        stream = self.streams[arn] = Stream(arn, self._clock)
        return stream

    def _find(self, parameters: _Parameters) -> Stream:
        stream = self.streams.get(parameters.get("StreamARN", ""))
        if stream is None:
            text = "The requested stream is not found or not active"
            raise Fault("ResourceNotFoundException", text, 404)
        return stream

    def _get_endpoint(self, parameters: _Parameters) -> Any:
        self._find(parameters)
        return {"DataEndpoint": self.endpoint}

    def _get_media(self, parameters: _Parameters) -> Any:
        stream = self._find(parameters)
        selector = parameters["StartSelector"]
        kind = selector["StartSelectorType"]
        after: int | None = None
        if kind == "FRAGMENT_NUMBER":
            after = int(selector["AfterFragmentNumber"])
        elif kind == "CONTINUATION_TOKEN":
            after = int(selector["ContinuationToken"])
        elif kind == "EARLIEST":
            after = -1
        elif kind != "NOW":
            raise Fault("InvalidArgumentException", f"{kind} is not simulated")
        return _Reader(stream, after)
