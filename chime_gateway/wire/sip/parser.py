"""Parses SIP messages from bytes, within limits (RFC 3261 sections 7 and 18.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sipmessage import URI, Headers
from sipmessage.message import COMPACT_FORMS

from chime_gateway.wire.number import decimal
from chime_gateway.wire.sip.message import (
    MAX_URI_CHARS,
    BadMessage,
    Request,
    Response,
    parameter,
    parse_address,
    parse_uri,
    parse_via,
    readable,
    split_list,
)

#: The maximum size of a datagram; no message of a call needs more on a stream.
MAX_MESSAGE_BYTES: Final = 65535
MAX_HEAD_BYTES: Final = 16384
MAX_HEADER_LINES: Final = 160
MAX_LINE_BYTES: Final = 4096

#: Larger than any accepted length; its digits leave room for leading zeros.
_MOST_LENGTH: Final = 999_999_999

#: RFC 3261 section 20.16: below 2**31.
MAX_CSEQ: Final = 2**31 - 1

_METHOD: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]{1,32}\Z")
_STATUS: Final = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.*))?\Z")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_CALL_ID: Final = re.compile(r"[\x21-\x7e]{1,512}\Z")
_CALL_ID_LINE: Final = re.compile(
    rb"^(?:call-id|i)[ \t]*:[ \t]*([\x21-\x7e]{1,512})[ \t]*\r?$",
    re.IGNORECASE | re.MULTILINE,
)
#: RFC 3261 section 20.16; leading zeros are allowed.
_CSEQ: Final = re.compile(r"0*([0-9]{1,10})[ \t]+([A-Za-z0-9\-.!%*_+`'~]{1,32})\Z")
_CONTROL: Final = re.compile(r"[\r\n\0]")


def parse(data: bytes) -> Request | Response:
    """
    Parse a complete message.

    @raise BadMessage: it is malformed or too large, or lacks a mandatory header.
    """
    try:
        return _parse(data)
    except BadMessage as bad:
        bad.headers = answerable(data)
        raise


def _parse(data: bytes) -> Request | Response:
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadMessage("the message is too large", 513)
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise BadMessage("the empty line after the headers is missing")
    lines = split_head(head)
    start = lines.pop(0)
    headers = read_headers(lines)
    given = headers.get("Content-Length")
    if given is not None:
        length = decimal(given, _MOST_LENGTH)
        if length is None:
            raise BadMessage("Content-Length is not a number")
        if length > len(body):
            raise BadMessage("the body is shorter than Content-Length")
        # RFC 3261 section 18.3: discard the rest of a datagram.
        body = body[:length]
    if start.startswith("SIP/"):
        return _response(start, headers, body)
    return _request(start, headers, body)


def split_head(head: bytes) -> list[str]:
    """
    Split a message's head into lines, and unfold them (RFC 3261 section 7.3.1).

    @raise BadMessage: it is too large, or contains control characters.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise BadMessage("the headers are too large", 513)
    lines: list[str] = []
    # A lone CR, LF or NUL does not end a line, but a careless parser of our answer,
    # which repeats the line, would take it for an end.
    for line in _text(head).split("\r\n"):
        if _CONTROL.search(line):
            raise BadMessage("a control character in the headers")
        if line[:1] in (" ", "\t") and len(lines) > 1:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
        if len(lines[-1]) > MAX_LINE_BYTES:
            raise BadMessage("a header is too long", 513)
    if len(lines) > MAX_HEADER_LINES:
        raise BadMessage("too many headers", 513)
    return lines


def read_headers(lines: Iterable[str]) -> Headers:
    """
    Read header lines.

    @raise BadMessage: a line is not a header.
    """
    headers = Headers()
    for line in lines:
        if not _add(headers, line):
            raise BadMessage("a header line without a name")
    return headers


def _add(headers: Headers, line: str) -> bool:
    name, colon, value = line.partition(":")
    name = name.rstrip()
    if not colon or not _HEADER_NAME.match(name):
        return False
    headers.add(COMPACT_FORMS.get(name.lower(), name), value.strip())
    return True


