"""
Checks the settings of the WebRTC carrier, and warns of risky ones.

It reads texts, not files.
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

#: What can be spoken over RTP.
_CODECS: Final = (PCMU.name, PCMA.name)

#: A page's origin (RFC 6454 section 6.2), as browsers send it.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+\Z")

#: Every page of everybody may call.
ANY_ORIGIN: Final = "*"


@frozen(kw_only=True)
class WebRtcSettings:
    """
    Callers over WebRTC.

    @ivar listen: One UDP port and one TCP port at most, for all calls; empty: no
        WebRTC.
    @ivar public_address: The IP address that callers can reach. Empty:
        C{public_address} of the gateway, then the address at which their offer came in.
    @ivar origins: Pages of other sites that may call, C{https://app.example.com}, or
        C{*}. Pages under the gateway's own name always may.
    @ivar codecs: The codecs that are accepted, best first.
    @ivar connect_seconds: A caller has to be connected within this time.
    """

    listen: tuple[Listener, ...] = ()
    public_address: str = ""
    origins: tuple[str, ...] = ()
    codecs: tuple[str, ...] = _CODECS
    connect_seconds: float = field(default=20.0, validator=validators.gt(0))

    def of(self, transport: str) -> Listener | None:
        """Where it is listened on; C{None}: nowhere."""
        return next((one for one in self.listen if one.transport == transport), None)


def webrtc_settings(
    value: object, env: Mapping[str, str], public_address: str
) -> WebRtcSettings:
    """The environment over the table [webrtc]."""
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
        raise ConfigError("webrtc.codecs: at least one of " + ", ".join(_CODECS))
    transports = [one.transport for one in settings.listen]
    if len(set(transports)) < len(transports):
        raise ConfigError("CHIMEGW_WEBRTC_LISTEN: each of udp and tcp once at most")


def webrtc_advice(settings: WebRtcSettings, *, is_local: bool) -> Iterator[str]:
    """
    What works and may still not be what was wanted.

    @param is_local: HTTP is for this machine only.
    """
    if not settings.listen:
        if settings.origins:
            yield (
                "webrtc: there are origins, but nothing is listened on: set"
                " CHIMEGW_WEBRTC_LISTEN"
            )
        return
    yield from unreached("webrtc", settings.listen, settings.public_address)
    if not settings.public_address:
        if not is_local:
            yield (
                "webrtc: CHIMEGW_PUBLIC_ADDRESS is not set: callers are told the"
                " address at which their offer came in; behind a proxy or an Elastic IP"
                " say ec2 or the address itself"
            )
    elif ip_address(settings.public_address).is_private and not is_local:
        yield (
            f"webrtc: {settings.public_address} is a private address, which callers"
            " from elsewhere cannot reach"
        )
    if settings.of("udp") is None:
        yield "webrtc: without udp all audio is sent over TCP, which stalls on a loss"
    if ANY_ORIGIN in settings.origins:
        yield "webrtc: pages of every site may call with their visitors' credentials"
