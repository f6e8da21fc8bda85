"""
Posts a signed JSON document to an operator's server, and reads its small answer.

The signature follows Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over
C{ID.TIMESTAMP.BODY}, for which receivers find libraries.  Redirects are not followed;
they are returned like any other answer.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from chime_gateway import __version__
from chime_gateway.errors import GatewayError
from chime_gateway.net.http_body import (
    BodyCutShort,
    BodyTooLong,
    BodyUnreadable,
    read_body,
)
from chime_gateway.net.http_client import HttpClient
from chime_gateway.net.http_failures import UNANSWERED, was_cancelled, why

#: Maximum number of idle connections kept for each host.
_IDLE_CONNECTIONS: Final = 8

#: Attempts when the connection fails before an answer begins.
_ATTEMPTS: Final = 2

_SECRET_PREFIX: Final = "whsec_"


class PostFailed(GatewayError):
    """No usable answer came.  The text says why, without the address."""


@frozen
class Answer:
    """
    An answer with its whole body.

    @ivar content_type: in lower case, without parameters.
    """

    status: int
    content_type: str
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """
    Compute the value of the header C{webhook-signature}.

    @param secret: C{whsec_} and base64, or any text.
    """
    key = secret.encode()
    if secret.startswith(_SECRET_PREFIX):
        # If it is not base64, the whole text is the secret.
        with contextlib.suppress(binascii.Error):
            key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


class SignedPost:
    """
    A client that posts signed documents.

    @param wall_time: returns Unix seconds, for the signed timestamp.
    """

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        wall_time: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._wall_time = wall_time
        self._http = HttpClient(reactor, _IDLE_CONNECTIONS)

    def close(self) -> Deferred[None]:
        return self._http.close()

    async def send(
        self,
        url: str,
        body: bytes,
        *,
        message_id: str,
        seconds: float,
        max_bytes: int,
        secret: str = "",
        bearer: str = "",
    ) -> Answer:
        """
        Send one document.

        @param message_id: the same when the same document is sent again.
        @param seconds: time limit for the whole exchange, all attempts included.
        @raise PostFailed: there is no answer, or it is larger than C{max_bytes}.
        """
        deadline = self._clock.seconds() + seconds
        for attempt in range(1, _ATTEMPTS + 1):
            left = deadline - self._clock.seconds()
            try:
                return await self._send_once(
                    url,
                    self._headers(message_id, body, secret, bearer),
                    body,
                    left,
                    max_bytes,
                )
            except _NoConnection as exc:
                if attempt == _ATTEMPTS:
                    raise PostFailed(str(exc)) from exc
        raise AssertionError("unreachable")

    def _headers(
        self, message_id: str, body: bytes, secret: str, bearer: str
    ) -> Mapping[str, str]:
        timestamp = int(self._wall_time())
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/plain;q=0.5",
            "user-agent": f"chime-gateway/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
        }
        if secret:
            headers["webhook-signature"] = sign(secret, message_id, timestamp, body)
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        return headers

    async def _send_once(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        max_bytes: int,
    ) -> Answer:
        exchange = self._exchange(url, headers, body, max_bytes)
        waiting: Deferred[Answer] = Deferred.fromCoroutine(exchange)
        return await waiting.addTimeout(max(0.0, seconds), self._clock, _too_late)

    async def _exchange(
        self, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Answer:
        try:
            answer = await self._http.request("POST", url, headers, body)
        except UNANSWERED as exc:
            if was_cancelled(exc):
                raise CancelledError from exc
            raise _NoConnection(why(exc)) from exc
        except ResponseFailed as exc:
            raise PostFailed(f"its answer is broken: {why(exc)}") from exc
        try:
            content = await read_body(answer, max_bytes)
        except BodyTooLong as exc:
            raise PostFailed(f"its answer is larger than {max_bytes} bytes") from exc
        except BodyCutShort as exc:
            raise PostFailed("its answer is shorter than announced") from exc
        except BodyUnreadable as exc:
            raise PostFailed(str(exc)) from exc
        kinds = answer.headers.getRawHeaders("content-type") or [""]
        kind = kinds[-1].partition(";")[0].strip().lower()
        return Answer(answer.code, kind, content)


class _NoConnection(Exception):
    """The connection failed before any answer: the request may be repeated."""


def _too_late(result: Answer | Failure, _: float) -> Answer:
    """
    Return the answer if the exchange completed all the same when it timed out.

    @raise PostFailed: it did not.
    """
    if not isinstance(result, Failure):
        return result
    result.trap(CancelledError, _NoConnection, PostFailed)
    raise PostFailed("it took too long to answer") from result.value
