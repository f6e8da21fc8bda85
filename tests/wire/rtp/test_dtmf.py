from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.rtp import dtmf


class KeypadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.number = 65530

    def come(self, receiver: dtmf.DtmfReceiver, stamp: int, payload: bytes) -> str:
        self.number = (self.number + 1) & 0xFFFF
        return receiver.event_received(self.number, stamp, payload) or ""

    def press(
        self, receiver: dtmf.DtmfReceiver, digit: str, stamp: int, duration: int = 800
    ) -> str:
        packets = dtmf.key_packets(digit, duration, 160)
        return "".join(self.come(receiver, stamp, payload) for _, payload in packets)

    def test_many_packets_of_an_event_are_one_key(self) -> None:
        receiver = dtmf.DtmfReceiver()
        self.assertEqual(self.press(receiver, "5", 1000), "5")
        self.assertEqual(self.press(receiver, "5", 3000), "5")
        self.assertEqual(self.press(receiver, "#", 5000), "#")

    def test_any_single_packet_reports_the_key(self) -> None:
        for _, payload in dtmf.key_packets("D", 800, 160):
            self.assertEqual(dtmf.DtmfReceiver().event_received(0, 0, payload), "D")

    def test_late_packets_of_the_previous_key_are_ignored(self) -> None:
        receiver = dtmf.DtmfReceiver()
        packets = [payload for _, payload in dtmf.key_packets("1", 800, 160)]
        self.press(receiver, "1", 1000)
        self.press(receiver, "2", 3000)
        late = self.number - 9
        self.assertIsNone(receiver.event_received(late, 1000, packets[-1]))

    def test_a_key_held_for_half_a_minute_is_one_key(self) -> None:
        receiver = dtmf.DtmfReceiver()
        found, stamp = "", 2**32 - 70000
        for _ in range(4):  # 8.2 s each, the timestamp wraps
            for duration in range(160, 0xFFFF, 160):
                payload = bytes([9, 10]) + duration.to_bytes(2)
                found += self.come(receiver, stamp % 2**32, payload)
            payload = b"\x09\x0a\xff\xff"
            found += self.come(receiver, stamp % 2**32, payload)
            stamp += 0xFFFF
        self.assertEqual(found, "9")

    def test_other_events_are_ignored(self) -> None:
        receiver = dtmf.DtmfReceiver()
        for payload in (b"", b"\1", b"\x10\0\0\1", b"\xff\xff\xff\xff"):
            self.assertIsNone(receiver.event_received(1, 1, payload))

    def test_bodies_of_info_are_read(self) -> None:
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
