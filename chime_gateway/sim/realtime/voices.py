"""
The simulated agent's answers.

A voice receives what the caller said and returns the parts of an answer: speech,
function calls, or a failure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from attrs import field, frozen

from chime_gateway.audio import Codec
from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from chime_gateway.errors import ConfigError
from chime_gateway.sim.caller.wav import convert, read_wav
from chime_gateway.sim.realtime.faults.errors import ServiceError


@frozen
class Speech:
    """
    Audio in the session's output codec, with its transcript.

    @ivar phase: C{commentary} or C{final_answer}; empty for a model without phases.
    """

    audio: bytes = field(repr=lambda audio: f"<{len(audio)} bytes>")
    transcript: str
    phase: str = ""


@frozen
class ToolCall:
    name: str
    arguments: str


@frozen
class RemoteCall:
    """
    A call of an MCP tool, which the service makes itself.

    @ivar output: the tool's result; None: the call fails.
    """

    server: str
    name: str
    arguments: str
    output: str | None


@frozen
class Words:
    """A written answer."""

    text: str


@frozen
class Failure:
    """
    The response ends with this status instead of C{completed}.

    @ivar code: the reason; for C{failed} the error or its name.
    """

    status: str
    code: str | ServiceError


@frozen
class Stuck:
    """The response makes no progress and does not end."""


Part: TypeAlias = Speech | Words | ToolCall | RemoteCall | Failure | Stuck


@frozen
class Line:
    """
    One item of the conversation, as the model sees it.

    @ivar role: C{user}, C{assistant} or C{system}; for tools C{call} or C{output}.
    @ivar text: the text; of speech, the words that remain after truncation.
    @ivar call_id: the id of a tool call.
    """

    role: str
    text: str
    call_id: str = ""


@frozen
class Turn:
    """
    The input for one answer of the voice.

    @ivar utterance: what the caller said since the last turn, in C{input_codec}; empty
        for a response without a caller's turn.
    @ivar instructions: those of C{response.create} if it has any, otherwise the
        session's; never both.
    @ivar lines: the conversation, or the requested part of it.
    @ivar tools: the session's tools.
    """

    utterance: bytes = field(repr=lambda audio: f"<{len(audio)} bytes>")
    input_codec: Codec
    output_codec: Codec
    instructions: str
    lines: Sequence[Line] = ()
    tools: Sequence[Mapping[str, Any]] = ()


class Voice(Protocol):
    def answer(self, turn: Turn) -> Sequence[Part]: ...


def chime(codec: Codec) -> bytes:
    """Three rising tones: the greeting of voices without words."""
    return b"".join(tone(codec, hz, 0.25) for hz in (523.25, 659.25, 783.99))


class Parrot:
    """Repeats the caller's words, byte for byte if the codecs are the same."""

    def answer(self, turn: Turn) -> Sequence[Part]:
        if not turn.utterance:
            return [Speech(chime(turn.output_codec), "(chime)")]
        audio = turn.utterance
        if turn.input_codec != turn.output_codec:
            samples = decode(turn.input_codec, audio)
            audio = convert(samples, turn.input_codec.clock_rate, turn.output_codec)
        seconds = turn.input_codec.duration_ms(len(turn.utterance)) / 1000
        return [Speech(audio, f"(the caller's own {seconds:.1f} s)")]


class Prompt:
    """Always plays the same recording."""

    def __init__(self, path: str) -> None:
        self._samples, self._rate = read_wav(path)
        self._name = Path(path).stem

    def answer(self, turn: Turn) -> Sequence[Part]:
        audio = convert(self._samples, self._rate, turn.output_codec)
        return [Speech(audio, f"({self._name})")]


_SCRIPT_KEYS: Final = frozenset(
    {"say", "wav", "tone", "seconds", "call", "arguments", "fail"}
)


def shipped_script(path: str) -> str:
    """Return the path of a script; a bare name may be that of a shipped script."""
    shipped = resources.files("chime_gateway.sim") / "data" / f"{path}.json"
    return path if Path(path).exists() or not shipped.is_file() else str(shipped)


class Script:
    """
    Plays the answers of a file, one per turn; the last one repeats.

    The file is a JSON list; each entry is one part or a list of parts:
    C{{"tone": 440, "seconds": 2, "say": "words"}}, C{{"wav": "hello.wav"}},
    C{{"call": "get_weather", "arguments": {"city": "Rome"}}},
    C{{"fail": "rate_limit_exceeded"}}.
    """

    def __init__(
        self, answers: Sequence[Sequence[Mapping[str, object]]], folder: Path
    ) -> None:
        self._answers = answers
        self._folder = folder
        self._next = 0

    @classmethod
    def from_file(cls, path: str) -> Script:
        """@raise ConfigError: the file is not a valid script."""
        try:
            entries = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise ConfigError(f"script {path}: {exc}") from exc
        if not isinstance(entries, list) or not entries:
            raise ConfigError(f"script {path}: expected a list of answers")
        answers = [entry if isinstance(entry, list) else [entry] for entry in entries]
        for part in (part for answer in answers for part in answer):
            if not isinstance(part, dict) or not part or set(part) - _SCRIPT_KEYS:
                raise ConfigError(f"script {path}: cannot play {part!r:.80}")
        return cls(answers, Path(path).parent)

    def answer(self, turn: Turn) -> Sequence[Part]:
        parts = self._answers[min(self._next, len(self._answers) - 1)]
        self._next += 1
        return [self._part(part, turn.output_codec) for part in parts]

    def _part(self, part: Mapping[str, Any], codec: Codec) -> Part:
        if "fail" in part:
            return Failure("failed", str(part["fail"]))
        if "call" in part:
            return ToolCall(str(part["call"]), json.dumps(part.get("arguments", {})))
        if "wav" in part:
            samples, rate = read_wav(str(self._folder / part["wav"]))
            return Speech(
                convert(samples, rate, codec), str(part.get("say", part["wav"]))
            )
        seconds = float(part.get("seconds", 1.0))
        return Speech(
            tone(codec, float(part.get("tone", 440.0)), seconds),
            str(part.get("say", "(tone)")),
        )
