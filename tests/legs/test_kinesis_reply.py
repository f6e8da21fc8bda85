"""Where the agent's speech is cut, and what the files are."""

from __future__ import annotations

import io
import wave

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.codec.g711 import decode_mu_law, encode_mu_law
from chime_gateway.frames import PCMU
from chime_gateway.interfaces import Ending
from chime_gateway.legs.kinesis_reply import Reply, UtteranceCutter, wav_file
from chime_gateway.legs.sma_control import SmaControl
from tests.legs.test_sma_control import TRANSACTION, RecordingAws

FRAME = PCMU.frame_bytes
SECOND = PCMU.bytes_per_second


def speech(seconds: float, loud: float = 0.3) -> bytes:
    """A tone of 220 Hz, in whole frames."""
    count = round(seconds * 50) * 160
    tone = np.sin(np.arange(count) * 2 * np.pi * 220 / 8000) * 32767 * loud
    return encode_mu_law(tone.astype(np.int16))


def silence(seconds: float) -> bytes:
    return PCMU.silence(round(seconds * 50) * FRAME)


def cut(audio: bytes, piece: int = 10 * FRAME) -> list[bytes]:
    """All utterances, the last one by its end."""
    cutter = UtteranceCutter()
    found = []
    for at in range(0, len(audio), piece):
        found += cutter.add(audio[at : at + piece])
    rest = cutter.flush()
    return [*found, rest] if rest else found


def seconds(utterances: list[bytes]) -> list[float]:
    return [len(utterance) / SECOND for utterance in utterances]


class CutterTests(SynchronousTestCase):
    def test_the_first_utterance_is_short_and_ends_in_a_pause(self) -> None:
        audio = speech(1.0) + silence(0.4) + speech(1.0) + silence(0.4) + speech(2.0)
        utterances = cut(audio)
        # 160 ms of quiet are a pause.
        self.assertAlmostEqual(seconds(utterances)[0], 1.16, places=3)
        # Those behind it are long: each costs an update and a moment of silence.
        self.assertEqual(len(utterances), 2)
        self.assertEqual(b"".join(utterances), audio)

    def test_a_pause_too_soon_is_passed_over(self) -> None:
        utterances = cut(speech(0.3) + silence(0.2) + speech(0.6) + silence(0.3))
        self.assertGreater(seconds(utterances)[0], 0.9)

    def test_a_breath_is_no_pause(self) -> None:
        audio = (speech(0.5) + silence(0.1)) * 4
        self.assertEqual(len(cut(audio)), 1)

    def test_speech_without_a_pause_is_cut_where_it_is_quietest(self) -> None:
        audio = speech(7.0) + speech(0.1, loud=0.05) + speech(3.0)
        utterances = cut(audio)
        self.assertTrue(7.0 <= seconds(utterances)[0] <= 7.1, seconds(utterances))
        self.assertEqual(b"".join(utterances), audio)

    def test_silence_goes_before_what_follows_it(self) -> None:
        utterances = cut(silence(3.0) + speech(1.0) + silence(0.5) + speech(0.2))
        self.assertAlmostEqual(seconds(utterances)[0], 4.16, places=3)

    def test_after_a_turn_the_next_first_one_is_short_again(self) -> None:
        cutter = UtteranceCutter()
        cutter.add(speech(0.5))
        self.assertEqual(len(cutter.flush()), SECOND // 2)
        self.assertEqual(cutter.flush(), b"")
        (first,) = cutter.add(speech(0.8) + silence(0.16))
        self.assertEqual(len(first), round(0.96 * SECOND))

    @given(
        st.lists(
            st.tuples(st.floats(0.02, 3.0), st.booleans()), min_size=1, max_size=8
        ),
        st.integers(1, 80),
    )
    @settings(max_examples=60, deadline=None)
    def test_nothing_is_lost_and_nothing_is_too_long(
        self, parts: list[tuple[float, bool]], frames: int
    ) -> None:
        audio = b"".join(
            speech(length) if is_speech else silence(length)
            for length, is_speech in parts
        )
        utterances = cut(audio, frames * FRAME)
        self.assertEqual(b"".join(utterances), audio)
        for utterance in utterances:
            self.assertTrue(0 < len(utterance) <= 8 * SECOND)
            self.assertEqual(len(utterance) % FRAME, 0)


class RecordingUser:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.marks: list[tuple[str, float]] = []
        self.log: list[object] = []

    def mark_reached(self, name: str) -> None:
        self.marks.append((name, round(self.clock.seconds(), 2)))

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        self.log.append((reason, byte_count))

    def reply_failed(self, ending: Ending) -> None:
        self.log.append(ending)


class HeardTests(SynchronousTestCase):
    """When marks are returned: by reports, and by the clock without them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.user = RecordingUser(self.clock)
        self.aws = RecordingAws()
        self.keys = iter(f"k{n}" for n in range(1, 100))
        self.reply = Reply(
            self.aws,
            SmaControl(self.aws, "application", self.clock),
            self.clock,
            self.user,
            transaction_id=TRANSACTION,
            bucket="b",
            events=lambda: "",
            new_key=self.keys.__next__,
            observe=lambda seconds: None,
        )

    def play(self, seconds: float) -> None:
        """With a mark behind its first frame and one at its end."""
        audio = speech(seconds)
        self.reply.play(audio[:FRAME])
        self.reply.mark("first")
        self.reply.play(audio[FRAME:])
        self.reply.mark("last")
        self.advance(0.3)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)

    def test_nothing_is_heard_before_it_is_reported(self) -> None:
        self.play(1.0)
        self.advance(2.0)
        self.assertEqual(self.user.marks, [])
        self.reply.reported("playing", "k1")
        self.advance(0.1)
        ((name, at),) = self.user.marks
        self.assertEqual(name, "first")
        self.assertLess(abs(at - 2.32), 0.02)
        self.advance(2.0)
        # The last one is for the report that it was played.
        self.assertEqual(len(self.user.marks), 1)
        self.reply.reported("played", "k1")
        self.assertEqual(self.user.marks[1][0], "last")

    def test_without_reports_it_is_believed_four_seconds_later(self) -> None:
        self.play(1.0)
        self.advance(12.0)
        (first, first_at), (last, last_at) = self.user.marks
        self.assertEqual((first, last), ("first", "last"))
        self.assertLess(abs(first_at - 4.27), 0.05)
        self.assertLess(abs(last_at - 9.25), 0.05)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_later_report_means_that_the_earlier_ones_are_over(self) -> None:
        self.play(1.0)
        self.play(1.0)
        self.reply.reported("playing", "k2")
        self.assertEqual([name for name, _ in self.user.marks], ["first", "last"])

    def test_what_is_cleared_is_never_heard(self) -> None:
        self.play(1.0)
        self.reply.clear()
        self.reply.reported("played", "k1")
        self.advance(20.0)
        self.assertEqual(self.user.marks, [])
        _, parameters, _ = self.aws.asked[-1]
        self.assertEqual(parameters["Arguments"], {"Action": "clear", "Epoch": "2"})

    def test_a_closed_reply_is_quiet(self) -> None:
        self.play(1.0)
        self.reply.close()
        self.advance(20.0)
        self.assertEqual((self.user.marks, self.user.log), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WavTests(SynchronousTestCase):
    def test_files_are_what_the_application_plays(self) -> None:
        said = speech(0.5)
        with wave.open(io.BytesIO(wav_file(said))) as file:
            self.assertEqual(file.getparams()[:4], (1, 2, 8000, 4000))
            self.assertEqual(
                file.readframes(4000), decode_mu_law(said).astype("<i2").tobytes()
            )
