"""
Describes every key of the TOML file, from the classes of settings.

A key's type, default and bounds come from its attribute, its text from the C{@ivar} of
its class.  The version that introduced it is listed here.
docs/reference/settings.md is generated from this (docs/generate.py).
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from chime_gateway.settings.agent_profile import AgentProfile, ProfileLimits
from chime_gateway.settings.aws import AwsSettings, KinesisSettings
from chime_gateway.settings.tools import HttpTool, McpServer, Target
from chime_gateway.settings.values import (
    DeploymentSettings,
    Limits,
    RecordingSettings,
    SipSettings,
    SipTrunk,
    StoreSettings,
    TransferSettings,
    WebhookSettings,
)
from chime_gateway.settings.webrtc import WebRtcSettings

_FIRST: Final = "0.1.0"
_SECOND: Final = "0.2.0"


@frozen(kw_only=True)
class Key:
    """
    One key of a table.

    @ivar kind: the type of its value, in words.
    @ivar default: as written in TOML; empty: the key is required.
    @ivar since: the version that introduced it.
    """

    name: str
    kind: str
    default: str
    text: str
    since: str


@frozen(kw_only=True)
class Table:
    """
    One table of the file.

    @ivar name: C{NAME} in it stands for a name that the operator chooses.
    @ivar values: the class of its values.
    @ivar hidden: attributes that are no keys of this table.
    @ivar written: kind and default of keys that differ from their attribute.
    @ivar first: keys of version 0.1.0; C{later}: those of versions after 0.2.0.
    """

    name: str
    values: type
    hidden: Sequence[str] = ()
    written: Mapping[str, tuple[str, str]] = attrs.Factory(dict)
    first: Sequence[str] = ()
    later: Mapping[str, str] = attrs.Factory(dict)

    @property
    def text(self) -> str:
        """What it is, in one sentence."""
        return _plain(inspect.cleandoc(self.values.__doc__ or "").split("\n\n")[0])

    def described(self) -> list[Key]:
        texts = texts_of(self.values)
        hints = get_type_hints(self.values)
        found = []
        for attribute in attrs.fields(self.values):
            name = attribute.name
            if name in self.hidden:
                continue
            kind, default = kind_of(hints[name], attribute), default_of(attribute)
            kind, default = self.written.get(name, (kind, default))
            since = _FIRST if name in self.first else self.later.get(name, _SECOND)
            found.append(
                Key(
                    name=name,
                    kind=kind,
                    default=default,
                    text=texts.get(name, ""),
                    since=since,
                )
            )
        return found


_TEXTS: Final = ("list of texts", "[]")

TABLES: Final = (
    Table(
        name="agents.NAME",
        values=AgentProfile,
        hidden=("name", "filler_sound", "apology_sound", "fallback_address", "limits"),
        written={
            "tools": ("list of names", "[]"),
            "targets": ("list of names", "[]"),
            "mcp_servers": ("list of names", "[]"),
            "apology": ("path, `spoken`, `tone`, or empty", '"spoken"'),
            "recording": ("true or false", "true with CHIMEGW_RECORDINGS"),
            "instructions": ("text", "a short one"),
            "goodbye": ("text", "a short one"),
        },
        first=(
            *("instructions", "voice", "greeting", "goodbye", "language"),
            *("interruptible", "transcription_model", "noise_reduction"),
            *("turn_detection", "max_output_tokens"),
        ),
    ),
    Table(name="agents.NAME.limits", values=ProfileLimits),
    Table(name="targets.NAME", values=Target),
    Table(
        name="tools.NAME",
        values=HttpTool,
        hidden=("name",),
        written={"description": ("text", "")},
    ),
    Table(name="mcp_servers.NAME", values=McpServer, hidden=("name",)),
    Table(
        name="deployments.NAME",
        values=DeploymentSettings,
        hidden=("name",),
        written={
            "api_key": ("secret, or env:NAME", "AZURE_OPENAI_API_KEY"),
            "transport": ("`websocket` or `webrtc`", "AZURE_OPENAI_TRANSPORT"),
            "events": ("`sideband` or `channel`", '"sideband"'),
        },
        first=(
            *("endpoint", "deployment", "api_key", "api_version", "priority"),
            "token_scope",
        ),
    ),
    Table(
        name="limits",
        values=Limits,
        first=(
            *("max_calls", "max_call_seconds", "idle_seconds", "start_seconds"),
            *("agent_connect_seconds", "agent_silence_seconds", "drain_seconds"),
            *("goodbye_seconds", "play_queue_seconds"),
        ),
    ),
    Table(
        name="store",
        values=StoreSettings,
        written={
            "database_url": ("URL, or env:NAME", "a SQLite file"),
            "numbers_key": ("secret, or env:NAME", '""'),
            "instance": ("text", "HOST:PORT"),
        },
    ),
    Table(name="recordings", values=RecordingSettings),
    Table(name="webhooks.NAME", values=WebhookSettings, hidden=("name",)),
    Table(name="transfer", values=TransferSettings),
    Table(
        name="sip",
        values=SipSettings,
        hidden=("call_secrets", "trunk"),
        written={
            "listen": _TEXTS,
            "allow": _TEXTS,
            "rtp_ports": ("FIRST-LAST", '"16384-32767"'),
        },
    ),
    Table(name="sip.trunk", values=SipTrunk),
    Table(name="webrtc", values=WebRtcSettings, written={"listen": _TEXTS}),
    Table(name="aws", values=AwsSettings),
    Table(
        name="kinesis",
        values=KinesisSettings,
        written={"events_prefix": ("text", "NAME-events-")},
    ),
)


def texts_of(values: type) -> dict[str, str]:
    """Return the texts of a class's C{@ivar}, by attribute."""
    doc = inspect.cleandoc(values.__doc__ or "")
    return {
        name: _sentence(_plain(text))
        for name, text in re.findall(
            r"^@ivar (\w+): (.*?)(?=^@|\Z)", doc, re.MULTILINE | re.DOTALL
        )
    }


