"""
The two dialects of the protocol, GA and preview: names, codecs, the settings of a
session, and the URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from attrs import frozen

from chime_gateway.audio import L16_24000, PCMA, PCMU, Codec
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings


@frozen
class Dialect:
    """
    The differences between the two versions of the protocol.

    @ivar renamed: GA's event names, by the names that differ on the wire.
    @ivar formats: the audio formats of a session's settings, by codec.
    @ivar session: makes the settings of a session in this dialect's form.
    @ivar modalities_key: the member of a response that holds the modalities.
    @ivar modalities: the modalities of a spoken response.
    @ivar agent_text: the content type of an agent's text in an item.
    @ivar transcription_fields: the supported settings of a transcription.
    """

    name: str
    renamed: Mapping[str, str]
    formats: Mapping[Codec, object]
    session: Callable[[AgentProfile, object], dict[str, Any]]
    modalities_key: str
    modalities: tuple[str, ...]
    agent_text: str
    transcription_fields: frozenset[str]


def _turn_detection(profile: AgentProfile) -> dict[str, Any]:
    return {
        **profile.turn_detection,
        "create_response": True,
        "interrupt_response": profile.interruptible,
    }


def _transcription(profile: AgentProfile, dialect: Dialect) -> dict[str, object] | None:
    transcription = profile.transcription
    if transcription is None or transcription.is_by_the_model:
        return None
    fields = transcription.fields()
    return {
        name: value
        for name, value in fields.items()
        if name in dialect.transcription_fields
    }


def _tools(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the members for tools; none without tools, as some models have no tools."""
    return {"tools": tools, "tool_choice": "auto"} if tools else {}


def _functions(profile: AgentProfile) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "name": function.name,
            "description": function.description,
            "parameters": dict(function.parameters),
        }
        for function in profile.functions
    ]


def _mcp_servers(profile: AgentProfile) -> list[dict[str, Any]]:
    """Make the MCP servers' tools.  No approval is required, as nobody can give it."""
    return [
        {
            "type": "mcp",
            "server_label": server.name,
            "server_url": server.url,
            "require_approval": "never",
            **(
                {"server_description": server.description} if server.description else {}
            ),
            **({"authorization": server.authorization} if server.authorization else {}),
            **(
                {"allowed_tools": list(server.allowed_tools)}
                if server.allowed_tools
                else {}
            ),
        }
        for server in profile.mcp_servers
    ]


def _noise_reduction(profile: AgentProfile) -> dict[str, str] | None:
    return {"type": profile.noise_reduction} if profile.noise_reduction else None


def _ga_session(profile: AgentProfile, audio_format: object) -> dict[str, Any]:
    turn_detection = _turn_detection(profile)
    if profile.idle_prompt_seconds is not None:
        turn_detection["idle_timeout_ms"] = round(profile.idle_prompt_seconds * 1000)
    output: dict[str, Any] = {"format": audio_format, "voice": profile.voice}
    if profile.speed is not None:
        output["speed"] = profile.speed
    more = _tools([*_functions(profile), *_mcp_servers(profile)])
    if profile.reasoning:
        more["reasoning"] = {"effort": profile.reasoning}
    return {
        "type": "realtime",
        "output_modalities": list(GA.modalities),
        "instructions": profile.instructions,
        "max_output_tokens": profile.max_output_tokens or "inf",
        "audio": {
            "input": {
                "format": audio_format,
                "noise_reduction": _noise_reduction(profile),
                "transcription": _transcription(profile, GA),
                "turn_detection": turn_detection,
            },
            "output": output,
        },
        **more,
    }


def _preview_session(profile: AgentProfile, audio_format: object) -> dict[str, Any]:
    return {
        "modalities": list(PREVIEW.modalities),
        "instructions": profile.instructions,
        "max_response_output_tokens": profile.max_output_tokens or "inf",
        "voice": profile.voice,
        "input_audio_format": audio_format,
        "output_audio_format": audio_format,
        "input_audio_noise_reduction": _noise_reduction(profile),
        "input_audio_transcription": _transcription(profile, PREVIEW),
        "turn_detection": _turn_detection(profile),
        **({"speed": profile.speed} if profile.speed is not None else {}),
        **_tools(_functions(profile)),
    }


