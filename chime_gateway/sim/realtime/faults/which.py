"""Selects which members of a series a fault affects."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

_TEXT: Final = re.compile(r"([0-9]{1,6})(-([0-9]{1,6})?)?\Z")


@frozen
class Which:
    """
    A range of numbers, counted from 1.

    @ivar last: the last number of the range; None: the range has no end.
    """

    first: int = 1
    last: int | None = None

    def __contains__(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)

    @classmethod
    def read(cls, text: str) -> Which:
        """
        @param text: C{3}, C{1-3} or C{2-}; empty for all.
        @raise ValueError: the text is invalid.
        """
        if not text:
            return ALL
        match = _TEXT.match(text)
        if match is None:
            raise ValueError(f"{text!r}: expected a number or range such as 2, 1-3, 2-")
        first, has_range, last = match.groups()
        if not has_range:
            last = first
        return cls(int(first), int(last) if last else None)


ALL: Final = Which()
NONE: Final = Which(1, 0)
FIRST: Final = Which(1, 1)
