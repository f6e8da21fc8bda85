"""The result of one check, as a line of C{chimegw check --online}."""

from __future__ import annotations

from typing import Final

from attrs import frozen

#: More of what a service says is not printed.
_MOST_CHARACTERS: Final = 300


@frozen
class Finding:
    """
    One result.

    @ivar about: what was checked, with the key of the settings if there is one.
    @ivar said: the result.
    @ivar cure: what to do; empty: there is no fault.
    """

    about: str
    said: str
    cure: str = ""

    def __str__(self) -> str:
        word = "FAULT" if self.cure else "ok"
        said = " ".join(self.said.split())
        if len(said) > _MOST_CHARACTERS:
            said = f"{said[:_MOST_CHARACTERS]}..."
        return f"{word:6} {self.about}: {said}" + (
            f"; {self.cure}" if self.cure else ""
        )
