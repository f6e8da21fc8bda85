"""
Probes a gateway from outside: by SIP OPTIONS, its readiness page, and its name.

These functions block, and are for commands only.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

from chime_gateway.aws.inspection.verify import Probes

_SECONDS: Final = 3.0
_TLS_PORT: Final = 5061


def options(host: str, port: int, protocol: str) -> int:
    """
    Send SIP OPTIONS (RFC 3261 section 11).

    @return: the status of the response; 0 if there was none.
    """
    transport = "TLS" if port == _TLS_PORT else protocol.upper()
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
        with socket.socket(family, kind) as plain:
            plain.settimeout(_SECONDS)
            plain.connect(address)
            peer = plain
            if transport == "TLS":
                context = ssl.create_default_context()
                peer = context.wrap_socket(plain, server_hostname=host)
            local, local_port = peer.getsockname()[:2]
            peer.sendall(_request(host, port, transport, local, local_port))
            answer = peer.recv(4096)
    except (OSError, ValueError):
        return 0
    words = answer.split(b" ", 2)
    is_answer = words[0] == b"SIP/2.0" and len(words) > 1 and words[1].isdigit()
    return int(words[1]) if is_answer else 0


def _request(
    host: str, port: int, transport: str, local: str, local_port: int
) -> bytes:
    branch = f"z9hG4bK{secrets.token_hex(8)}"
    here = f"[{local}]" if ":" in local else local
    there = f"[{host}]" if ":" in host else host
    return (
        f"OPTIONS sip:{there}:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} {here}:{local_port};branch={branch};rport\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:verify@{here}>;tag={secrets.token_hex(4)}\r\n"
        f"To: <sip:{there}>\r\n"
        f"Call-ID: {secrets.token_hex(8)}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        f"Contact: <sip:verify@{here}:{local_port}>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def ready(url: str) -> int:
    """Return the status of C{GET url}; 0 if there is no response."""
    if not url.startswith(("http://", "https://")):
        return 0
    try:
        with urlopen(url, timeout=_SECONDS) as response:
            status: int = response.status
            return status
    except HTTPError as exc:
        return exc.code
    except (OSError, ValueError, HTTPException):
        return 0


def addresses(host: str) -> list[str]:
    """Return the addresses of a host name; an address is returned as it is."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, ValueError):
        return []
    return sorted({str(entry[4][0]).partition("%")[0] for entry in found})


def from_here() -> Probes:
    return Probes(options=options, ready=ready, addresses=addresses)
