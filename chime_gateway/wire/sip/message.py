"""
SIP messages, sans I/O: bytes to values and back (RFC 3261 sections 7, 18.3, 20).

Header grammar is C{sipmessage}'s.  Ours are the limits, the framing of streams,
and that whatever must be echoed is kept as it was written: proxies compare what
they put there byte by byte.

It knows neither transactions nor dialogs, nor what a call is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from attrs import define, frozen
from sipmessage import URI, Address, CSeq, Headers, MediaType, Via
from sipmessage.message import COMPACT_FORMS

from chime_gateway.errors import RemoteProtocolError

#: One datagram holds no more, and no call set-up needs more on a stream.
MAX_MESSAGE_BYTES: Final = 65535
MAX_HEAD_BYTES: Final = 16384
MAX_HEADER_LINES: Final = 160
MAX_LINE_BYTES: Final = 4096

#: RFC 3261 section 20.16: below 2**31.
MAX_CSEQ: Final = 2**31 - 1

#: A branch that begins so is unique in itself (RFC 3261 section 8.1.1.7).
MAGIC_COOKIE: Final = "z9hG4bK"

DEFAULT_PORT: Final = 5060
DEFAULT_TLS_PORT: Final = 5061

Header: TypeAlias = tuple[str, str]
_T = TypeVar("_T")

_METHOD: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]{1,32}\Z")
_STATUS: Final = re.compile(r"SIP/2\.0 ([1-6]\d\d)(?: (.*))?\Z")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_CALL_ID: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,512}\Z")
_HOST: Final = r"([A-Za-z0-9][A-Za-z0-9._\-]*)(?=[:;?>\s,]|\Z)"
_URI_HOST: Final = re.compile(rf"sips?:(?:[^@<>\s]*@)?{_HOST}", re.IGNORECASE)
_VIA_HOST: Final = re.compile(rf"SIP\s*/\s*2\.0\s*/\s*[^\s/;]+\s+{_HOST}")


class BadMessage(RemoteProtocolError):
    """
    A message that is not SIP, or breaks a rule of it.

    @ivar status: what a request is answered with.
    @ivar headers: of the message as far as they could be read; a request that
        has those which make a response gets one.
    """

    def __init__(
        self, reason: str, status: int = 400, headers: Headers | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@frozen
class Source:
    """Where a message came from, as the transport saw it."""

    host: str
    port: int


@define
class Message:
    """
    What requests and responses have in common, checked.

    @ivar headers: as they were written.
    @ivar via: the topmost, parsed.
    """

    headers: Headers
    body: bytes
    via: Via
    branch: str
    call_id: str
    from_address: Address
    to_address: Address
    from_tag: str
    to_tag: str
    cseq: int
    cseq_method: str


@define
class Request(Message):
    """
    @ivar uri: of the request line; C{uri_text} as it was written.
    """

    method: str
    uri: URI
    uri_text: str


@define
class Response(Message):
    """An answer."""

    status: int
    phrase: str


# -- reading -----------------------------------------------------------------


def parse(data: bytes) -> Request | Response:
    """
    One whole message.

    @raise BadMessage: it is none, is too large, or lacks what every message
        has.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadMessage("the message is too large", 513)
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise BadMessage("no end of the headers")
    lines = split_head(head)
    start = lines.pop(0)
    headers = read_headers(lines)
    length = headers.get("Content-Length")
    if length is not None:
        if not length.isdecimal() or len(length) > 9:
            raise BadMessage("Content-Length is no number", 400, headers)
        if int(length) > len(body):
            raise BadMessage("the body is shorter than Content-Length", 400, headers)
        # RFC 3261 section 18.3: what follows in a datagram is discarded.
        body = body[: int(length)]
    if start.startswith("SIP/"):
        return _response(start, headers, body)
    return _request(start, headers, body)


