"""Reads which keys of a telephone are to be pressed, and when."""

from __future__ import annotations

import re
from typing import Final

from chime_gateway.sim.caller.rtp_keys import DIGITS

#: From one key to the next of those that are pressed in a row.
_KEY_SECONDS: Final = 0.25


def read_keys(text: str) -> list[tuple[float, str]]:
    """
    Read C{DIGITS@SECONDS}.

    @return: each key with its time.
    @raise ValueError: it is not like that.
    """
    digits, _, seconds = text.upper().rpartition("@")
    if not digits or any(digit not in DIGITS for digit in digits):
        raise ValueError(f"expected DIGITS@SECONDS, the digits of {DIGITS}")
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", seconds, re.ASCII):
        raise ValueError("expected seconds after the @, such as 2.5")
    begin = float(seconds)
    return [(begin + n * _KEY_SECONDS, digit) for n, digit in enumerate(digits)]
