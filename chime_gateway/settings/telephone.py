"""
Recognises telephone numbers and other addresses, and normalises them.

A number is written in many ways (RFC 3966, RFC 3261 section 19.1.4): with visual
separators, with parameters behind it, escaped, in a URI.  Here they become one.
Settings, requests and carriers all use this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

#: ITU-T E.164: a plus, a country code, fifteen digits at most.
E164: Final = r"\+[1-9][0-9]{1,14}"

_DIALLED: Final = r"\+?[0-9]{2,32}"

_E164: Final = re.compile(E164)
_NUMBER: Final = re.compile(_DIALLED)
_ADDRESS: Final = re.compile(
    rf"{_DIALLED}|sips?:[^\s<>\x00-\x1f\x7f]{{1,200}}|tel:\+?[0-9().-]{{2,40}}"
)

#: RFC 3966 section 5.1.1, and what people write besides.
_SEPARATORS: Final = " -.()/\u00a0\u2010\u2011"
_UNSEPARATED: Final = str.maketrans("", "", _SEPARATORS)

#: With the keys that service codes begin with.
_DIGITS: Final = re.compile(r"\+?[0-9*#]+")

#: The part of a URI that may be a number: before a password, parameters, the host.
_URI: Final = re.compile(r"(?:sips?|tel):([^@>;:?,\s\"]{1,200})", re.IGNORECASE)

#: Nothing longer is looked at; a number has 32 digits at most.
_LONGEST: Final = 300


def normalised(text: str) -> str:
    """
    A number as everybody else writes it: its digits, with the plus before them if
    it is international.  What follows it (C{;npdi}, C{;rn=}, C{;ext=},
    C{;phone-context=}) says more of it, or how to reach it; it is the same number.

    A local number stays one: its context is no prefix of it (RFC 3966 section
    5.1.5).

    @param text: a user part, a C{tel} or C{sip} URI, or a number as people write
        it; what is no number is returned as it is.
    """
    if len(text) > _LONGEST:
        return text
    uri = _URI.match(text)
    shown = text if uri is None else uri[1]
    digits = unquote(shown).partition(";")[0].translate(_UNSEPARATED)
    return digits if _DIGITS.fullmatch(digits) else text


def dialled(text: str) -> str:
    """
    An address to call as somebody gives it: a number L{normalised}, and a URI, which
    says more than a number, as it is.
    """
    return text if ":" in text else normalised(text)


def numbers_in(text: str) -> Iterator[str]:
    """
    The numbers that a header names (C{P-Asserted-Identity}: several addresses,
    perhaps with display names), normalised.
    """
    text = text.strip()
    found = [text, *(match[0] for match in _URI.finditer(text[:4096]))]
    for one in found:
        number = normalised(one)
        if _DIGITS.fullmatch(number):
            yield number


def is_e164(text: str) -> bool:
    """Whether it is a number that everybody's network knows."""
    return _E164.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether it can be dialled: digits, with a plus perhaps; a short code, too."""
    return _NUMBER.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether a carrier can be asked to send a caller there."""
    return _ADDRESS.fullmatch(text) is not None
