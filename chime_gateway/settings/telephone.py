"""
What a telephone number is, and what else somebody can be reached at.

Settings, requests and carriers ask here.  Who may be called is not known.
"""

from __future__ import annotations

import re
from typing import Final

#: ITU-T E.164: a plus, a country code, fifteen digits at most.
E164: Final = r"\+[1-9][0-9]{1,14}"

_DIALLED: Final = r"\+?[0-9]{2,32}"

_E164: Final = re.compile(E164)
_NUMBER: Final = re.compile(_DIALLED)
_ADDRESS: Final = re.compile(
    rf"{_DIALLED}|sips?:[^\s<>\x00-\x1f\x7f]{{1,200}}|tel:\+?[0-9-]{{2,40}}"
)


def is_e164(text: str) -> bool:
    """Whether it is a number that everybody's network knows."""
    return _E164.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether it can be dialled: digits, with a plus perhaps; a short code, too."""
    return _NUMBER.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether a carrier can be asked to send a caller there."""
    return _ADDRESS.fullmatch(text) is not None
