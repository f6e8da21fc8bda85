"""RTP packets: complete, truncated and malicious ones."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp import rtcp


class RtpTests(SynchronousTestCase):
    def test_a_written_packet_is_read_back(self) -> None:
        data = rtp.serialize(101, True, 65535, 2**32 - 1, 0xDEADBEEF, b"xyz")
        packet = rtp.parse(data)
        self.assertEqual(
            packet, rtp.RtpPacket(101, True, 65535, 2**32 - 1, 0xDEADBEEF, b"xyz")
        )

    def test_sources_extension_and_padding_are_not_payload(self) -> None:
        data = (
            b"\xb2\x00\0\1\0\0\0\2\0\0\0\3"
            + b"cccc" * 2
            + b"\xbe\xde\0\1eeee"
            + b"audio"
            + b"\0\0\3"
        )
        self.assertEqual(rtp.parse(data).payload, b"audio")

    def test_a_truncated_packet_is_shorter_or_rejected(self) -> None:
        data = b"\xb2\x00\0\1\0\0\0\2\0\0\0\3" + b"cccc" * 2 + b"\xbe\xde\0\1eeee\0\0\3"
        for end in range(len(data)):
            try:
                rtp.parse(data[:end])
            except rtp.RtpError:
                continue

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=80))
    def test_any_bytes_are_a_packet_or_an_error(self, data: bytes) -> None:
        for parse in (rtp.parse, rtcp.parse):
            try:
                parse(data)
            except (rtp.RtpError, rtcp.RtcpError):
                continue

    def test_differences_of_counters_wrap(self) -> None:
        self.assertEqual(rtp.sequence_delta(2, 65534), 4)
        self.assertEqual(rtp.sequence_delta(65534, 2), -4)
        self.assertEqual(rtp.timestamp_delta(100, 2**32 - 60), 160)
        self.assertEqual(rtp.timestamp_delta(2**32 - 60, 100), -160)

    def test_rtcp_on_the_same_port_is_recognized(self) -> None:
        self.assertTrue(rtp.is_rtcp(rtcp.goodbye(1)))
        self.assertFalse(rtp.is_rtcp(rtp.serialize(101, True, 1, 1, 1, b"")))
