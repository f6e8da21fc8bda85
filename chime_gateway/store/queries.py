"""The queries of the store."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class CallQuery:
    """
    Which calls are wanted; empty: any.

    @ivar since: and C{until}: Unix seconds of their start.
    @ivar before: (start, id) behind which the page begins, newest first.
    """

    state: str = ""
    carrier: str = ""
    direction: str = ""
    agent: str = ""
    outcome: str = ""
    caller: str = ""
    called: str = ""
    since: float | None = None
    until: float | None = None
    before: tuple[float, str] | None = None
    limit: int = 50
