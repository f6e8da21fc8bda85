"""The queries of the store."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class CallQuery:
    """
    A query for calls; an empty field matches all.

    @ivar since: the earliest start, in Unix seconds.
    @ivar until: calls that started before this time, in Unix seconds.
    @ivar before: (start, id) of the last call of the previous page, newest first.
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
