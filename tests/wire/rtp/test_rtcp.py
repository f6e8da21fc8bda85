from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.rtp import rtcp


class RtcpTests(SynchronousTestCase):
    def reception(self) -> rtcp.Reception:
        reception = rtcp.Reception(0)
        for number in (65534, 65535, 0, 2, 1, 5):
            reception.packet(number, number * 160, number * 160)
        return reception

    def test_loss_is_counted_across_the_wrap(self) -> None:
        reception = self.reception()
        self.assertEqual((reception.expected, reception.lost), (8, 2))
        self.assertEqual(reception.highest, 65536 + 5)
        self.assertEqual(reception.fraction_lost(), 64)
        self.assertEqual(reception.fraction_lost(), 0)

    def test_jitter_is_computed_as_in_the_rfc(self) -> None:
        reception = rtcp.Reception(0)
        for number in range(2000):
            late = 80 if number % 2 else 0
            reception.packet(number, number * 160, number * 160 + late)
        self.assertApproximates(reception.jitter, 80, 1)
        still = reception.jitter
        reception.packet(2000, 5, None)
        self.assertEqual(reception.jitter, still)

    def test_written_reports_are_read_back(self) -> None:
        ntp = rtcp.ntp_time(1_700_000_000.25)
        block = rtcp.report_block(7, self.reception(), ntp, 0.5)
        data = rtcp.sender_report(9, ntp, 1234, 10, 1600, block)
        compound = rtcp.parse(data + rtcp.source_description(9, "c") + rtcp.goodbye(9))
        self.assertEqual((compound.ssrc, compound.sender_ntp), (9, ntp))
        self.assertTrue(compound.goodbye)
        report = compound.reports[0]
        self.assertEqual((report.ssrc, report.lost, report.fraction_lost), (7, 2, 0.25))
        self.assertEqual(report.last_sr, rtcp.middle(ntp))
        later = rtcp.ntp_time(1_700_000_001.0)
        round_trip = rtcp.round_trip(report, later)
        assert round_trip is not None
        self.assertApproximates(round_trip, 0.25, 0.001)
        for length in range(1, 30):
            self.assertEqual(len(rtcp.source_description(1, "n" * length)) % 4, 0)

    def test_a_report_without_our_timestamp_gives_no_round_trip(self) -> None:
        report = rtcp.Report(1, 0, -3, 0, 0, 0)
        self.assertIsNone(rtcp.round_trip(report, 5))
        self.assertIsNone(rtcp.round_trip(rtcp.Report(1, 0, 0, 0, 2**31, 0), 0))

    def test_more_packets_than_expected_are_a_negative_loss(self) -> None:
        reception = self.reception()
        for _ in range(5):
            reception.packet(5, 800, 800)
        compound = rtcp.parse(
            rtcp.receiver_report(1, rtcp.report_block(7, reception, 0, 0.0))
        )
        self.assertEqual(compound.reports[0].lost, -3)

    @given(
        st.sampled_from([kind for kind in range(202, 208) if kind != 203]),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
    )
    def test_every_packet_type_contains_its_sender(
        self, kind: int, ssrc: int, rest: bytes
    ) -> None:
        """An application's packet, such as a keep-alive, may come alone (RFC 5506)."""
        rest += bytes(-len(rest) % 4)
        words = 1 + len(rest) // 4
        data = struct.pack("!BBHI", 0x81, kind, words, ssrc) + rest
        self.assertEqual(rtcp.parse(data).ssrc, ssrc)
