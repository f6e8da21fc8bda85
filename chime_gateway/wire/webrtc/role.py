"""
ICE's roles: which of the two sides selects the path, and what happens if both claim
it (RFC 8445 sections 6.1.1 and 7.3.1.1).
"""

from __future__ import annotations

from collections.abc import Callable


class Role:
    """
    Ours.  If both sides take the same, the numbers that each made up tell whose it
    is.

    @ivar number: the tie-breaker.
    """

    def __init__(
        self, *, is_controlling: bool, number: int, new_transaction: Callable[[], bytes]
    ) -> None:
        self.is_controlling = is_controlling
        self.number = number
        self._new_transaction = new_transaction

    @property
    def controlling(self) -> int | None:
        """The number as an attribute of a request, if we control."""
        return self.number if self.is_controlling else None

    @property
    def controlled(self) -> int | None:
        return None if self.is_controlling else self.number

    def gives_way(self, theirs: int) -> bool:
        """
        The other side says the same of itself, with this number.

        @return: we have the other role now; otherwise it is to be refused.
        """
        if self.is_controlling == (self.number >= theirs):
            return False
        self.is_controlling = not self.is_controlling
        return True

    def refused(self) -> None:
        """We are, and do not go on with a number that may be as large as theirs."""
        self.is_controlling = not self.is_controlling
        self.number = int.from_bytes(self._new_transaction()[:8], "big")
