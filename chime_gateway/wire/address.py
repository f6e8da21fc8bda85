"""IP addresses as text, in one canonical form each."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(4096)
def canonical(host: str) -> str:
    """
    Return IPv6 in its short form (RFC 5952), an IPv4-mapped address
    (C{::ffff:192.0.2.1}, RFC 4291 section 2.5.5.2) as IPv4, and everything else
    unchanged.
    """
    if ":" not in host:
        return host
    try:
        address = ip_address(host)
    except ValueError:
        return host
    assert isinstance(address, IPv6Address)
    return str(address.ipv4_mapped or address)


def mapped(host: str) -> str:
    """Return the form of an address that a dual-stack IPv6 socket needs."""
    return host if ":" in host else f"::ffff:{host}"


def is_destination(host: str) -> bool:
    """
    Whether packets can be sent to an address that a peer has named.  Refused are names,
    as they need a look-up; zones (C{%eth0}), which have a meaning on the peer's machine
    only; and addresses of many hosts or of none.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (
        "%" in host
        or address.is_multicast
        or address.is_unspecified
        or host == "255.255.255.255"
    )
