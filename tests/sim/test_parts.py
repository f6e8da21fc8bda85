from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from chime_gateway.errors import ConfigError
from chime_gateway.frames import CODECS, L16_16000, L16_24000, PCMU
from chime_gateway.sim.azure import Door
from chime_gateway.sim.compare import correlation
from chime_gateway.sim.meter import bar
from chime_gateway.sim.playout import PlayoutBuffer
from chime_gateway.sim.vad import EnergyVad, SpeechEdge
from chime_gateway.sim.voices import Prompt, Script, Speech, ToolCall, Turn
from chime_gateway.sim.wav import convert, read_wav, write_wav
from tests.files import temporary_file


class VadTests(SynchronousTestCase):
    def test_edges_are_where_the_sound_is(self) -> None:
        audio = PCMU.silence(4000) + tone(PCMU, 600, 1.0) + PCMU.silence(8000)
        for size in (160, 77, len(audio)):
            with self.subTest(size=size):
                vad = EnergyVad(PCMU, 0.5, 500)
                edges = []
                for start in range(0, len(audio), size):
                    edges += vad.feed(audio[start : start + size])
                self.assertEqual([e.is_start for e in edges], [True, False])
                self.assertApproximates(edges[0].at_ms, 500, 20)
                self.assertApproximates(edges[1].at_ms, 2000, 20)

    def test_a_click_is_no_speech(self) -> None:
        vad = EnergyVad(PCMU, 0.5, 500)
        audio = PCMU.silence(1600) + tone(PCMU, 600, 0.03) + PCMU.silence(8000)
        self.assertEqual(vad.feed(audio), [])

    def test_a_pause_within_speech_does_not_end_it(self) -> None:
        vad = EnergyVad(PCMU, 0.5, 500)
        audio = (tone(PCMU, 600, 0.5) + PCMU.silence(3200)) * 3
        self.assertEqual(vad.feed(audio), [SpeechEdge(True, 0)])

    def test_a_higher_threshold_hears_less(self) -> None:
        quiet = np.rint(decode(PCMU, tone(PCMU, 600, 1.0)) * 0.02).astype(np.int16)
        audio = convert(quiet, 8000, PCMU)
        self.assertEqual(len(EnergyVad(PCMU, 0.2, 500).feed(audio)), 1)
        self.assertEqual(EnergyVad(PCMU, 0.9, 500).feed(audio), [])


