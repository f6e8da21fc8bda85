"""
SIP messages as values, and what their headers say (RFC 3261 sections 7 and 20).

C{sipmessage} parses the headers.  What must be echoed is kept exactly as received,
because proxies compare what they wrote byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import unquote

from attrs import define, evolve, frozen
from sipmessage import URI, Address, Headers, Parameters, grammar

from chime_gateway.errors import RemoteProtocolError

#: A branch that begins so is unique in itself (RFC 3261 section 8.1.1.7).
MAGIC_COOKIE: Final = "z9hG4bK"

DEFAULT_PORT: Final = 5060
DEFAULT_TLS_PORT: Final = 5061

Header: TypeAlias = tuple[str, str]

#: Nobody's URI is longer; what is longer is put before no pattern.
MAX_URI_CHARS: Final = 1024

#: E.164 has 15 digits, and separators stand between them.
MAX_NUMBER_CHARS: Final = 64

_HOST: Final = r"([A-Za-z0-9][A-Za-z0-9._\-]*)(?=[:;?>\s,]|\Z)"
_URI_HOST: Final = re.compile(rf"sips?:(?:[^@<>\s]*@)?{_HOST}")

#: A name in quotes, which some forget to escape in it, or words.
_NAME: Final = re.compile(
    r"""("(?:[^"\\]|\\.|"(?!\s*<))*"|[A-Za-z0-9\-.!%*_+`'~\s]*)\s*<""", re.DOTALL
)

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")

#: A byte that is no UTF-8, as PEP 383 keeps it.
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")

_TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]+"
_SENT_BY: Final = re.compile(
    rf"SIP\s*/\s*2\.0\s*/\s*({_TOKEN})\s+"
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._\-]*)\s*(?::\s*([0-9]{1,5}))?\s*\Z",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(rf"\s*{_TOKEN}\s*(?:=|\Z)")

#: Of an address.  Whether they are all is asked of what it matched: to have it look
#: for the end would have it try every way there.
_PARAMETERS: Final = re.compile(f"(?:{grammar.SEMI}{grammar.GENERIC_PARAM})*")


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


@frozen
class Via:
    """
    Where a request came by, and so where its answer goes (RFC 3261 section 20.42).

    @ivar host: an address of IPv6 in brackets.
    @ivar sent_by: protocol, host and port, as they were written.
    @ivar pieces: parameters as they were written: a quoted one may hold anything.
    """

    transport: str
    host: str
    port: int | None
    sent_by: str
    pieces: tuple[str, ...]

    def __str__(self) -> str:
        return ";".join((self.sent_by, *self.pieces))

    @property
    def parameters(self) -> Mapping[str, str | None]:
        """With names in lower case."""
        found: dict[str, str | None] = {}
        for piece in self.pieces:
            name, is_set, value = piece.partition("=")
            found[name.strip().lower()] = value.strip() if is_set else None
        return found

    def stamped(self, **parameters: str) -> Via:
        """With these, and not with what it said under their names."""
        kept = [
            piece
            for piece in self.pieces
            if piece.partition("=")[0].strip().lower() not in parameters
        ]
        kept += [f"{name}={value}" for name, value in parameters.items()]
        return evolve(self, pieces=tuple(kept))


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


def parameter(owner: Address | Via | URI, name: str) -> str | None:
    """A parameter by its name, in any case; without a value it is empty."""
    for key, value in owner.parameters.items():
        if key.lower() == name:
            return "" if value is None else value
    return None


def readable(text: str) -> str:
    """What was written in ISO-8859-1, as it was meant; for records and logs."""
    return _ESCAPED_BYTE.sub(lambda found: chr(ord(found[0]) - 0xDC00), text)


def parse_address(text: str) -> Address:
    """
    @raise BadMessage: it is no name-addr or addr-spec of a kind known here.
    """
    if not text.isascii():
        # Names should be quoted then, and often are not.
        name, bracket, rest = text.partition("<")
        text = _BEYOND_ASCII.sub("_", name) + bracket + rest
    text = " ".join(text.split())
    named = _NAME.match(text)
    if named is None:
        name = ""
        uri_text = text.partition(";")[0].rstrip()
        rest = text[len(uri_text) :]
    else:
        name = named[1].strip()
        uri_text, bracket, rest = text[named.end() :].partition(">")
        uri_text = uri_text.partition("?")[0]
        if not bracket:
            raise BadMessage("an address is malformed")
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    try:
        return Address(_uri(uri_text), name, _parameters(rest))
    except (ValueError, TypeError):
        raise BadMessage("an address is malformed") from None


def parse_uri(text: str) -> URI:
    """
    @raise BadMessage: it is no sip, sips or tel URI.
    """
    try:
        uri = _uri(text)
    except (ValueError, TypeError):
        raise BadMessage("a URI is malformed") from None
    if uri.port == 0:
        raise BadMessage("a URI has no such port")
    return uri


def _uri(text: str) -> URI:
    """
    C{sipmessage} knows no scheme in upper case, no escapes in a number, and no host
    names that end in a digit or hold an underscore, which many do.

    @raise ValueError: it is none; a C{TypeError}: it has a parameter C{self}.
    """
    if len(text) > MAX_URI_CHARS:
        raise BadMessage("a URI is too long")
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if not text.isascii():
        raise BadMessage("a URI is not in ASCII")
    if scheme == "tel":
        number, semicolon, parameters = rest.partition(";")
        number = unquote(number)
        if len(number) > MAX_NUMBER_CHARS or not number.isascii():
            raise BadMessage("a number is too long, or none")
        return URI.parse(f"tel:{number}{semicolon}{parameters}")
    text = f"{scheme}:{rest}"
    try:
        uri = URI.parse(text)
    except ValueError:
        found = _URI_HOST.match(text)
        if found is None:
            raise
        start, end = found.span(1)
        uri = replace(URI.parse(f"{text[:start]}host{text[end:]}"), host=found[1])
    if uri.port is not None and uri.port > 65535:
        raise BadMessage("a URI has no such port")
    return uri


def _parameters(text: str) -> Parameters:
    """Of an address, with single spaces."""
    found = _PARAMETERS.match(text)
    if found is None or found.end() < len(text.rstrip()):
        raise ValueError("no parameters")
    return Parameters.parse(text)


def parse_via(text: str) -> Via:
    """
    @raise BadMessage: it is none.
    """
    sent_by, *pieces = _split_parameters(text)
    found = _SENT_BY.match(sent_by)
    if found is None or not all(_PARAMETER.match(piece) for piece in pieces):
        raise BadMessage("Via is malformed")
    port = None if found[3] is None else int(found[3])
    return Via(found[1], found[2], port, sent_by.strip(), tuple(pieces))


def _split_parameters(text: str) -> list[str]:
    """
    Cut at semicolons outside of quotes.

    @raise BadMessage: a quote has no end.
    """
    parts, quoted, start, previous = [], False, 0, ""
    for at, char in enumerate(text):
        if char == '"' and previous != "\\":
            quoted = not quoted
        elif char == ";" and not quoted:
            parts.append(text[start:at])
            start = at + 1
        previous = "" if previous == "\\" else char
    if quoted:
        raise BadMessage("a quote has no end")
    parts.append(text[start:])
    return parts


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
