"""Writes SIP messages as bytes (RFC 3261 sections 7, 8.2.6 and 18.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sipmessage import Headers

from chime_gateway.wire.address import canonical
from chime_gateway.wire.sip.message import (
    BadMessage,
    Header,
    Request,
    Source,
    parameter,
    parse_address,
    split_list,
)

PHRASES: Final = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    603: "Decline",
}


def format_request(
    method: str, uri: str, headers: Iterable[Header], body: bytes = b""
) -> bytes:
    """Write a request, with C{Content-Length} added."""
    return _format(f"{method} {uri} SIP/2.0", headers, body)


def _format(start: str, headers: Iterable[Header], body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def format_response(
    headers: Headers,
    status: int,
    *,
    to_tag: str = "",
    phrase: str = "",
    extra: Sequence[Header] = (),
    body: bytes = b"",
) -> bytes:
    """
    Write the response to the request with these headers (RFC 3261 section 8.2.6).

    @raise KeyError: the request lacks a header that the response needs.
    """
    to = headers["To"]
    if to_tag and not _has_tag(to):
        to = f"{to};tag={to_tag}"
    lines: list[Header] = [("Via", via) for via in headers.getlist("Via")]
    if 100 < status < 300:
        # Only the 1xx and 2xx of a dialog need it; in others it does no harm.
        lines += [("Record-Route", route) for route in headers.getlist("Record-Route")]
    lines += [
        ("From", headers["From"]),
        ("To", to),
        ("Call-ID", headers["Call-ID"]),
        ("CSeq", headers["CSeq"]),
    ]
    timestamp = headers.get("Timestamp")
    if status == 100 and timestamp is not None:
        lines.append(("Timestamp", timestamp))
    start = f"SIP/2.0 {status} {phrase or PHRASES.get(status, 'Unknown')}"
    return _format(start, [*lines, *extra], body)


def _has_tag(to: str) -> bool:
    try:
        return parameter(parse_address(to), "tag") is not None
    except BadMessage:
        return ";tag=" in to.lower()


def stamp_source(request: Request, source: Source) -> None:
    """
    Add the request's real source to the topmost Via (RFC 3261 section 18.2.1, RFC
    3581), so that responses pass NAT.
    """
    values = request.headers.getlist("Via")
    _, *others = split_list(values[0])
    via = request.via
    # Without brackets, and without a zone, which has a meaning on this machine only.
    received = source.host.partition("%")[0]
    if parameter(via, "rport") is not None:
        via = via.stamped(rport=str(source.port), received=received)
    elif canonical(via.host.strip("[]")) != source.host:
        via = via.stamped(received=received)
    request.headers.setlist("Via", [str(via), *others, *values[1:]])
    request.via = via


def uri_host(host: str) -> str:
    """Return a host as written in a URI: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """Return a host and port as written in a URI."""
    return f"{uri_host(host)}:{port}"


def answer_to_bad(bad: BadMessage, to_tag: str) -> bytes | None:
    """
    Write the response to a malformed request, with those headers to repeat that it has;
    C{None}: it has no Via.
    """
    headers = bad.headers
    if headers is None or not headers.getlist("Via"):
        return None
    lines: list[Header] = [("Via", via) for via in headers.getlist("Via")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = headers.get(name)
        if value is not None:
            is_untagged = name == "To" and not _has_tag(value)
            lines.append((name, f"{value};tag={to_tag}" if is_untagged else value))
    return _format(f"SIP/2.0 {bad.status} {bad}", lines, b"")
