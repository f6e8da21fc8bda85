from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000, L16_24000, PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from chime_gateway.errors import ConfigError
from chime_gateway.sim.caller.wav import write_wav
from chime_gateway.sim.realtime.voices import Prompt, Script, Speech, ToolCall, Turn
from tests.support.files import temporary_file


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

    def test_a_script_plays_its_answers_in_order_and_repeats_the_last(self) -> None:
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
