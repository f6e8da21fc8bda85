"""
Simulates AWS on loopback: all services on one port, for C{AWS_ENDPOINT_URL}.

Requests must be signed with the simulator's key and match botocore's models
(L{chime_gateway.sim.aws.protocol}).  Each service is a module of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from chime_gateway.sim.aws.files import Files
from chime_gateway.sim.aws.protocol import (
    REGION,
    Fault,
    Operation,
    Request,
    read_request,
    write_answer,
    write_fault,
)
from chime_gateway.sim.aws.queues import Queues
from chime_gateway.sim.aws.signature import check_signature, services_of
from chime_gateway.sim.aws.streams import Streams

Answerer: TypeAlias = Callable[[Mapping[str, Any]], Any]


class Body(Protocol):
    """A response body that is sent piece by piece."""

    def start(self, write: Callable[[bytes], None], finish: Callable[[], None]) -> None:
        """Begin to write."""

    def stop(self) -> None:
        """The client has disconnected."""


class FaultPlan(Protocol):
    def __call__(self, operation: Operation) -> Fault | float | None:
        """Return the fault of a request: an error, a delay in seconds, or none."""


class FakeAws(Resource):
    """
    All services on one port.

    @param services: the functions that handle the operations, by service and name.
    @param region: where the services are; requests have to be signed for it.
    @ivar asked: every valid operation that was requested, in order.
    @ivar fault_plan: returns the fault to inject into an operation, if any.
    """

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        services: Mapping[str, Mapping[str, Answerer]],
        clock: IReactorTime,
        region: str = REGION,
    ) -> None:
        super().__init__()
        self.region = region
        self.access_key = "AKIA" + secrets.token_hex(8).upper()
        self.secret_key = secrets.token_hex(20)
        self.asked: list[Operation] = []
        self.fault_plan: FaultPlan = lambda operation: None
        self._services = services
        self._clock = clock

    def environment(self, port: int) -> dict[str, str]:
        """Return the environment variables that direct botocore here."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def site(self) -> Site:
        site = Site(self)
        site.noisy = False
        return site

    def render(self, request: HttpRequest) -> int:
        headers = {
            name.decode("latin-1").lower(): b",".join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        assert request.content is not None
        body = request.content.read()
        received = Request(
            request.method.decode(), request.uri.decode("latin-1"), headers, body
        )
        answering = Deferred.fromCoroutine(self._answer(request, received))
        answering.addErrback(self._bug, request)
        return NOT_DONE_YET

    def _bug(self, failure: Failure, http: HttpRequest) -> None:
        if failure.check(CancelledError):
            return
        self._log.failure("unexpected error in the AWS simulator", failure)
        if not http.finished and not http._disconnected:
            http.setResponseCode(418)
            http.finish()

    async def _answer(self, http: HttpRequest, request: Request) -> None:
        is_gone = http.notifyFinish()
        is_gone.addErrback(lambda _: None)
        services = services_of(request)
        try:
            host = request.headers.get("host", "")
            known = {self.access_key: self.secret_key}
            check_signature(request, known, host, self.region)
            operation = read_request(request, services)
            self.asked.append(operation)
            await self._inject_fault(operation)
            answerer = self._services.get(operation.service, {}).get(operation.name)
            if answerer is None:
                text = f"{operation.service} {operation.name} is not simulated"
                raise Fault("NotImplementedException", text, 501)
            answering = maybeDeferred(answerer, operation.parameters)
            http.notifyFinish().addErrback(lambda _: answering.cancel())
            answer = await answering
            if not isinstance(answer, Mapping):
                self._stream(http, answer)
                return
            status, headers, body = write_answer(operation, answer)
        except Fault as fault:
            status, headers, body = write_fault(fault, services)
        if is_gone.called:
            return
        http.setResponseCode(status)
        for name, value in headers.items():
            http.setHeader(name, value)
        http.write(body)
        http.finish()

    async def _inject_fault(self, operation: Operation) -> None:
        fault = self.fault_plan(operation)
        if isinstance(fault, Fault):
            raise fault
        if fault is not None:
            await deferLater(self._clock, fault)

    def _stream(self, http: HttpRequest, body: Body) -> None:
        is_over = False

        def finish() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                http.finish()

        def write(data: bytes) -> None:
            if not is_over:
                http.write(data)

        def gone(_: object) -> None:
            nonlocal is_over
            is_over = True
            body.stop()

        http.setHeader("content-type", "video/webm")
        http.notifyFinish().addErrback(gone)
        http.write(b"")  # sends the headers at once
        body.start(write, finish)


class MediaAws:
    """
    The services that a gateway needs for calls.

    @param call_services: the operations of C{chime-sdk-voice}.
    """

    def __init__(
        self,
        clock: IReactorTime,
        call_services: Mapping[str, Answerer],
        region: str = REGION,
    ) -> None:
        self.queues = Queues(clock, region)
        self.files = Files(region=region)
        self.streams = Streams(clock, region)
        self.aws = FakeAws(
            {
                "sqs": self.queues.operations(),
                "s3": self.files.operations(),
                "kinesisvideo": self.streams.operations(),
                "kinesis-video-media": self.streams.media_operations(),
                "chime-sdk-voice": call_services,
            },
            clock,
            region,
        )

    def listens_on(self, port: int) -> None:
        """Set the port that the URLs of queues and streams contain."""
        self.queues.url = self.streams.endpoint = f"http://127.0.0.1:{port}"
