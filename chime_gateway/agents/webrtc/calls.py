"""
The HTTP requests for a service's calls over WebRTC: make a call with an offer, hang it
up by its id, and mint the secrets that calls are made with.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from chime_gateway import __version__
from chime_gateway.agents.websocket import HandshakeRefused, asked_wait, error_text
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.net.http_body import (
    BodyCutShort,
    BodyTooLong,
    BodyUnreadable,
    read_body,
)
from chime_gateway.net.http_client import Answer, HttpClient
from chime_gateway.net.http_failures import UNANSWERED, was_cancelled, why

#: Maximum size of an answer: a secret and a session, or an SDP, have some kilobytes.
_MOST_BYTES: Final = 65_536

#: The longest time to wait for an answer.
REQUEST_SECONDS: Final = 10.0

#: Restricted, because the id is put into URLs.
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_.~-]{1,200}")


@frozen
class Made:
    """
    A call that was made.

    @ivar answer: the service's SDP.
    @ivar call_id: empty: the service did not send one.
    """

    answer: bytes
    call_id: str


def call_id_of(location: str) -> str:
    """
    Return the call's id from a Location header: the last segment of the path, or
    C{call_id} of the query.  The path may be relative, and without Azure's prefix.

    @return: the id; empty: there is no valid one.
    """
    try:
        parts = urlsplit(location[:2048])
        named = parse_qs(parts.query, max_num_fields=20).get("call_id", [""])
    except ValueError:
        return ""
    call_id = named[0] or parts.path.rstrip("/").rpartition("/")[2]
    return call_id if _CALL_ID.fullmatch(call_id) else ""


class Calls:
    """
    Makes these requests.

    @param http: keeps its connections for the next request.
    """

    _log = Logger()

    def __init__(self, http: HttpClient, clock: IReactorTime) -> None:
        self._http = http
        self._clock = clock
        self._ending: set[Deferred[Any]] = set()

    def mint(
        self, url: str, headers: Mapping[str, str], asked: Mapping[str, object]
    ) -> Deferred[bytes]:
        """
        Request a secret for calls that begin with a session.

        @param asked: the session, in the form that the URL requires.
        @return: the body of the answer.
        """
        body = msgspec.json.encode(asked)
        said = {**headers, "content-type": "application/json"}
        asking = self._ask(url, said, body)
        return asking.addCallback(lambda found: found[1])

    def make(
        self,
        url: str,
        secret: str,
        offer: bytes,
        unwanted: Callable[[Made], None] = lambda _: None,
    ) -> Deferred[Made]:
        """
        Make a call.  The Deferred fails with L{AgentUnavailable}, and may be cancelled.

        @param unwanted: called with the call if it is made although the Deferred was
            cancelled.
        """
        headers = {
            "authorization": f"Bearer {secret}",
            "content-type": "application/sdp",
            "accept": "application/sdp, application/json;q=0.5",
        }
        asking = self._ask(url, headers, offer)

        def made(found: tuple[Answer, bytes]) -> Made:
            answer, body = found
            locations = answer.headers.getRawHeaders("location") or [""]
            return Made(body, call_id_of(locations[-1]))

        waiting: Deferred[Made] = Deferred()
        self._ending.add(asking)

        def came(result: Any) -> None:
            self._ending.discard(asking)
            if not waiting.called:
                waiting.callback(result)
            elif isinstance(result, Made):
                unwanted(result)

        asking.addCallback(made).addBoth(came)
        asking.addErrback(lambda failure: self._log.failure("a bug in a call", failure))
        return waiting

    def hang_up(self, base: str, headers: Mapping[str, str], call_id: str) -> None:
        """
        Hang up a call, in the background; a failure is only logged.

        @param base: C{https://HOST/openai/v1/realtime}.
        """
        ending = self._ask(f"{base}/calls/{call_id}/hangup", headers, b"")
        self._ending.add(ending)

        def over(result: object) -> None:
            self._ending.discard(ending)
            if isinstance(result, Failure):
                # The service also notices that the media has ended.
                self._log.debug(
                    "a call was not hung up at the agent's service: {reason}",
                    reason=result.getErrorMessage()[:200],
                )

        ending.addBoth(over)

    async def close(self, seconds: float) -> None:
        """Wait for requests in progress, and close all connections."""
        until = self._clock.seconds() + seconds
        # A request that makes a call may be followed by one that hangs it up.
        while self._ending and (left := until - self._clock.seconds()) > 0:
            # A timeout cancels the requests, which ends them as well.
            over: Deferred[Any] = DeferredList(list(self._ending))
            await over.addTimeout(left, self._clock, lambda *_: None)
        await self._http.close()

    # -- inside ------------------------------------------------------------------

    def _ask(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> Deferred[tuple[Answer, bytes]]:
        said = {**headers, "user-agent": f"chime-gateway/{__version__}"}
        asking = Deferred.fromCoroutine(self._exchange(url, said, body))
        return asking.addTimeout(REQUEST_SECONDS, self._clock, _too_late)

    async def _exchange(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer, bytes]:
        what = _what(url)
        try:
            answer = await self._http.request("POST", url, headers, body)
            content = await read_body(answer, _MOST_BYTES)
        except (*UNANSWERED, ResponseFailed) as exc:
            if was_cancelled(exc):
                raise CancelledError from exc
            raise AgentUnavailable(f"no answer to {what}: {why(exc)}") from exc
        except (BodyTooLong, BodyCutShort, BodyUnreadable) as exc:
            raise AgentUnavailable(f"the answer to {what} is broken: {exc}") from exc
        if not 200 <= answer.code < 300:
            raise self._refusal(what, answer, content)
        return answer, content

    def _refusal(self, what: str, answer: Answer, body: bytes) -> AgentUnavailable:
        text = f"the agent's service answered {what} with HTTP {answer.code}"
        detail = error_text(body)
        if detail:
            text += f" ({detail})"
        if answer.code == 400 and _is_of_profile(body):
            return ProfileRefused(text)
        headers = {
            name.decode("ascii", "replace").lower(): values[-1].decode("latin-1")
            for name, values in answer.headers.getAllRawHeaders()
        }
        wait = asked_wait(headers, time.time())
        return HandshakeRefused(answer.code, text, wait)


def _what(url: str) -> str:
    """Return the name of the requested resource, without its id."""
    path = urlsplit(url).path
    return path.rpartition("/realtime/")[2].partition("/")[0] or path.rpartition("/")[2]


class _Refused(msgspec.Struct):
    param: str | None = None


class _Refusal(msgspec.Struct):
    error: _Refused


def _is_of_profile(body: bytes) -> bool:
    """Return whether a setting of the session is refused, not one of the deployment."""
    try:
        param = msgspec.json.decode(body, type=_Refusal).error.param or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return param.startswith("session.audio.")


def _too_late(result: object, _: float) -> Any:
    if isinstance(result, Failure):
        result.trap(CancelledError, AgentUnavailable)
        raise AgentUnavailable("the agent's service took too long to answer")
    return result
