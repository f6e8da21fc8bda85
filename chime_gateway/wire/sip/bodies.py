"""
Finds the session description in a message's body, or in one of its parts (RFC 5621).

An unsupported part is refused if it must be understood (C{handling=required}, the
default of RFC 3261 section 20.11); otherwise it is ignored.
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

#: Maximum depth of nested bodies, and maximum number of parts in one body.
_MAX_DEPTH: Final = 5
_MAX_PARTS: Final = 50

#: RFC 2046 section 5.1.1.
_MAX_BOUNDARY: Final = 70

_MAX_HEADER: Final = 1000
_PARAMETER: Final = re.compile(
    r';\s*([^\s=;"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*))?\s*'
)
_UNENCODED: Final = ("", "7bit", "8bit", "binary")


class _NotUnderstood(Exception):
    """An unsupported body that must be understood; the text says which."""


@frozen
class _Part:
    """
    One body, and what its headers say.

    @ivar kind: C{Content-Type} in lower case, without its parameters.
    @ivar parameters: the parameters of C{Content-Type}.
    @ivar disposition: the body's purpose; empty: the usual one of its type.
    @ivar is_compressed: whether it has a C{Content-Encoding}.
    """

    kind: str
    parameters: Mapping[str, str]
    disposition: str
    is_required: bool
    encoding: str
    is_compressed: bool
    body: bytes


def session_body(message: Message) -> bytes:
    """
    Return a message's session description; empty: there is none.

    @raise BadMessage: a body is malformed, or is unsupported and must be understood
        (415).
    """
    if not message.body:
        return b""
    try:
        return _found(_part(_headers_of(message), message.body), 0) or b""
    except _NotUnderstood as exc:
        raise BadMessage(f"not supported: {exc}", 415) from None


def must_be_understood(message: Message) -> bool:
    """Whether a message has a body that must not be ignored if it is unsupported."""
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
    """Split a header into its value in lower case, and its parameters."""
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
    Find the description in a body.

    @raise _NotUnderstood: the body or a part of it must be understood, and is not.
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
        # The other parts belong to the first one: its signature, or what it refers to.
        parts = parts[:1]
    found = [_found(inner, depth + 1) for inner in parts]
    return next((body for body in found if body is not None), None)


def _best(parts: list[_Part], depth: int) -> bytes | None:
    """Use the last alternative that is supported (RFC 2046 section 5.1.4)."""
    failure = _NotUnderstood("an empty multipart/alternative")
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
    if part.is_compressed:
        raise _NotUnderstood("a Content-Encoding")
    if part.encoding in _UNENCODED:
        return part.body
    if part.encoding == "quoted-printable":
        return quopri.decodestring(part.body)
    if part.encoding == "base64":
        try:
            return base64.b64decode(part.body)
        except binascii.Error:
            raise BadMessage("a body is not base64") from None
    raise _NotUnderstood(f"Content-Transfer-Encoding {part.encoding[:30]}")


def _parts(part: _Part) -> list[_Part]:
    """
    Split a body at its boundaries.  Data before the first and after the last one is
    ignored; the last one may be missing.
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
                raise BadMessage("a multipart body with too many parts")
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
            # Limited, so that a header in many lines does not cost quadratic time.
            headers[name] = f"{headers.get(name, '')} {text.strip()}"[:_MAX_HEADER]
            continue
        name, _, value = text.partition(":")
        name = name.strip().lower()
        headers.setdefault(name, value.strip()[:_MAX_HEADER])
    body = b"\n".join(lines[at + 1 :])
    # The line end before a boundary belongs to the boundary.
    return _part(headers, body.removesuffix(b"\r"))