def answerable(data: bytes) -> Headers | None:
    """
    Return the readable headers of a malformed request, to answer it; C{None}: it is a
    response or an ACK, which are not answered.
    """
    head, separator, _ = data.partition(b"\r\n\r\n")
    start, *lines = _text(head[:MAX_HEAD_BYTES]).split("\r\n")
    if start.startswith(("SIP/", "ACK ")):
        return None
    if not separator or len(head) > MAX_HEAD_BYTES:
        del lines[-1:]  # it may be half a line
    headers = Headers()
    for line in lines[:MAX_HEADER_LINES]:
        if len(line) <= MAX_LINE_BYTES and not _CONTROL.search(line):
            _add(headers, line)
    return headers


def call_id_of(data: bytes) -> str:
    """
    Find the Call-ID of a message without parsing it; empty: it has none.
    """
    found = _CALL_ID_LINE.search(data, 0, MAX_HEAD_BYTES)
    return "" if found is None else found[1].decode("ascii", "replace")


def _text(head: bytes) -> str:
    """
    Decode headers: they are UTF-8 (section 7.3.1), but some peers write names in
    ISO-8859-1.  All bytes can be restored (PEP 383), as proxies compare what is echoed.
    """
    return head.decode("utf-8", "surrogateescape").lstrip("\r\n")


def _request(start: str, headers: Headers, body: bytes) -> Request:
    words = start.split(" ")
    if len(words) != 3 or not _METHOD.match(words[0]):
        raise BadMessage("the request line is malformed")
    method, uri_text, version = words
    if version.upper() != "SIP/2.0":
        status = 505 if version.upper().startswith("SIP/") else 400
        raise BadMessage("not SIP/2.0", status)
    common = _common(headers)
    uri = _request_uri(uri_text)
    if common["cseq_method"] != method:
        raise BadMessage("CSeq names another method")
    return Request(
        headers=headers,
        body=body,
        method=method,
        uri=uri,
        uri_text=uri_text,
        **common,  # type: ignore[arg-type]
    )


def _request_uri(text: str) -> URI:
    if len(text) > MAX_URI_CHARS:
        raise BadMessage("the URI is too long", 414)
    scheme = text.partition(":")[0].lower()
    if scheme not in ("sip", "sips", "tel"):
        is_scheme = re.match(r"[a-z][a-z0-9+\-.]*\Z", scheme)
        raise BadMessage("not a SIP URI", 416 if is_scheme else 400)
    return parse_uri(text)


def _response(start: str, headers: Headers, body: bytes) -> Response:
    found = _STATUS.match(start)
    if found is None:
        raise BadMessage("the status line is malformed", 400)
    common = _common(headers)
    return Response(
        headers=headers,
        body=body,
        status=int(found[1]),
        phrase=readable(found[2] or ""),
        **common,  # type: ignore[arg-type]
    )


def _common(headers: Headers) -> dict[str, object]:
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        count = len(headers.getlist(name))
        if count == 0:
            raise BadMessage(f"{name} is missing")
        if count > 1 and name != "Via":
            raise BadMessage(f"there are several {name} headers")
    try:
        via = parse_via(split_list(headers["Via"])[0])
        from_address = parse_address(headers["From"])
        to_address = parse_address(headers["To"])
    except IndexError:
        raise BadMessage("Via is empty") from None
    cseq = _CSEQ.match(headers["CSeq"])
    if cseq is None:
        raise BadMessage("CSeq is malformed")
    if int(cseq[1]) > MAX_CSEQ:
        raise BadMessage("CSeq is out of range")
    if via.port is not None and not 0 < via.port < 65536:
        raise BadMessage("the port of Via is out of range")
    if not _CALL_ID.match(headers["Call-ID"]):
        raise BadMessage("Call-ID is malformed")
    return {
        "via": via,
        "branch": parameter(via, "branch") or "",
        "call_id": headers["Call-ID"],
        "from_address": from_address,
        "to_address": to_address,
        "from_tag": parameter(from_address, "tag") or "",
        "to_tag": parameter(to_address, "tag") or "",
        "cseq": int(cseq[1]),
        "cseq_method": cseq[2],
    }
