"""The agent's speech: what is heard of it, and its files."""

from __future__ import annotations

import io
import wave

import numpy as np
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.carriers.call_control import SmaControl
from chime_gateway.carriers.kinesis.reply import Reply, wav_file
from chime_gateway.codec.g711 import decode_mu_law, encode_mu_law
from chime_gateway.outcomes import Ending
from tests.carriers.test_call_control import TRANSACTION, RecordingAws

FRAME = PCMU.frame_bytes
SECOND = PCMU.bytes_per_second


def speech(seconds: float, loud: float = 0.3) -> bytes:
    """Return a tone of 220 Hz, in whole frames."""
    count = round(seconds * 50) * 160
    tone = np.sin(np.arange(count) * 2 * np.pi * 220 / 8000) * 32767 * loud
    return encode_mu_law(tone.astype(np.int16))


def seconds(utterances: list[bytes]) -> list[float]:
    return [len(utterance) / SECOND for utterance in utterances]


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
    """Marks return with reports, or by the clock without reports."""

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
        """With a mark after the first frame and one at the end."""
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
        # The last mark waits for the report that it was played.
        self.assertEqual(len(self.user.marks), 1)
        self.reply.reported("played", "k1")
        self.assertEqual(self.user.marks[1][0], "last")

    def test_without_reports_it_counts_as_played_four_seconds_later(self) -> None:
        self.play(1.0)
        self.advance(12.0)
        (first, first_at), (last, last_at) = self.user.marks
        self.assertEqual((first, last), ("first", "last"))
        self.assertLess(abs(first_at - 4.27), 0.05)
        self.assertLess(abs(last_at - 9.25), 0.05)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_later_report_covers_the_earlier_utterances(self) -> None:
        self.play(1.0)
        self.play(1.0)
        self.reply.reported("playing", "k2")
        self.assertEqual([name for name, _ in self.user.marks], ["first", "last"])

    def test_cleared_audio_is_never_heard(self) -> None:
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
    def test_files_have_the_format_that_the_application_plays(self) -> None:
        said = speech(0.5)
        with wave.open(io.BytesIO(wav_file(said))) as file:
            self.assertEqual(file.getparams()[:4], (1, 2, 8000, 4000))
            self.assertEqual(
                file.readframes(4000), decode_mu_law(said).astype("<i2").tobytes()
            )
