"""A part of an installation that exists in AWS."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


def nothing() -> None:
    """There is nothing to be removed."""


@frozen(kw_only=True)
class Found:
    """
    @ivar key: names it among all, as C{Resource.key} does.
    @ivar what: for people.
    @ivar kept: why it is left and should be; empty: it should go.
    @ivar blocked: why it cannot go, although it should; empty: it can.
    @ivar after: keys of what has to be gone first.
    @ivar remove: removes it; does the rest of it where a part is gone already.
    """

    key: str
    what: str
    kept: str = ""
    blocked: str = ""
    after: tuple[str, ...] = ()
    remove: Callable[[], object] = nothing
