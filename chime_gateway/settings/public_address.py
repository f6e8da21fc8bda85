"""
Finds the public address of this machine.

It is looked up once, at start, before the reactor runs, so blocking does no harm:
without the address the gateway could not take a call anyway.
"""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import without_secrets

#: Stands for the address that EC2's instance metadata names.
FROM_EC2: Final = "ec2"

#: A name or an IPv4 address with or without a port, or an IPv6 address.
_HOST: Final = re.compile(
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?)(?::(?P<port>\d{1,5}))?\Z"
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#\s]*)", re.IGNORECASE)

_METADATA: Final = "http://169.254.169.254"
_SECONDS: Final = 2.0
_PORTS: Final = range(1, 65536)


def checked_address(text: str, key: str) -> str:
    """
    Return C{text} unchanged if it can be an address.

    @param key: the name of the setting, for the error.
    @raise ConfigError: it is a URL, or something else.
    """
    if url := _SCHEME.match(text):
        host = url[1].rpartition("@")[2] or "voice.example.com"
        raise ConfigError(
            f"{key} {without_secrets(text)[:80]}: write the host alone, without scheme"
            f" and path: {host[:80]}"
        )
    try:
        ip_address(text.removeprefix("[").partition("]")[0])
    except ValueError:
        found = _HOST.match(text)
        if found is None or len(text) > 260 or int(found["port"] or 1) not in _PORTS:
            raise ConfigError(
                f"{key} {text[:80]!r}: expected a host name (voice.example.com), with"
                " :PORT unless it is 443, or an IP address, or ec2"
            ) from None
    return text


def resolve_public_address(text: str, environ: Mapping[str, str]) -> str:
    """
    Return the IP address for an address, C{host:port}, a host name, or C{ec2}.

    @param environ: C{AWS_EC2_METADATA_SERVICE_ENDPOINT} is the URL of the metadata
        service, as in every AWS SDK.
    @raise ConfigError: it has no address.
    """
    if text == FROM_EC2:
        endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _METADATA
        return _from_metadata(endpoint.rstrip("/"))
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError) as exc:  # UnicodeError: not a valid name
        raise ConfigError(
            f"CHIMEGW_PUBLIC_ADDRESS {text[:80]}: the name does not resolve ({exc});"
            " write an IP address, a name in DNS, or ec2"
        ) from exc


def _from_metadata(endpoint: str) -> str:
    """Ask the instance metadata service, version 2, which wants a token."""
    try:
        token = _fetch(
            urllib.request.Request(
                f"{endpoint}/latest/api/token",
                method="PUT",
                headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"},
            )
        )
        address = _fetch(
            urllib.request.Request(
                f"{endpoint}/latest/meta-data/public-ipv4",
                headers={"X-aws-ec2-metadata-token": token},
            )
        )
        return str(ip_address(address.strip()))
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"CHIMEGW_PUBLIC_ADDRESS ec2: the instance metadata names no public"
            f" address ({exc}); write the Elastic IP itself"
        ) from exc


def _fetch(request: urllib.request.Request) -> str:
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:
        text: str = response.read(1000).decode("ascii", "replace")
        return text
