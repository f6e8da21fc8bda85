"""
Finds the session description in a message's body, or in one of its parts (RFC 5621).

A part that must be understood (C{handling=required}, the default of RFC 3261 section
20.11) and is not is refused; all others are ignored.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from chime_gateway.wire.sdp.description import CONTENT_TYPE
from chime_gateway.wire.sip.message import BadMessage, Message

#: Bodies in bodies in bodies, and bodies side by side.
_MAX_DEPTH: Final = 5
_MAX_PARTS: Final = 50

#: RFC 2046 section 5.1.1.
_MAX_BOUNDARY: Final = 70

_MAX_HEADER: Final = 1000
_PARAMETER: Final = re.compile(
    r';\s*([^\s=;"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*))?\s*'
)
_AS_THEY_ARE: Final = ("", "7bit", "8bit", "binary")


class _NotUnderstood(Exception):
    """A body that must be understood and is not; the text says which."""


@frozen
class _Part:
    """
    One body with what is said of it.

    @ivar kind: C{Content-Type} in lower case, without its parameters.
    @ivar disposition: what it is for; empty: what its kind is usually for.
    """

    kind: str
    parameters: Mapping[str, str]
    disposition: str
    is_required: bool
    encoding: str
    is_packed: bool
    body: bytes


def session_body(message: Message) -> bytes:
    """
    The session description that a message carries; empty: it carries none.

    @raise BadMessage: it carries something that must be understood and is not
        (415), or that is malformed.
    """
    if not message.body:
        return b""
    try:
        return _found(_part(_headers_of(message), message.body), 0) or b""
    except _NotUnderstood as exc:
        raise BadMessage(f"not understood: {exc}", 415) from None


def must_be_understood(message: Message) -> bool:
    """Whether a body of unknown type must not be ignored."""
    return bool(message.body) and _part(_headers_of(message), b"").is_required


def _headers_of(message: Message) -> dict[str, str]:
    names = (
        *("content-type", "content-disposition"),
        *("content-encoding", "content-transfer-encoding"),
    )
    return {name: message.headers.get(name) or "" for name in names}


def _part(headers: Mapping[str, str], body: bytes) -> _Part:
    kind, parameters = _value(headers.get("content-type", ""))
    disposition, handling = _value(headers.get("content-disposition", ""))
    packing = headers.get("content-encoding", "").strip().lower()
    return _Part(
        kind,
        parameters,
        disposition,
        handling.get("handling", "").lower() != "optional",
        headers.get("content-transfer-encoding", "").strip().lower(),
        packing not in ("", "identity"),
        body,
    )


def _value(text: str) -> tuple[str, dict[str, str]]:
    """A value in lower case, and its parameters."""
    text = text[:_MAX_HEADER]
    first, _, rest = text.partition(";")
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(f";{rest}"):
        value = found[2] or ""
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        parameters.setdefault(found[1].lower(), value)
    return first.strip().lower(), parameters


def _found(part: _Part, depth: int) -> bytes | None:
    """
    The description in a body.

    @raise _NotUnderstood: it, or something in it, must be understood.
    """
    try:
        if part.kind == CONTENT_TYPE and part.disposition in ("", "session"):
            return _decoded(part)
        if part.kind.startswith("multipart/") and depth < _MAX_DEPTH:
            return _found_in(part, depth)
        raise _NotUnderstood(part.kind[:60] or "a body without a type")
    except _NotUnderstood:
        if part.is_required:
            raise
        return None


def _found_in(part: _Part, depth: int) -> bytes | None:
    parts = _parts(part)
    kind = part.kind.removeprefix("multipart/")
    if kind == "alternative":
        return _best(parts, depth)
    if kind in ("related", "signed"):
        # The rest belongs to the first, as its signature or as what it names.
        parts = parts[:1]
    found = [_found(inner, depth + 1) for inner in parts]
    return next((body for body in found if body is not None), None)


def _best(parts: list[_Part], depth: int) -> bytes | None:
    """The last one that is understood (RFC 2046 section 5.1.4)."""
    failure = _NotUnderstood("multipart/alternative with nothing in it")
    for part in reversed(parts):
        try:
            body = _found(part, depth + 1)
        except _NotUnderstood as exc:
            failure = exc
        else:
            if body is not None:
                return body
    raise failure


def _decoded(part: _Part) -> bytes:
    if part.is_packed:
        raise _NotUnderstood("a Content-Encoding")
    if part.encoding in _AS_THEY_ARE:
        return part.body
    if part.encoding == "quoted-printable":
        return quopri.decodestring(part.body)
    if part.encoding == "base64":
        try:
            return base64.b64decode(part.body)
        except binascii.Error:
            raise BadMessage("a body is no base64") from None
    raise _NotUnderstood(f"Content-Transfer-Encoding {part.encoding[:30]}")


def _parts(part: _Part) -> list[_Part]:
    """
    The bodies between the boundaries.  What is before the first and behind the last
    says nothing; a last boundary that is missing is missed by nobody.
    """
    boundary = part.parameters.get("boundary", "")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise BadMessage("a multipart body without a boundary")
    delimiter = b"--" + boundary.encode("utf-8", "replace")
    parts: list[_Part] = []
    lines: list[bytes] | None = None
    for line in [*_decoded(part).split(b"\n"), delimiter + b"--"]:
        text = line.rstrip(b" \t\r")
        if text not in (delimiter, delimiter + b"--"):
            if lines is not None:
                lines.append(line)
            continue
        if lines is not None:
            parts.append(_inner(lines))
            if len(parts) > _MAX_PARTS:
                raise BadMessage("a body with too many bodies in it")
        lines = []
        if text != delimiter:
            break
    return parts


def _inner(lines: list[bytes]) -> _Part:
    headers: dict[str, str] = {}
    name = ""
    at = 0
    for at, line in enumerate(lines):  # noqa: B007
        text = line.decode("utf-8", "replace").rstrip("\r")
        if not text.strip():
            break
        if text[0] in " \t":
            # Not more than is read of it: whoever folds often must not cost the square.
            headers[name] = f"{headers.get(name, '')} {text.strip()}"[:_MAX_HEADER]
            continue
        name, _, value = text.partition(":")
        name = name.strip().lower()
        headers.setdefault(name, value.strip()[:_MAX_HEADER])
    body = b"\n".join(lines[at + 1 :])
    # The line end before a boundary belongs to it.
    return _part(headers, body.removesuffix(b"\r"))
