"""A part of an installation that exists in AWS."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


def nothing() -> None:
    """Do nothing: there is nothing to remove."""


@frozen(kw_only=True)
class Found:
    """
    A resource that exists.

    @ivar key: its unique key, like C{Resource.key}.
    @ivar what: a readable name.
    @ivar kept: why it is to be kept; empty: it is to be removed.
    @ivar blocked: why it cannot be removed although it should be; empty: it can.
    @ivar after: the keys of the resources that must be removed first.
    @ivar remove: removes it; completes a removal that was interrupted.
    """

    key: str
    what: str
    kept: str = ""
    blocked: str = ""
    after: tuple[str, ...] = ()
    remove: Callable[[], object] = nothing
