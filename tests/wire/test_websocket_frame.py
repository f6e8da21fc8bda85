from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.websocket_frame import (
    NOT_PLAIN,
    OPCODE_BINARY,
    OPCODE_TEXT,
    FrameReader,
    Piece,
    encode_frame,
    mask,
)

KEY = b"\x12\x34\x56\x78"


def read(data: bytes, *, masked: bool = True, by: int = 1 << 20) -> list[Piece]:
    reader = FrameReader(masked=masked, max_payload_bytes=70_000)
    pieces: list[Piece] = []
    for start in range(0, len(data), by):
        pieces += reader.feed(data[start : start + by])
    return pieces


class MaskTests(SynchronousTestCase):
    def test_the_example_of_rfc_6455_section_5_7(self) -> None:
        frame = encode_frame(OPCODE_TEXT, b"Hello", b"\x37\xfa\x21\x3d")
        self.assertEqual(frame.hex(), "818537fa213d7f9f4d5158")

    @given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
    def test_masking_twice_gives_the_same(self, payload: bytes, key: bytes) -> None:
        expected = bytes(b ^ key[i % 4] for i, b in enumerate(payload))
        self.assertEqual(mask(payload, key), expected)
        self.assertEqual(mask(expected, key), payload)


class FrameReaderTests(SynchronousTestCase):
    def test_messages_with_every_form_of_length_are_read(self) -> None:
        for size in (0, 1, 125, 126, 65_535, 65_536, 70_000):
            for masked, key in ((True, KEY), (False, None)):
                with self.subTest(size=size, masked=masked):
                    payload = bytes(i & 0xFF for i in range(size))
                    frame = encode_frame(OPCODE_BINARY, payload, key)
                    self.assertEqual(
                        read(frame, masked=masked), [(OPCODE_BINARY, payload)]
                    )

    def test_single_bytes_give_the_same_messages(self) -> None:
        data = encode_frame(OPCODE_TEXT, b"one", KEY) + encode_frame(
            OPCODE_BINARY, b"x" * 300, KEY
        )
        expected = [(OPCODE_TEXT, b"one"), (OPCODE_BINARY, b"x" * 300)]
        for by in (1, 2, 3, 7, 100):
            with self.subTest(by=by):
                self.assertEqual(read(data, by=by), expected)

    def test_a_truncated_frame_is_not_returned_yet(self) -> None:
        frame = encode_frame(OPCODE_TEXT, b"y" * 200, KEY)
        for cut in range(len(frame)):
            self.assertEqual(read(frame[:cut]), [])

    def test_control_frames_are_passed_on_complete_and_in_order(self) -> None:
        ping = bytes.fromhex("8984") + KEY + mask(b"ping", KEY)
        data = encode_frame(1, b"a", KEY) + ping + encode_frame(1, b"b", KEY)
        self.assertEqual(read(data), [(1, b"a"), (NOT_PLAIN, ping), (1, b"b")])
        self.assertEqual(read(data, by=1), [(1, b"a"), (NOT_PLAIN, ping), (1, b"b")])

    def test_fragments_are_passed_on_until_the_last(self) -> None:
        def fragment(first: int, payload: bytes) -> bytes:
            return bytes([first, 0x80 | len(payload)]) + KEY + mask(payload, KEY)

        begin, ping = fragment(0x01, b"be"), fragment(0x89, b"")
        middle, end = fragment(0x00, b"g"), fragment(0x80, b"in")
        whole = encode_frame(1, b"next", KEY)
        self.assertEqual(
            read(begin + ping + middle + end + whole),
            [(NOT_PLAIN, f) for f in (begin, ping, middle, end)] + [(1, b"next")],
        )

    def test_a_frame_masked_the_wrong_way_is_not_plain(self) -> None:
        unmasked = encode_frame(1, b"naked")
        self.assertEqual(read(unmasked, masked=True), [(NOT_PLAIN, unmasked)])
        masked = encode_frame(1, b"masked", KEY)
        self.assertEqual(read(masked, masked=False), [(NOT_PLAIN, masked)])

    def test_reserved_bits_are_not_plain(self) -> None:
        frame = b"\xc1\x81" + KEY + mask(b"z", KEY)
        self.assertEqual(read(frame), [(NOT_PLAIN, frame)])

    def test_a_frame_over_the_limit_is_passed_on_after_its_header(self) -> None:
        header = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + KEY
        self.assertEqual(read(header), [(NOT_PLAIN, header)])
        later = encode_frame(1, b"later", KEY)
        reader = FrameReader(masked=True, max_payload_bytes=100)
        reader.feed(header)
        self.assertEqual(reader.feed(later), [(NOT_PLAIN, later)])

    @given(st.binary(max_size=200), st.integers(1, 50))
    def test_no_byte_is_lost_or_invented(self, data: bytes, by: int) -> None:
        # Plain messages are encoded again: together with the other pieces they must be
        # a prefix of the input.  Pieces of any size must give the same result.
        pieces = read(data, masked=False, by=by)
        again = b"".join(
            payload if opcode == NOT_PLAIN else encode_frame(opcode, payload)
            for opcode, payload in pieces
        )
        minimal = read(again, masked=False)
        self.assertEqual(
            [p for p in minimal if p[0] != NOT_PLAIN],
            [p for p in pieces if p[0] != NOT_PLAIN],
        )
        self.assertEqual(
            [p for p in read(data, masked=False) if p[0] != NOT_PLAIN],
            [p for p in pieces if p[0] != NOT_PLAIN],
        )

    @given(
        st.booleans(),
        st.sampled_from((0, 125, 126, 300, 65_535, 65_536, 70_000, 70_001)),
        st.sampled_from((1, 2, 9, 0)),
        st.integers(-3, 3),
        st.binary(max_size=9),
    )
    def test_the_fast_path_gives_the_same_message_or_changes_nothing(
        self, masked: bool, size: int, opcode: int, more: int, before: bytes
    ) -> None:
        """
        Other data is not touched: another kind of frame, one that is too long or
        incomplete, one with data after it, or any data while a frame is incomplete.
        """
        key = KEY if masked else None
        frame = encode_frame(opcode, bytes(i & 0xFF for i in range(size)), key)
        data = frame[:more] if more < 0 else frame + b"\x81" * more
        readers = [
            FrameReader(masked=masked, max_payload_bytes=70_000) for _ in range(2)
        ]
        for reader in readers:
            reader.feed(before)
        payload = readers[0].whole(data)
        pieces = readers[1].feed(data)
        if payload is None:
            self.assertEqual(readers[0].feed(data), pieces)
        else:
            self.assertEqual(pieces, [(data[0] & 0x0F, payload)])
        if 126 <= size < 65_536 and opcode in (1, 2) and not more and not before:
            self.assertIsNotNone(payload)
