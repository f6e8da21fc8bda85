"""Finds the local address that is used towards a given peer."""

from __future__ import annotations

import socket


def local_address_to(host: str) -> str:
    """Return the source address of packets to C{host}; nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        address: str = probe.getsockname()[0]
        # A zone has a meaning on this machine only.
        return address.partition("%")[0]
