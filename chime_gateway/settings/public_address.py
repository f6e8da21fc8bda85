"""
Under which address the world reaches this machine.

Asked once, at start, before the reactor runs: a gateway that does not know its
address cannot take a call, so there is nothing to be busy with meanwhile.
"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from chime_gateway.errors import ConfigError

#: In place of an address: ask EC2's instance metadata.
FROM_EC2: Final = "ec2"

_METADATA: Final = "http://169.254.169.254"
_SECONDS: Final = 2.0


def resolve_public_address(text: str, environ: Mapping[str, str]) -> str:
    """
    An IP address from an address, C{host:port}, a host name, or C{ec2}.

    @param environ: C{AWS_EC2_METADATA_SERVICE_ENDPOINT} moves the metadata
        service, as for every AWS SDK.
    @raise ConfigError: there is no address behind it.
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
    except (OSError, UnicodeError) as exc:  # the latter: no name can be like that
        raise ConfigError(f"CHIMEGW_PUBLIC_ADDRESS {text[:80]}: {exc}") from exc


def _from_metadata(endpoint: str) -> str:
    """Instance metadata, version 2: a token first."""
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
            f" address ({exc}); give the Elastic IP itself"
        ) from exc


def _fetch(request: urllib.request.Request) -> str:
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:
        text: str = response.read(1000).decode("ascii", "replace")
        return text
