from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.playout import PlayoutBuffer


class PlayoutBufferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.marks: list[tuple[str, float]] = []
        self.buffer = PlayoutBuffer(PCMU, self.clock, self.reached)

    def reached(self, name: str) -> None:
        self.marks.append((name, round(self.clock.seconds(), 3)))

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.001)):
            self.clock.advance(0.001)

    def test_marks_are_returned_when_they_are_reached(self) -> None:
        self.buffer.play(bytes(160))
        self.buffer.mark("a")
        self.buffer.play(bytes(800))
        self.buffer.mark("b")
        self.run_for(0.2)
        self.assertEqual([name for name, _ in self.marks], ["a", "b"])
        self.assertApproximates(self.marks[0][1], 0.02, 0.0021)
        self.assertApproximates(self.marks[1][1], 0.12, 0.0021)

    def test_a_mark_without_audio_is_returned_at_once(self) -> None:
        self.buffer.mark("a")
        self.assertEqual(self.marks, [("a", 0.0)])

    def test_clear_returns_the_marks_and_stops_playback(self) -> None:
        self.buffer.play(bytes(8000))
        self.buffer.mark("a")
        self.run_for(0.25)
        self.assertEqual(self.buffer.clear(), 2000)
        self.assertEqual(self.marks, [("a", 0.25)])
        self.run_for(1)
        self.assertEqual(len(self.buffer.heard), 2000)

    def test_pauses_are_heard_as_silence(self) -> None:
        self.run_for(0.5)
        self.buffer.play(b"\x01" * 800)
        self.run_for(0.5)
        self.buffer.play(b"\x02" * 800)
        self.run_for(0.5)
        self.buffer.advance()
        heard = bytes(self.buffer.heard)
        # Rounding of the clock may shift a sound by one sample.
        self.assertApproximates(heard.index(b"\x01" * 800), 4000, 2)
        self.assertApproximates(heard.index(b"\x02" * 800), 8000, 2)
        self.assertEqual(set(heard), {0xFF, 1, 2})
