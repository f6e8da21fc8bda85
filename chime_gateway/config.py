"""
Settings, read once at start.

Three sources: a TOML file for what is structured, the environment (and an env
file) over it, the command line over both.  This is the only module that reads
any of them.  Whatever cannot work is a L{ConfigError} that names the key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import attrs

from chime_gateway.config_agents import agents, header_routes, routes
from chime_gateway.config_aws import aws_settings, kinesis_settings
from chime_gateway.config_sip import sip_settings
from chime_gateway.config_store import (
    default_instance,
    recording_settings,
    store_settings,
    webhook_settings,
)
from chime_gateway.config_values import secret, split_url, strings, structure
from chime_gateway.errors import ConfigError
from chime_gateway.profiles import BuiltInTool
from chime_gateway.settings import (
    DeploymentSettings,
    GatewaySettings,
    Limits,
    StoreSettings,
)

DEFAULT_PORT: Final = 8080

#: Every variable that is read, for the check against .env.example.
VARIABLES: Final = (
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_API_VERSION",
    "CHIMEGW_SHARED_SECRET",
    "CHIMEGW_ADMIN_TOKEN",
    "CHIMEGW_DATABASE_URL",
    "CHIMEGW_STATE",
    "STATE_DIRECTORY",
    "CHIMEGW_INSTANCE",
    "CHIMEGW_NUMBERS_KEY",
    "CHIMEGW_RECORDINGS",
    "CHIMEGW_TWILIO_AUTH_TOKEN",
    "CHIMEGW_PUBLIC_ADDRESS",
    "CHIMEGW_SIP_LISTEN",
    "CHIMEGW_SIP_ALLOW",
    "CHIMEGW_RTP_PORTS",
    "CHIMEGW_SIP_CERTIFICATE",
    "CHIMEGW_SIP_PRIVATE_KEY",
    "CHIMEGW_SIP_TRUNK_PASSWORD",
    "AWS_REGION",
    "CHIMEGW_SMA_ID",
    "CHIMEGW_KINESIS_QUEUE",
    "CHIMEGW_KINESIS_BUCKET",
)

#: Everything that may stand in the file.
_TABLES: Final = frozenset(
    {
        *("agents", "targets", "tools", "mcp_servers", "routes", "header_routes"),
        *("deployments", "limits", "listen", "public_address", "sip", "aws"),
        *("kinesis", "store", "recordings", "webhooks"),
    }
)

#: Endpoints that only this machine can reach.
_LOCAL_ENDPOINT: Final = re.compile(
    r"unix:|.*:interface=(127\.\d+\.\d+\.\d+|localhost|\\:\\:1)(:|$)"
)


def read_env_file(path: str) -> dict[str, str]:
    """
    C{NAME=value} lines as systemd's C{EnvironmentFile=} reads them: comments,
    blank lines, optional quotes.

    @raise ConfigError: it cannot be read, or a line is something else.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--env-file {path}: {exc}") from exc
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"--env-file {path}, line {number}: not NAME=value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = value
    return values


