"""Reads and writes SCTP packets and their chunks (RFC 9260 section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final

from attrs import frozen

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.webrtc.sctp.checksum import crc32c

#: Fits into an MTU of 1,280 bytes, with all headers.
MOST_PACKET_BYTES: Final = 1100

#: Chunk types.
DATA: Final = 0
INIT: Final = 1
INIT_ACK: Final = 2
SACK: Final = 3
HEARTBEAT: Final = 4
HEARTBEAT_ACK: Final = 5
ABORT: Final = 6
SHUTDOWN: Final = 7
SHUTDOWN_ACK: Final = 8
ERROR: Final = 9
COOKIE_ECHO: Final = 10
COOKIE_ACK: Final = 11

#: Flag of ABORT: its tag is that of the packet that it answers (the T bit).
REFLECTED: Final = 1

_COOKIE: Final = 7

_LAST: Final = 1
_FIRST: Final = 2
_UNORDERED: Final = 4

_HEADER: Final = Struct("!HHL")
_CHECKSUM: Final = Struct("<L")
_CHUNK: Final = Struct("!BBH")
_INIT: Final = Struct("!LLHHL")
_DATA: Final = Struct("!LHHL")
_SACK: Final = Struct("!LLHH")
_GAP: Final = Struct("!HH")
_PARAMETER: Final = Struct("!HH")

_HEADER_BYTES: Final = 12

#: Maximum bytes of a message in a chunk that is alone in its packet.
MOST_FRAGMENT_BYTES: Final = MOST_PACKET_BYTES - _HEADER_BYTES - 4 - _DATA.size

#: Maximum number of chunks in a packet; there could be more empty ones.
_MOST_CHUNKS: Final = 64

#: Maximum number of gap blocks that are reported or read; data after them is sent
#: again.
MOST_GAPS: Final = 128


class SctpError(RemoteProtocolError):
    """The peer has violated the protocol."""


@frozen
class Chunk:
    kind: int
    flags: int
    body: bytes


@frozen
class Packet:
    tag: int
    chunks: Sequence[Chunk]


@frozen
class Init:
    """
    The content of INIT and INIT ACK.

    @ivar window: the sender's receive window, in bytes.
    @ivar tsn: number of the sender's first DATA.
    @ivar cookie: the cookie of INIT ACK; empty in INIT.
    """

    tag: int
    window: int
    tsn: int
    cookie: bytes = b""


@frozen
class Data:
    """
    A message, or a piece of one.

    @ivar ppid: payload protocol identifier: its type, for the application.
    """

    tsn: int
    stream: int
    sequence: int
    ppid: int
    payload: bytes
    is_first: bool
    is_last: bool
    is_unordered: bool = False


@frozen
class Sack:
    """
    An acknowledgement.

    @ivar tsn: all data up to this number has arrived.
    @ivar window: the sender's remaining receive window, in bytes.
    @ivar gaps: ranges of data after that which have arrived, as offsets from C{tsn}.
    """

    tsn: int
    window: int
    gaps: Sequence[tuple[int, int]] = ()


# -- reading -----------------------------------------------------------------


def decode(data: bytes) -> Packet:
    """
    Read a packet.

    @raise SctpError: it is malformed or damaged.
    """
    if len(data) < _HEADER_BYTES + 4:
        raise SctpError("too short for an SCTP packet")
    (checksum,) = _CHECKSUM.unpack_from(data, 8)
    if crc32c(data[:8] + b"\0\0\0\0" + data[_HEADER_BYTES:]) != checksum:
        raise SctpError("wrong checksum")
    _, _, tag = _HEADER.unpack_from(data)
    chunks: list[Chunk] = []
    at, end = _HEADER_BYTES, len(data)
    while end - at >= 4:
        kind, flags, size = _CHUNK.unpack_from(data, at)
        if size < 4 or at + size > end or len(chunks) == _MOST_CHUNKS:
            raise SctpError("a chunk has an invalid length")
        chunks.append(Chunk(kind, flags, data[at + 4 : at + size]))
        at += size + -size % 4
    return Packet(tag, chunks)


def read_init(chunk: Chunk) -> Init:
    """
    Read INIT or INIT ACK.

    @raise SctpError: something in it is missing or invalid.
    """
    body = chunk.body
    if len(body) < _INIT.size:
        raise SctpError("INIT is too short")
    tag, window, streams_out, streams_in, tsn = _INIT.unpack_from(body)
    if not (tag and streams_out and streams_in):
        raise SctpError("INIT without a tag or streams")
    cookie = b""
    at = _INIT.size
    while len(body) - at >= 4:
        kind, size = _PARAMETER.unpack_from(body, at)
        if size < 4 or at + size > len(body):
            raise SctpError("a parameter has an invalid length")
        if kind == _COOKIE:
            cookie = body[at + 4 : at + size]
        at += size + -size % 4
    return Init(tag, window, tsn, cookie)


def read_data(chunk: Chunk) -> Data:
    """
    Read DATA.

    @raise SctpError: it is too short.
    """
    body = chunk.body
    if len(body) <= _DATA.size:
        raise SctpError("DATA without data")
    flags = chunk.flags
    tsn, stream, sequence, ppid = _DATA.unpack_from(body)
    return Data(
        tsn,
        stream,
        sequence,
        ppid,
        body[_DATA.size :],
        bool(flags & _FIRST),
        bool(flags & _LAST),
        bool(flags & _UNORDERED),
    )


def read_sack(chunk: Chunk) -> Sack:
    """
    Read SACK.

    @raise SctpError: it is too short.
    """
    body = chunk.body
    if len(body) < _SACK.size:
        raise SctpError("SACK is too short")
    tsn, window, gaps, _ = _SACK.unpack_from(body)
    if len(body) < _SACK.size + gaps * _GAP.size:
        raise SctpError("SACK is too short for its gaps")
    return Sack(
        tsn,
        window,
        [
            _GAP.unpack_from(body, _SACK.size + n * _GAP.size)
            for n in range(min(gaps, MOST_GAPS))
        ],
    )


# -- writing -----------------------------------------------------------------


def encode(ports: tuple[int, int], tag: int, chunks: Iterable[bytes]) -> bytes:
    """
    Write a packet.

    @param ports: ours and the peer's.
    @param chunks: chunks from L{encode_chunk} and the like.
    """
    header = _HEADER.pack(*ports, tag)
    rest = b"".join(chunks)
    return header + _CHECKSUM.pack(crc32c(header + b"\0\0\0\0" + rest)) + rest


def encode_chunk(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return _CHUNK.pack(kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


def encode_init(kind: int, init: Init, streams: int) -> bytes:
    body = _INIT.pack(init.tag, init.window, streams, streams, init.tsn)
    if init.cookie:
        body += _PARAMETER.pack(_COOKIE, 4 + len(init.cookie)) + init.cookie
    return encode_chunk(kind, body)


def encode_data(data: Data) -> bytes:
    flags = _FIRST * data.is_first | _LAST * data.is_last
    flags |= _UNORDERED * data.is_unordered
    head = _DATA.pack(data.tsn, data.stream, data.sequence, data.ppid)
    return encode_chunk(DATA, head + data.payload, flags)


def encode_sack(sack: Sack) -> bytes:
    head = _SACK.pack(sack.tsn, sack.window, len(sack.gaps), 0)
    gaps = b"".join(_GAP.pack(*gap) for gap in sack.gaps)
    return encode_chunk(SACK, head + gaps)