class WavTests(SynchronousTestCase):
    def test_a_file_comes_back_as_it_was_written(self) -> None:
        path = temporary_file(self)
        samples = np.arange(-500, 500).astype(np.int16)
        write_wav(path, 8000, samples)
        read, rate = read_wav(path)
        self.assertEqual(rate, 8000)
        self.assertTrue(np.array_equal(read, samples))

    def test_stereo_is_mixed_and_short_channels_end_in_silence(self) -> None:
        path = temporary_file(self)
        write_wav(path, 8000, np.full(4, 100, np.int16), np.full(2, 300, np.int16))
        self.assertEqual(read_wav(path)[0].tolist(), [200, 200, 50, 50])

    def test_what_is_no_wav_file_is_said(self) -> None:
        path = temporary_file(self)
        for content in (b"", b"RIFF", b"ID3 this is an mp3" * 10):
            Path(path).write_bytes(content)
            error = self.assertRaises(ConfigError, read_wav, path)
            self.assertIn("not a PCM WAV file", str(error))
        self.assertRaises(ConfigError, read_wav, "/nonexistent.wav")

    def test_any_rate_becomes_any_codec(self) -> None:
        for rate in (8000, 11025, 16000, 22050, 24000, 44100, 48000):
            time = np.arange(rate // 2) / rate
            samples = np.rint(8000 * np.sin(2 * np.pi * 500 * time)).astype(np.int16)
            for codec in CODECS.values():
                with self.subTest(rate=rate, codec=codec.name):
                    heard = decode(codec, convert(samples, rate, codec))
                    count = codec.clock_rate // 4
                    at = np.arange(count) / codec.clock_rate
                    sine = np.rint(8000 * np.sin(2 * np.pi * 500 * at)).astype(np.int16)
                    self.assertGreater(correlation(sine, heard)[0], 0.99)


class VoiceTests(SynchronousTestCase):
    turn = Turn(b"", PCMU, L16_24000, "")

    def script(self, entries: Any) -> str:
        return temporary_file(self, json.dumps(entries))

    def test_a_prompt_is_played_in_the_codec_of_the_session(self) -> None:
        path = temporary_file(self)
        write_wav(path, 16000, decode(L16_16000, tone(L16_16000, 500, 0.5)))
        (speech,) = Prompt(path).answer(self.turn)
        assert isinstance(speech, Speech)
        self.assertEqual(len(speech.audio), 24000)

    def test_a_script_plays_its_answers_in_order_and_the_last_for_ever(self) -> None:
        script = Script.from_file(
            self.script(
                [
                    {"tone": 440, "seconds": 0.5, "say": "hello"},
                    [
                        {"call": "look_up", "arguments": {"id": 7}},
                        {"tone": 600, "say": "bye"},
                    ],
                ]
            )
        )
        first = script.answer(self.turn)
        self.assertEqual([p.transcript for p in first], ["hello"])  # type: ignore[union-attr]
        for _ in range(2):
            second = script.answer(self.turn)
            self.assertEqual(second[0], ToolCall("look_up", '{"id": 7}'))

    def test_a_script_that_cannot_be_played_is_refused(self) -> None:
        cases: tuple[Any, ...] = ([], {}, [5], [{"sing": "la"}], [[{}]])
        for entries in cases:
            with self.subTest(entries=entries):
                self.assertRaises(ConfigError, Script.from_file, self.script(entries))


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

    def test_marks_come_back_when_their_turn_comes(self) -> None:
        self.buffer.play(bytes(160))
        self.buffer.mark("a")
        self.buffer.play(bytes(800))
        self.buffer.mark("b")
        self.run_for(0.2)
        self.assertEqual([name for name, _ in self.marks], ["a", "b"])
        self.assertApproximates(self.marks[0][1], 0.02, 0.0021)
        self.assertApproximates(self.marks[1][1], 0.12, 0.0021)

    def test_a_mark_behind_nothing_comes_back_at_once(self) -> None:
        self.buffer.mark("a")
        self.assertEqual(self.marks, [("a", 0.0)])

    def test_clear_returns_the_marks_and_plays_no_more(self) -> None:
        self.buffer.play(bytes(8000))
        self.buffer.mark("a")
        self.run_for(0.25)
        self.assertEqual(self.buffer.clear(), 2000)
        self.assertEqual(self.marks, [("a", 0.25)])
        self.run_for(1)
        self.assertEqual(len(self.buffer.heard), 2000)

    def test_pauses_are_silence_in_what_was_heard(self) -> None:
        self.run_for(0.5)
        self.buffer.play(b"\x01" * 800)
        self.run_for(0.5)
        self.buffer.play(b"\x02" * 800)
        self.run_for(0.5)
        self.buffer.advance()
        heard = bytes(self.buffer.heard)
        # The clock's rounding may move a sound by a sample.
        self.assertApproximates(heard.index(b"\x01" * 800), 4000, 2)
        self.assertApproximates(heard.index(b"\x02" * 800), 8000, 2)
        self.assertEqual(set(heard), {0xFF, 1, 2})


class DoorTests(SynchronousTestCase):
    def test_the_handshake_is_checked_in_the_services_order(self) -> None:
        door = Door(frozenset({"k"}), frozenset({"d"}), refuse_status=429)
        ga, preview = "/openai/v1/realtime", "/openai/realtime"
        for uri, headers, status in (
            ("/elsewhere", {}, 404),
            (f"{ga}?model=d", {}, 401),
            (f"{ga}?model=d", {"api-key": "wrong"}, 401),
            (f"{ga}?api-version=1&model=d", {"api-key": "k"}, 401),
            (f"{ga}?model=x", {"api-key": "k"}, 404),
            (ga, {"api-key": "k"}, 404),
            (f"{ga}?model=d", {"authorization": "Bearer k"}, 429),
            (f"{preview}?deployment=d", {"api-key": "k"}, 404),
            (f"{preview}?api-version=1&deployment=d", {"api-key": "k"}, 429),
        ):
            with self.subTest(uri=uri, headers=headers):
                self.assertEqual(door.refusal(uri, headers), status)
        self.assertEqual(Door().refusal(f"{ga}?model=d", {"api-key": "any"}), 0)


class CompareTests(SynchronousTestCase):
    def test_the_same_is_found_where_it_is(self) -> None:
        noise = np.random.default_rng(3).integers(-5000, 5000, 4000).astype(np.int16)
        silence = np.zeros(1234, np.int16)
        score, at = correlation(noise, np.concatenate([silence, noise, silence]))
        self.assertApproximates(score, 1.0, 1e-6)
        self.assertEqual(at, 1234)

    def test_something_else_is_not_found(self) -> None:
        chance = np.random.default_rng(4)
        a, b = (chance.integers(-5000, 5000, n).astype(np.int16) for n in (4000, 9000))
        self.assertLess(correlation(a, b)[0], 0.2)
        self.assertEqual(correlation(a, np.zeros(9000, np.int16))[0], 0.0)
        self.assertEqual(correlation(a, a[:10]), (0.0, 0))


class MeterTests(SynchronousTestCase):
    def test_a_bar_is_empty_for_silence_and_full_at_the_top(self) -> None:
        self.assertEqual([bar(x, 4) for x in (-96, -27, 0)], ["....", "##..", "####"])
