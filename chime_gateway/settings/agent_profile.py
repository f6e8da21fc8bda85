"""
The agent profile: the settings of one agent, as values.

L{chime_gateway.settings.agents} reads profiles from TOML, L{chime_gateway.call.tools}
runs their tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, field, frozen, validators

from chime_gateway.settings.sound import Sound
from chime_gateway.settings.tools import FunctionTool, McpServer, Target, Tool
from chime_gateway.settings.transcribers import (
    DEFAULT_TRANSCRIBER,
    DELAYS,
    REALTIME_MODEL,
    TRANSCRIBERS,
    Transcription,
)

#: Marks an attribute that is computed from other settings and is no key of the file.
COMPUTED: Final = {"computed": True}

#: The instruction for the last words when the gateway has to end a call.
DEFAULT_GOODBYE: Final = (
    "The line has to be closed now. Apologise in one short sentence, say goodbye,"
    " and do not ask anything."
)

DEFAULT_INSTRUCTIONS: Final = (
    "You are on a telephone call. Be friendly, brief and clear; answer in the"
    " caller's language."
)

#: Variables that texts may contain in braces; C{header.NAME} is a header or parameter
#: that the carrier passed along.
TEMPLATE_VARIABLES: Final = ("caller", "called", "agent", "call_id")
TEMPLATE_HEADER: Final = "header."
_VARIABLE: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z][\w.-]*)\}")

#: A value may come from a stranger, and the model reads it as part of its instructions.
_MAX_VALUE_CHARS: Final = 200

#: How much a model may reason before it speaks.
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")


def unknown_variables(template: str) -> list[str]:
    """Return the names in braces that are not variables."""
    names = [found[1] for found in _VARIABLE.finditer(template) if found[1]]
    return [
        name
        for name in names
        if name not in TEMPLATE_VARIABLES and not name.startswith(TEMPLATE_HEADER)
    ]


def brace_fault(template: str, *, is_spoken: bool) -> str:
    """
    Return what is wrong with a template's braces; empty if nothing is.

    @param is_spoken: callers hear the text, so a lone brace can only be a mistake.
        Other texts may contain examples of JSON.
    """
    rest = _VARIABLE.sub("", template)
    opened = rest.rfind("{")
    if opened >= 0 and "}" not in rest[opened:]:
        return f"{{ is never closed: {rest[opened : opened + 20]!r}"
    if is_spoken and (found := re.search(r"[{}]", rest)):
        at = found.start()
        return f"a lone brace: {rest[max(0, at - 10) : at + 10]!r}"
    return ""


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """
    Fill in a template with the values of one call; C{{{} and C{}}} become braces.

    @param values: value by variable; the variable of a header is C{header.} and its
        name in lower case.  A missing value becomes an empty text.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        if name.startswith(TEMPLATE_HEADER):
            name = name.lower()
        text = " ".join(values.get(name, "").split())
        return text[:_MAX_VALUE_CHARS]

    return _VARIABLE.sub(value, template)


@frozen(kw_only=True)
class ProfileLimits:
    """
    Limits of one profile's calls, where they differ from C{[limits]}; in seconds.

    @ivar max_calls: Most simultaneous calls of this profile; more are refused. Not set:
        only the limit of all calls applies.
    @ivar max_call_seconds: The length of a call. Not set: as in C{[limits]}.
    @ivar idle_seconds: A call ends after this time without audio from the caller. Not
        set: as in C{[limits]}.
    @ivar agent_silence_seconds: An agent that owes an answer and sends nothing for this
        time is given up. Not set: as in C{[limits]}.
    @ivar goodbye_seconds: How long the agent's last words may take. Not set: as in
        C{[limits]}.
    """

    max_calls: int | None = field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    max_call_seconds: float | None = None
    idle_seconds: float | None = None
    agent_silence_seconds: float | None = None
    goodbye_seconds: float | None = None

    def __attrs_post_init__(self) -> None:
        for name, value in self.given().items():
            if value <= 0:
                raise ValueError(f"{name} must be > 0: {value:g}")

    def given(self) -> dict[str, float]:
        """Return the times that are set, in seconds."""
        names = ("max_call_seconds", "idle_seconds", "agent_silence_seconds")
        pairs = ((name, getattr(self, name)) for name in (*names, "goodbye_seconds"))
        return {name: value for name, value in pairs if value is not None}


def _default_turn_detection() -> dict[str, Any]:
    # silence_duration_ms is always sent: the service's documented default differs
    # from the one that it reports.
    return {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
    }


