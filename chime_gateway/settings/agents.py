"""
Reads the agents of the TOML file: profiles, their tools and targets, and routes.

C{[tools.NAME]}, C{[targets.NAME]} and C{[mcp_servers.NAME]} are shared by all
profiles; a profile lists the names that it uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from chime_gateway.errors import ConfigError
from chime_gateway.settings.agent_profile import (
    TEMPLATE_HEADER,
    TEMPLATE_VARIABLES,
    AgentProfile,
    brace_fault,
    unknown_variables,
)
from chime_gateway.settings.convert import check_url, secret, strings, structure, table
from chime_gateway.settings.sound import ReadSound, read_sounds
from chime_gateway.settings.telephone import dialled, is_address, normalised
from chime_gateway.settings.tools import BuiltInTool, HttpTool, McpServer, Target, Tool
from chime_gateway.settings.transcribers import (
    DELAY,
    KEYWORDS,
    PROMPT,
    REALTIME_MODEL,
    TRANSCRIBERS,
)

#: Function names that the service accepts.
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

#: Members of each kind of voice activity detection, except those that the gateway
#: sets (C{create_response}, C{interrupt_response}, C{idle_timeout_ms}).
_VAD_MEMBERS: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = {
    "server_vad": {
        "threshold": (int, float),
        "prefix_padding_ms": (int,),
        "silence_duration_ms": (int,),
    },
    "semantic_vad": {"eagerness": (str,)},
}
_EAGERNESS: Final = ("low", "medium", "high", "auto")

#: Texts that may contain variables.
_TEMPLATES: Final = ("instructions", "greeting", "goodbye", "recording_notice")


def agents(
    file: Mapping[str, object],
    env: Mapping[str, str],
    *,
    built_in: Iterable[BuiltInTool],
    read: Callable[[str, str], str],
    read_sound: ReadSound,
    has_recordings: bool,
    is_preview: bool,
) -> dict[str, AgentProfile]:
    """
    Return all profiles by name; C{default} is always among them.

    @param built_in: the gateway's own tools.
    @param read: reads the text of a file beside the configuration; the second argument
        is the setting that names it.
    @param read_sound: reads the sound of such a file.
    @param is_preview: a deployment speaks the preview protocol, which has no MCP.
    @raise ConfigError: a setting is invalid.
    """
    own: dict[str, Tool] = {tool.name: tool for tool in built_in}
    tools = {**own, **dict(_tools(file.get("tools", {}), env, own))}
    targets = dict(_targets(file.get("targets", {})))
    servers = dict(_mcp_servers(file.get("mcp_servers", {}), env))
    found: dict[str, AgentProfile] = {}
    tables = table(file.get("agents", {}), "agents")
    for name, value in {**tables, "default": tables.get("default", {})}.items():
        where = f"agents.{name}"
        rest = table(value, where)
        _read_instructions(rest, where, read)
        _name_transcriber(rest, where)
        sounds = read_sounds(rest, where, read_sound)
        chosen_tools = _chosen(rest, "tools", where, tools)
        chosen_targets = _chosen(rest, "targets", where, targets)
        chosen_servers = _chosen(rest, "mcp_servers", where, servers)
        profile = attrs.evolve(
            structure({**rest, "name": name}, AgentProfile, where),
            tools=tuple(chosen_tools.values()),
            targets=chosen_targets,
            mcp_servers=tuple(chosen_servers.values()),
            **sounds,
        )
        _check(profile, where, targets, tools.values())
        if profile.recording and not has_recordings:
            raise ConfigError(
                f"{where}.recording: CHIMEGW_RECORDINGS is not set: set it to the place"
                " for recordings, or leave recording out"
            )
        if profile.mcp_servers and is_preview:
            raise ConfigError(
                f"{where}.mcp_servers: the preview protocol has no MCP; leave"
                " AZURE_OPENAI_API_VERSION (or api_version) out"
            )
        if profile.fallback:
            address = targets[profile.fallback].address
            profile = attrs.evolve(profile, fallback_address=address)
        found[name] = profile
    return found


def transcription_advice(profiles: Mapping[str, AgentProfile]) -> Iterator[str]:
    """Yield warnings about settings that are valid but probably not intended."""
    for name, profile in profiles.items():
        transcription = profile.transcription
        if transcription is not None and not transcription.kind:
            unsent = ", and language is not sent" if profile.language else ""
            yield (
                f"agents.{name}: {transcription.model} is not the name of a known model"
                " and transcription_kind is not set: only the name is sent to the"
                f" transcriber{unsent}; set transcription_kind to the model of that"
                " deployment"
            )


def routes(value: object, profiles: Mapping[str, AgentProfile]) -> dict[str, str]:
    """Read [routes]: dialled number -> profile."""
    by_number = structure(table(value, "routes"), dict[str, str], "routes")
    for number, name in by_number.items():
        _known_agent(name, profiles, f"routes.{number}")
    _unambiguous(by_number, "routes")
    return by_number


def header_routes(
    value: object, profiles: Mapping[str, AgentProfile]
) -> dict[str, Mapping[str, str]]:
    """Read [header_routes]: header, in lower case -> value -> profile."""
    found: dict[str, Mapping[str, str]] = {}
    for header, choices in table(value, "header_routes").items():
        where = f"header_routes.{header}"
        by_value = structure(table(choices, where), dict[str, str], where)
        for text, name in by_value.items():
            _known_agent(name, profiles, f"{where}.{text}")
        _unambiguous(by_value, where)
        found[header.lower()] = by_value
    return found


def _unambiguous(routes: Mapping[str, str], where: str) -> None:
    """@raise ConfigError: one number, written in two ways, leads to two agents."""
    found: dict[str, str] = {}
    for number, name in routes.items():
        if (other := found.setdefault(normalised(number), name)) != name:
            raise ConfigError(
                f"{where}.{number}: the same number also leads to {other}; leave one"
                " of the two out"
            )


def _known_agent(name: str, profiles: Mapping[str, AgentProfile], where: str) -> None:
    if name not in profiles:
        there_are = ", ".join(profiles)
        raise ConfigError(
            f"{where}: there is no [agents.{name}] (there are: {there_are}); add it or"
            " choose one of these"
        )


def _chosen(
    rest: dict[str, object], key: str, where: str, known: Mapping[str, object]
) -> dict[str, Any]:
    names = strings(rest.pop(key, []), f"{where}.{key}")
    for name in names:
        if name not in known:
            there_are = ", ".join(known) or "none"
            raise ConfigError(
                f"{where}.{key}: there is no {name!r} (there are: {there_are}); add"
                f" [{key}.{name}] or leave it out"
            )
    return {name: known[name] for name in names}


def _read_instructions(
    rest: dict[str, object], where: str, read: Callable[[str, str], str]
) -> None:
    """C{instructions_file} instead of C{instructions}."""
    name = rest.pop("instructions_file", None)
    if name is None:
        return
    if "instructions" in rest:
        raise ConfigError(
            f"{where}: both instructions and instructions_file are set; leave one out"
        )
    where = f"{where}.instructions_file"
    rest["instructions"] = read(structure(name, str, where), where)


def _name_transcriber(rest: dict[str, object], where: str) -> None:
    """If only the kind is given, the deployment has the name of its model."""
    kind = rest.get("transcription_kind")
    if kind == REALTIME_MODEL and rest.get("transcription_model"):
        raise ConfigError(
            f"{where}.transcription_model: leave it out; with transcription_kind ="
            f' "{REALTIME_MODEL}" the agent\'s own model transcribes'
        )
    if kind and isinstance(kind, str):
        rest.setdefault("transcription_model", kind)


def _check_transcription(profile: AgentProfile, where: str) -> None:
    transcription = profile.transcription
    if transcription is None:
        return
    for name in (PROMPT, KEYWORDS, DELAY):
        key = f"transcription_{name}"
        if not getattr(profile, key) or name in transcription.takes:
            continue
        if not transcription.kind:
            raise ConfigError(
                f"{where}.transcription_kind is missing: the deployment's name"
                f" ({transcription.model}) does not say whether its model accepts"
                f" {name}; set it to one of {', '.join(TRANSCRIBERS)}"
            )
        who = [kind for kind, takes in TRANSCRIBERS.items() if name in takes]
        raise ConfigError(
            f"{where}.{key}: {transcription.kind} does not accept it; leave it out, or"
            f" use a transcriber that does ({', '.join(who)})"
        )


def _takes_targets(tool: Tool) -> bool:
    return isinstance(tool, BuiltInTool) and tool.takes_targets


def _check(
    profile: AgentProfile,
    where: str,
    targets: Mapping[str, Target],
    tools: Iterable[Tool],
) -> None:
    for key in _TEMPLATES:
        unknown = unknown_variables(getattr(profile, key))
        if unknown:
            known = ", ".join((*TEMPLATE_VARIABLES, f"{TEMPLATE_HEADER}NAME"))
            raise ConfigError(
                f"{where}.{key}: {{{unknown[0]}}} is not a variable (there are:"
                f" {known}); to write braces themselves, double them:"
                f" {{{{{unknown[0]}}}}}"
            )
        is_spoken = key != "instructions"
        if fault := brace_fault(getattr(profile, key), is_spoken=is_spoken):
            raise ConfigError(
                f"{where}.{key}: {fault}; write a variable as {{caller}}; to write a"
                " brace itself, double it: {{"
            )
    if profile.fallback_address:
        raise ConfigError(
            f"{where}.fallback_address is no setting: set fallback to the name of a"
            " target"
        )
    _check_turn_detection(profile, where)
    _check_transcription(profile, where)
    takers = [tool.name for tool in profile.tools if _takes_targets(tool)]
    if takers and not profile.targets:
        raise ConfigError(
            f"{where}.targets is empty: the tool {takers[0]} needs at least one target"
        )
    if profile.targets and not takers:
        names = " or ".join(tool.name for tool in tools if _takes_targets(tool))
        raise ConfigError(
            f"{where}.tools: targets are set, but no tool uses them; add {names}"
        )
    if profile.fallback and profile.fallback not in targets:
        raise ConfigError(
            f"{where}.fallback: there is no [targets.{profile.fallback}]; add it"
        )


def _check_turn_detection(profile: AgentProfile, where: str) -> None:
    vad = profile.turn_detection
    where = f"{where}.turn_detection"
    kind = vad.get("type")
    members = _VAD_MEMBERS.get(str(kind))
    if members is None:
        raise ConfigError(
            f"{where}.type: {kind!r:.40} is not one of {', '.join(_VAD_MEMBERS)}"
        )
    for name, value in vad.items():
        if name == "type":
            continue
        if name not in members:
            known = ", ".join(members)
            raise ConfigError(f"{where}: {kind} has no key {name} (it has: {known})")
        if type(value) not in members[name]:
            kinds = " or ".join(kind.__name__ for kind in members[name])
            raise ConfigError(f"{where}.{name}: expected {kinds}, got {value!r:.40}")
    eagerness = vad.get("eagerness", "auto")
    if eagerness not in _EAGERNESS:
        raise ConfigError(
            f"{where}.eagerness: {eagerness!r:.40} is not one of"
            f" {', '.join(_EAGERNESS)}"
        )
    threshold = vad.get("threshold", 0.5)
    if not 0 <= threshold <= 1:
        raise ConfigError(
            f"{where}.threshold: expected a number from 0 to 1, got {threshold}"
        )
    if profile.idle_prompt_seconds is not None and kind != "server_vad":
        raise ConfigError(
            f"{where}.type: idle_prompt_seconds needs server_vad, got {kind}"
        )


def _targets(value: object) -> Iterator[tuple[str, Target]]:
    for name, entry in table(value, "targets").items():
        where = f"targets.{name}"
        target = structure(table(entry, where), Target, where)
        target = attrs.evolve(target, address=dialled(target.address))
        if not is_address(target.address):
            raise ConfigError(
                f"{where}.address: expected a telephone number (+12065550100) or a"
                " sip: URI"
            )
        yield name, target


def _tools(
    value: object, env: Mapping[str, str], own: Container[str]
) -> Iterator[tuple[str, HttpTool]]:
    for name, entry in table(value, "tools").items():
        where = f"tools.{name}"
        if not _TOOL_NAME.match(name):
            raise ConfigError(
                f"{where}: the name of a tool has 1 to 64 letters, digits, _ and - only"
            )
        if name in own:
            raise ConfigError(
                f"{where}: {name} is the name of a built-in tool; choose another name"
            )
        tool = structure({"name": name, **table(entry, where)}, HttpTool, where)
        check_url(tool.url, f"{where}.url")
        if not tool.description:
            raise ConfigError(
                f"{where}.description is missing: it tells the model when to use the"
                " tool"
            )
        try:
            Draft202012Validator.check_schema(dict(tool.parameters))
        except SchemaError as exc:
            raise ConfigError(f"{where}.parameters: {exc.message[:200]}") from exc
        if tool.parameters.get("type") != "object":
            raise ConfigError(f'{where}.parameters: type must be "object"')
        yield (
            name,
            attrs.evolve(
                tool,
                secret=secret(tool.secret, env, f"{where}.secret"),
                bearer=secret(tool.bearer, env, f"{where}.bearer"),
            ),
        )


def _mcp_servers(
    value: object, env: Mapping[str, str]
) -> Iterator[tuple[str, McpServer]]:
    for name, entry in table(value, "mcp_servers").items():
        where = f"mcp_servers.{name}"
        server = structure({"name": name, **table(entry, where)}, McpServer, where)
        check_url(server.url, f"{where}.url")
        authorization = secret(server.authorization, env, f"{where}.authorization")
        yield name, attrs.evolve(server, authorization=authorization)
