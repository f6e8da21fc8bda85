"""
The service's HTTP requests: checks their credentials, and handles or refuses them.

The bodies and statuses are those observed from the real service.  An API key is needed
to mint an ephemeral key, and only an ephemeral key can be used for an offer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from chime_gateway.sim.realtime.dialect import Refused
from chime_gateway.sim.realtime.webrtc.client_secrets import PREFIX
from chime_gateway.sim.realtime.webrtc.sdp import MAX_BYTES, BadOffer
from chime_gateway.sim.realtime.webrtc.service import MOST_CALLS, WebRtcService

SECRETS_PATH: Final = "/openai/v1/realtime/client_secrets"
CALLS_PATH: Final = "/openai/v1/realtime/calls"
PREVIEW_PATHS: Final = ("/openai/realtimeapi/sessions", "/v1/realtimertc")

_NEEDS_SECRET: Final = "Realtime session ephemeral token is required."

#: Relative, and without Azure's C{/openai}, like the real one: there is no such path.
_LOCATION: Final = "/v1/realtime/calls/"

_NO_PREVIEW: Final = (
    "The preview sends its WebRTC events on a data channel only, and this simulator has"
    " none."
)


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@frozen
class HttpRequest:
    """One HTTP request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ").strip()

    @property
    def key(self) -> str:
        return self.headers.get("api-key") or self.bearer


@frozen
class HttpResponse:
    status: int
    body: bytes = b""
    kind: str = "application/json"
    location: str = ""


class ServiceRequests(Resource):
    """
    The HTTP requests of the service.

    @param door: decides which requests are accepted, as for the WebSocket.
    @param refusal: returns (code, message) for a status with which the door refuses.
    """

    isLeaf = True

    def __init__(
        self,
        service: WebRtcService,
        door: Any,
        refusal: Callable[[int], tuple[str, str]],
    ) -> None:
        super().__init__()
        self._service = service
        self._door = door
        self._refusal = refusal
        self._count = 0

    def render(self, request: Request) -> Any:
        self._count += 1
        door = self._door
        is_treated = self._count in door.which
        if is_treated and door.breaks:
            transport: Any = request.transport
            transport.abortConnection()
            return NOT_DONE_YET
        if is_treated and door.is_silent:
            return NOT_DONE_YET
        assert request.content is not None
        asked = HttpRequest(
            urlsplit(request.uri.decode("ascii", "replace")).path,
            {
                name.decode().lower(): values[-1].decode("utf-8", "replace")
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            request.content.read(MAX_BYTES + 1),
        )
        try:
            if is_treated and door.refuse_status:
                code, message = self._refusal(door.refuse_status)
                raise Refusal(door.refuse_status, door.refuse_code or code, message)
            answered = self._answer(request.method.decode(), asked)
        except Refusal as exc:
            answered = _error(exc.status, exc.code, str(exc))
        except Refused as exc:
            answered = _error(400, str(exc.code), str(exc), exc.param)
        if answered.status >= 400 and is_treated and door.retry_after_seconds >= 0:
            request.setHeader("Retry-After", str(door.retry_after_seconds))
        request.setResponseCode(answered.status)
        request.setHeader("Content-Type", answered.kind)
        if answered.location:
            request.setHeader("Location", answered.location)
        return answered.body

    def _answer(self, method: str, asked: HttpRequest) -> HttpResponse:
        if asked.path in PREVIEW_PATHS:
            raise Refusal(501, "OperationNotSupported", _NO_PREVIEW)
        if method != "POST":
            raise Refusal(404, "404", "Resource not found")
        if asked.path == SECRETS_PATH:
            return self._mint(asked)
        if asked.path == CALLS_PATH:
            return self._call(asked)
        call_id, _, what = asked.path.removeprefix(f"{CALLS_PATH}/").partition("/")
        if asked.path.startswith(f"{CALLS_PATH}/") and what == "hangup":
            return self._hang_up(asked, call_id)
        raise Refusal(404, "404", "Resource not found")

    def _must_have_key(self, asked: HttpRequest) -> None:
        keys = self._door.api_keys
        key = asked.key
        if not key or key.startswith(PREFIX) or (keys and key not in keys):
            raise Refusal(401, *self._refusal(401))

    def _mint(self, asked: HttpRequest) -> HttpResponse:
        self._must_have_key(asked)
        _must_be(asked, "application/json")
        try:
            document = json.loads(asked.body)
        except (ValueError, RecursionError) as exc:
            raise Refusal(400, "BadRequest", f"Could not parse: {exc}") from exc
        if not isinstance(document, dict):
            raise Refusal(400, "BadRequest", "Expected an object.")
        session = document.get("session")
        if isinstance(session, dict):
            if session.get("type") != "realtime":
                raise Refusal(
                    400, "InvalidSessionType", "The type of the session is invalid."
                )
            self._must_know(session.get("model"))
            into = (session.get("audio") or {}).get("input") or {}
            is_taken = self._service.takes_transcription
            if into.get("transcription") is not None and not is_taken:
                # Observed in Sweden Central, in 2026.
                raise Refusal(500, "InternalServerError", "The server had an error.")
        secret = self._service.mint(document)
        body = {
            "value": secret.value,
            "expires_at": secret.expires_at,
            "session": {"object": "realtime.session", **secret.session},
        }
        return HttpResponse(200, json.dumps(body).encode())

    def _must_know(self, model: Any) -> None:
        known = self._door.deployments
        if not isinstance(model, str) or not model or (known and model not in known):
            raise Refusal(404, *self._refusal(404))

    def _call(self, asked: HttpRequest) -> HttpResponse:
        if not asked.key:
            raise Refusal(401, *self._refusal(401))
        if not asked.bearer.startswith(PREFIX):
            raise Refusal(401, "401", _NEEDS_SECRET)
        secret = self._service.secrets.find(asked.bearer)
        if self._service.is_expired() or secret is None:
            raise Refusal(401, "401", "The ephemeral token is invalid or has expired.")
        _must_be(asked, "application/sdp")
        self._must_know(secret.session.get("model"))
        if len(self._service.calls) >= MOST_CALLS:
            raise Refusal(429, *self._refusal(429))
        try:
            call, body = self._service.answer(asked.body, secret)
        except BadOffer as exc:
            raise Refusal(400, "BadRequest", f"Invalid SDP offer: {exc}.") from exc
        location = "" if call.faults.no_location else f"{_LOCATION}{call.id}"
        return HttpResponse(201, body, "application/sdp", location)

    def _hang_up(self, asked: HttpRequest, call_id: str) -> HttpResponse:
        self._must_have_key(asked)
        call = self._service.calls.get(call_id)
        if call is None:
            raise Refusal(404, "call_id_not_found", "There is no such call.")
        call.end("hung up")
        return HttpResponse(200)


def _must_be(asked: HttpRequest, kind: str) -> None:
    found = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != kind:
        raise Refusal(
            400,
            "OpperationNotSupported",
            f"Expected {kind}, and got {found or 'none'}.",
        )


def _error(
    status: int, code: str, message: str, param: str | None = None
) -> HttpResponse:
    error = {"code": code, "message": message}
    if param is not None:
        error["param"] = param
    return HttpResponse(status, json.dumps({"error": error}).encode())
