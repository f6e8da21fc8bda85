"""Reads the settings of Azure deployments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Final

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import (
    secret,
    split_url,
    structure,
    without_secrets,
)
from chime_gateway.settings.values import (
    CHANNEL,
    SIDEBAND,
    WEBRTC,
    WEBSOCKET,
    DeploymentSettings,
)

_TRANSPORTS: Final = (WEBSOCKET, WEBRTC)
_EVENTS: Final = (SIDEBAND, CHANNEL)

#: The host in .env.example.
_EXAMPLE: Final = "my-resource.openai.azure.com"

_VERSION: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(-preview)?\Z")

#: The version of the first preview of the Realtime API.
_FIRST_VERSION: Final = date(2024, 10, 1)

_WHAT: Final = {
    "AZURE_OPENAI_ENDPOINT": "https://RESOURCE.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "the name of your deployment of a Realtime model",
}


def deployment_settings(
    file: Mapping[str, object], env: Mapping[str, str]
) -> tuple[DeploymentSettings, ...]:
    """
    Read the deployment of the environment, then those of the file.

    A deployment of the file without a key or a transport uses that of the environment.
    """
    key = env.get("AZURE_OPENAI_API_KEY", "")
    transport = environment_transport(env)
    found: list[DeploymentSettings] = []
    named = [
        name
        for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT")
        if env.get(name)
    ]
    if named:
        for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT"):
            if name not in named:
                raise ConfigError(
                    f"{name} is not set ({named[0]} is): set it to {_WHAT[name]}"
                )
        version = env.get("AZURE_OPENAI_API_VERSION", "")
        _check_version(version, "AZURE_OPENAI_API_VERSION")
        region = env.get("AZURE_OPENAI_WEBRTC_ENDPOINT", "")
        _check_region(region, "AZURE_OPENAI_WEBRTC_ENDPOINT", transport, version)
        found.append(
            DeploymentSettings(
                name="environment",
                endpoint=_endpoint(
                    env["AZURE_OPENAI_ENDPOINT"], "AZURE_OPENAI_ENDPOINT"
                ),
                deployment=env["AZURE_OPENAI_DEPLOYMENT"],
                api_key=key,
                api_version=version,
                transport=transport,
                webrtc_endpoint=region,
                priority=0,
            )
        )
    tables = file.get("deployments", {})
    if not isinstance(tables, dict):
        raise ConfigError("deployments: write each as a table [deployments.NAME]")
    for name, table in tables.items():
        where = f"deployments.{name}"
        named_table = {**table, "name": name} if isinstance(table, dict) else table
        settings = structure(named_table, DeploymentSettings, where)
        _endpoint(settings.endpoint, f"{where}.endpoint")
        version = settings.api_version
        _check_version(version, f"{where}.api_version")
        _check_known(settings.transport, f"{where}.transport", _TRANSPORTS)
        _check_known(settings.events, f"{where}.events", _EVENTS)
        region = settings.webrtc_endpoint
        _check_region(region, f"{where}.webrtc_endpoint", settings.transport, version)
        if "transport" not in table and not version:
            settings = attrs.evolve(settings, transport=transport)
        own_key = secret(settings.api_key, env, f"{where}.api_key")
        settings = attrs.evolve(settings, api_key=own_key or key)
        found.append(settings)
    if not found:
        raise ConfigError(
            "AZURE_OPENAI_ENDPOINT is not set, and there is no [deployments.NAME] in a"
            " --config file; set one of them (--simulate runs without Azure)"
        )
    return tuple(found)


def environment_transport(env: Mapping[str, str]) -> str:
    """The transport of deployments that name none, and of the embedded simulator."""
    transport = env.get("AZURE_OPENAI_TRANSPORT") or WEBSOCKET
    _check_known(transport, "AZURE_OPENAI_TRANSPORT", _TRANSPORTS)
    return transport


def _endpoint(url: str, key: str) -> str:
    """
    Check that it is https, or http to this machine: the key must be encrypted.

    @raise ConfigError: it is not, or it is more than the address of a resource.
    """
    parts = split_url(url, key, "https://RESOURCE.openai.azure.com")
    if parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        port = f":{parts.port}" if parts.port else ""
        raise ConfigError(
            f"{key} {without_secrets(url)[:80]}: write scheme, host and port only,"
            f" no user, path or query: {parts.scheme}://{parts.hostname}{port}"
        )
    if parts.hostname == _EXAMPLE:
        raise ConfigError(
            f"{key} still has the value of the example, {url}: set it to the address of"
            " your own Azure OpenAI resource (--simulate runs without Azure)"
        )
    return url


def _check_version(version: str, key: str) -> None:
    """@raise ConfigError: it cannot be a version of the preview."""
    found = _VERSION.match(version)
    if not version or (found and _is_date(found[1])):
        return
    raise ConfigError(
        f"{key} {version[:40]!r}: expected a version of the preview, such as"
        " 2025-04-01-preview; leave it out for GA"
    )


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text) >= _FIRST_VERSION
    except ValueError:
        return False


def _check_known(said: str, key: str, known: tuple[str, ...]) -> None:
    """@raise ConfigError: it is none of these."""
    if said not in known:
        raise ConfigError(f"{key}: expected {' or '.join(known)}, got {said[:40]!r}")


def _check_region(region: str, key: str, transport: str, api_version: str) -> None:
    """@raise ConfigError: it is not a URL, or is missing where it is needed."""
    if region:
        _endpoint(region, key)
    elif transport == WEBRTC and api_version:
        raise ConfigError(
            f"{key}: the preview (API version {api_version[:40]}) over WebRTC needs"
            " https://REGION.realtimeapi-preview.ai.azure.com, with the region of the"
            " resource"
        )
