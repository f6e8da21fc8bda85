"""
The API under C{/api}: see calls, act on them, place them.

It checks the token and the request, and turns what it is asked into calls of the
table and the store; errors are problem details (RFC 9457).  What acts on a call
is written into the log, without what was said or whom it concerns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from chime_gateway.call.agent_profile import Roster
from chime_gateway.call.call import Call
from chime_gateway.call.event_json import live_call_json, turn_json
from chime_gateway.errors import (
    CallRefused,
    NoSuchCall,
    NoWayOut,
    TransferFailed,
    UnknownAgent,
)
from chime_gateway.interfaces import Ending, InThread, Outcome
from chime_gateway.ops.live_events import LiveEvents
from chime_gateway.ops.openapi import (
    CALL_ID,
    EVENT_PARAMETERS,
    LIST_PARAMETERS,
    SCHEMAS,
    description,
)
from chime_gateway.ops.problem import Problem, read_body, read_query, refuse, reply
from chime_gateway.store.database import CallQuery, Trouble
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.store.table_rows import (
    CallRow,
    StoredCall,
    columns,
    stored_call_json,
)
from chime_gateway.store.tables import LIVE, OVER
from chime_gateway.telephone import is_address

#: Keys of calls that were placed are remembered for this many.
_MAX_KEYS: Final = 1000

Answer: TypeAlias = tuple[int, Mapping[str, Any]] | None


class Calls(Protocol):
    """The calls in progress."""

    roster: Roster

    def calls(self) -> list[Call]: ...
    def call(self, call_id: str) -> Call: ...


class Records(Protocol):
    """Calls that were written down; these block."""

    def calls(self, query: CallQuery) -> list[CallRow]: ...
    def call(self, call_id: str) -> StoredCall | None: ...


#: (to, agent, via, parameters) -> what L{openapi}'s C{Originated} says.
Originate: TypeAlias = Callable[
    [str, str, str, Mapping[str, str]], Awaitable[dict[str, Any]]
]


@define(kw_only=True)
class ApiContext:
    """
    What the API works with.

    @ivar token: empty: nobody gets in.
    @ivar records: C{None}: nothing is written down.
    @ivar recording_path: from a recording's location to its file here, if any.
    """

    token: str = field(repr=False)
    instance: str
    calls: Calls
    events: LiveEvents
    in_thread: InThread
    originate: Originate
    records: Records | None = None
    guard: NumberGuard = field(factory=NumberGuard)
    recording_path: Callable[[str], Path | None] = lambda _: None


class Api(Resource):
    """Everything below C{/api}."""

    isLeaf = True
    _log = Logger()

    def __init__(self, context: ApiContext) -> None:
        super().__init__()
        self._context = context
        self._placed: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._placing: set[str] = set()
        self._description = json.dumps(description()).encode()
        self._routes: list[
            tuple[str, re.Pattern[str], Callable[..., Awaitable[Answer]]]
        ] = [
            ("GET", re.compile(r"calls"), self._list),
            ("POST", re.compile(r"calls"), self._originate),
            ("GET", re.compile(r"calls/([^/]+)"), self._show),
            ("GET", re.compile(r"calls/([^/]+)/audio"), self._audio),
            ("POST", re.compile(r"calls/([^/]+)/hang-up"), self._hang_up),
            ("POST", re.compile(r"calls/([^/]+)/transfer"), self._transfer),
            ("POST", re.compile(r"calls/([^/]+)/say"), self._say),
            ("POST", re.compile(r"calls/([^/]+)/instruct"), self._instruct),
            ("POST", re.compile(r"calls/([^/]+)/digits"), self._digits),
            ("POST", re.compile(r"calls/([^/]+)/recording"), self._recording),
            ("GET", re.compile(r"agents"), self._agents),
            ("GET", re.compile(r"events"), self._events),
        ]

    def render(self, request: Request) -> Any:
        path = b"/".join(request.postpath or ()).decode("utf-8", "replace")
        method = request.method.decode("latin-1")
        if path == "openapi.json" and method in ("GET", "HEAD"):
            request.setHeader(b"Content-Type", b"application/json")
            return self._description
        answering = Deferred.fromCoroutine(self._answer(request, method, path))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(self._bug, request)
        return NOT_DONE_YET

    # -- around every request ------------------------------------------------------

    async def _answer(self, request: Request, method: str, path: str) -> None:
        status = 500
        try:
            self._check_token(request)
            act, found = self._route(method, path)
            answer = await act(request, *found.groups())
            if answer is None:
                status = 200  # it answers by itself
            else:
                status, content = answer
                reply(request, status, content)
        except Problem as exc:
            status = exc.status
            refuse(request, exc)
        if method not in ("GET", "HEAD") or path.endswith("/audio"):
            self._audit(request, method, path, status)

    def _bug(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # whoever asked has left
        self._log.failure("a bug in the API", failure)
        if not request.startedWriting and not request._disconnected:
            refuse(request, Problem(500, "a bug; the log has more"))

    def _audit(self, request: Request, method: str, path: str, status: int) -> None:
        address = request.getClientAddress()
        self._log.info(
            "api.audit {method} {path}: {status}",
            method=method,
            path=path[:200],
            status=status,
            remote=getattr(address, "host", ""),
        )

    def _check_token(self, request: Request) -> None:
        expected = self._context.token
        if not expected:
            raise Problem(403, "set CHIMEGW_ADMIN_TOKEN to open the API")
        given = request.getHeader("authorization") or ""
        scheme, _, token = given.partition(" ")
        # Digests: the comparison says nothing, not even how long the token is.
        same = hmac.compare_digest(
            hashlib.sha256(token.strip().encode()).digest(),
            hashlib.sha256(expected.encode()).digest(),
        )
        if scheme.lower() != "bearer" or not same:
            raise Problem(
                401,
                "Authorization: Bearer and the admin token",
                WWW_Authenticate="Bearer",
            )

    def _route(
        self, method: str, path: str
    ) -> tuple[Callable[..., Awaitable[Answer]], re.Match[str]]:
        allowed = []
        for of_method, pattern, act in self._routes:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if method == of_method or (method == "HEAD" and of_method == "GET"):
                return act, found
            allowed.append(of_method)
        if allowed:
            raise Problem(405, f"{method} is not for this", Allow=", ".join(allowed))
        raise Problem(404, "there is nothing at this path; see /api/openapi.json")

    # -- reading -------------------------------------------------------------------

    async def _list(self, request: Request) -> Answer:
        given = read_query(request, LIST_PARAMETERS)
        limit = int(given.pop("limit", 50))
        cursor = given.pop("cursor", None)
        guard = self._context.guard
        for name in ("caller", "called"):
            if name in given:
                given[name] = guard.guard(given[name])
        query = CallQuery(
            **given,
            before=None if cursor is None else _read_cursor(cursor),
            limit=limit + 1,
        )
        live = {c.record.call_id: c for c in self._context.calls.calls()}
        records = self._context.records
        if records is None or query.state == LIVE:
            rows = self._live_rows(query, live)
        else:
            stored = await self._stored(records.calls, query)
            # Of what is in progress here, more is known than was written down.
            rows = [
                self._live_call(live[row.call_id]).row if row.call_id in live else row
                for row in stored
            ]
        page = [_summary(row) for row in rows[:limit]]
        next_cursor = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return 200, {"calls": page, "next": next_cursor}

    def _live_rows(self, query: CallQuery, live: Mapping[str, Call]) -> list[CallRow]:
        """What is in progress here, without asking the store."""
        rows = [self._live_call(call).row for call in live.values()]
        found = [
            row
            for row in rows
            if query.carrier in ("", row.carrier)
            and query.direction in ("", row.direction)
            and query.agent in ("", row.agent)
            and query.caller in ("", row.caller)
            and query.called in ("", row.called)
            and not query.outcome
            and query.state != OVER
            and (query.since is None or row.started_at >= query.since)
            and (query.until is None or row.started_at < query.until)
            and (query.before is None or (row.started_at, row.call_id) < query.before)
        ]
        found.sort(key=lambda row: (row.started_at, row.call_id), reverse=True)
        return found[: query.limit]

    def _live_call(self, call: Call) -> StoredCall:
        """As it will be written down."""
        live = call.snapshot()
        facts = self._context.guard.guard_record(live.call)
        live = evolve(live, call=facts)
        answered = facts.answered_seconds
        row = CallRow(
            call_id=facts.call_id,
            instance=self._context.instance,
            state=LIVE,
            carrier=facts.carrier,
            direction=facts.direction,
            agent=facts.agent_profile,
            caller=facts.caller,
            called=facts.called,
            started_at=facts.started_at,
            answered_at=None if answered is None else facts.started_at + answered,
            duration_seconds=facts.duration_seconds,
            recording=facts.recording,
            recording_fault=facts.recording_fault,
            record=live_call_json(live),
        )
        return StoredCall(row=row, transcript=[turn_json(t) for t in live.transcript])

    async def _show(self, request: Request, call_id: str) -> Answer:
        _check_id(call_id)
        try:
            found = self._live_call(self._context.calls.call(call_id))
        except NoSuchCall:
            found = await self._find(call_id)
        return 200, stored_call_json(found)

    async def _find(self, call_id: str) -> StoredCall:
        records = self._context.records
        call = None
        if records is not None:
            call = await self._stored(records.call, call_id)
        if call is None:
            raise Problem(404, f"there is no call {call_id}")
        found: StoredCall = call
        return found

    async def _audio(self, request: Request, call_id: str) -> Answer:
        _check_id(call_id)
        location = (await self._find(call_id)).row.recording
        if not location:
            raise Problem(404, "the call was not recorded")
        path = await self._context.in_thread(self._context.recording_path, location)
        if path is None:
            raise Problem(404, f"the recording is not on this machine: {location}")
        with await self._context.in_thread(path.open, "rb") as file:
            request.setHeader(b"Content-Type", b"audio/wav")
            request.setHeader(b"Cache-Control", b"no-store")
            size = os.fstat(file.fileno()).st_size
            request.setHeader(b"Content-Length", str(size).encode())
            if request.method != b"HEAD":
                await FileSender().beginFileTransfer(file, request)
        request.finish()
        return None

    async def _agents(self, request: Request) -> Answer:
        agents = [
            {
                "name": name,
                "voice": profile.voice,
                "language": profile.language,
                "tools": [function.name for function in profile.functions],
                "targets": list(profile.targets),
            }
            for name, profile in self._context.calls.roster.agents.items()
        ]
        return 200, {"agents": agents}

    async def _events(self, request: Request) -> Answer:
        given = read_query(request, EVENT_PARAMETERS)
        if self._context.events.is_full:
            raise Problem(429, "too many listen already")
        last = request.getHeader("last-event-id") or ""
        after = int(last) if last.isdecimal() and len(last) < 16 else None
        self._context.events.listen(
            request, given.get("call_id", ""), given.get("after", after)
        )
        return None

    async def _stored(self, read: Callable[[Any], Any], what: Any) -> Any:
        try:
            return await self._context.in_thread(read, what)
        except Trouble as exc:
            raise Problem(503, "the store cannot be read now", Retry_After="5") from exc

    # -- acting ----------------------------------------------------------------------

    async def _live(self, call_id: str) -> Call:
        _check_id(call_id)
        try:
            return self._context.calls.call(call_id)
        except NoSuchCall:
            row = (await self._find(call_id)).row
        if row.state == LIVE:
            raise Problem(409, f"the call is in progress at the gateway {row.instance}")
        raise Problem(409, "the call has ended")

    async def _hang_up(self, request: Request, call_id: str) -> Answer:
        body = read_body(request, SCHEMAS["HangUp"])
        call = await self._live(call_id)
        reason = body.get("reason") or "an operator ended the call"
        ending = Ending(Outcome.COMPLETED, reason)
        if body.get("farewell"):
            call.part(ending)
        else:
            call.hang_up(ending)
        return _done(call_id, "hung up")

    async def _transfer(self, request: Request, call_id: str) -> Answer:
        target = read_body(request, SCHEMAS["Transfer"])["target"]
        call = await self._live(call_id)
        address = call.targets.get(target, target)
        if address == target and not is_address(target):
            known = ", ".join(call.targets) or "none"
            raise Problem(404, f"neither a number, nor a URI, nor a target ({known})")
        try:
            await call.transfer(address, target)
        except TransferFailed as exc:
            raise Problem(409, f"{exc}; the caller is still with the agent") from exc
        return _done(call_id, "transferred")

    async def _say(self, request: Request, call_id: str) -> Answer:
        text = read_body(request, SCHEMAS["Say"])["text"]
        call = await self._live(call_id)
        if not call.say(text):
            raise Problem(409, "there is no agent who could say it now")
        return _done(call_id, "said")

    async def _instruct(self, request: Request, call_id: str) -> Answer:
        body = read_body(request, SCHEMAS["Instruct"])
        call = await self._live(call_id)
        if not call.instruct(body["text"], body.get("respond", False)):
            raise Problem(409, "there is no agent who could be told now")
        return _done(call_id, "told")

    async def _digits(self, request: Request, call_id: str) -> Answer:
        digits = read_body(request, SCHEMAS["Digits"])["digits"]
        call = await self._live(call_id)
        if not call.send_digits(digits):
            raise Problem(409, "this call's line cannot send keys")
        return _done(call_id, "pressed")

    async def _recording(self, request: Request, call_id: str) -> Answer:
        action = read_body(request, SCHEMAS["Recording"])["action"]
        call = await self._live(call_id)
        if not call.pause_recording(action == "pause"):
            raise Problem(409, "the call is not recorded")
        return _done(call_id, "paused" if action == "pause" else "resumed")

    async def _originate(self, request: Request) -> Answer:
        body = read_body(request, SCHEMAS["Originate"])
        key = request.getHeader("idempotency-key") or ""
        if key and not re.fullmatch(r"[0-9A-Za-z_-]{1,100}", key):
            raise Problem(422, "Idempotency-Key: letters, digits, _ and - only")
        if key in self._placed:
            return 202, self._placed[key]
        if key in self._placing:
            raise Problem(409, "a call with this Idempotency-Key is being placed")
        agent = body.get("agent", "default")
        if agent not in self._context.calls.roster.agents:
            raise Problem(404, f"there is no agent {agent!r}")
        if key:
            self._placing.add(key)
        try:
            placed = await self._context.originate(
                body["to"], agent, body.get("via", ""), body.get("parameters", {})
            )
        except UnknownAgent as exc:
            raise Problem(404, str(exc)) from exc
        except NoWayOut as exc:
            raise Problem(409, str(exc)) from exc
        except CallRefused as exc:
            raise Problem(503, str(exc)) from exc
        finally:
            self._placing.discard(key)
        if key:
            self._placed[key] = placed
            if len(self._placed) > _MAX_KEYS:
                self._placed.popitem(last=False)
        return 202, placed


def _done(call_id: str, what: str) -> Answer:
    return 200, {"call_id": call_id, "done": what}


def _check_id(call_id: str) -> None:
    if not re.fullmatch(CALL_ID, call_id):
        raise Problem(404, "that is no call's id")


def _summary(row: CallRow) -> dict[str, Any]:
    return {name: value for name, value in columns(row).items() if name != "record"}


def _cursor(row: CallRow) -> str:
    text = json.dumps([row.started_at, row.call_id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        at, call_id = json.loads(base64.urlsafe_b64decode(cursor))
        return float(at), str(call_id)
    except (ValueError, TypeError, binascii.Error) as exc:
        raise Problem(404, "that is no cursor of this API") from exc
