"""Reads the table C{[transfer]}, and checks agents' targets against it."""

from __future__ import annotations

from collections.abc import Mapping

from chime_gateway.errors import ConfigError
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.convert import structure
from chime_gateway.settings.destinations import (
    destination_fault,
    is_destination_prefix,
)
from chime_gateway.settings.values import TransferSettings


def transfer_settings(
    value: object, profiles: Mapping[str, AgentProfile]
) -> TransferSettings:
    """
    Read the table, and check that each agent's targets are allowed.

    @raise ConfigError: a setting is invalid, or a target is not allowed.
    """
    settings = structure(value, TransferSettings, "transfer")
    for entry in settings.allow:
        if not is_destination_prefix(entry):
            raise ConfigError(
                f"transfer.allow: {entry[:80]!r}: expected entries such as +49, sip:,"
                " sip:1, sip:@pbx.example.com, sip:office@pbx.example.com"
            )
    for name, profile in profiles.items():
        addresses = {target: t.address for target, t in profile.targets.items()}
        if profile.fallback:
            addresses[profile.fallback] = profile.fallback_address
        for target, address in addresses.items():
            why = destination_fault(address, settings.allow)
            if why:
                raise ConfigError(
                    f"targets.{target} (of agents.{name}): {why}; add its address, or"
                    " the beginning of it, to [transfer] allow"
                )
    return settings
