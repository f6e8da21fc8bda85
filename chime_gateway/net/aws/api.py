"""
Requests to AWS: built and signed by botocore, sent by the reactor.

botocore blocks, so a request is signed in a thread of the pool.  The reactor sends it
and reads the answer.  So no thread waits, even for an answer that lasts as long as a
call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from botocore.awsrequest import HeadersDict
from botocore.exceptions import BotoCoreError, NoCredentialsError, ParamValidationError
from botocore.model import OperationModel
from botocore.parsers import ResponseParserError, ResponseParserFactory
from botocore.session import Session
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.aws.signer import SignedRequest, Signer
from chime_gateway.net.backoff import BackOff
from chime_gateway.net.http_body import (
    BodyCutShort,
    BodyTooLong,
    BodyUnreadable,
    encodings,
    read_body,
)
from chime_gateway.net.http_client import Answer, HttpClient
from chime_gateway.net.http_failures import UNANSWERED, was_cancelled

#: Default time limit of a request.
REQUEST_SECONDS: Final = 10.0

#: Maximum number of idle connections kept for each host.
_IDLE_CONNECTIONS: Final = 16

#: Attempts of a throttled request, or after a transient error, and pauses between them.
_ATTEMPTS: Final = 4
_BACK_OFF: Final = BackOff.doubling(0.2, 1.6, spread=(0.5, 1.5))

#: Answers are small, except streams.
_MAX_ANSWER_BYTES: Final = 4 << 20

#: Exceptions of a request without a complete answer.
_LOST: Final = (*UNANSWERED, ResponseFailed, BodyCutShort, CancelledError)


_T = TypeVar("_T")


class InThread(Protocol):
    def __call__(
        self, function: Callable[..., object], *args: object
    ) -> Deferred[Any]: ...


class AwsApi:
    """
    A client of all AWS services; operations are called by their names.

    @param region: empty: botocore finds it (C{AWS_REGION}, its files).
    @param in_thread: runs a blocking function in a thread.
    """

    def __init__(
        self,
        *,
        region: str,
        in_thread: InThread,
        reactor: Any,
        clock: IReactorTime,
        jitter: Callable[[], float],
        session: Session | None = None,
    ) -> None:
        self._signer = Signer(session or Session(), region)
        self._in_thread = in_thread
        self._clock = clock
        self._jitter = jitter
        self._parsers = ResponseParserFactory()
        self._http = HttpClient(reactor, _IDLE_CONNECTIONS)

    def close(self) -> Deferred[None]:
        return self._http.close()

    async def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float = REQUEST_SECONDS,
        attempts: int = _ATTEMPTS,
    ) -> dict[str, Any]:
        """
        Send a request, and return its answer as botocore would.

        @param operation: its name in botocore's model (C{ReceiveMessage}).
        @param seconds: time limit of each attempt.
        @raise AwsError: the request was refused, or no answer came.
        """
        for attempt in range(1, attempts + 1):
            try:
                return await self._call_once(service, operation, parameters, seconds)
            except AwsError as exc:
                if attempt == attempts or not exc.is_passing:
                    raise
            await deferLater(self._clock, _BACK_OFF.pause(attempt, self._jitter()))
        raise AssertionError("unreachable")

    async def link(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, object],
        seconds: int,
    ) -> str:
        """
        Make a presigned URL, without sending a request.

        @param seconds: how long the URL is valid.
        @raise AwsError: there are no credentials.
        """
        try:
            url: str = await self._in_thread(
                self._signer.link, service, operation, dict(parameters), seconds
            )
        except BotoCoreError as exc:
            raise AwsError(service, operation, type(exc).__name__, str(exc)) from exc
        return url

    async def stream(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, object],
        receiver: TwistedProtocol,
        *,
        endpoint: str = "",
        seconds: float = REQUEST_SECONDS,
    ) -> Mapping[str, str]:
        """
        Send a request, and deliver the answer's body to C{receiver} as it comes.

        @param seconds: time limit for the beginning of the answer.
        @return: the answer's headers, before its body.
        @raise AwsError: the request was refused, or no answer came.
        """
        answer, _, _ = await self._send(
            service, operation, parameters, seconds, endpoint
        )
        if encoded := encodings(answer):
            answer.abort()
            why = f"it is encoded as {', '.join(encoded)[:80]!r}"
            raise AwsError(service, operation, "Unreadable", why)
        answer.deliver(receiver)
        return _headers(answer)

    # -- inside ------------------------------------------------------------------

    async def _call_once(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, object],
        seconds: float,
    ) -> dict[str, Any]:
        answer, model, until = await self._send(
            service, operation, parameters, seconds, ""
        )
        parsed: dict[str, Any] = await self._parsed(
            answer, model, until, service, operation
        )
        return parsed

    async def _send(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, object],
        seconds: float,
        endpoint: str,
    ) -> tuple[Answer, OperationModel, float]:
        """
        Send a request, and wait for the head of its answer.

        @return: the answer, the operation's model, and the deadline for the body.
        @raise AwsError: the request was refused, or no answer came.
        """
        try:
            request: SignedRequest = await self._in_thread(
                self._signer.sign, service, operation, dict(parameters), endpoint
            )
        except NoCredentialsError as exc:
            text = "no credentials: give this machine a role, or set AWS_PROFILE"
            raise AwsError(service, operation, "NoCredentials", text) from exc
        except ParamValidationError:
            raise  # a bug in the calling code
        except BotoCoreError as exc:
            raise AwsError(service, operation, type(exc).__name__, str(exc)) from exc
        until = self._clock.seconds() + seconds
        sending = self._http.request(
            request.method, request.url, request.headers, request.body or b""
        )
        answer = await self._in_time(sending, until, service, operation)
        if answer.code >= 300:
            refusal = await self._parsed(
                answer, request.model, until, service, operation
            )
            raise _refused(service, operation, answer.code, refusal)
        return answer, request.model, until

    async def _in_time(
        self, waiting: Deferred[_T], until: float, service: str, operation: str
    ) -> _T:
        """
        Wait for a Deferred until a deadline.

        @param until: the deadline, in the clock's seconds.
        @raise AwsError: it failed, or took too long.
        @raise CancelledError: the waiting was cancelled.
        """
        left = max(0.0, until - self._clock.seconds())
        try:
            return await waiting.addTimeout(left, self._clock, _too_late)
        except TimeoutError as exc:
            why = "it took too long to answer"
            raise AwsError(service, operation, "", why) from exc
        except _LOST as exc:
            if was_cancelled(exc):
                raise CancelledError from exc
            raise AwsError(service, operation, "", str(exc)[:200]) from exc

    async def _body(
        self, service: str, operation: str, answer: Answer, until: float
    ) -> bytes:
        reading = read_body(answer, _MAX_ANSWER_BYTES)
        try:
            return await self._in_time(reading, until, service, operation)
        except BodyTooLong as exc:
            why = f"an answer of {exc}"
            raise AwsError(service, operation, "TooLong", why) from exc
        except BodyUnreadable as exc:
            raise AwsError(service, operation, "Unreadable", str(exc)) from exc

    async def _parsed(
        self,
        answer: Answer,
        model: OperationModel,
        until: float,
        service: str,
        operation: str,
    ) -> Any:
        """Read and parse an answer, as botocore would; a refusal has an C{Error}."""
        body = await self._body(service, operation, answer, until)
        said = {"status_code": answer.code, "headers": _headers(answer), "body": body}
        parser = self._parsers.create_parser(model.service_model.resolved_protocol)
        try:
            parsed = parser.parse(said, model.output_shape)
        except (ResponseParserError, RecursionError) as exc:
            why = f"its answer is broken: {str(exc)[:200]}"
            raise AwsError(service, operation, "Unreadable", why) from exc
        if answer.code >= 300:
            error = parsed.setdefault("Error", {})
            # A proxy's refusal does not have the service's format.
            error["Message"] = error.get("Message") or body[:200].decode(
                "utf-8", "replace"
            )
        return parsed


def _too_late(result: object, _: float) -> Any:
    """
    Return the result if the request completed all the same when it timed out.

    @raise TimeoutError: it did not.
    """
    if not isinstance(result, Failure):
        return result
    result.trap(*_LOST)
    raise TimeoutError from result.value


def _refused(
    service: str, operation: str, status: int, refusal: Mapping[str, Any]
) -> AwsError:
    error = refusal["Error"]
    code = str(error.get("Code") or status)
    if status >= 500 and not code.startswith("5"):
        code = f"{status} {code}"
    return AwsError(service, operation, code, str(error["Message"]))


def _headers(answer: Answer) -> Mapping[str, str]:
    """Return the headers by name, in any case: botocore's models write C{ETag}."""
    headers: Mapping[str, str] = HeadersDict(
        {
            name.decode("latin-1"): values[-1].decode("latin-1")
            for name, values in answer.headers.getAllRawHeaders()
        }
    )
    return headers
