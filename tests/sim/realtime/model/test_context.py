from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.sim.realtime.model.context import Sound, lines_of
from chime_gateway.sim.realtime.voices import Line
from chime_gateway.sim.speech import spoken

NONE = Sound(b"", PCMU)


class LinesTests(SynchronousTestCase):
    def test_spoken_and_written_items_are_equivalent(self) -> None:
        text: dict[str, Any] = {"type": "message", "role": "user"}
        written = {**text, "content": [{"type": "input_text", "text": "Goodbye."}]}
        said = {**text, "content": [{"type": "input_audio", "transcript": None}]}
        sound = Sound(spoken(PCMU, "Goodbye."), PCMU)
        (first, second) = lines_of([(written, NONE), (said, sound)])
        self.assertEqual(first, second)

    def test_tool_calls_and_their_outputs_are_lines(self) -> None:
        call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
        output = {"type": "function_call_output", "call_id": "c", "output": "1"}
        remote = {"type": "mcp_call", "name": "g", "output": None}
        ended = {**remote, "output": "2"}
        bodies: list[dict[str, Any]] = [call, output, remote, ended, {"type": "new"}]
        self.assertEqual(
            lines_of((body, NONE) for body in bodies),
            (
                Line("call", "f {}", "c"),
                Line("output", "1", "c"),
                Line("output", "2", "g"),
            ),
        )
