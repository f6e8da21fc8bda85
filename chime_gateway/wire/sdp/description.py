"""
Reads and writes the lines of session descriptions (RFC 8866).

Invalid lines in media sections other than audio are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import Factory, define

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.number import decimal

CONTENT_TYPE: Final = "application/sdp"

MAX_BYTES: Final = 16384
_MAX_LINES: Final = 500


class SdpError(RemoteProtocolError):
    """A description that is malformed, or that cannot be answered."""


@define
class Media:
    """
    One m-line with its attributes.

    @ivar host: address of its own c-line; empty: that line is invalid.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    host: str | None = None
    attributes: list[tuple[str, str]] = Factory(list)

    def get(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    def values(self, name: str) -> list[str]:
        """Return all values of an attribute that may be repeated."""
        return [value for key, value in self.attributes if key == name]


@define
class Description:
    """A whole description that has been read."""

    origin: str = ""
    host: str | None = None
    attributes: list[tuple[str, str]] = Factory(list)
    media: list[Media] = Factory(list)


def parse(body: bytes) -> Description:
    """
    Read a description.

    @raise SdpError: it is not a description.
    """
    if len(body) > MAX_BYTES:
        raise SdpError("the session description is too large")
    # Other encodings occur only in lines for people.
    text = body.decode("utf-8", "replace")
    # Some peers end lines with a bare LF (RFC 8866 section 5 asks to accept that).
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines or lines[0] != "v=0" or len(lines) > _MAX_LINES:
        raise SdpError("not a session description")
    description = Description()
    media: Media | None = None
    for line in lines[1:]:
        if len(line) < 2 or line[1] != "=":
            raise SdpError("a line without a type")
        kind, value = line[0], line[2:]
        if kind == "m":
            media = _media(value)
            description.media.append(media)
        elif kind == "o":
            description.origin = value
        elif kind == "c":
            host = _connection(value)
            if media is None:
                description.host = host
            else:
                media.host = host
        elif kind == "a":
            name, _, rest = value.partition(":")
            owner = description if media is None else media
            owner.attributes.append((name.strip(), rest.strip()))
    return description


def _media(value: str) -> Media:
    words = value.split()
    if len(words) < 4:
        raise SdpError("a malformed m-line")
    kind, port, protocol, *formats = words
    number = decimal(port.partition("/")[0], 65535)
    if number is None:
        raise SdpError("an m-line without a port")
    return Media(kind, number, protocol, tuple(formats))


def _connection(value: str) -> str:
    """
    Return the address; empty if the line is invalid, which matters only if the address
    is needed.
    """
    words = value.split()
    if len(words) != 3 or words[0] != "IN" or words[1] not in ("IP4", "IP6"):
        return ""
    return words[2].partition("/")[0]


def format_description(
    session_id: int,
    version: int,
    host: str,
    sections: Sequence[list[str]],
    attributes: Sequence[str] = (),
) -> bytes:
    """
    Write a description.

    @param host: our address.
    @param sections: media sections: an m-line and its attributes each.
    @param attributes: whole lines for the session's attributes.
    """
    address = f"IN {'IP6' if ':' in host else 'IP4'} {host}"
    lines = [
        "v=0",
        f"o=- {session_id} {version} {address}",
        "s=-",
        f"c={address}",
        "t=0 0",
        *attributes,
    ]
    for section in sections:
        lines += section
    return ("\r\n".join(lines) + "\r\n").encode("ascii", "replace")