def split_head(head: bytes) -> list[str]:
    """
    The lines of a head, unfolded (RFC 3261 section 7.3.1).

    @raise BadMessage: it is too large, or no text.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise BadMessage("the headers are too large", 513)
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadMessage("the headers are not UTF-8") from exc
    lines: list[str] = []
    # A lone line feed ends no line, but would end one for a careless reader of
    # what is echoed; so would a NUL.
    for line in text.lstrip("\r\n").split("\r\n"):
        if "\n" in line or "\r" in line or "\0" in line:
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
    @raise BadMessage: a line is no header; with those before it.
    """
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or not _HEADER_NAME.match(name):
            raise BadMessage("a header line without a name", 400, headers)
        headers.add(COMPACT_FORMS.get(name.lower(), name), value.strip())
    return headers


def _request(start: str, headers: Headers, body: bytes) -> Request:
    words = start.split(" ")
    if len(words) != 3 or not _METHOD.match(words[0]):
        raise BadMessage("no request line", 400, headers)
    method, uri_text, version = words
    if version.upper() != "SIP/2.0":
        status = 505 if version.upper().startswith("SIP/") else 400
        raise BadMessage("not SIP/2.0", status, headers)
    common = _common(headers)
    uri = _request_uri(uri_text, headers)
    if common["cseq_method"] != method:
        raise BadMessage("CSeq names another method", 400, headers)
    return Request(
        headers=headers,
        body=body,
        method=method,
        uri=uri,
        uri_text=uri_text,
        **common,  # type: ignore[arg-type]
    )


def _request_uri(text: str, headers: Headers) -> URI:
    scheme = text.partition(":")[0].lower()
    if scheme not in ("sip", "sips", "tel"):
        is_scheme = re.match(r"[a-z][a-z0-9+\-.]*\Z", scheme)
        raise BadMessage("not a SIP URI", 416 if is_scheme else 400, headers)
    try:
        return parse_uri(text)
    except BadMessage as exc:
        raise BadMessage(str(exc), 400, headers) from exc


def _response(start: str, headers: Headers, body: bytes) -> Response:
    found = _STATUS.match(start)
    if found is None:
        raise BadMessage("no status line", 400)
    try:
        common = _common(headers)
    except BadMessage as exc:
        # There is no answer to an answer.
        raise BadMessage(str(exc)) from exc
    return Response(
        headers=headers,
        body=body,
        status=int(found[1]),
        phrase=found[2] or "",
        **common,  # type: ignore[arg-type]
    )


def _common(headers: Headers) -> dict[str, object]:
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        count = len(headers.getlist(name))
        if count == 0:
            raise BadMessage(f"{name} is missing", 400, headers)
        if count > 1 and name != "Via":
            raise BadMessage(f"there are several {name}", 400, headers)
    try:
        via = parse_via(split_list(headers["Via"])[0])
        from_address = parse_address(headers["From"])
        to_address = parse_address(headers["To"])
        cseq = CSeq.parse(headers["CSeq"])
    except (ValueError, TypeError, IndexError) as exc:
        raise BadMessage("Via, From, To or CSeq is malformed", 400, headers) from exc
    except BadMessage as exc:
        raise BadMessage(str(exc), 400, headers) from exc
    if cseq.sequence > MAX_CSEQ:
        raise BadMessage("CSeq is out of range", 400, headers)
    if via.port is not None and not 0 < via.port < 65536:
        raise BadMessage("Via has no such port", 400, headers)
    if not _CALL_ID.match(headers["Call-ID"]):
        raise BadMessage("Call-ID is malformed", 400, headers)
    return {
        "via": via,
        "branch": parameter(via, "branch") or "",
        "call_id": headers["Call-ID"],
        "from_address": from_address,
        "to_address": to_address,
        "from_tag": parameter(from_address, "tag") or "",
        "to_tag": parameter(to_address, "tag") or "",
        "cseq": cseq.sequence,
        "cseq_method": cseq.method,
    }


def parameter(owner: Address | Via | URI | MediaType, name: str) -> str | None:
    """A parameter by its name, in any case; without a value it is empty."""
    for key, value in owner.parameters.items():
        if key.lower() == name:
            return "" if value is None else value
    return None


