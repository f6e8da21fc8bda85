"""
Settings, read once at start.

Three sources: a TOML file for what is structured, the environment (and an env
file) over it, the command line over both.  This is the only module that reads
any of them.  Whatever cannot work is a L{ConfigError} that names the key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs
from cattrs import (
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    transform_error,
)
from cattrs.gen import make_dict_structure_fn

from chime_gateway.config_sip import check_sip, networks, port_range, sip_listener
from chime_gateway.errors import ConfigError
from chime_gateway.settings import (
    AgentProfile,
    AwsSettings,
    DeploymentSettings,
    GatewaySettings,
    KinesisSettings,
    Limits,
    SipSettings,
    SipTrunk,
)

DEFAULT_PORT: Final = 8080

#: Every variable that is read, for the check against .env.example.
VARIABLES: Final = (
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_API_VERSION",
    "CHIMEGW_SHARED_SECRET",
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

_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})

#: Endpoints that only this machine can reach.
_LOCAL_ENDPOINT: Final = re.compile(
    r"unix:|.*:interface=(127\.\d+\.\d+\.\d+|localhost|\\:\\:1)(:|$)"
)

_T = TypeVar("_T")


def _converter() -> Converter:
    """TOML tables to settings; an unknown key is an error, not a surprise."""
    converter = Converter()
    # cattrs would turn "8" into 8 and 1 into "1": a wrong type is a mistake.
    converter.register_structure_hook(str, _exactly(str))
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(float, _number)
    # Behind the others: these are built from the hooks there are.
    kinds = (AgentProfile, DeploymentSettings, Limits, SipTrunk, SipSettings)
    for kind in (*kinds, AwsSettings, KinesisSettings):
        converter.register_structure_hook(
            kind,
            make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True),
        )
    return converter


def _exactly(kind: type[_T]) -> Any:
    def structure(value: object, _: object) -> _T:
        if type(value) is not kind:
            raise ValueError(f"expected {kind.__name__}, got {value!r:.40}")
        return value

    return structure


def _number(value: object, _: object) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"expected a number, got {value!r:.40}")
    return float(value)  # type: ignore[arg-type]


_CONVERTER: Final = _converter()


def _structure(value: object, kind: type[_T], where: str) -> _T:
    if attrs.has(kind) and not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    try:
        return _CONVERTER.structure(value, kind)
    except BaseValidationError as exc:
        messages = transform_error(exc, path=where, format_exception=_describe)
        raise ConfigError("; ".join(messages)) from exc
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _describe(exc: BaseException, kind: type | None) -> str:
    if isinstance(exc, ForbiddenExtraKeysError):
        return f"unknown key {', '.join(sorted(exc.extra_fields))}"
    if isinstance(exc, KeyError):
        return f"{exc.args[0]} is missing"
    # attrs' validators put the attribute and more behind the text.
    return str(exc.args[0] if exc.args else exc)


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
    config_path: str | None = None,
    env_path: str | None = None,
    port: int | None = None,
    listen: Sequence[str] = (),
    simulate: bool = False,
    insecure: bool = False,
) -> GatewaySettings:
    """
    Everything an operator said, checked.

    @raise ConfigError: something cannot work.
    """
    file = read_config_file(config_path) if config_path else {}
    env = {**(read_env_file(env_path) if env_path else {}), **environ}
    known = {
        *("agents", "routes", "limits", "deployments", "listen", "public_address"),
        *("sip", "aws", "kinesis"),
    }
    unknown = sorted(set(file) - known)
    if unknown:
        raise ConfigError(
            f"{config_path}: unknown key {unknown[0]}"
            f" (known: {', '.join(sorted(known))})"
        )
    secret = env.get("CHIMEGW_SHARED_SECRET", "")
    twilio = env.get("CHIMEGW_TWILIO_AUTH_TOKEN", "")
    if secret and len(secret) < 16:
        raise ConfigError(
            "CHIMEGW_SHARED_SECRET is shorter than 16 characters;"
            " make one with: openssl rand -hex 32"
        )
    agents = _agents(file.get("agents", {}))
    public_address = env.get("CHIMEGW_PUBLIC_ADDRESS") or _structure(
        file.get("public_address", ""), str, "public_address"
    )
    return GatewaySettings(
        listen=_listen(
            list(listen) or _strings(file, "listen") if port is None else list(listen),
            port,
            is_open=insecure or bool(secret or twilio),
        ),
        deployments=() if simulate else _deployments(file, env),
        simulate=simulate,
        shared_secret=secret,
        twilio_auth_token=twilio,
        public_address=public_address,
        agents=agents,
        routes=_routes(file.get("routes", {}), agents),
        limits=_structure(file.get("limits", {}), Limits, "limits"),
        sip=_sip(file.get("sip", {}), env, public_address),
        aws=(aws := _aws(file.get("aws", {}), env)),
        kinesis=_kinesis(file.get("kinesis", {}), env, aws),
    )


def _strings(file: Mapping[str, Any], key: str) -> list[str]:
    return _list(file.get(key, []), key)


def _list(value: object, where: str) -> list[str]:
    if not isinstance(value, list):
        raise ConfigError(f'{where}: expected a list, ["..."]')
    return list(_structure(value, list[str], where))


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
        settings = _structure(named_table, DeploymentSettings, where)
        _endpoint(settings.endpoint, f"{where}.endpoint")
        if not settings.api_key and key:
            settings = attrs.evolve(settings, api_key=key)
        found.append(settings)
    if not found:
        raise ConfigError(
            "AZURE_OPENAI_ENDPOINT is not set (and neither is a [deployments.NAME]"
            " in a --config file); --simulate runs without Azure"
        )
    return tuple(found)


def _endpoint(url: str, key: str) -> str:
    """https, or http to this machine: the key must not travel in the clear."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{key}: {exc}") from exc
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigError(
            f"{key}: expected https://RESOURCE.openai.azure.com, got {url[:80]!r}"
        )
    if parts.scheme == "http" and host not in _LOOPBACK_HOSTS:
        raise ConfigError(f"{key}: http:// is allowed for this machine only; use https")
    if parts.username or parts.query or parts.fragment:
        raise ConfigError(
            f"{key}: only a scheme, a host, a port and a path belong here"
        )
    return url


