"""Keys as RTP events, for the gateway's own receiver of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.caller.rtp_keys import DIGITS, PAYLOAD_TYPE, RtpKeys
from chime_gateway.wire.rtp.dtmf import DtmfReceiver

SAMPLES = 160

#: Packets of one key.
PACKETS = 7

#: Of each key, those packets that come, in their order, some of them twice.
ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(DIGITS),
        st.lists(st.integers(0, PACKETS - 1), min_size=1, max_size=9).map(sorted),
    ),
    max_size=12,
)


class RtpKeysTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(ARRIVALS, st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
    def test_a_receiver_has_each_key_once_whatever_is_lost(
        self, keys: list[tuple[str, list[int]]], sequence: int, timestamp: int
    ) -> None:
        packets: list[tuple[bool, int, int, int, bytes]] = []

        def send(has_marker: bool, kind: int, at: int, payload: bytes) -> None:
            number = (sequence + len(packets)) & 0xFFFF
            packets.append((has_marker, kind, number, at, payload))

        sender = RtpKeys(send)
        for digit, _ in keys:
            sender.press(digit)
        frames = 0
        for _ in range(20 * (len(keys) + 1)):
            if not sender.sent(timestamp, SAMPLES):
                send(False, 0, timestamp, b"")
                frames += 1
            timestamp = (timestamp + SAMPLES) & 0xFFFFFFFF
        events = [one for one in packets if one[1] == PAYLOAD_TYPE]
        self.assertEqual(len(events), PACKETS * len(keys))
        self.assertEqual(frames, 20 * (len(keys) + 1) - 5 * len(keys))
        receiver, heard = DtmfReceiver(), ""
        for n, (_, arrived) in enumerate(keys):
            for index in arrived:
                _, _, number, at, payload = events[PACKETS * n + index]
                heard += receiver.event_received(number, at, payload) or ""
            self.assertTrue(events[PACKETS * n][0], "no marker")
        self.assertEqual(heard, "".join(digit for digit, _ in keys))

    def test_there_are_sixteen_keys(self) -> None:
        keys = RtpKeys(lambda *packet: None)
        self.assertRaises(ValueError, keys.press, "E")
