from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.framing import StreamFramer
from chime_gateway.wire.sip.message import BadMessage
from tests.wire.sip.test_message import OPTIONS


class FramingTests(SynchronousTestCase):
    STREAM = (
        OPTIONS + b"\r\n\r\n" + OPTIONS.replace(b"Length: 0", b"Length: 3") + b"abc"
    )

    def test_pieces_of_any_size_give_the_same_messages(self) -> None:
        whole = StreamFramer().feed(self.STREAM)
        self.assertEqual(len(whole), 2)
        self.assertTrue(whole[1].endswith(b"\r\n\r\nabc"))
        for size in (1, 2, 3, 7, 100):
            framer = StreamFramer()
            found = []
            for at in range(0, len(self.STREAM), size):
                found += framer.feed(self.STREAM[at : at + size])
            self.assertEqual(found, whole)
            self.assertEqual(framer.pings, 1)

    def test_a_malformed_stream_is_rejected(self) -> None:
        for data in (
            OPTIONS.replace(b"Content-Length: 0\r\n", b""),
            OPTIONS.replace(b"Length: 0", b"Length: -1"),
            OPTIONS.replace(b"Length: 0", b"Length: 0\r\nl: 7"),
            OPTIONS.replace(b"Length: 0", b"Length: 99999999"),
            b"x" * 20000,
            OPTIONS.replace(b"Max", b"X: " + b"y" * 20000 + b"\r\nMax"),
        ):
            with self.assertRaises(BadMessage):
                StreamFramer().feed(data)

    def test_blank_lines_are_skipped(self) -> None:
        framer = StreamFramer()
        self.assertEqual(framer.feed(b"\r\n"), [])
        self.assertEqual(framer.feed(b"\r\n\r\n\r\n\r\n" + OPTIONS), [OPTIONS])
        self.assertEqual(framer.pings, 2)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=20))
    def test_any_stream_is_split_or_rejected(self, parts: list[bytes]) -> None:
        framer = StreamFramer()
        try:
            for part in parts:
                for message in framer.feed(part):
                    self.assertIn(b"\r\n\r\n", message)
        except BadMessage:
            return
