"""
Checks the ports of a gateway: whether two of its settings use the same port, and
whether another program uses one.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from attrs import frozen
from twisted.internet.endpoints import _parse, serverFromString

from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import GatewaySettings

#: Kinds of endpoints for HTTP that have a port.
_TCP: Final = ("tcp", "ssl")
_ALL: Final = ("", "::", "0.0.0.0")


@frozen
class Port:
    """
    A port that a setting names.

    @ivar said: the setting and its value.
    @ivar kind: C{tcp} or C{udp}.
    @ivar interface: an address; empty: all of IPv4.
    """

    said: str
    kind: str
    number: int
    interface: str = ""

    def meets(self, other: Port) -> bool:
        """Whether the two ports conflict: only one of them can be opened."""
        if (self.kind, self.number) != (other.kind, other.number) or not self.number:
            return False
        places = (self.interface, other.interface)
        return self.interface == other.interface or any(one in _ALL for one in places)


def wanted(settings: GatewaySettings) -> Iterator[Port]:
    """
    Yield all ports that the settings name.

    @raise ConfigError: an endpoint is invalid.
    """
    for description in settings.listen:
        yield from _of_endpoint(description)
    for one in settings.sip.listen:
        kind = "udp" if one.transport == "udp" else "tcp"
        said = f"CHIMEGW_SIP_LISTEN {one.transport}:{one.port}"
        yield Port(said, kind, one.port, one.interface)
    for one in settings.webrtc.listen:
        said = f"CHIMEGW_WEBRTC_LISTEN {one.transport}:{one.port}"
        yield Port(said, one.transport, one.port, one.interface)


def _of_endpoint(description: str) -> Iterator[Port]:
    try:
        serverFromString(None, description)
        arguments, named = _parse(description)
    except Exception as exc:  # a plugin's endpoint may raise anything
        why = "; ".join(str(exc).splitlines()) or type(exc).__name__
        raise ConfigError(
            f"--listen {description}: {why}; expected tcp:PORT,"
            " ssl:PORT:privateKey=FILE:certKey=FILE or unix:FILE"
        ) from exc
    kind, *rest = arguments
    port = named.get("port", rest[0] if rest else "")
    if kind in _TCP and port.isdecimal():
        interface = named.get("interface", "")
        if int(port) > 65535:
            raise ConfigError(
                f"--listen {description}: expected a port from 0 to 65535"
            )
        yield Port(f"--listen {description}", "tcp", int(port), interface)


def wanted_twice(settings: GatewaySettings, ports: Sequence[Port]) -> Iterator[str]:
    for one, other in combinations(ports, 2):
        if one.meets(other):
            yield (
                f"{other.said}: {one.said} has the same port; give one of them another"
                " port"
            )
    if not settings.sip.listen:
        return
    first, last = settings.sip.rtp_ports
    for port in ports:
        if port.kind == "udp" and first <= port.number <= last:
            yield (
                f"{port.said}: the port is within CHIMEGW_RTP_PORTS {first}-{last};"
                " choose one outside of the range"
            )


def taken(ports: Sequence[Port]) -> Iterator[str]:
    """Yield the ports that cannot be opened.  Each one is closed again at once."""
    for port in ports:
        try:
            _try(port)
        except OSError as exc:
            yield f"{port.said}: {_why(port, exc)}"


def _try(port: Port) -> None:
    family = socket.AF_INET6 if ":" in port.interface else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.kind == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        if port.kind == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((port.interface.replace("\\", ""), port.number))
        if port.kind == "tcp":
            probe.listen(1)


def _why(port: Port, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"{port.kind} port {port.number} is taken by another program; stop that"
            f" program (ss -lnp 'sport = :{port.number}' shows it) or choose another"
            " port"
        )
    if exc.errno in (errno.EACCES, errno.EPERM):
        return (
            f"port {port.number} needs a privilege; choose one above 1023, or give the"
            " program CAP_NET_BIND_SERVICE"
        )
    if exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror):
        return (
            f"this machine has no address {port.interface}; choose one of those that"
            " the command ip address lists"
        )
    return os.strerror(exc.errno) if exc.errno else str(exc)
