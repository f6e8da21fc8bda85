"""
Reads JSON requests of the API, checks them by their schemas, and writes responses;
errors are problem details (RFC 9457).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.web.server import Request

from chime_gateway.settings.json_schema import faults

#: Requests contain a few words.
_MAX_BODY_BYTES: Final = 65_536

_TITLES: Final[Mapping[int, str]] = {
    400: "Malformed request",
    401: "Unauthorized",
    403: "The API is closed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


class Problem(Exception):
    """A request failed: the status, and the detail for the client."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


def header(request: Request, name: str) -> str:
    """
    Return the value of a header; empty if it is missing.

    @raise Problem: it contains bytes beyond ASCII; no header of this API has any.
    """
    value = request.getHeader(name.encode()) or b""
    if not value.isascii():
        raise Problem(400, f"{name} has bytes beyond ASCII")
    return value.decode("ascii")


def read_body(request: Request, schema: Mapping[str, object]) -> dict[str, Any]:
    """@raise Problem: the body is not JSON, or does not match C{schema}."""
    kind = header(request, "content-type").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise Problem(415, "send application/json")
    assert request.content is not None
    content = request.content.read(_MAX_BODY_BYTES + 1)
    if len(content) > _MAX_BODY_BYTES:
        raise Problem(413, f"at most {_MAX_BODY_BYTES} bytes")
    try:
        body = json.loads(content)
        # An unpaired surrogate cannot be encoded, so it could not be stored or sent.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise Problem(400, f"not JSON: {exc}") from exc
    check(body, schema, "the request")
    found: dict[str, Any] = body
    return found


def check(value: object, schema: Mapping[str, object], what: str) -> None:
    fault = next(faults(value, schema), None)
    if fault is not None:
        where = "/".join(str(part) for part in fault.absolute_path) or what
        raise Problem(422, f"{where}: {fault.message[:300]}")


def read_query(
    request: Request, schemas: Mapping[str, Mapping[str, object]]
) -> dict[str, Any]:
    """Read the query string by its schemas; unknown parameters are rejected."""
    given: dict[str, Any] = {}
    for raw_name, values in request.args.items():
        name = raw_name.decode("utf-8", "replace")
        schema = schemas.get(name)
        if schema is None:
            known = ", ".join(schemas)
            raise Problem(422, f"there is no parameter {name[:40]!r} ({known})")
        if len(values) > 1:
            raise Problem(422, f"{name} is given more than once")
        text = values[0].decode("utf-8", "replace")
        value: Any = text
        try:
            if schema["type"] == "integer":
                value = int(text)
            elif schema["type"] == "number":
                value = float(text)
                if value != value or value in (float("inf"), float("-inf")):
                    raise ValueError(text)
        except ValueError as exc:
            raise Problem(
                422, f"{name}: {text[:40]!r} is not of type {schema['type']}"
            ) from exc
        check(value, schema, name)
        given[name] = value
    return given


def reply(
    request: Request,
    status: int,
    content: Mapping[str, object],
    kind: bytes = b"application/json",
) -> None:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Cache-Control", b"no-store")
    request.write(json.dumps(content).encode() + b"\n")
    request.finish()


def refuse(request: Request, problem: Problem) -> None:
    for name, value in problem.headers.items():
        request.setHeader(name.replace("_", "-"), value)
    content = {
        "type": "about:blank",
        "title": _TITLES[problem.status],
        "status": problem.status,
        "detail": str(problem),
    }
    reply(request, problem.status, content, b"application/problem+json")
