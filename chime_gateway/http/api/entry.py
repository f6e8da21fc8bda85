"""
The interface of an API request: its path, its request and response schemas, and the
function that handles it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import Factory, field, frozen

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.schema import CALL_ID, DONE, PROBLEM, Schema

#: The response as JSON; C{None} if it was sent already.
Answer: TypeAlias = Mapping[str, Any] | None

#: The problem statuses of requests that read, and of those that act on a call.
READING: Final = (400, 401, 403, 404, 422, 503)
ACTING: Final = (400, 401, 403, 404, 409, 413, 415, 422)

_PROBLEMS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood.",
    401: "The token is missing or wrong.",
    403: "The API is closed: CHIMEGW_ADMIN_TOKEN is not set.",
    404: "There is no such call, agent, recording or page.",
    409: "The current state of the call or the gateway does not allow it.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    422: "The request does not match the schema.",
    429: "Too many listeners.",
    503: "The database is unavailable, or the call cannot be placed.",
}

_CALL_ID: Final = {
    "name": "call_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": CALL_ID},
}


@frozen(kw_only=True)
class Reply:
    """
    The response to a request that succeeds.

    @ivar schema: a named schema, or an inline one.
    @ivar has_calls: it lists calls, which the description links to the entries for one
        call.
    """

    description: str
    schema: Schema | Mapping[str, Any]
    status: int = 200
    kind: str = "application/json"
    has_calls: bool = False


@frozen(kw_only=True)
class Entry:
    """
    One kind of request.

    @ivar path: the path below C{/api/}; C{{call_id}} stands for a call id.
    @ivar operation: the name in the OpenAPI description.
    @ivar run: handles the request.
    @ivar body: the schema of the request's body; C{None} if it has none.
    @ivar query: the query parameters' schemas by name; C{None}: the query string is
        ignored.
    @ivar headers: the request headers in use, as OpenAPI describes them.
    @ivar problems: the statuses of a request that fails.
    @ivar elsewhere: describes what a redirection (307) leads to; empty if there is
        none.
    @ivar is_audited: the request is logged although it changes nothing.
    """

    method: str
    path: str
    operation: str
    summary: str
    run: Callable[[ApiRequest], Awaitable[Answer]] = field(repr=False)
    reply: Reply
    body: Schema | None = None
    query: Mapping[str, Mapping[str, Any]] | None = None
    headers: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[int, ...] = ()
    is_audited: bool = False
    elsewhere: str = ""
    _pattern: re.Pattern[str] = field(
        init=False,
        repr=False,
        default=Factory(
            lambda entry: re.compile(
                re.escape(entry.path).replace(r"\{call_id\}", "(?P<call_id>[^/]+)")
            ),
            takes_self=True,
        ),
    )

    @property
    def is_about_a_call(self) -> bool:
        return "{call_id}" in self.path

    @property
    def is_done_where_the_call_is(self) -> bool:
        """
        Whether the process that has the call must handle the request; a file can be
        read by any process.
        """
        return self.is_about_a_call and self.reply.kind == "application/json"

    def match(self, path: str) -> str | None:
        """
        Return the call id in C{path}, empty if the entry has none; C{None} if the
        path does not match.
        """
        found = self._pattern.fullmatch(path)
        return None if found is None else found.groupdict().get("call_id", "")

    def schemas(self) -> list[Schema]:
        """Return the named schemas of the entry, with those they use."""
        wanted = [PROBLEM, self.body, self.reply.schema]
        found: list[Schema] = []
        while wanted:
            schema = wanted.pop(0)
            if isinstance(schema, Schema):
                found.append(schema)
                wanted += schema.uses
        return found

    def described(self, links: Mapping[str, object]) -> dict[str, Any]:
        """
        Return the description in OpenAPI's form.

        @param links: the links from a call in a response to the entries for one call.
        """
        description: dict[str, Any] = {
            "operationId": self.operation,
            "summary": self.summary,
        }
        parameters = [dict(header) for header in self.headers]
        if self.is_about_a_call:
            parameters.append(_CALL_ID)
        for name, schema in (self.query or {}).items():
            parameters.append(
                {"name": name, "in": "query", "required": False, "schema": schema}
            )
        if parameters:
            description["parameters"] = parameters
        if self.body is not None:
            description["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": self.body.reference}},
            }
        description["responses"] = {
            str(self.reply.status): self._reply(links),
            **{str(status): _problem(status) for status in self.problems},
        }
        if self.elsewhere:
            location = {"schema": {"type": "string", "format": "uri"}}
            description["responses"]["307"] = {
                "description": self.elsewhere,
                "headers": {"Location": location},
            }
        return description

    def _reply(self, links: Mapping[str, object]) -> dict[str, Any]:
        reply = self.reply
        schema = reply.schema
        shape = schema.reference if isinstance(schema, Schema) else schema
        described: dict[str, Any] = {
            "description": reply.description,
            "content": {reply.kind: {"schema": shape}},
        }
        if reply.has_calls:
            described["links"] = links
        return described


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": PROBLEM.reference}},
    }


def act(
    path: str,
    operation: str,
    summary: str,
    body: Schema,
    run: Callable[[ApiRequest], Awaitable[Answer]],
) -> Entry:
    """Return an entry that acts on a call in progress."""
    return Entry(
        method="POST",
        path=f"calls/{{call_id}}/{path}",
        operation=operation,
        summary=summary,
        run=run,
        body=body,
        reply=Reply(description="Done.", schema=DONE),
        problems=ACTING,
    )


def done(asked: ApiRequest, what: str) -> Answer:
    return {"call_id": asked.call_id, "done": what}