@frozen(kw_only=True)
class AgentProfile:
    """
    The settings of one agent.

    @ivar name: The name of its table, by which callers and routes ask for it.
    @ivar instructions: What the agent is told to do. C{instructions_file} names a file
        beside this one instead.
    @ivar voice: One of the service's voices.
    @ivar speed: How fast the agent speaks. Not set: the service's default.
    @ivar greeting: What the agent says first. Empty: the caller speaks first.
    @ivar goodbye: What the agent is told when the gateway has to end the call.
    @ivar language: The caller's language (ISO 639-1), a hint for the transcription.
    @ivar interruptible: Whether the caller's speech interrupts the agent.
    @ivar transcription_model: The name of the deployment that transcribes what callers
        say. Empty: no transcription.
    @ivar transcription_kind: The model of that deployment. Empty: the deployment has
        the name of its model.
    @ivar transcription_prompt: A text or a list of words that helps the transcriber.
    @ivar transcription_keywords: Words that callers are likely to say, for transcribers
        that accept them.
    @ivar transcription_delay: How long the transcriber may wait for more context, for
        C{gpt-realtime-whisper}.
    @ivar noise_reduction: The service's noise reduction. Empty: none.
    @ivar turn_detection: The service's settings for voice activity detection.
        C{create_response} and C{interrupt_response} are set by C{interruptible}.
    @ivar idle_prompt_seconds: The agent prompts a caller who is silent for this time.
        Not set: it does not.
    @ivar max_output_tokens: The length of one response. Not set: no limit.
    @ivar reasoning: How much a reasoning model may think before it speaks. Empty: not
        sent. Less than C{low} takes longer to the first word.
    @ivar tools: Built-in tools and C{[tools]} that the agent may use.
    @ivar targets: C{[targets]} that the caller may be transferred to.
    @ivar mcp_servers: C{[mcp_servers]} that the service may use.
    @ivar filler: What the caller hears while a tool takes long: a sentence, C{tone}, or
        a WAV file. Empty: silence.
    @ivar filler_sound: The sound of that file; C{None} without a file.
    @ivar filler_after_seconds: The filler is heard after this time.
    @ivar apology: What the caller hears when no agent can be reached: a WAV file,
        C{spoken}, C{tone}, or nothing.
    @ivar apology_sound: The sound of that file; C{None} without a file.
    @ivar fallback: The target that gets the caller when no agent can be reached.
    @ivar fallback_address: The address of that target.
    @ivar recording: Whether calls are recorded. Not set: they are if
        C{CHIMEGW_RECORDINGS} is set.
    @ivar recording_notice: What is said before the greeting of a recorded call.
    """

    name: str = "default"
    instructions: str = DEFAULT_INSTRUCTIONS
    voice: str = "marin"
    speed: float | None = field(
        default=None,
        validator=validators.optional((validators.ge(0.25), validators.le(1.5))),
    )
    greeting: str = ""
    goodbye: str = DEFAULT_GOODBYE
    language: str = ""
    interruptible: bool = True
    transcription_model: str = DEFAULT_TRANSCRIBER
    transcription_kind: str = field(
        default="", validator=validators.in_(("", *TRANSCRIBERS))
    )
    transcription_prompt: str = ""
    transcription_keywords: tuple[str, ...] = ()
    transcription_delay: str = field(
        default="", validator=validators.in_(("", *DELAYS))
    )
    noise_reduction: str = field(
        default="near_field", validator=validators.in_(("near_field", "far_field", ""))
    )
    turn_detection: Mapping[str, Any] = Factory(_default_turn_detection)
    idle_prompt_seconds: float | None = field(
        default=None,
        validator=validators.optional((validators.ge(5), validators.le(30))),
    )
    max_output_tokens: int | None = field(
        default=None, validator=validators.optional(validators.in_(range(1, 4097)))
    )
    reasoning: str = field(default="low", validator=validators.in_(("", *EFFORTS)))
    tools: tuple[Tool, ...] = ()
    targets: Mapping[str, Target] = Factory(dict)
    mcp_servers: tuple[McpServer, ...] = ()
    filler: str = ""
    filler_sound: Sound | None = field(default=None, metadata=COMPUTED)
    filler_after_seconds: float = field(default=2.0, validator=validators.gt(0))
    apology: str = ""
    apology_sound: Sound | None = field(default=None, metadata=COMPUTED)
    fallback: str = ""
    fallback_address: str = field(default="", repr=False, metadata=COMPUTED)
    recording: bool | None = None
    recording_notice: str = ""
    limits: ProfileLimits = Factory(ProfileLimits)

    @property
    def transcription(self) -> Transcription | None:
        """How callers are transcribed; C{None}: they are not."""
        kind, model = self.transcription_kind, self.transcription_model
        if kind == REALTIME_MODEL:
            model = ""
        elif not model:
            return None
        elif not kind and model in TRANSCRIBERS:
            kind = model
        return Transcription(
            model=model,
            kind=kind,
            language=self.language,
            prompt=self.transcription_prompt,
            keywords=self.transcription_keywords,
            delay=self.transcription_delay,
        )

    @property
    def functions(self) -> tuple[FunctionTool, ...]:
        """The functions that the model may call."""
        return tuple(tool.function(self.targets) for tool in self.tools)