def _plain(text: str) -> str:
    """Convert Twisted's markup to Markdown, on one line."""
    text = " ".join(text.split())
    text = re.sub(r"L\{([^{}<]*)<([\w.]+)>\}", r"`\1`", text)
    text = re.sub(r"L\{([\w.]+)\}", lambda found: f"`{found[1].split('.')[-1]}`", text)
    text = re.sub(r"C\{((?:[^{}]|\{[^{}]*\})*)\}", r"`\1`", text)
    return text


def _sentence(text: str) -> str:
    return text if text.startswith("`") else text[:1].upper() + text[1:]


def kind_of(hint: Any, attribute: Any) -> str:
    """Describe the allowed values, including the validator's limits."""
    choices, bounds = _said_by(attribute.validator)
    if choices:
        said = sorted(
            (f"`{one}`" if one != "" else "empty" for one in choices),
            key="empty".__eq__,
        )
        return ", ".join(said[:-1]) + f" or {said[-1]}"
    kind = _kind(hint)
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind


def _kind(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
        return _kind(hint)
    if origin is tuple:
        return "list of texts"
    names = {str: "text", int: "integer", float: "number", bool: "true or false"}
    return names.get(hint, "table")


def _said_by(validator: Any) -> tuple[list[Any], list[str]]:
    """Return the choices and the bounds of a validator."""
    inner = getattr(validator, "validator", None)
    parts = getattr(validator, "_validators", None) or ([inner] if inner else [])
    choices: list[Any] = []
    bounds: list[str] = []
    for part in parts:
        more, other = _said_by(part)
        choices, bounds = choices + more, bounds + other
    options = getattr(validator, "options", None)
    if isinstance(options, range):
        bounds.append(f"from {options[0]} to {options[-1]}")
    elif options is not None:
        choices += list(options)
    if hasattr(validator, "bound"):
        words = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
        bounds.append(f"{words[validator.compare_op]} {_number(validator.bound)}")
    return choices, bounds


def _number(value: float) -> str:
    return f"{value:,.10g}" if value >= 10_000 else f"{value:.10g}"


def default_of(attribute: Any) -> str:
    value = attribute.default
    if value is attrs.NOTHING:
        return ""
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = value.factory()
    return toml(value)


def toml(value: object) -> str:
    """Write a value as in a TOML file."""
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:.10g}"
        case str():
            return f'"{value}"'
        case tuple() | list():
            return f"[{', '.join(map(toml, value))}]"
        case Mapping() if value:
            pairs = (f"{name} = {toml(one)}" for name, one in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case Mapping():
            return "{}"
    raise TypeError(f"not a value of a setting: {value!r}")
