"""Finds what is wrong with any request (RFC 3261 section 8.2)."""

from __future__ import annotations

from typing import Any, Final

from chime_gateway.carriers.sip.context import ACCEPT, ALLOW, METHODS
from chime_gateway.carriers.sip.transport.transactions import Transactions
from chime_gateway.wire.sip.bodies import must_be_understood
from chime_gateway.wire.sip.message import Request, header_list

#: Extensions that a caller may require.
_EXTENSIONS: Final = frozenset({"timer"})

#: Methods that exist, including those that the gateway does not support.
KNOWN_METHODS: Final = frozenset(
    {"REGISTER", "SUBSCRIBE", "PUBLISH", "MESSAGE", "REFER", "PRACK", *METHODS}
)


def fault_of(request: Request, transactions: Transactions) -> tuple[Any, ...] | None:
    """Return the status and headers of the response; C{None}: nothing is wrong."""
    if request.method not in KNOWN_METHODS:
        return 501, ALLOW
    if request.method not in METHODS:
        return 405, ALLOW
    if request.uri.scheme == "tel" and request.method != "INVITE":
        return 416, ALLOW
    if not request.to_tag and transactions.is_merged(request):
        return (482,)
    unknown = set(header_list(request, "Require")) - _EXTENSIONS
    if unknown:
        return 420, ("Unsupported", ", ".join(sorted(unknown)))
    encoding = (request.headers.get("Content-Encoding") or "identity").strip()
    if must_be_understood(request) and encoding.lower() != "identity":
        return 415, ("Accept-Encoding", "identity"), ACCEPT
    return None