def read_config_file(path: str) -> dict[str, Any]:
    """
    @raise ConfigError: it cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--config {path}: {exc}") from exc


def load(
    environ: Mapping[str, str],
    *,
    built_in: Iterable[BuiltInTool],
    config_path: str | None = None,
    env_path: str | None = None,
    port: int | None = None,
    listen: Sequence[str] = (),
    simulate: bool = False,
    insecure: bool = False,
    capture_directory: str = "",
) -> GatewaySettings:
    """
    Everything an operator said, checked.

    @param built_in: tools that the gateway itself has.
    @raise ConfigError: something cannot work.
    """
    file = read_config_file(config_path) if config_path else {}
    env = {**(read_env_file(env_path) if env_path else {}), **environ}
    unknown = sorted(set(file) - _TABLES)
    if unknown:
        raise ConfigError(
            f"{config_path}: unknown key {unknown[0]}"
            f" (known: {', '.join(sorted(_TABLES))})"
        )
    shared_secret = _long_enough(env, "CHIMEGW_SHARED_SECRET")
    twilio = env.get("CHIMEGW_TWILIO_AUTH_TOKEN", "")
    public_address = env.get("CHIMEGW_PUBLIC_ADDRESS") or structure(
        file.get("public_address", ""), str, "public_address"
    )
    recordings = recording_settings(file.get("recordings", {}), env)
    deployments = () if simulate else _deployments(file, env)
    profiles = agents(
        file,
        env,
        built_in=built_in,
        read=lambda name: _read_text(name, config_path),
        has_recordings=bool(recordings.location),
        is_preview=any(d.api_version for d in deployments),
    )
    endpoints = _listen(
        list(listen) or strings(file.get("listen", []), "listen")
        if port is None
        else list(listen),
        port,
        is_open=insecure or bool(shared_secret or twilio),
    )
    return GatewaySettings(
        listen=endpoints,
        deployments=deployments,
        simulate=simulate,
        shared_secret=shared_secret,
        twilio_auth_token=twilio,
        admin_token=_long_enough(env, "CHIMEGW_ADMIN_TOKEN"),
        public_address=public_address,
        agents=profiles,
        routes=routes(file.get("routes", {}), profiles),
        header_routes=header_routes(file.get("header_routes", {}), profiles),
        limits=structure(file.get("limits", {}), Limits, "limits"),
        store=store_settings(file.get("store", {}), env, default_instance(endpoints)),
        recordings=recordings,
        webhooks=webhook_settings(file.get("webhooks", {}), env),
        capture_directory=capture_directory,
        sip=sip_settings(file.get("sip", {}), env, public_address),
        aws=(aws := aws_settings(file.get("aws", {}), env)),
        kinesis=kinesis_settings(file.get("kinesis", {}), env, aws),
    )


def load_store(
    environ: Mapping[str, str],
    *,
    config_path: str | None = None,
    env_path: str | None = None,
) -> StoreSettings:
    """
    Where calls are written down, for tools that read them.

    @raise ConfigError: something cannot work.
    """
    file = read_config_file(config_path) if config_path else {}
    env = {**(read_env_file(env_path) if env_path else {}), **environ}
    return store_settings(file.get("store", {}), env, "")


def _long_enough(env: Mapping[str, str], name: str) -> str:
    """@raise ConfigError: it can be guessed."""
    value = env.get(name, "")
    if value and len(value) < 16:
        raise ConfigError(
            f"{name} is shorter than 16 characters; make one with: openssl rand -hex 32"
        )
    return value


def _read_text(name: str, config_path: str | None) -> str:
    """
    A file beside the configuration.

    @raise ConfigError: it cannot be read.
    """
    path = Path(config_path or ".").parent / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _listen(
    endpoints: Sequence[str], port: int | None, *, is_open: bool
) -> tuple[str, ...]:
    """Where to listen; without a secret on this machine only."""
    interface = "" if is_open else ":interface=127.0.0.1"
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: a port is a number from 0 to 65535")
    if port is not None or not endpoints:
        endpoints = [
            *endpoints,
            f"tcp:{DEFAULT_PORT if port is None else port}{interface}",
        ]
    for endpoint in endpoints:
        if not is_open and not _LOCAL_ENDPOINT.match(endpoint):
            raise ConfigError(
                f"--listen {endpoint}: without CHIMEGW_SHARED_SECRET anybody could"
                " call; set it, add :interface=127.0.0.1, or say --insecure"
            )
    return tuple(endpoints)


def _deployments(
    file: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[DeploymentSettings, ...]:
    """
    The one of the environment, before those of the file.

    A deployment of the file without a key uses the environment's, if there is
    one.
    """
    key = env.get("AZURE_OPENAI_API_KEY", "")
    found: list[DeploymentSettings] = []
    named = [
        name
        for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT")
        if env.get(name)
    ]
    if named:
        for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT"):
            if name not in named:
                raise ConfigError(f"{name} is not set")
        found.append(
            DeploymentSettings(
                name="environment",
                endpoint=_endpoint(
                    env["AZURE_OPENAI_ENDPOINT"], "AZURE_OPENAI_ENDPOINT"
                ),
                deployment=env["AZURE_OPENAI_DEPLOYMENT"],
                api_key=key,
                api_version=env.get("AZURE_OPENAI_API_VERSION", ""),
                priority=0,
            )
        )
    tables = file.get("deployments", {})
    if not isinstance(tables, dict):
        raise ConfigError("deployments: write each as a table [deployments.NAME]")
    for name, table in tables.items():
        where = f"deployments.{name}"
        named_table = {"name": name, **table} if isinstance(table, dict) else table
        settings = structure(named_table, DeploymentSettings, where)
        _endpoint(settings.endpoint, f"{where}.endpoint")
        own_key = secret(settings.api_key, env, f"{where}.api_key")
        settings = attrs.evolve(settings, api_key=own_key or key)
        found.append(settings)
    if not found:
        raise ConfigError(
            "AZURE_OPENAI_ENDPOINT is not set (and neither is a [deployments.NAME]"
            " in a --config file); --simulate runs without Azure"
        )
    return tuple(found)


def _endpoint(url: str, key: str) -> str:
    """https, or http to this machine: the key must not travel in the clear."""
    parts = split_url(url, key, "https://RESOURCE.openai.azure.com")
    if parts.username or parts.query or parts.fragment:
        raise ConfigError(
            f"{key}: only a scheme, a host, a port and a path belong here"
        )
    return url


def describe(settings: GatewaySettings) -> dict[str, Any]:
    """The effective settings, without secrets, for people to read."""

    def visible(_: object, attribute: Any, value: Any) -> Any:
        # What has no place in a repr has none here.
        if attribute is not None and attribute.repr is False:
            return "***" if value else ""
        if isinstance(value, IPv4Network | IPv6Network):
            return str(value)
        if isinstance(value, BuiltInTool):
            return value.name
        return value

    return attrs.asdict(settings, value_serializer=visible)


def read_secret(environ: Mapping[str, str]) -> str:
    """The shared secret, for tools that call a gateway."""
    return environ.get("CHIMEGW_SHARED_SECRET", "")


def read_trunk_password(environ: Mapping[str, str]) -> str:
    """The password of the termination, for the command that sets it."""
    return environ.get("CHIMEGW_SIP_TRUNK_PASSWORD", "")


def read_sip_allow(environ: Mapping[str, str]) -> list[str]:
    """Who may call, as it is written; empty: not said here."""
    text = environ.get("CHIMEGW_SIP_ALLOW", "")
    return [part.strip() for part in text.split(",") if part.strip()]
