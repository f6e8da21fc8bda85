"""
The API as a resource of the site: checks the token, finds the entry, and responds.

Errors are problem details (RFC 9457).  Each action on a call is logged, without texts
or telephone numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from chime_gateway.errors import NoSuchCall
from chime_gateway.http.api.api_request import ApiContext, ApiRequest
from chime_gateway.http.api.entry import Entry
from chime_gateway.http.api.live_call import live_call
from chime_gateway.http.api.openapi import description
from chime_gateway.http.api.problem import (
    Problem,
    check,
    read_body,
    read_query,
    refuse,
    reply,
)
from chime_gateway.http.api.requests import ENTRIES
from chime_gateway.http.api.schema import CALL_ID
from chime_gateway.http.credentials import AdminToken, Shown
from chime_gateway.store.rows import columns


class Api(Resource):
    """
    Everything below C{/api}.

    @ivar token: gives access.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, context: ApiContext, entries: Sequence[Entry] = ENTRIES) -> None:
        super().__init__()
        self._context = context
        self.token = AdminToken(context.token)
        self._entries = entries
        context.elsewhere.answer_by(self)
        self._description = json.dumps(description(entries)).encode()

    def render(self, request: Request) -> Any:
        path = b"/".join(request.postpath or ()).decode("utf-8", "replace")
        method = request.method.decode("latin-1")
        if path == "openapi.json" and method in ("GET", "HEAD"):
            request.setHeader(b"Content-Type", b"application/json")
            return self._description
        gone = request.notifyFinish()
        answering = Deferred.fromCoroutine(self._answer(request, method, path))
        answering.addErrback(self._bug, request)
        if method in ("GET", "HEAD"):
            gone.addErrback(lambda _: answering.cancel())
        else:
            # An action continues even if its client has disconnected.
            gone.addErrback(lambda _: None)
        return NOT_DONE_YET

    async def _answer(self, request: Request, method: str, path: str) -> None:
        status = 500
        entry, call_id, allowed = self._find(method, path)
        is_known = False
        try:
            self._check_token(request)
            is_known = True
            if entry is None and allowed:
                raise Problem(
                    405, f"{method} is not allowed at this path", Allow=allowed
                )
            if entry is None:
                raise Problem(
                    404, "there is nothing at this path; see /api/openapi.json"
                )
            asked = self._asked(request, entry, call_id)
            answer = await self._run(entry, asked, method, path)
            status = entry.reply.status
            if answer is not None and not request._disconnected:
                reply(request, status, answer)
        except Problem as exc:
            status = exc.status
            if not request._disconnected:
                refuse(request, exc)
        is_audited = entry is not None and entry.is_audited
        if method in ("GET", "HEAD") and not is_audited:
            return
        # Strangers may send any number of requests, so their log lines are limited.
        if is_known or self._context.is_told(f"api.audit ({status})"):
            self._audit(request, method, path, status)

    async def _run(
        self, entry: Entry, asked: ApiRequest, method: str, path: str
    ) -> Any:
        """Run the entry; if it is about a call, in the process that has the call."""
        call_id, elsewhere = asked.call_id, self._context.elsewhere
        is_moved = elsewhere.has_older and entry.is_done_where_the_call_is
        if not is_moved or self.has(call_id):
            return await entry.run(asked)
        peer, unanswered = await elsewhere.owner(call_id)
        if peer is None:
            return await entry.run(evolve(asked, unanswered=unanswered))
        return await elsewhere.do(peer, entry.method, path, asked.body)

    # -- called by other processes ---------------------------------------------------

    def has(self, call_id: str) -> bool:
        """Return whether the call is in progress in this process."""
        try:
            self._context.calls.call(call_id)
        except NoSuchCall:
            return False
        return True

    def live(self) -> list[dict[str, Any]]:
        """Return the rows of the calls in progress here, without their records."""
        context = self._context
        return [
            {**columns(live_call(context, call).row), "record": {}}
            for call in context.calls.calls()
        ]

    async def do(self, method: str, path: str, body: Mapping[str, object]) -> Any:
        """
        Carry out a request about a call of this process; another process has checked
        its token.

        @raise Problem: it cannot be carried out.
        """
        entry, call_id, _ = self._find(method, path)
        if entry is None or not entry.is_done_where_the_call_is:
            raise Problem(
                409,
                f"the process that has the call does not support {method} {path[:100]}",
            )
        if entry.body is not None:
            check(body, entry.body.definition, "the request")
        no_request: Any = None
        asked = ApiRequest(
            request=no_request, context=self._context, call_id=call_id, body=body
        )
        return await entry.run(asked)

    def _find(self, method: str, path: str) -> tuple[Entry | None, str, str]:
        """Return the entry, the call id in the path, and the allowed methods."""
        allowed = []
        for entry in self._entries:
            call_id = entry.match(path)
            if call_id is None:
                continue
            if method == entry.method or (method == "HEAD" and entry.method == "GET"):
                return entry, call_id, ""
            allowed.append(entry.method)
        return None, "", ", ".join(allowed)

    def _asked(self, request: Request, entry: Entry, call_id: str) -> ApiRequest:
        """
        @raise Problem: the request does not match the entry.
        """
        body = {} if entry.body is None else read_body(request, entry.body.definition)
        query = {} if entry.query is None else read_query(request, entry.query)
        if entry.is_about_a_call and not re.fullmatch(CALL_ID, call_id):
            raise Problem(404, "the path has no valid call id")
        return ApiRequest(
            request=request,
            context=self._context,
            call_id=call_id,
            body=body,
            query=query,
        )

    def _check_token(self, request: Request) -> None:
        if not self.token.is_set:
            raise Problem(403, "set CHIMEGW_ADMIN_TOKEN to open the API")
        shown = self.token.shown(request)
        if shown is Shown.MALFORMED:
            raise Problem(400, "Authorization has bytes beyond ASCII")
        if shown is not Shown.RIGHT:
            raise Problem(
                401,
                "send Authorization: Bearer with the admin token",
                WWW_Authenticate="Bearer",
            )
        self._context.known(request)

    def _bug(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # the client has disconnected
        self._log.failure("unexpected error in the API", failure)
        if not request.startedWriting and not request._disconnected:
            refuse(request, Problem(500, "unexpected error; see the gateway's log"))

    def _audit(self, request: Request, method: str, path: str, status: int) -> None:
        address = request.getClientAddress()
        self._log.info(
            "api.audit {method} {path}: {status}",
            method=method,
            path=path[:200],
            status=status,
            remote=getattr(address, "host", ""),
        )
