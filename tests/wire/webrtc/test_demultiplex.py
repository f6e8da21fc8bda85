"""Which packet is what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.rtp.packet import is_rtcp
from chime_gateway.wire.webrtc.demultiplex import Kind, kind

#: RFC 7983 section 7, as its figure has it.
RANGES = {
    Kind.STUN: range(4),
    Kind.DTLS: range(20, 64),
    Kind.RTP: range(128, 192),
}


class DemultiplexTests(SynchronousTestCase):
    def test_every_first_byte(self) -> None:
        for first in range(256):
            expected = next((k for k, r in RANGES.items() if first in r), Kind.OTHER)
            for rest in (b"", b"\x00", b"\x00" * 30, b"\xbf\xff", b"\xe0\xff"):
                self.assertEqual(kind(bytes((first,)) + rest), expected, first)

    def test_every_second_byte_of_rtp(self) -> None:
        for first in RANGES[Kind.RTP]:
            for second in range(256):
                data = bytes((first, second)) + bytes(10)
                expected = Kind.RTCP if 192 <= second <= 223 else Kind.RTP
                self.assertEqual(kind(data), expected)
                self.assertEqual(is_rtcp(data), expected is Kind.RTCP)

    def test_nothing_is_something_else(self) -> None:
        self.assertEqual(kind(b""), Kind.OTHER)

    @given(st.binary(max_size=40))
    def test_everything_is_one_of_them(self, data: bytes) -> None:
        self.assertIn(kind(data), Kind)
