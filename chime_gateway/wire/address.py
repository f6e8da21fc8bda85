"""IP addresses as text, in one canonical form each."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(4096)
def canonical(host: str) -> str:
    """
    IPv6 in its short form (RFC 5952); an IPv4 address that IPv6 carries
    (C{::ffff:192.0.2.1}, RFC 4291 section 2.5.5.2) as itself; names and whatever
    else as they are.
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
    """An address as a socket of IPv6 wants it that takes IPv4 as well."""
    return host if ":" in host else f"::ffff:{host}"


def is_destination(host: str) -> bool:
    """
    Whether a packet to an address that somebody names can arrive at one host: a
    name must be looked up, a zone (C{%eth0}) means something on his machine only,
    and the rest are many hosts or none.
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
