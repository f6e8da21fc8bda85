"""
One request of the API as its entry receives it: checked, with the parts of the
gateway that it acts on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from attrs import define, field, frozen
from twisted.web.server import Request

from chime_gateway.call.call import Call
from chime_gateway.call.routing import Roster
from chime_gateway.errors import NoSuchCall
from chime_gateway.http.api.elsewhere import Elsewhere
from chime_gateway.http.api.idempotency import IdempotencyKeys
from chime_gateway.http.api.live_events import LiveEvents
from chime_gateway.http.api.problem import Problem
from chime_gateway.services import InThread
from chime_gateway.store.database import DatabaseUnavailable
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import CallRow, StoredCall, Whose
from chime_gateway.store.tables import LIVE


class Calls(Protocol):
    """The calls in progress."""

    roster: Roster

    def calls(self) -> list[Call]: ...
    def call(self, call_id: str) -> Call: ...


class Records(Protocol):
    """The stored calls.  These methods block."""

    def calls(self, query: CallQuery) -> list[CallRow]: ...
    def call(self, call_id: str) -> StoredCall | None: ...


#: (to, agent, via, parameters) -> the content of the response to C{originate}.
Originate: TypeAlias = Callable[
    [str, str, str, Mapping[str, str]], Awaitable[dict[str, Any]]
]


async def _no_link(location: str, method: str) -> str:
    return ""


@define(kw_only=True)
class ApiContext:
    """
    The parts of the gateway that the API works with.

    @ivar token: the admin token; if it is empty, the API is closed.
    @ivar whose: the owner of the rows of calls in this process.
    @ivar elsewhere: the calls of older processes of this gateway.
    @ivar records: the stored calls; C{None} if there is no store.
    @ivar known: called with each request that has shown the token.
    @ivar is_told: returns whether one more line of a kind goes into the log.
    @ivar recording_path: maps a recording's location to its file on this machine, if
        any; blocks.
    @ivar live_recording: maps a call's id to the file that is being written, if any;
        blocks.
    @ivar recording_link: maps a location, and C{GET} or C{HEAD}, to a signed URL; empty
        if there is none.
    """

    token: str = field(repr=False)
    whose: Whose
    calls: Calls
    events: LiveEvents
    in_thread: InThread
    originate: Originate
    records: Records | None = None
    guard: NumberGuard = field(factory=NumberGuard)
    elsewhere: Elsewhere = field(factory=Elsewhere)
    recording_path: Callable[[str], Path | None] = lambda _: None
    live_recording: Callable[[str], Path | None] = lambda _: None
    recording_link: Callable[[str, str], Awaitable[str]] = _no_link
    known: Callable[[Request], None] = lambda _: None
    is_told: Callable[[str], bool] = lambda _: True
    keys: IdempotencyKeys = field(factory=lambda: IdempotencyKeys(time.time))


@frozen(kw_only=True)
class ApiRequest:
    """
    A checked request.

    @ivar call_id: the call id in the path; empty if the path has none.
    @ivar unanswered: older processes that may have the call and did not answer.
    @ivar body: the body; it matches the entry's schema, as does C{query}.
    """

    request: Request
    context: ApiContext
    call_id: str = ""
    body: Mapping[str, Any] = field(factory=dict)
    query: Mapping[str, Any] = field(factory=dict)
    unanswered: Sequence[str] = ()

    async def stored(self, read: Callable[[Any], Any], what: Any) -> Any:
        """
        Return the result of a query of the store.

        @raise Problem: the store is unavailable.
        """
        try:
            return await self.context.in_thread(read, what)
        except DatabaseUnavailable as exc:
            raise Problem(503, "the database is unavailable", Retry_After="5") from exc

    async def stored_call(self) -> StoredCall:
        """
        Return the stored call.

        @raise Problem: there is no such call.
        """
        records = self.context.records
        call = None
        if records is not None:
            call = await self.stored(records.call, self.call_id)
        if call is None:
            raise Problem(404, f"there is no call {self.call_id}")
        found: StoredCall = call
        return found

    async def live_call(self) -> Call:
        """
        Return the call in progress.

        @raise Problem: it is not in progress, or not in this process.
        """
        try:
            return self.context.calls.call(self.call_id)
        except NoSuchCall:
            row = (await self.stored_call()).row
        if row.state == LIVE and row.generation in self.unanswered:
            raise Problem(
                503,
                f"process {row.generation}, which has the call, does not answer",
                Retry_After="2",
            )
        if row.state == LIVE:
            raise Problem(409, f"the call is in progress at instance {row.instance}")
        raise Problem(409, "the call has ended")
