"""
Checks the settings of the WebRTC carrier, and warns of risky ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

import attrs
from attrs import field, frozen, validators

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import structure, table
from chime_gateway.settings.listener import Listener, listed, listener, unreached

#: The codecs for RTP.
_CODECS: Final = (PCMU.name, PCMA.name)

#: A page's origin (RFC 6454 section 6.2), as browsers send it.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+\Z")

#: Pages of every site may call.
ANY_ORIGIN: Final = "*"


@frozen(kw_only=True)
class WebRtcSettings:
    """
    The WebRTC carrier.

    @ivar listen: At most one UDP port and one TCP port, for all calls. Empty: no
        WebRTC.
    @ivar public_address: The IP address that callers can reach. Empty:
        C{public_address} of the gateway, then the address at which the offer was
        received.
    @ivar origins: Origins of other web sites whose pages may call,
        C{https://app.example.com}, or C{*}. Pages of the gateway's own origin always
        may.
    @ivar codecs: The codecs that are accepted, best first.
    @ivar connect_seconds: A caller must be connected within this time.
    """

    listen: tuple[Listener, ...] = ()
    public_address: str = ""
    origins: tuple[str, ...] = ()
    codecs: tuple[str, ...] = _CODECS
    connect_seconds: float = field(default=20.0, validator=validators.gt(0))

    def of(self, transport: str) -> Listener | None:
        """Return the listener of a transport, or C{None}."""
        return next((one for one in self.listen if one.transport == transport), None)


def webrtc_settings(
    value: object, env: Mapping[str, str], public_address: str
) -> WebRtcSettings:
    """Read the environment, which takes precedence over the table [webrtc]."""
    rest = table(value, "webrtc")
    listen = listed(rest, "listen", "webrtc", env, "CHIMEGW_WEBRTC_LISTEN")
    origins = listed(rest, "origins", "webrtc", env, "CHIMEGW_WEBRTC_ORIGINS")
    settings = structure(rest, WebRtcSettings, "webrtc")
    settings = attrs.evolve(
        settings,
        listen=tuple(
            listener(text, "CHIMEGW_WEBRTC_LISTEN", ("udp:3478", "tcp:3478"))
            for text in listen
        ),
        origins=tuple(_origin(text) for text in origins),
        public_address=settings.public_address or public_address,
    )
    _check(settings)
    return settings


def _origin(text: str) -> str:
    origin = text.lower()
    if origin != ANY_ORIGIN and not _ORIGIN.match(origin):
        raise ConfigError(
            f"CHIMEGW_WEBRTC_ORIGINS {text[:80]}: expected an origin such as"
            " https://app.example.com (no path), or *"
        )
    return origin


def _check(settings: WebRtcSettings) -> None:
    for name in settings.codecs:
        if name not in _CODECS:
            known = ", ".join(_CODECS)
            raise ConfigError(f"webrtc.codecs: {name[:40]!r} is not one of {known}")
    if not settings.codecs:
        raise ConfigError(
            "webrtc.codecs is empty: name at least one of " + ", ".join(_CODECS)
        )
    transports = [one.transport for one in settings.listen]
    if len(set(transports)) < len(transports):
        said = ",".join(f"{one.transport}:{one.port}" for one in settings.listen)
        raise ConfigError(
            f"CHIMEGW_WEBRTC_LISTEN {said}: name each of udp and tcp once at most"
        )


def webrtc_advice(settings: WebRtcSettings, *, is_local: bool) -> Iterator[str]:
    """
    Yield warnings about settings that are valid but probably not intended.

    @param is_local: HTTP is for this machine only.
    """
    if not settings.listen:
        if settings.origins:
            yield (
                "webrtc: CHIMEGW_WEBRTC_ORIGINS is set, but WebRTC is off: set"
                " CHIMEGW_WEBRTC_LISTEN as well"
            )
        return
    yield from unreached("webrtc", settings.listen, settings.public_address)
    if not settings.public_address:
        if not is_local:
            yield (
                "webrtc: CHIMEGW_PUBLIC_ADDRESS is not set: answers name the address at"
                " which the offer was received; behind a proxy or an Elastic IP set it"
                " to ec2 or to the address itself"
            )
    elif ip_address(settings.public_address).is_private and not is_local:
        yield (
            f"webrtc: {settings.public_address} is not a public address: callers"
            " outside its network cannot reach it; set CHIMEGW_PUBLIC_ADDRESS to a"
            " public one"
        )
    if settings.of("udp") is None:
        yield (
            "webrtc: CHIMEGW_WEBRTC_LISTEN has no udp: all audio is sent over TCP,"
            " which stalls when a packet is lost"
        )
    if ANY_ORIGIN in settings.origins:
        yield (
            "webrtc: CHIMEGW_WEBRTC_ORIGINS is *: pages of every site may call with"
            " their visitors' credentials"
        )
