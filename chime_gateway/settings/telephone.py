"""
Recognises telephone numbers and other addresses, and normalises them.

A number can be written in many ways (RFC 3966, RFC 3261 section 19.1.4): with visual
separators, with parameters, escaped, in a URI.  This module reduces them to one form.
Settings, requests and carriers all use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

#: ITU-T E.164: a plus, a country code, at most fifteen digits.
E164: Final = r"\+[1-9][0-9]{1,14}"

_DIALLED: Final = r"\+?[0-9]{2,32}"

_E164: Final = re.compile(E164)
_NUMBER: Final = re.compile(_DIALLED)
_ADDRESS: Final = re.compile(
    rf"{_DIALLED}|sips?:[^\s<>\x00-\x1f\x7f]{{1,200}}|tel:\+?[0-9().-]{{2,40}}"
)

#: RFC 3966 section 5.1.1, and other separators in use.
_SEPARATORS: Final = " -.()/\u00a0\u2010\u2011"
_UNSEPARATED: Final = str.maketrans("", "", _SEPARATORS)

#: Digits, including the keys of service codes.
_DIGITS: Final = re.compile(r"\+?[0-9*#]+")

#: The part of a URI that may be a number: before a password, parameters and the host.
_URI: Final = re.compile(r"(?:sips?|tel):([^@>;:?,\s\"]{1,200})", re.IGNORECASE)

#: Longer texts are not examined; a number has at most 32 digits.
_LONGEST: Final = 300


def normalised(text: str) -> str:
    """
    Return the canonical form of a number: its digits, after a plus if it is
    international.  Parameters (C{;npdi}, C{;rn=}, C{;ext=}, C{;phone-context=})
    describe the number or how to reach it; without them it is the same number.

    A local number stays local: its context is not a prefix of it (RFC 3966 section
    5.1.5).

    @param text: a user part, a C{tel} or C{sip} URI, or a number in any notation;
        anything else is returned unchanged.
    """
    if len(text) > _LONGEST:
        return text
    uri = _URI.match(text)
    shown = text if uri is None else uri[1]
    digits = unquote(shown).partition(";")[0].translate(_UNSEPARATED)
    return digits if _DIGITS.fullmatch(digits) else text


def dialled(text: str) -> str:
    """
    Return an address to call: a number L{normalised}; a URI, which says more than a
    number, unchanged.
    """
    return text if ":" in text else normalised(text)


def numbers_in(text: str) -> Iterator[str]:
    """
    Yield the numbers in a header, normalised (C{P-Asserted-Identity} has several
    addresses, perhaps with display names).
    """
    text = text.strip()
    found = [text, *(match[0] for match in _URI.finditer(text[:4096]))]
    for one in found:
        number = normalised(one)
        if _DIGITS.fullmatch(number):
            yield number


def is_e164(text: str) -> bool:
    """Whether it is an international number."""
    return _E164.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether it can be dialled: digits, perhaps after a plus; or a short code."""
    return _NUMBER.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether a carrier can be asked to send a caller there."""
    return _ADDRESS.fullmatch(text) is not None
