"""
SIP messages as values, and the parsing of their headers (RFC 3261 sections 7 and 20).

C{sipmessage} parses the headers.  Values that an answer repeats are kept exactly as
received, because proxies compare them byte by byte.
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

#: A branch with this prefix is globally unique (RFC 3261 section 8.1.1.7).
MAGIC_COOKIE: Final = "z9hG4bK"

DEFAULT_PORT: Final = 5060
DEFAULT_TLS_PORT: Final = 5061

Header: TypeAlias = tuple[str, str]

#: Longer than real URIs; longer ones are not matched against regular expressions.
MAX_URI_CHARS: Final = 1024

#: E.164 numbers have up to 15 digits; there may be separators.
MAX_NUMBER_CHARS: Final = 64

_HOST: Final = r"([A-Za-z0-9][A-Za-z0-9._\-]*)(?=[:;?>\s,]|\Z)"
_URI_HOST: Final = re.compile(rf"sips?:(?:[^@<>\s]*@)?{_HOST}")

#: A quoted name, in which some peers do not escape quotes, or a name of plain words.
_NAME: Final = re.compile(
    r"""("(?:[^"\\]|\\.|"(?!\s*<))*"|[A-Za-z0-9\-.!%*_+`'~\s]*)\s*<""", re.DOTALL
)

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")

#: A byte that is not UTF-8, as PEP 383 represents it.
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")

_TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]+"
_SENT_BY: Final = re.compile(
    rf"SIP\s*/\s*2\.0\s*/\s*({_TOKEN})\s+"
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._\-]*)\s*(?::\s*([0-9]{1,5}))?\s*\Z",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(rf"\s*{_TOKEN}\s*(?:=|\Z)")

#: An address's parameters.  The caller checks that the match reaches the end: an anchor
#: in the pattern would make it backtrack through all combinations.
_PARAMETERS: Final = re.compile(f"(?:{grammar.SEMI}{grammar.GENERIC_PARAM})*")


class BadMessage(RemoteProtocolError):
    """
    A message that is not SIP, or that violates the protocol.

    @ivar status: status of the response, if the message is a request.
    @ivar headers: the readable headers.  A request is answered if it has those that a
        response needs.
    """

    def __init__(
        self, reason: str, status: int = 400, headers: Headers | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@frozen
class Source:
    """The address that a message came from, as seen by the transport."""

    host: str
    port: int


@frozen
class Via:
    """
    One hop of a request's way, to which its answer returns (RFC 3261 section 20.42).

    @ivar host: IPv6 addresses are in brackets.
    @ivar sent_by: protocol, host and port, as received.
    @ivar pieces: parameters as received; a quoted one may contain anything.
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
        """The parameters, with names in lower case."""
        found: dict[str, str | None] = {}
        for piece in self.pieces:
            name, is_set, value = piece.partition("=")
            found[name.strip().lower()] = value.strip() if is_set else None
        return found

    def stamped(self, **parameters: str) -> Via:
        """Return a copy with these parameters, which replace earlier values."""
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
    The checked parts that requests and responses have in common.

    @ivar headers: all headers as received.
    @ivar via: the topmost Via, parsed.
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
    A request.

    @ivar uri: the Request-URI, parsed.
    @ivar uri_text: the Request-URI as received.
    """

    method: str
    uri: URI
    uri_text: str


@define
class Response(Message):
    """A response."""

    status: int
    phrase: str


def parameter(owner: Address | Via | URI, name: str) -> str | None:
    """
    Return a parameter's value; names are compared case-insensitively.

    @return: empty: it has no value; C{None}: there is no such parameter.
    """
    for key, value in owner.parameters.items():
        if key.lower() == name:
            return "" if value is None else value
    return None


def readable(text: str) -> str:
    """Decode bytes that are not UTF-8 as ISO-8859-1, for records and logs."""
    return _ESCAPED_BYTE.sub(lambda found: chr(ord(found[0]) - 0xDC00), text)


def parse_address(text: str) -> Address:
    """
    Parse an address.

    @raise BadMessage: it is not a name-addr or addr-spec with a supported scheme.
    """
    if not text.isascii():
        # Such names should be quoted, but often are not.
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
    Parse a URI.

    @raise BadMessage: it is not a sip, sips or tel URI.
    """
    try:
        uri = _uri(text)
    except (ValueError, TypeError):
        raise BadMessage("a URI is malformed") from None
    if uri.port == 0:
        raise BadMessage("the port of a URI is out of range")
    return uri


def _uri(text: str) -> URI:
    """
    Parse a URI.  C{sipmessage} does not support schemes in upper case, escapes in a
    number, and host names that end in a digit or contain an underscore, as many do.

    @raise ValueError: it is malformed.
    @raise TypeError: it has a parameter named C{self}.
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
            raise BadMessage("a telephone number is too long or malformed")
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
        raise BadMessage("the port of a URI is out of range")
    return uri


def _parameters(text: str) -> Parameters:
    """Parse an address's parameters, in a text with single spaces."""
    found = _PARAMETERS.match(text)
    if found is None or found.end() < len(text.rstrip()):
        raise ValueError("malformed parameters")
    return Parameters.parse(text)


def parse_via(text: str) -> Via:
    """
    Parse a Via.

    @raise BadMessage: it is malformed.
    """
    sent_by, *pieces = _split_parameters(text)
    found = _SENT_BY.match(sent_by)
    if found is None or not all(_PARAMETER.match(piece) for piece in pieces):
        raise BadMessage("Via is malformed")
    port = None if found[3] is None else int(found[3])
    return Via(found[1], found[2], port, sent_by.strip(), tuple(pieces))


def _split_parameters(text: str) -> list[str]:
    """
    Split at semicolons outside of quotes.

    @raise BadMessage: a closing quote is missing.
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
        raise BadMessage("a closing quote is missing")
    parts.append(text[start:])
    return parts


def split_list(value: str) -> list[str]:
    """Split a header at commas outside of quotes and angle brackets."""
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
    """Return all values of a header that may be repeated or comma-separated."""
    return [
        part for value in message.headers.getlist(name) for part in split_list(value)
    ]


def tokens(message: Message, name: str) -> frozenset[str]:
    """Return the option tags or methods of a header, as received."""
    return frozenset(header_list(message, name))


def address_uri(value: str) -> str:
    """
    Return the URI in a C{Contact}, C{Route} or the like, as received.

    @raise BadMessage: it is malformed.
    """
    start = value.find("<")
    if start >= 0:
        # A quoted display name may contain an angle bracket.
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
    Return the URI of the C{Contact}, as received; C{None}: there is none.

    @raise BadMessage: it is malformed.
    """
    values = header_list(message, "Contact")
    return address_uri(values[0]) if values else None


def content_type(message: Message) -> str:
    """Return the content type in lower case, without parameters; empty: none."""
    value = message.headers.get("Content-Type")
    return "" if value is None else value.partition(";")[0].strip().lower()
