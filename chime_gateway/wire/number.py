"""
Reads numbers from text, and checks the whole text first.

C{int} takes digits of all scripts, underscores and signs, and fails above 4,300
digits; C{isdecimal} takes digits of all scripts.
"""

from __future__ import annotations


def decimal(text: str, most: int) -> int | None:
    """
    A number in ASCII digits that is not greater, or C{None}.  Its length is looked at
    first: zeros may stand in front of anything.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if number <= most else None
