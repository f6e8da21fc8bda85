"""
Reads numbers from text, after checking the whole text.

C{int} accepts digits of all scripts, underscores and signs, and fails above 4,300
digits; C{isdecimal} accepts digits of all scripts.
"""

from __future__ import annotations


def decimal(text: str, most: int) -> int | None:
    """
    Read a number of ASCII digits.

    @param most: the largest number that is accepted; longer texts are refused even if
        they begin with zeros.
    @return: C{None}: it is not such a number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if number <= most else None
