"""Which Azure deployments there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import secret, split_url, structure
from chime_gateway.settings.values import (
    CHANNEL,
    SIDEBAND,
    WEBRTC,
    WEBSOCKET,
    DeploymentSettings,
)

_TRANSPORTS: Final = (WEBSOCKET, WEBRTC)
_EVENTS: Final = (SIDEBAND, CHANNEL)


def deployment_settings(
    file: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[DeploymentSettings, ...]:
    """
    The one of the environment, before those of the file.

    A deployment of the file without a key uses the environment's, if there is
    one; and one that names no transport, the environment's.
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
                raise ConfigError(f"{name} is not set")
        version = env.get("AZURE_OPENAI_API_VERSION", "")
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
            "AZURE_OPENAI_ENDPOINT is not set (and neither is a [deployments.NAME]"
            " in a --config file); --simulate runs without Azure"
        )
    return tuple(found)


def environment_transport(env: Mapping[str, str]) -> str:
    """Of deployments that name none, and of the embedded simulator."""
    transport = env.get("AZURE_OPENAI_TRANSPORT") or WEBSOCKET
    _check_known(transport, "AZURE_OPENAI_TRANSPORT", _TRANSPORTS)
    return transport


def _endpoint(url: str, key: str) -> str:
    """https, or http to this machine: the key must not travel in the clear."""
    parts = split_url(url, key, "https://RESOURCE.openai.azure.com")
    if parts.username or parts.query or parts.fragment:
        raise ConfigError(
            f"{key}: only a scheme, a host, a port and a path belong here"
        )
    return url


def _check_known(said: str, key: str, known: tuple[str, ...]) -> None:
    """@raise ConfigError: it is none of these."""
    if said not in known:
        raise ConfigError(f"{key}: expected {' or '.join(known)}, not {said[:40]!r}")


def _check_region(region: str, key: str, transport: str, api_version: str) -> None:
    """@raise ConfigError: it is no URL, or is missing where it is needed."""
    if region:
        _endpoint(region, key)
    elif transport == WEBRTC and api_version:
        raise ConfigError(
            f"{key}: the preview (api version {api_version[:40]}) takes calls over"
            " WebRTC at https://REGION.realtimeapi-preview.ai.azure.com, with the"
            " region of the resource"
        )
