"""
Checks the settings of the SIP carrier, and warns of risky ones.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from ipaddress import ip_address, ip_network
from typing import Final

import attrs

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import structure, table
from chime_gateway.settings.listener import Listener, listed, listener, unreached
from chime_gateway.settings.telephone import is_number, normalised
from chime_gateway.settings.values import (
    GatewaySettings,
    Limits,
    Network,
    SipSettings,
)

#: The id or the ARN of a Voice Connector, or of a Voice Connector group.
_VOICE_CONNECTOR: Final = re.compile(
    r"(arn:[\w-]+:chime:[\w-]+:\d{12}:vcg?/)?([a-z0-9]{20,22}|[0-9a-f-]{36})\Z"
)

#: A shorter secret could be guessed.
_SECRET_LENGTH: Final = 16

#: The codecs for RTP.
_CODECS: Final = (PCMU.name, PCMA.name)


def sip_listener(text: str) -> Listener:
    return listener(text, "CHIMEGW_SIP_LISTEN", ("udp:5060", "tcp:5060", "tls:5061"))


def networks(text: str) -> tuple[Network, ...]:
    """
    Return the networks of a region's Voice Connectors, or a network given as CIDR.

    @raise ConfigError: it is neither.
    """
    known = _regions()
    if text in known:
        return tuple(ip_network(network) for network in known[text])
    try:
        return (ip_network(text),)
    except ValueError as exc:
        raise ConfigError(
            f"CHIMEGW_SIP_ALLOW {text}: expected a network such as 198.51.100.0/24"
            f" ({exc}) or a region ({', '.join(known)})"
        ) from exc


def regions(allowed: Iterable[Network]) -> Iterator[tuple[Network, ...]]:
    """Yield, for each region, its networks that are allowed."""
    allowed = set(allowed)
    for names in _regions().values():
        found = tuple(one for one in map(ip_network, names) if one in allowed)
        if found:
            yield found


def _regions() -> dict[str, list[str]]:
    data = resources.files("chime_gateway.settings") / "voice_connector_networks.toml"
    return tomllib.loads(data.read_text(encoding="utf-8"))


def port_range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.strip().isdecimal() and last.strip().isdecimal()):
        raise ConfigError(
            f"CHIMEGW_RTP_PORTS {text}: expected FIRST-LAST, such as 16384-32767"
        )
    low, high = int(first), int(last)
    if not 1024 <= low < high <= 65535 or high - low - low % 2 < 1:
        raise ConfigError(
            f"CHIMEGW_RTP_PORTS {text}: expected a range within 1024-65535 with at"
            " least one pair of ports: an even one and the next"
        )
    return low, high


def check_sip(settings: SipSettings) -> None:
    for name in settings.codecs:
        if name not in _CODECS:
            known = ", ".join(_CODECS)
            raise ConfigError(f"sip.codecs: {name[:40]!r} is not one of {known}")
    if not settings.codecs:
        raise ConfigError(
            "sip.codecs is empty: name at least one of " + ", ".join(_CODECS)
        )
    if len(settings.call_secrets) > 2:
        raise ConfigError(
            "CHIMEGW_CALL_SECRET: expected one secret, or two separated by a comma"
            f" while one replaces the other, got {len(settings.call_secrets)}"
        )
    if any(len(one) < _SECRET_LENGTH for one in settings.call_secrets):
        raise ConfigError(
            f"CHIMEGW_CALL_SECRET is shorter than {_SECRET_LENGTH} characters; chimegw"
            " aws apply makes one"
        )
    for one in settings.voice_connectors:
        if not _VOICE_CONNECTOR.match(one):
            raise ConfigError(
                f"CHIMEGW_VOICE_CONNECTORS {one[:80]!r}: expected a Voice Connector's"
                " id, or its ARN"
            )
    for one in settings.numbers:
        if not is_number(one):
            raise ConfigError(
                "CHIMEGW_SIP_NUMBERS: one entry is not a telephone number; expected"
                " numbers such as +12065550100"
            )
    if not settings.listen:
        return
    if not settings.allow:
        raise ConfigError(
            "CHIMEGW_SIP_ALLOW is not set: name the regions (eu-central-1) or networks"
            " (198.51.100.0/24) that may call"
        )
    transports = [listener.transport for listener in settings.listen]
    if len(set(transports)) < len(transports):
        said = ",".join(f"{one.transport}:{one.port}" for one in settings.listen)
        raise ConfigError(
            f"CHIMEGW_SIP_LISTEN {said}: name each of udp, tcp and tls once at most"
        )
    if "tls" in transports and not settings.certificate:
        raise ConfigError(
            "CHIMEGW_SIP_CERTIFICATE is not set: tls needs a certificate chain and"
            " its key (CHIMEGW_SIP_PRIVATE_KEY) in PEM"
        )


def sip_advice(settings: GatewaySettings) -> Iterator[str]:
    """Yield warnings about settings that are valid but probably not intended."""
    sip = settings.sip
    if not sip.listen:
        return
    public = [network for network in sip.allow if network.is_global]
    if public and not sip.public_address:
        yield (
            "sip: CHIMEGW_PUBLIC_ADDRESS is not set: SIP and SDP name the address of"
            " an interface; behind an Elastic IP set it to ec2 or to the address itself"
        )
    elif public and ip_address(sip.public_address).is_private:
        yield (
            f"sip: {sip.public_address} is not a public address: a Voice Connector"
            " cannot reach it; set CHIMEGW_PUBLIC_ADDRESS to a public one"
        )
    yield from unreached("sip", sip.listen, sip.public_address)
    for network in sip.allow:
        if network.prefixlen == 0:
            yield f"sip: {network} in CHIMEGW_SIP_ALLOW lets anyone call; narrow it"
    calls = (sip.rtp_ports[1] - sip.rtp_ports[0] + 1) // 2
    if calls < settings.limits.max_calls:
        yield (
            f"sip: CHIMEGW_RTP_PORTS has ports for {calls} calls, but limits.max_calls"
            f" is {settings.limits.max_calls}"
        )
    yield from _open_doors(sip)
    if "tls" in {one.transport for one in sip.listen} and not sip.requires_srtp:
        yield (
            "sip: SRTP is offered but not required, because not every listener is tls;"
            ' set srtp = "required" in [sip] to require it'
        )


def open_door(settings: SipSettings) -> str:
    """
    Return a warning that strangers may call, with the command that prevents it; empty
    if they may not.
    """
    if not settings.listen or settings.call_secrets or settings.numbers:
        return ""
    return (
        "sip: CHIMEGW_CALL_SECRET is not set: anyone who can send from the allowed"
        " networks (all Voice Connectors of a region share its networks) may call, name"
        " a transaction and choose the agent; chimegw aws apply makes the secret, for"
        " the Lambda and for the gateway"
    )


def _open_doors(sip: SipSettings) -> Iterator[str]:
    if line := open_door(sip):
        yield line
    if sip.numbers and not sip.voice_connectors:
        yield (
            "sip: CHIMEGW_VOICE_CONNECTORS is not set: anyone who can send from the"
            " allowed networks may call the numbers of CHIMEGW_SIP_NUMBERS; chimegw aws"
            " apply --direct prints the Voice Connector's id"
        )


def sip_settings(
    value: object, env: Mapping[str, str], public_address: str, limits: Limits
) -> SipSettings:
    """Read the environment, which takes precedence over the table [sip]."""
    rest = table(value, "sip")
    if "call_secrets" in rest:
        raise ConfigError(
            "sip.call_secrets is not read from the file: set CHIMEGW_CALL_SECRET"
        )
    listen = listed(rest, "listen", "sip", env, "CHIMEGW_SIP_LISTEN")
    allow = listed(rest, "allow", "sip", env, "CHIMEGW_SIP_ALLOW")
    numbers = listed(rest, "numbers", "sip", env, "CHIMEGW_SIP_NUMBERS")
    connectors = listed(
        rest, "voice_connectors", "sip", env, "CHIMEGW_VOICE_CONNECTORS"
    )
    secrets = listed({}, "call_secrets", "sip", env, "CHIMEGW_CALL_SECRET")
    for variable, found in (
        ("CHIMEGW_SIP_NUMBERS", numbers),
        ("CHIMEGW_VOICE_CONNECTORS", connectors),
        ("CHIMEGW_CALL_SECRET", secrets),
    ):
        if env.get(variable) and not found:
            # The operator meant to restrict calls; ignoring it would allow them.
            raise ConfigError(
                f"{variable} has no entries, only separators: add one, or unset it"
            )
    ports = env.get("CHIMEGW_RTP_PORTS") or rest.pop("rtp_ports", None)
    rest.pop("rtp_ports", None)
    settings = structure(rest, SipSettings, "sip")
    settings = attrs.evolve(
        settings,
        listen=tuple(sip_listener(text) for text in listen),
        allow=tuple(network for text in allow for network in networks(text)),
        numbers=tuple(normalised(number) for number in numbers),
        voice_connectors=tuple(connectors),
        call_secrets=tuple(secrets),
        unacknowledged_calls=settings.unacknowledged_calls
        or max(1, limits.max_calls * 3 // 4),
        unacknowledged_per_source=settings.unacknowledged_per_source
        or max(1, limits.max_calls // 2),
        public_address=settings.public_address or public_address,
        certificate=env.get("CHIMEGW_SIP_CERTIFICATE") or settings.certificate,
        private_key=env.get("CHIMEGW_SIP_PRIVATE_KEY") or settings.private_key,
    )
    if ports is not None:
        settings = attrs.evolve(
            settings, rtp_ports=port_range(structure(ports, str, "sip.rtp_ports"))
        )
    password = env.get("CHIMEGW_SIP_TRUNK_PASSWORD")
    if settings.trunk is not None and password:
        trunk = attrs.evolve(settings.trunk, password=password)
        settings = attrs.evolve(settings, trunk=trunk)
    check_sip(settings)
    return settings