def _agents(tables: object) -> dict[str, AgentProfile]:
    if not isinstance(tables, dict):
        raise ConfigError("agents: write each as a table [agents.NAME]")
    agents = {
        name: _structure(table, AgentProfile, f"agents.{name}")
        for name, table in tables.items()
    }
    agents.setdefault("default", AgentProfile())
    return agents


def _routes(table: object, agents: Mapping[str, AgentProfile]) -> dict[str, str]:
    routes = _structure(table, dict[str, str], "routes")
    for number, name in routes.items():
        if name not in agents:
            raise ConfigError(f"routes.{number}: there is no [agents.{name}]")
    return routes


def _sip(table: object, env: Mapping[str, str], public_address: str) -> SipSettings:
    """The environment over the table [sip]."""
    if not isinstance(table, dict):
        raise ConfigError("sip: write it as a table [sip]")
    rest = dict(table)
    listen = _from_list(rest, "listen", env, "CHIMEGW_SIP_LISTEN")
    allow = _from_list(rest, "allow", env, "CHIMEGW_SIP_ALLOW")
    ports = env.get("CHIMEGW_RTP_PORTS") or rest.pop("rtp_ports", None)
    rest.pop("rtp_ports", None)
    settings = _structure(rest, SipSettings, "sip")
    settings = attrs.evolve(
        settings,
        listen=tuple(sip_listener(text) for text in listen),
        allow=tuple(network for text in allow for network in networks(text)),
        public_address=settings.public_address or public_address,
        certificate=env.get("CHIMEGW_SIP_CERTIFICATE") or settings.certificate,
        private_key=env.get("CHIMEGW_SIP_PRIVATE_KEY") or settings.private_key,
    )
    if ports is not None:
        settings = attrs.evolve(
            settings, rtp_ports=port_range(_structure(ports, str, "sip.rtp_ports"))
        )
    password = env.get("CHIMEGW_SIP_TRUNK_PASSWORD")
    if settings.trunk is not None and password:
        trunk = attrs.evolve(settings.trunk, password=password)
        settings = attrs.evolve(settings, trunk=trunk)
    check_sip(settings)
    return settings


def _aws(table: object, env: Mapping[str, str]) -> AwsSettings:
    """The environment over the table [aws]."""
    settings = _structure(table, AwsSettings, "aws")
    return attrs.evolve(
        settings,
        # botocore itself looks at AWS_DEFAULT_REGION only.
        region=env.get("AWS_REGION")
        or settings.region
        or env.get("AWS_DEFAULT_REGION", ""),
        sip_media_application_id=env.get("CHIMEGW_SMA_ID")
        or settings.sip_media_application_id,
    )


def _kinesis(
    table: object, env: Mapping[str, str], aws: AwsSettings
) -> KinesisSettings:
    """The environment over the table [kinesis]."""
    settings = _structure(table, KinesisSettings, "kinesis")
    settings = attrs.evolve(
        settings,
        queue_url=env.get("CHIMEGW_KINESIS_QUEUE") or settings.queue_url,
        bucket=env.get("CHIMEGW_KINESIS_BUCKET") or settings.bucket,
    )
    if not settings.queue_url:
        return settings
    if not re.match(r"https?://[^/]+/\d{12}/[\w-]+\Z", settings.queue_url):
        raise ConfigError(
            f"CHIMEGW_KINESIS_QUEUE {settings.queue_url[:80]}: expected the queue's"
            " URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
        )
    for value, name in (
        (settings.bucket, "CHIMEGW_KINESIS_BUCKET"),
        (aws.sip_media_application_id, "CHIMEGW_SMA_ID"),
        (aws.region, "AWS_REGION"),
    ):
        if not value:
            raise ConfigError(f"{name} is not set: the Kinesis carrier needs it")
    queue = settings.queue_url.rpartition("/")[2]
    beside = f"{queue.removesuffix('-notices')}-events-"
    return attrs.evolve(settings, events_prefix=settings.events_prefix or beside)


def _from_list(
    table: dict[str, Any], key: str, env: Mapping[str, str], variable: str
) -> list[str]:
    """Comma separated in the environment, a list in the file."""
    found = table.pop(key, [])
    if env.get(variable):
        return [part.strip() for part in env[variable].split(",") if part.strip()]
    return _list(found, f"sip.{key}")


def describe(settings: GatewaySettings) -> dict[str, Any]:
    """The effective settings, without secrets, for people to read."""

    def visible(_: object, attribute: Any, value: Any) -> Any:
        # What has no place in a repr has none here.
        if attribute is not None and attribute.repr is False:
            return "***" if value else ""
        if isinstance(value, IPv4Network | IPv6Network):
            return str(value)
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
