"""RTP, RTCP and keys: whole, cut, hostile."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire import dtmf, rtcp, rtp


class RtpTests(SynchronousTestCase):
    def test_what_is_written_is_read(self) -> None:
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

    def test_cut_anywhere_it_is_shorter_or_none(self) -> None:
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

    def test_counters_wrap(self) -> None:
        self.assertEqual(rtp.sequence_delta(2, 65534), 4)
        self.assertEqual(rtp.sequence_delta(65534, 2), -4)
        self.assertEqual(rtp.timestamp_delta(100, 2**32 - 60), 160)
        self.assertEqual(rtp.timestamp_delta(2**32 - 60, 100), -160)

    def test_rtcp_on_the_same_port_is_told_apart(self) -> None:
        self.assertTrue(rtp.is_rtcp(rtcp.goodbye(1)))
        self.assertFalse(rtp.is_rtcp(rtp.serialize(101, True, 1, 1, 1, b"")))


class RtcpTests(SynchronousTestCase):
    def reception(self) -> rtcp.Reception:
        reception = rtcp.Reception(0)
        for number in (65534, 65535, 0, 2, 1, 5):
            reception.packet(number, number * 160, number * 160)
        return reception

    def test_loss_is_counted_over_the_wrap(self) -> None:
        reception = self.reception()
        self.assertEqual((reception.expected, reception.lost), (8, 2))
        self.assertEqual(reception.highest, 65536 + 5)
        self.assertEqual(reception.fraction_lost(), 64)
        self.assertEqual(reception.fraction_lost(), 0)

    def test_jitter_is_that_of_the_rfc(self) -> None:
        reception = rtcp.Reception(0)
        for number in range(2000):
            late = 80 if number % 2 else 0
            reception.packet(number, number * 160, number * 160 + late)
        self.assertApproximates(reception.jitter, 80, 1)
        still = reception.jitter
        reception.packet(2000, 5, None)
        self.assertEqual(reception.jitter, still)

    def test_reports_are_read_as_they_were_written(self) -> None:
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

    def test_a_report_that_answers_none_of_ours_tells_no_round_trip(self) -> None:
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


class KeypadTests(SynchronousTestCase):
    def press(
        self, pad: dtmf.Keypad, digit: str, stamp: int, duration: int = 800
    ) -> str:
        found = ""
        for _, payload in dtmf.key_packets(digit, duration, 160):
            found += pad.event_received(stamp, payload) or ""
        return found

    def test_many_packets_are_one_key(self) -> None:
        pad = dtmf.Keypad()
        self.assertEqual(self.press(pad, "5", 1000), "5")
        self.assertEqual(self.press(pad, "5", 3000), "5")
        self.assertEqual(self.press(pad, "#", 5000), "#")

    def test_any_packet_of_it_is_enough(self) -> None:
        for _, payload in dtmf.key_packets("D", 800, 160):
            self.assertEqual(dtmf.Keypad().event_received(0, payload), "D")

    def test_late_packets_of_the_key_before_are_nothing(self) -> None:
        pad = dtmf.Keypad()
        packets = [payload for _, payload in dtmf.key_packets("1", 800, 160)]
        self.press(pad, "1", 1000)
        self.press(pad, "2", 3000)
        self.assertIsNone(pad.event_received(1000, packets[-1]))

    def test_a_key_held_for_half_a_minute_is_one_key(self) -> None:
        pad = dtmf.Keypad()
        found, stamp = "", 2**32 - 70000
        for _ in range(4):  # 8.2 s each, the timestamp wraps
            for duration in range(160, 0xFFFF, 160):
                payload = bytes([9, 10]) + duration.to_bytes(2)
                found += pad.event_received(stamp % 2**32, payload) or ""
            payload = b"\x09\x0a\xff\xff"
            found += pad.event_received(stamp % 2**32, payload) or ""
            stamp += 0xFFFF
        self.assertEqual(found, "9")

    def test_what_is_no_key(self) -> None:
        pad = dtmf.Keypad()
        for payload in (b"", b"\1", b"\x10\0\0\1", b"\xff\xff\xff\xff"):
            self.assertIsNone(pad.event_received(1, payload))

    def test_info_bodies(self) -> None:
        for kind, body, digit in (
            ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
            ("application/dtmf-relay", b"Duration= 160\nsignal = d\n", "D"),
            ("application/dtmf-relay", b"Signal=11\r\n", "#"),
            ("application/dtmf", b" 10 ", "*"),
            ("application/dtmf", b"7", "7"),
            ("application/dtmf", b"77", None),
            ("application/dtmf-relay", b"", None),
            ("application/dtmf-relay", b"\xff\xfe", None),
            ("text/plain", b"5", None),
        ):
            self.assertEqual(dtmf.info_digit(kind, body), digit)