GA: Final = Dialect(
    name="ga",
    renamed={},
    formats={
        PCMU: {"type": "audio/pcmu"},
        PCMA: {"type": "audio/pcma"},
        L16_24000: {"type": "audio/pcm", "rate": 24000},
    },
    session=_ga_session,
    modalities_key="output_modalities",
    modalities=("audio",),
    agent_text="output_text",
    transcription_fields=frozenset(
        {"model", "language", "languages", "prompt", "keywords", "delay"}
    ),
)

PREVIEW: Final = Dialect(
    name="preview",
    renamed={
        "response.audio.delta": "response.output_audio.delta",
        "response.audio.done": "response.output_audio.done",
        "response.audio_transcript.delta": "response.output_audio_transcript.delta",
        "response.audio_transcript.done": "response.output_audio_transcript.done",
        "response.text.delta": "response.output_text.delta",
        "response.text.done": "response.output_text.done",
        "conversation.item.created": "conversation.item.added",
    },
    formats={PCMU: "g711_ulaw", PCMA: "g711_alaw", L16_24000: "pcm16"},
    session=_preview_session,
    modalities_key="modalities",
    # Azure's preview rejects ["audio"] alone.
    modalities=("audio", "text"),
    agent_text="text",
    transcription_fields=frozenset({"model", "language", "prompt"}),
)


def session_codec(dialect: Dialect, leg_codec: Codec) -> Codec:
    """
    Choose the session's codec: the leg's own if the dialect has it, so that the bytes
    pass unchanged; otherwise linear 24 kHz.
    """
    return leg_codec if leg_codec in dialect.formats else L16_24000


def session_url(deployment: DeploymentSettings) -> str:
    """Return the WebSocket URL of a deployment, in its configured dialect."""
    name = quote(deployment.deployment, safe="")
    if deployment.api_version:
        version = quote(deployment.api_version, safe="")
        query = f"api-version={version}&deployment={name}"
        return _url(deployment, _SOCKET, "/openai/realtime", query)
    return _url(deployment, _SOCKET, _GA_PATH, f"model={name}")


def sideband_url(deployment: DeploymentSettings, call_id: str) -> str:
    """Return the WebSocket URL of the sideband of a call over WebRTC; GA only."""
    return _url(deployment, _SOCKET, _GA_PATH, f"call_id={quote(call_id, safe='')}")


def calls_url(deployment: DeploymentSettings) -> str:
    """
    Return the base URL of C{/client_secrets} and C{/calls}, for calls over WebRTC; GA
    only.
    """
    return _url(deployment, _REQUEST, _GA_PATH, "")


def preview_sessions_url(deployment: DeploymentSettings) -> str:
    """Return the preview's URL for the secret of a call over WebRTC."""
    query = f"api-version={quote(deployment.api_version, safe='')}"
    return _url(deployment, _REQUEST, "/openai/realtimeapi/sessions", query)


def preview_call_url(deployment: DeploymentSettings) -> str:
    """Return the preview's URL for the offer; it is of a region, not of a resource."""
    base = deployment.webrtc_endpoint.rstrip("/")
    return f"{base}/v1/realtimertc?model={quote(deployment.deployment, safe='')}"


_GA_PATH: Final = "/openai/v1/realtime"
_SOCKET: Final = ("wss", "ws")
_REQUEST: Final = ("https", "http")


def _url(
    deployment: DeploymentSettings, schemes: tuple[str, str], path: str, query: str
) -> str:
    """@param schemes: the schemes with TLS and without."""
    parts = urlsplit(deployment.endpoint)
    scheme = schemes[parts.scheme != "https"]
    base = parts.path.rstrip("/").removesuffix("/openai/v1").removesuffix("/openai")
    return urlunsplit((scheme, parts.netloc, f"{base}{path}", query, ""))
