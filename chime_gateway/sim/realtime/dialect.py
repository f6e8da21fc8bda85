"""
The service's two dialects of the Realtime protocol: names, defaults and refusals.

The client's settings are converted to values, or refused with the service's codes and
texts.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from chime_gateway.audio import L16_24000, PCMA, PCMU, Codec


class Refused(Exception):
    """
    A command is refused with an C{error} event.

    @ivar code: the code in JSON.
    @ivar is_correlated: the event names the command and the parameter.
    """

    def __init__(
        self,
        code: object,
        message: str,
        param: str | None = None,
        *,
        is_correlated: bool = True,
        type: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param if is_correlated else None
        self.is_correlated = is_correlated
        self.type = type


# --- the two dialects -------------------------------------------------------

PREVIEW_NAMES: Final = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}

#: Events that do not exist in the preview.
GA_ONLY: Final = frozenset(
    {
        "conversation.item.done",
        "conversation.item.input_audio_transcription.segment",
    }
)

_GA_FORMATS: Final[Mapping[str, Codec]] = {
    "audio/pcm": L16_24000,
    "audio/pcmu": PCMU,
    "audio/pcma": PCMA,
}
_PREVIEW_FORMATS: Final[Mapping[str, Codec]] = {
    "pcm16": L16_24000,
    "g711_ulaw": PCMU,
    "g711_alaw": PCMA,
}

#: The only voices that the service was observed to accept.
GA_VOICES: Final = (
    *("alloy", "ash", "ballad", "cedar", "coral"),
    *("echo", "marin", "sage", "shimmer", "verse"),
)

_VAD: Final = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}

_GA_SESSION: Final[Mapping[str, Any]] = {
    "type": "realtime",
    "object": "realtime.session",
    "model": "simulated",
    "output_modalities": ["audio"],
    "instructions": "You are a simulator.",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "truncation": "auto",
    "prompt": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": _VAD,
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "alloy",
            "speed": 1,
        },
    },
    "include": None,
}
_GA_MORE_KEYS: Final = frozenset({"parallel_tool_calls", "reasoning"})

_PREVIEW_SESSION: Final[Mapping[str, Any]] = {
    "object": "realtime.session",
    "model": "simulated",
    "modalities": ["audio", "text"],
    "instructions": "You are a simulator.",
    "voice": "alloy",
    "speed": 1,
    "input_audio_format": "pcm16",
    "output_audio_format": "pcm16",
    "input_audio_transcription": None,
    "input_audio_noise_reduction": None,
    "turn_detection": {k: v for k, v in _VAD.items() if k != "idle_timeout_ms"},
    "tools": [],
    "tool_choice": "auto",
    "temperature": 0.8,
    "max_response_output_tokens": "inf",
}

_VAD_KEYS: Final = frozenset({*_VAD, "eagerness"})
_NESTED: Final = {
    "session.audio": frozenset({"input", "output"}),
    "session.audio.input": frozenset(_GA_SESSION["audio"]["input"]),
    "session.audio.output": frozenset(_GA_SESSION["audio"]["output"]),
    "session.audio.input.turn_detection": _VAD_KEYS,
    "session.turn_detection": _VAD_KEYS,
    "session.audio.input.transcription": frozenset(
        {"delay", "keywords", "language", "languages", "model", "prompt"}
    ),
    "session.input_audio_transcription": frozenset({"language", "model", "prompt"}),
}

_RESPONSE_KEYS: Final = frozenset(
    {"conversation", "input", "instructions", "metadata", "tool_choice", "tools"}
)


_TYPES: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a decimal",
    bool: "a boolean",
}


def refuse_type(value: object, expected: type, where: str) -> None:
    """@raise Refused: the value is of another type."""
    if not isinstance(value, expected):
        raise Refused(
            "invalid_type",
            f"Invalid type for '{where}': expected {_TYPES[expected]}, but got"
            f" {_TYPES.get(type(value), 'null')} instead.",
            where,
        )


def refuse_reasoning(patch: Mapping[str, object]) -> None:
    """
    Refuse reasoning settings, as models without reasoning do: without saying why.

    @raise Refused: the update contains such a setting.
    """
    if patch.get("reasoning") is not None or patch.get("parallel_tool_calls") is True:
        raise Refused("invalid_value", "Invalid value.", is_correlated=False)


def _ga_codec(value: Any, where: str) -> Codec:
    refuse_type(value, dict, where)
    return _named_codec(value.get("type"), _GA_FORMATS, f"{where}.type")


def _preview_codec(value: object, where: str) -> Codec:
    return _named_codec(value, _PREVIEW_FORMATS, where)


def _named_codec(name: Any, formats: Mapping[str, Codec], where: str) -> Codec:
    _refuse_other(name, formats, where)
    return formats[name]


def _ga_voice(value: object) -> Any:
    # A custom voice is an object with its id.
    if not isinstance(value, dict):
        _refuse_other(value, GA_VOICES, "session.audio.output.voice")
    return value


def _refuse_other(name: object, known: Collection[str], where: str) -> None:
    if not isinstance(name, str) or name not in known:
        supported = ", ".join(f"'{one}'" for one in known)
        raise Refused(
            "invalid_value",
            f"Invalid value: '{name}'. Supported values are: {supported}.",
            where,
        )


def refuse_unknown(
    patch: Mapping[str, object], known: frozenset[str], where: str
) -> None:
    for key, value in patch.items():
        name = f"{where}.{key}"
        if key not in known:
            raise Refused("unknown_parameter", f"Unknown parameter: '{name}'.", name)
        if name in _NESTED and isinstance(value, dict):
            refuse_unknown(value, _NESTED[name], name)


def merged(old: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, Any]:
    result = dict(old)
    for key, value in patch.items():
        before = result.get(key)
        is_nested = key in ("audio", "input", "output") and isinstance(before, dict)
        if is_nested and isinstance(value, dict) and isinstance(before, dict):
            value = merged(before, value)
        result[key] = value
    return result


@frozen
class Settings:
    """The effective settings of a session, independent of the dialect."""

    input_codec: Codec
    output_codec: Codec
    turn_detection: Mapping[str, Any] | None
    voice: Any
    transcription: Mapping[str, Any] | None
    instructions: str

    def seconds_of(self, audio: bytes) -> float:
        """@param audio: audio of the caller."""
        return len(audio) / self.input_codec.bytes_per_second


def _transcription(value: Any, where: str) -> Mapping[str, Any] | None:
    if value is None:
        return None
    refuse_type(value, dict, where)
    return dict(value)


class Ga:
    name = "ga"
    session = _GA_SESSION
    keys = frozenset(_GA_SESSION) | _GA_MORE_KEYS
    response_keys = (
        _RESPONSE_KEYS
        | _GA_MORE_KEYS
        | {"audio", "max_output_tokens", "output_modalities", "prompt"}
    )
    modalities = "output_modalities"
    modality_sets: Sequence[Sequence[str]] = (["text"], ["audio"])
    transcription = "session.audio.input.transcription"
    text, audio = "output_text", "output_audio"

    @staticmethod
    def settings(session: Mapping[str, Any]) -> Settings:
        into, out = session["audio"]["input"], session["audio"]["output"]
        return Settings(
            _ga_codec(into["format"], "session.audio.input.format"),
            _ga_codec(out["format"], "session.audio.output.format"),
            into["turn_detection"],
            _ga_voice(out["voice"]),
            _transcription(into["transcription"], Ga.transcription),
            session["instructions"],
        )


class Preview:
    name = "preview"
    session = _PREVIEW_SESSION
    keys = frozenset(_PREVIEW_SESSION)
    response_keys = _RESPONSE_KEYS | {
        "max_response_output_tokens",
        "modalities",
        "output_audio_format",
        "temperature",
        "voice",
    }
    modalities = "modalities"
    modality_sets: Sequence[Sequence[str]] = (
        ["text"],
        ["audio", "text"],
        ["text", "audio"],
    )
    transcription = "session.input_audio_transcription"
    text, audio = "text", "audio"

    @staticmethod
    def settings(session: Mapping[str, Any]) -> Settings:
        return Settings(
            _preview_codec(session["input_audio_format"], "session.input_audio_format"),
            _preview_codec(
                session["output_audio_format"], "session.output_audio_format"
            ),
            session["turn_detection"],
            session["voice"],
            _transcription(session["input_audio_transcription"], Preview.transcription),
            session["instructions"],
        )


class Configuration:
    """
    The configuration of one session.

    @ivar session: the session object that the client receives.
    @ivar settings: the effective settings.
    @ivar is_updated: the client has updated the session at least once.
    @ivar rtp_codec: the codec of audio over RTP, whatever formats are set; C{None}:
        audio is in the events.
    """

    def __init__(
        self,
        dialect: type[Ga] | type[Preview],
        *,
        session_id: str,
        expires_at: int,
        rtp_codec: Codec | None = None,
    ) -> None:
        """@param expires_at: Unix seconds."""
        self.dialect = dialect
        self.rtp_codec = rtp_codec
        self.is_updated = False
        self.session: Mapping[str, Any] = {
            "id": session_id,
            **copy.deepcopy(dict(dialect.session)),
            "expires_at": expires_at,
        }
        self.settings = self._settings(self.session)

    def _settings(self, session: Mapping[str, object]) -> Settings:
        settings = self.dialect.settings(session)
        codec = self.rtp_codec
        if codec is None:
            return settings
        return evolve(settings, input_codec=codec, output_codec=codec)

    def patched(self, message: Mapping[str, object]) -> tuple[dict[str, Any], Settings]:
        """
        Return the session object and settings that an update would result in.

        @raise Refused: the update is invalid.
        """
        patch = message.get("session")
        if not isinstance(patch, dict):
            raise missing("session")
        if self.dialect is Ga and "type" not in patch:
            raise missing("session.type")
        refuse_unknown(patch, self.dialect.keys, "session")
        session = merged(self.session, patch)
        return session, self._settings(session)


def missing(name: str) -> Refused:
    text = f"Missing required parameter: '{name}'."
    return Refused("missing_required_parameter", text, name)
