"""The result of one check, as a line of C{chimegw check --online}."""

from __future__ import annotations

from attrs import frozen


@frozen
class Finding:
    """
    @ivar about: what was asked, with the key of the settings where there is one.
    @ivar said: what came of it.
    @ivar cure: what to do; empty: nothing, it is all right.
    """

    about: str
    said: str
    cure: str = ""

    def __str__(self) -> str:
        word = "FAULT" if self.cure else "ok"
        said = " ".join(self.said.split())[:300]
        return f"{word:6} {self.about}: {said}" + (
            f"; {self.cure}" if self.cure else ""
        )
