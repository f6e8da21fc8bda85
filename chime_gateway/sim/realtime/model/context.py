"""
The context of the model: the items of the conversation as lines of text.

Of a spoken item, only the audio that remains after truncation counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.voices import Line
from chime_gateway.sim.speech import heard, words


@frozen
class Sound:
    """The audio of an item, and its codec."""

    audio: bytes = field(repr=lambda audio: f"<{len(audio)} bytes>")
    codec: Codec


_TEXTS: Final = frozenset({"input_text", "output_text", "text"})


def words_in(sound: Sound) -> str:
    """Return the recognized words; empty if there are none."""
    return words(heard(sound.codec, sound.audio))


def lines_of(items: Iterable[tuple[Mapping[str, object], Sound]]) -> tuple[Line, ...]:
    """
    Convert items to lines.

    @param items: each item's body and audio, the oldest first.
    """
    return tuple(line for body, sound in items for line in _lines(body, sound))


def _lines(body: Mapping[str, Any], sound: Sound) -> Iterable[Line]:
    kind = body.get("type")
    if kind == "function_call":
        call_id = str(body.get("call_id"))
        yield Line("call", f"{body.get('name')} {body.get('arguments')}", call_id)
    elif kind == "function_call_output":
        yield Line("output", str(body.get("output")), str(body.get("call_id")))
    elif kind == "mcp_call":
        if body.get("output") is not None:
            yield Line("output", str(body["output"]), str(body.get("name")))
    elif kind == "message":
        texts = [
            str(part.get("text") or "")
            for part in body.get("content") or ()
            if part.get("type") in _TEXTS
        ]
        if sound.audio:
            texts.append(words_in(sound))
        yield Line(str(body.get("role")), " ".join(filter(None, texts)))
