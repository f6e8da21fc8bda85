"""
The host names that a request from this machine may use without a secret.

A web page's request may come to this machine under any name: the owner of a domain can
point it here after the page has loaded (DNS rebinding).  So only names that nobody
else can own are accepted.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def is_own_name(host: str, reached_at: str, public_address: str = "") -> bool:
    """
    Whether a request's host name belongs to this machine.

    @param host: the request's C{Host} header, with its port (RFC 9110 section 7.2).
    @param reached_at: the local address of its connection.
    @param public_address: the gateway's public name or address, from the settings.
    """
    name = _name_in(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True  # RFC 6761 section 6.3
    if name and name == _name_in(public_address):
        return True
    address = _address(name)
    # A literal address is safe: no name was resolved.
    return address is not None and (
        address.is_loopback or address == _address(reached_at)
    )


def _name_in(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name = host.partition(":")[0] if host.count(":") == 1 else host
    return name.lower().removesuffix(".")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    # A dual-stack listener shows IPv4 within IPv6 (RFC 4291 section 2.5.5.2).
    return getattr(found, "ipv4_mapped", None) or found