def parse_address(text: str) -> Address:
    """
    @raise BadMessage: it is no name-addr or addr-spec of a kind known here.
    """
    text = _without_uri_headers(text)
    try:
        address, host = _with_any_host(Address.parse, text, _URI_HOST)
    except (ValueError, TypeError) as exc:
        raise BadMessage("an address is malformed") from exc
    if host is None:
        return address
    return replace(address, uri=replace(address.uri, host=host))


def parse_uri(text: str) -> URI:
    """
    @raise BadMessage: it is no sip, sips or tel URI.
    """
    scheme, _, rest = text.partition(":")
    try:
        uri, host = _with_any_host(URI.parse, f"{scheme.lower()}:{rest}", _URI_HOST)
    except (ValueError, TypeError) as exc:
        raise BadMessage("a URI is malformed") from exc
    if host is not None:
        uri = replace(uri, host=host)
    if uri.port is not None and not 0 < uri.port < 65536:
        raise BadMessage("a URI has no such port")
    return uri


def parse_via(text: str) -> Via:
    """
    @raise ValueError: it is none.
    """
    via, host = _with_any_host(Via.parse, text, _VIA_HOST)
    return via if host is None else replace(via, host=host)


def _with_any_host(
    parse: Callable[[str], _T], text: str, where: re.Pattern[str]
) -> tuple[_T, str | None]:
    """
    C{sipmessage} knows no host names that end in a digit or hold an underscore,
    which many do.

    @return: what was parsed, and the host to put in, if it was such a one.
    """
    try:
        return parse(text), None
    except ValueError:
        found = where.search(text)
        if found is None:
            raise
        start, end = found.span(1)
        return parse(text[:start] + "host" + text[end:]), found[1]


def _without_uri_headers(text: str) -> str:
    """C{sipmessage} knows no C{?header=value} at the end of a URI."""
    if "?" not in text:
        return text
    return re.sub(r"(<[^>?]*)\?[^>]*(?=>)", r"\1", text)


def split_list(value: str) -> list[str]:
    """A comma separated header, outside of quotes and angle brackets."""
    if "," not in value:
        return [value.strip()]
    parts, depth, quoted, start, previous = [], 0, False, 0, ""
    for at, char in enumerate(value):
        if char == '"' and previous != "\\":
            quoted = not quoted
        elif not quoted and char == "<":
            depth += 1
        elif not quoted and char == ">":
            depth -= 1
        elif char == "," and not quoted and depth == 0:
            parts.append(value[start:at].strip())
            start = at + 1
        previous = "" if previous == "\\" else char
    parts.append(value[start:].strip())
    return [part for part in parts if part]


def header_list(message: Message, name: str) -> list[str]:
    """All values of a header that may be repeated or comma separated, raw."""
    return [
        part for value in message.headers.getlist(name) for part in split_list(value)
    ]


def tokens(message: Message, name: str) -> frozenset[str]:
    """Option tags or methods of a header, as written."""
    return frozenset(header_list(message, name))


def address_uri(value: str) -> str:
    """
    The URI in a C{Contact}, C{Route} or the like, as it was written.

    @raise BadMessage: there is none.
    """
    start = value.find("<")
    if start >= 0:
        # A display name may hold an angle bracket in quotes.
        if value.lstrip().startswith('"'):
            closing = re.match(r'\s*"(?:[^"\\]|\\.)*"', value)
            start = value.find("<", closing.end() if closing else 0)
        end = value.find(">", start)
        if start < 0 or end < 0:
            raise BadMessage("an address is malformed")
        text = value[start + 1 : end]
    else:
        text = value.partition(";")[0].strip()
    parse_uri(text.partition("?")[0])
    return text


def contact_uri(message: Message) -> str | None:
    """
    The remote target, as it was written.

    @raise BadMessage: it is malformed.
    """
    values = header_list(message, "Contact")
    return address_uri(values[0]) if values else None


def content_type(message: Message) -> str:
    """In lower case, without parameters; empty: none is given."""
    value = message.headers.get("Content-Type")
    return "" if value is None else value.partition(";")[0].strip().lower()
