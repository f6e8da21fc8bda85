"""
One request of the API as its entry gets it: checked, with the parts of the gateway
that it acts on.
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
    """The stored calls; these methods block."""

    def calls(self, query: CallQuery) -> list[CallRow]: ...
    def call(self, call_id: str) -> StoredCall | None: ...


#: (to, agent, via, parameters) -> what the answer to C{originate} says.
Originate: TypeAlias = Callable[
    [str, str, str, Mapping[str, str]], Awaitable[dict[str, Any]]
]


async def _no_link(location: str, method: str) -> str:
    return ""


@define(kw_only=True)
class ApiContext:
    """
    What the API works with.

    @ivar token: empty: nobody gets in.
    @ivar whose: the rows of calls here.
    @ivar elsewhere: calls of older processes of this gateway.
    @ivar records: C{None}: nothing is written down.
    @ivar known: is told of each request that has shown the token.
    @ivar is_told: whether one more line of a kind goes into the log.
    @ivar recording_path: from a recording's location to its file here, if any; it
        blocks.
    @ivar live_recording: from a call to the file that is being written, likewise.
    @ivar recording_link: from a location, and C{GET} or C{HEAD}, to a URL that needs no
        other key; empty: there is none.
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
class Asked:
    """
    @ivar call_id: of the path; empty: there is none in it.
    @ivar unanswered: older processes that may have the call, and did not say.
    @ivar body: it fits the entry's schema, as does C{query}.
    """

    request: Request
    context: ApiContext
    call_id: str = ""
    body: Mapping[str, Any] = field(factory=dict)
    query: Mapping[str, Any] = field(factory=dict)
    unanswered: Sequence[str] = ()

    async def stored(self, read: Callable[[Any], Any], what: Any) -> Any:
        """
        The result of a query of the store.

        @raise Problem: it cannot be read now.
        """
        try:
            return await self.context.in_thread(read, what)
        except DatabaseUnavailable as exc:
            raise Problem(503, "the store cannot be read now", Retry_After="5") from exc

    async def stored_call(self) -> StoredCall:
        """
        The stored call.

        @raise Problem: there is none.
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
        The call, to act on it.

        @raise Problem: it is not in progress, or not here.
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
            raise Problem(409, f"the call is in progress at the gateway {row.instance}")
        raise Problem(409, "the call has ended")
