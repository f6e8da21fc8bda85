"""
Reads and checks the settings.

There are three sources (L{chime_gateway.settings.sources}): a TOML file for
structured settings, the environment (and an env file), and the command line.  Later
ones take precedence.  An invalid setting raises L{ConfigError}, which names the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.settings.agents import agents, header_routes, routes
from chime_gateway.settings.aws import aws_settings, kinesis_settings
from chime_gateway.settings.convert import strings, structure, without_secrets
from chime_gateway.settings.deployments import (
    deployment_settings,
    environment_transport,
)
from chime_gateway.settings.names import (
    OWN_PREFIXES,
    mentioned_variables,
    nearest,
    suggestion,
    unknown_variables,
)
from chime_gateway.settings.public_address import checked_address
from chime_gateway.settings.sip import sip_settings
from chime_gateway.settings.sound import read_sound
from chime_gateway.settings.sources import read_config_file, read_env_file
from chime_gateway.settings.store import (
    default_instance,
    recording_settings,
    store_settings,
    webhook_settings,
)
from chime_gateway.settings.tools import BuiltInTool
from chime_gateway.settings.transfer import transfer_settings
from chime_gateway.settings.values import GatewaySettings, Limits, StoreSettings
from chime_gateway.settings.variables import NAMES
from chime_gateway.settings.webrtc import webrtc_settings

DEFAULT_PORT: Final = 8080

#: The top-level keys of the file.
_TABLES: Final = frozenset(
    {
        *("agents", "targets", "tools", "mcp_servers", "routes", "header_routes"),
        *("deployments", "limits", "listen", "public_address", "sip", "aws"),
        *("kinesis", "store", "recordings", "webhooks", "transfer", "webrtc"),
    }
)

#: Endpoints that only this machine can reach.
_LOCAL_ENDPOINT: Final = re.compile(
    r"unix:|.*:interface=(127\.\d+\.\d+\.\d+|localhost|\\:\\:1)(:|\Z)"
)


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
    probes: bool = False,
) -> GatewaySettings:
    """
    Read and check all settings.

    @param built_in: the gateway's own tools.
    @raise ConfigError: a setting is invalid.
    """
    env_file = read_env_file(env_path) if env_path else {}
    env = {**env_file, **environ}
    config_path, file = _config_file(env, config_path)
    unknown = sorted(set(file) - _TABLES)
    if unknown:
        raise ConfigError(
            f"{config_path}: unknown key {unknown[0]}"
            f" ({suggestion(unknown[0], _TABLES)})"
        )
    foreign = _foreign_variables(env_file, environ, env_path, file)
    try:
        settings = _checked(
            env,
            file,
            built_in=built_in,
            config_path=config_path,
            port=port,
            listen=listen,
            simulate=simulate,
            insecure=insecure,
            capture_directory=capture_directory,
        )
    except ConfigError as exc:
        key = re.match(r"\w+", str(exc))
        if config_path and key is not None and key[0] in file:
            raise ConfigError(f"{config_path}: {exc}") from exc
        if foreign and str(exc).startswith(OWN_PREFIXES):
            raise ConfigError(f"{exc} ({'; '.join(foreign)})") from exc
        raise
    return attrs.evolve(settings, foreign=foreign, probes=probes)


def _config_file(
    env: Mapping[str, str], config_path: str | None
) -> tuple[str | None, dict[str, Any]]:
    """Return the path from the command line or a variable, and the file's content."""
    if config_path:
        return config_path, read_config_file(config_path)
    if named := env.get("CHIMEGW_CONFIG"):
        return named, read_config_file(named, "CHIMEGW_CONFIG")
    return None, {}


def _foreign_variables(
    env_file: Mapping[str, str],
    environ: Mapping[str, str],
    env_path: str | None,
    file: Mapping[str, object],
) -> tuple[str, ...]:
    """
    Return warnings about variables that look like settings but are not.  In the
    environment they are no errors: it is shared with other programs, and after a
    rollback it is that of a newer version.

    @raise ConfigError: one is in the env file, which is the gateway's own.
    """
    mentioned = frozenset(mentioned_variables(file))
    for name in unknown_variables(env_file, NAMES, mentioned):
        cure = _in_the_file(name) or suggestion(name, NAMES)
        raise ConfigError(f"--env-file {env_path}: unknown name {name} ({cure})")
    found = []
    for name in unknown_variables(environ, NAMES, mentioned):
        near = nearest(name, NAMES)
        cure = f"did you mean {near}?" if near else "unset it"
        cure = _in_the_file(name) or cure
        found.append(f"{name} is not a setting of the gateway: {cure}")
    return tuple(found)


def _in_the_file(variable: str) -> str:
    """The key of the TOML file that a variable is named after; empty: there is none."""
    key = variable.removeprefix("CHIMEGW_").lower()
    is_limit = key in attrs.fields_dict(Limits)
    return f"a --config file sets it, as {key} in [limits]" if is_limit else ""


