"""
Parses listeners of SIP and WebRTC: C{udp:5060:interface=127.0.0.1}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import strings

_LISTENER: Final = re.compile(r"([a-z]+):(\d{1,5})(?::interface=(.+))?\Z")


@frozen(kw_only=True)
class Listener:
    """
    A port to listen on.

    @ivar transport: C{udp}, C{tcp} or C{tls}.
    @ivar interface: the address to bind; empty: all of IPv4.
    """

    transport: str
    port: int
    interface: str = ""

    def takes(self, address: str) -> bool:
        """Whether its address family fits this IP address; an empty address fits."""
        is_of_both = self.interface == "::"
        return not address or is_of_both or (":" in self.interface) == (":" in address)


def listener(text: str, variable: str, transports: Sequence[str]) -> Listener:
    """
    Parse a listener.

    @param variable: the name of the setting, for the error.
    @param transports: the allowed transports with their usual ports: C{udp:5060}.
    @raise ConfigError: it is not a listener.
    """
    found = _LISTENER.match(text)
    known = [one.partition(":")[0] for one in transports]
    if found is None or found[1] not in known or int(found[2]) > 65535:
        *others, last = transports
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"{variable} {text}: expected {expected}; add :interface=ADDRESS to listen"
            " on one interface only"
        )
    interface = (found[3] or "").replace("\\", "").strip("[]")
    if interface:
        try:
            ip_address(interface)
        except ValueError as exc:
            raise ConfigError(
                f"{variable} {text}: expected an IP address after interface=, got"
                f" {interface[:40]!r}"
            ) from exc
    return Listener(transport=found[1], port=int(found[2]), interface=interface)


def listed(
    found_in: dict[str, object],
    key: str,
    where: str,
    env: Mapping[str, str],
    variable: str,
) -> list[str]:
    """
    Read a list: comma separated in the environment, or else a list in the file.  The
    key is removed from C{found_in}.

    @param where: the table of the file.
    """
    found = found_in.pop(key, [])
    if env.get(variable):
        return [part.strip() for part in env[variable].split(",") if part.strip()]
    return strings(found, f"{where}.{key}")


def unreached(
    room: str, listeners: Sequence[Listener], public_address: str
) -> Iterator[str]:
    """Yield a warning if the public address is of another family than a port."""
    ports = [
        f"{one.transport}:{one.port}"
        for one in listeners
        if not one.takes(public_address)
    ]
    if ports:
        yield (
            f"{room}: {' and '.join(ports)} cannot be reached at {public_address}: one"
            " is IPv4 and the other IPv6; add :interface=:: to listen on both"
        )
