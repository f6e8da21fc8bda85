"""The jitter buffer: order, gaps, and how long it waits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.jitter import MAX_WAIT_SECONDS, MIN_WAIT_SECONDS, JitterBuffer
from chime_gateway.media.timeline import Timeline
from tests.support.fakes import PlainFilling


def frame(number: int) -> bytes:
    return bytes([number & 0x7F]) * 160


LOST = b"\xee" * 160


class JitterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.buffer = JitterBuffer(Timeline(PlainFilling(), 8000))
        self.now = 0.0

    def put(self, number: int, after: float = 0.02) -> list[bytes]:
        self.now += after
        return self.buffer.put(
            number & 0xFFFF, number * 160 & 0xFFFFFFFF, frame(number), self.now
        )

    def wait(self, seconds: float) -> list[bytes]:
        self.now += seconds
        return self.buffer.due(self.now)

    def test_packets_in_order_are_not_delayed(self) -> None:
        for number in range(65530, 65545):
            self.assertEqual(self.put(number), [frame(number)])
        self.assertFalse(self.buffer.held)

    def test_a_reordered_packet_is_put_in_its_place(self) -> None:
        self.put(1)
        self.assertEqual(self.put(3), [])
        self.assertEqual(self.put(2, 0.005), [frame(2), frame(3)])
        self.assertEqual(self.buffer.stats.lost, 0)

    def test_a_lost_packet_is_concealed_after_the_wait(self) -> None:
        self.put(1)
        self.assertEqual(self.put(3), [])
        self.assertEqual(self.wait(MIN_WAIT_SECONDS - 0.001), [])
        self.assertEqual(self.wait(0.002), [LOST, frame(3)])
        self.assertEqual(self.put(4), [frame(4)])
        self.assertEqual(self.buffer.stats.lost, 1)

    def test_late_packets_make_the_wait_longer_for_a_while(self) -> None:
        self.put(1)
        for number in range(2, 60, 3):
            self.put(number + 1, 0.02)
            self.wait(MAX_WAIT_SECONDS)
            self.put(number, 0.03)
            self.put(number + 2, 0.001)
        self.assertEqual(self.buffer.wait_seconds, MAX_WAIT_SECONDS)
        self.assertGreater(self.buffer.stats.late, 3)
        self.now += 60
        self.put(100)
        self.wait(1.0)
        self.assertEqual(self.buffer.wait_seconds, MIN_WAIT_SECONDS)

    def test_duplicates_are_heard_once(self) -> None:
        self.put(1)
        self.assertEqual(self.put(1), [])
        self.put(3)
        self.assertEqual(self.put(3), [])
        self.assertEqual(self.buffer.stats.duplicates, 2)

    def test_a_gap_of_any_length_is_filled_to_the_sample(self) -> None:
        self.put(1)
        self.put(20)
        self.assertEqual(self.wait(0.2), [LOST * 18, frame(20)])
        self.assertEqual(self.buffer.stats.lost, 18)

    def test_packets_without_audio_count_in_the_order(self) -> None:
        self.put(1)
        for number in (2, 3, 4):
            self.assertEqual(self.buffer.put_other(number, 320, -1, self.now), [])
        self.assertEqual(self.buffer.put(5, 320, frame(5), self.now), [frame(5)])
        self.assertEqual(self.buffer.stats.lost, 0)

    def test_two_gaps_are_two_losses(self) -> None:
        self.put(1)
        self.put(3)
        self.put(5, 0.0)
        self.assertEqual(self.wait(0.2), [LOST, frame(3), LOST, frame(5)])

    def test_a_large_step_is_believed_at_the_second_packet(self) -> None:
        self.put(1000)
        self.assertEqual(self.put(500), [])
        self.assertEqual(self.put(501), [frame(500), frame(501)])
        self.assertEqual(self.put(20000), [])
        self.assertEqual(self.put(502), [frame(502)])
        self.assertEqual(self.buffer.stats.resets, 1)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 65535), st.floats(0, 0.3)), min_size=1, max_size=60
        )
    )
    def test_random_packets_never_pile_up(
        self, packets: list[tuple[int, float]]
    ) -> None:
        buffer = JitterBuffer(Timeline(PlainFilling(), 8000))
        now = 0.0
        given_out = 0
        for number, after in packets:
            now += after
            ready = buffer.put(number, number * 160, frame(number), now)
            given_out += len(b"".join(ready))
        given_out += len(b"".join(buffer.due(now + 1)))
        self.assertFalse(buffer.held)
        # Concealment is limited by the time that has passed.
        most = len(packets) * 160 + (now + 2.1) * 8000
        self.assertLessEqual(given_out, most)


class HeardFilling(PlainFilling):
    """Notes the audio that it got, and how much it had at each call."""

    def __init__(self) -> None:
        self.told = b""
        self.asked: list[bytes] = []

    def heard(self, audio: bytes) -> None:
        self.told += audio

    def conceal(self, byte_count: int) -> bytes:
        self.asked.append(self.told)
        self.told = b""
        return super().conceal(byte_count)


class HeardTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from((80, 160, 240, 480)), st.integers(0, 2)),
            min_size=1,
            max_size=25,
        )
    )
    def test_the_last_audio_is_known_when_a_packet_is_lost(
        self, packets: list[tuple[int, int]]
    ) -> None:
        """
        At least 1.5 frames of it, or all there was, contiguous, whichever way it
        was passed on.
        """
        filling = HeardFilling()
        buffer = JitterBuffer(Timeline(filling, 8000))
        number = timestamp = 0
        now, heard, byte = 1.0, b"", 1
        for size, lost in packets:
            number, timestamp = number + lost, timestamp + lost * size
            audio = bytes((byte + at) % 250 for at in range(size))
            byte += size
            now += 0.02
            ready = buffer.put(number, timestamp, audio, now)
            ready += buffer.due(now := now + 0.3)
            if lost and heard:
                (told,) = filling.asked
                self.assertTrue(heard.endswith(told))
                self.assertGreaterEqual(len(told), min(len(heard), 240))
                filling.asked.clear()
                heard = b""
            filling.asked.clear()
            heard += audio
            self.assertTrue(b"".join(ready).endswith(audio))
            number, timestamp = number + 1, timestamp + size
