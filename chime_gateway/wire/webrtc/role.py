"""
ICE roles: the controlling side selects the path.  Conflicts are resolved if both sides
have the same role (RFC 8445 sections 6.1.1 and 7.3.1.1).
"""

from __future__ import annotations

from collections.abc import Callable


class Role:
    """
    Our role.  If both sides have the same role, their random tie-breakers decide.

    @ivar number: our tie-breaker.
    """

    def __init__(
        self, *, is_controlling: bool, number: int, new_transaction: Callable[[], bytes]
    ) -> None:
        self.is_controlling = is_controlling
        self.number = number
        self._new_transaction = new_transaction

    @property
    def controlling(self) -> int | None:
        """The tie-breaker for a request's ICE-CONTROLLING, if we are controlling."""
        return self.number if self.is_controlling else None

    @property
    def controlled(self) -> int | None:
        """The tie-breaker for a request's ICE-CONTROLLED, if we are controlled."""
        return None if self.is_controlling else self.number

    def gives_way(self, theirs: int) -> bool:
        """
        Resolve a conflict: the peer has the same role, with this tie-breaker.

        @return: whether our role has changed; otherwise its request must be refused.
        """
        if self.is_controlling == (self.number >= theirs):
            return False
        self.is_controlling = not self.is_controlling
        return True

    def refused(self) -> None:
        """
        The peer has refused our role: change it, and the tie-breaker, which may be
        equal to the peer's.
        """
        self.is_controlling = not self.is_controlling
        self.number = int.from_bytes(self._new_transaction()[:8], "big")