def _checked(
    env: Mapping[str, str],
    file: Mapping[str, object],
    *,
    built_in: Iterable[BuiltInTool],
    config_path: str | None,
    port: int | None,
    listen: Sequence[str],
    simulate: bool,
    insecure: bool,
    capture_directory: str,
) -> GatewaySettings:
    shared_secret = _long_enough(env, "CHIMEGW_SHARED_SECRET")
    twilio = env.get("CHIMEGW_TWILIO_AUTH_TOKEN", "")
    public_address = _public_address(env, file)
    if twilio and not public_address:
        raise ConfigError(
            "CHIMEGW_TWILIO_AUTH_TOKEN needs CHIMEGW_PUBLIC_ADDRESS, which is not set:"
            " Twilio signs the host name that it dials; set it to that name"
        )
    recordings = recording_settings(file.get("recordings", {}), env)
    deployments = () if simulate else deployment_settings(file, env)
    profiles = agents(
        file,
        env,
        built_in=built_in,
        read=lambda name, where: _read_text(name, where, config_path),
        read_sound=lambda name, where, most: read_sound(
            _beside(name, config_path), where, most
        ),
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
        simulated_transport=environment_transport(env),
        shared_secret=shared_secret,
        twilio_auth_token=twilio,
        admin_token=_long_enough(env, "CHIMEGW_ADMIN_TOKEN"),
        public_address=public_address,
        agents=profiles,
        routes=routes(file.get("routes", {}), profiles),
        header_routes=header_routes(file.get("header_routes", {}), profiles),
        limits=(limits := structure(file.get("limits", {}), Limits, "limits")),
        store=store_settings(file.get("store", {}), env, default_instance(endpoints)),
        recordings=recordings,
        webhooks=webhook_settings(file.get("webhooks", {}), env),
        capture_directory=capture_directory,
        sip=sip_settings(file.get("sip", {}), env, public_address, limits),
        webrtc=webrtc_settings(file.get("webrtc", {}), env, public_address),
        aws=(aws := aws_settings(file.get("aws", {}), env)),
        kinesis=kinesis_settings(file.get("kinesis", {}), env, aws),
        transfer=transfer_settings(file.get("transfer", {}), profiles),
    )


def _public_address(env: Mapping[str, str], file: Mapping[str, object]) -> str:
    if said := env.get("CHIMEGW_PUBLIC_ADDRESS"):
        return checked_address(said, "CHIMEGW_PUBLIC_ADDRESS")
    said = structure(file.get("public_address", ""), str, "public_address")
    return checked_address(said, "public_address") if said else ""


def load_store(
    environ: Mapping[str, str],
    *,
    config_path: str | None = None,
    env_path: str | None = None,
) -> StoreSettings:
    """
    Read the settings of the store, for tools that read it.

    @raise ConfigError: a setting is invalid.
    """
    env = {**(read_env_file(env_path) if env_path else {}), **environ}
    _, file = _config_file(env, config_path)
    return store_settings(file.get("store", {}), env, "")


def _long_enough(env: Mapping[str, str], name: str) -> str:
    """@raise ConfigError: it is so short that it can be guessed."""
    value = env.get(name, "")
    if value and len(value) < 16:
        raise ConfigError(
            f"{name} is shorter than 16 characters; make one with: openssl rand -hex 32"
        )
    return value


def _beside(name: str, config_path: str | None) -> Path:
    return Path(config_path or ".").parent / name


def _read_text(name: str, where: str, config_path: str | None) -> str:
    """
    Read a file beside the configuration.

    @param where: the setting that names it.
    @raise ConfigError: it cannot be read.
    """
    path = _beside(name, config_path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"{where}: there is no file {path}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise ConfigError(f"{where}: {path} cannot be read: {why}") from exc


def _listen(
    endpoints: Sequence[str], port: int | None, *, is_open: bool
) -> tuple[str, ...]:
    """Return where to listen; without a secret on this machine only."""
    interface = "" if is_open else ":interface=127.0.0.1"
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: expected a number from 0 to 65535")
    if port is not None or not endpoints:
        endpoints = [
            *endpoints,
            f"tcp:{DEFAULT_PORT if port is None else port}{interface}",
        ]
    for endpoint in endpoints:
        if not is_open and not is_of_this_machine(endpoint):
            raise ConfigError(
                f"--listen {endpoint}: CHIMEGW_SHARED_SECRET is not set, so anyone"
                " could call; set it, add :interface=127.0.0.1, or use --insecure"
            )
    return tuple(endpoints)


def is_of_this_machine(endpoint: str) -> bool:
    """Whether only this machine can reach an endpoint."""
    return _LOCAL_ENDPOINT.match(endpoint) is not None


def describe(settings: GatewaySettings) -> dict[str, Any]:
    """Return the effective settings, without secrets, for people to read."""

    def visible(_: object, attribute: Any, value: Any) -> Any:
        # An attribute that is not in the repr is secret or personal.
        if attribute is not None and attribute.repr is False:
            return "***" if value else ""
        if isinstance(value, IPv4Network | IPv6Network):
            return str(value)
        if isinstance(value, BuiltInTool):
            return value.name
        return without_secrets(value) if isinstance(value, str) else value

    return attrs.asdict(settings, value_serializer=visible)
