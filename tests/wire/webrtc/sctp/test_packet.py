"""SCTP packets: written ones are read back; others are read or rejected."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.sctp import packet
from chime_gateway.wire.webrtc.sctp.packet import (
    Chunk,
    Data,
    Init,
    Sack,
    SctpError,
    decode,
    encode,
    encode_chunk,
    encode_data,
    encode_init,
    encode_sack,
    read_data,
    read_init,
    read_sack,
)

_NUMBERS = st.integers(0, 2**32 - 1)
_SHORT = st.integers(0, 0xFFFF)
_PORTS = (5000, 5000)


def one(chunk: bytes) -> Chunk:
    (found,) = decode(encode(_PORTS, 1, [chunk])).chunks
    return found


class ReadingTests(SynchronousTestCase):
    @given(
        _NUMBERS,
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=50)),
            min_size=1,
            max_size=8,
        ),
    )
    def test_written_chunks_are_read_back(
        self, tag: int, drawn: list[tuple[int, int, bytes]]
    ) -> None:
        chunks = [encode_chunk(kind, body, flags) for kind, flags, body in drawn]
        found = decode(encode(_PORTS, tag, chunks))
        self.assertEqual(found.tag, tag)
        expected = [Chunk(kind, flags, body) for kind, flags, body in drawn]
        self.assertEqual(list(found.chunks), expected)

    @given(_NUMBERS, _SHORT, _SHORT, _NUMBERS, st.binary(min_size=1), st.booleans())
    def test_written_data_is_read_back(
        self, tsn: int, stream: int, number: int, ppid: int, said: bytes, is_first: bool
    ) -> None:
        for is_last in (False, True):
            data = Data(tsn, stream, number, ppid, said, is_first, is_last)
            self.assertEqual(read_data(one(encode_data(data))), data)

    @given(_NUMBERS, _NUMBERS, st.lists(st.tuples(_SHORT, _SHORT), max_size=128))
    def test_written_acknowledgements_are_read_back(
        self, tsn: int, window: int, gaps: list[tuple[int, int]]
    ) -> None:
        sack = Sack(tsn, window, gaps)
        self.assertEqual(read_sack(one(encode_sack(sack))), sack)

    @given(st.integers(1, 2**32 - 1), _NUMBERS, _NUMBERS, st.binary(max_size=300))
    def test_a_written_init_is_read_back(
        self, tag: int, window: int, tsn: int, cookie: bytes
    ) -> None:
        init = Init(tag, window, tsn, cookie)
        chunk = one(encode_init(packet.INIT_ACK, init, 10))
        self.assertEqual(read_init(chunk), init)

    @given(st.binary(max_size=200), st.booleans())
    def test_any_bytes_are_read_or_rejected(self, data: bytes, is_whole: bool) -> None:
        if is_whole:
            data = encode(_PORTS, 1, [data])
        with contextlib.suppress(SctpError):
            self.assertTrue(decode(data).chunks)
        chunk = Chunk(1, 3, data)
        for read in (read_init, read_data, read_sack):
            with contextlib.suppress(SctpError):
                read(chunk)

    def test_impossible_values_are_rejected(self) -> None:
        for init in (Init(0, 1, 1), Init(1, 1, 1)):
            streams = 0 if init.tag else 1
            chunk = one(encode_init(packet.INIT, init, streams))
            self.assertRaises(SctpError, read_init, chunk)
        for short in (b"\0\0\0\x03", b"\0\0\0\x05", b"\0\0\x01\0"):
            self.assertRaises(SctpError, decode, encode(_PORTS, 1, [short]))
        many = [encode_chunk(packet.COOKIE_ACK)] * 65
        self.assertRaises(SctpError, decode, encode(_PORTS, 1, many))
        self.assertRaises(SctpError, read_data, Chunk(0, 3, bytes(12)))
        self.assertRaises(SctpError, read_sack, Chunk(3, 0, bytes(8) + b"\0\1\0\0"))
