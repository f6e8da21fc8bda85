"""The protocol of each packet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.rtp.packet import is_rtcp
from chime_gateway.wire.webrtc.demultiplex import Kind, kind

#: The figure in RFC 7983 section 7.
RANGES = {
    Kind.STUN: range(4),
    Kind.DTLS: range(20, 64),
    Kind.RTP: range(128, 192),
}


class DemultiplexTests(SynchronousTestCase):
    def test_every_first_byte_selects_its_protocol(self) -> None:
        for first in range(256):
            expected = next((k for k, r in RANGES.items() if first in r), Kind.OTHER)
            for rest in (b"", b"\x00", b"\x00" * 30, b"\xbf\xff", b"\xe0\xff"):
                self.assertEqual(kind(bytes((first,)) + rest), expected, first)

    def test_the_second_byte_distinguishes_rtp_and_rtcp(self) -> None:
        for first in RANGES[Kind.RTP]:
            for second in range(256):
                data = bytes((first, second)) + bytes(10)
                expected = Kind.RTCP if 192 <= second <= 223 else Kind.RTP
                self.assertEqual(kind(data), expected)
                self.assertEqual(is_rtcp(data), expected is Kind.RTCP)

    def test_an_empty_packet_has_no_protocol(self) -> None:
        self.assertEqual(kind(b""), Kind.OTHER)

    @given(st.binary(max_size=40))
    def test_every_packet_has_a_kind(self, data: bytes) -> None:
        self.assertIn(kind(data), Kind)
