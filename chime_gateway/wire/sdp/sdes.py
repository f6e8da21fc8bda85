"""
Reads and writes SRTP keys in session descriptions: C{a=crypto} lines (RFC 4568).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen

from chime_gateway.wire.number import decimal

#: RFC 4568 section 9.1: nine digits.
_MOST_TAG: Final = 999_999_999

#: Size of master key and salt together, in bytes (RFC 4568 section 6.2, RFC 6188).  The
#: names C{AES_CM_256_...} are common, although they are not registered.
SUITES: Final[Mapping[str, int]] = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_256_CM_HMAC_SHA1_32": 46,
    "AES_CM_256_HMAC_SHA1_80": 46,
    "AES_CM_256_HMAC_SHA1_32": 46,
}


@frozen
class Crypto:
    """
    One C{a=crypto} line.

    @ivar suite: one of L{SUITES}, in the peer's spelling (upper or lower case).
    @ivar key: master key and salt together.
    """

    tag: int
    suite: str
    key: bytes = field(repr=False)

    def __str__(self) -> str:
        key = base64.b64encode(self.key).decode("ascii")
        return f"{self.tag} {self.suite} inline:{key}"


def read_cryptos(values: Iterable[str]) -> list[Crypto]:
    """Return the usable ones; lines with unknown parameters are not."""
    found = []
    for value in values:
        words = value.split()
        tag = decimal(words[0], _MOST_TAG) if len(words) >= 3 else None
        if tag is None:
            continue
        if not all(_may_be_ignored(word) for word in words[3:]):
            continue
        method, _, inline = words[2].partition(":")
        key_text, *rest = inline.split("|")
        # A lifetime of 2^n packets may follow, which a call never reaches.  A master
        # key identifier would have to be in every packet: not supported.
        if method.lower() != "inline" or any(":" in part for part in rest):
            continue
        padding = "=" * (-len(key_text) % 4)
        try:
            key = base64.b64decode(key_text + padding, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(key) == SUITES.get(words[1].upper()):
            found.append(Crypto(tag, words[1], key))
    return found


def _may_be_ignored(parameter: str) -> bool:
    """
    Whether a session parameter may be ignored: the hint for a window's size, and those
    that are marked as optional (section 6.3.7).
    """
    return parameter.startswith("-") or parameter.upper().startswith("WSH=")
