"""
Kinesis calls without a socket: the telephone network of
L{chime_gateway.sim.caller.kinesis_line}, the real Lambda, and gateways, on one clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.validate import ParamValidator
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chime_gateway.agents.line.lines import Lines
from chime_gateway.aws import sma
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.carriers.call_control import SmaControl
from chime_gateway.carriers.kinesis.carrier import KinesisCarrier
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.aws import KinesisSettings
from chime_gateway.settings.values import Limits
from chime_gateway.sim.aws.protocol import Fault, model_of
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.kinesis_line import (
    BUCKET,
    QUEUE,
    KinesisLine,
    KinesisWorld,
    place_kinesis_call,
)
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.voices import Parrot, Voice
from tests.support.fakes import RecordingMeasures, RecordingTools
from tests.support.virtual import VirtualAgents

STEP_SECONDS = 0.005

FaultPlan = Callable[[str, Mapping[str, Any]], AwsError | None]


class _BodyTransport:
    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def loseConnection(self) -> None:
        self._stop()


class MemoryAws:
    """
    Replaces L{chime_gateway.net.aws.api.AwsApi}, without a network.

    @ivar asked: every operation, with its parameters.
    @ivar fault_plan: decides which of them fail.
    """

    def __init__(self, world: KinesisWorld) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.fault_plan: FaultPlan = lambda operation, parameters: None
        media = world.media
        self._services: dict[str, Any] = {
            "sqs": media.queues.operations(),
            "s3": media.files.operations(),
            "kinesisvideo": media.streams.operations(),
            "kinesis-video-media": media.streams.media_operations(),
            "chime-sdk-voice": world.application.operations(),
        }

    async def _answer(
        self, service: str, operation: str, parameters: Mapping[str, Any]
    ) -> Any:
        shape = model_of(service).operation_model(operation).input_shape
        report = ParamValidator().validate(dict(parameters), shape)
        assert not report.has_errors(), report.generate_report()
        self.asked.append((operation, parameters))
        error = self.fault_plan(operation, parameters)
        if error is not None:
            raise error
        try:
            return await maybeDeferred(self._services[service][operation], parameters)
        except Fault as fault:
            text = fault.message
            raise AwsError(service, operation, fault.code, text) from fault

    async def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float = 10.0,
        attempts: int = 4,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = await self._answer(service, operation, parameters)
        return answer

    async def stream(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        receiver: Protocol,
        *,
        endpoint: str = "",
        seconds: float = 10.0,
    ) -> Mapping[str, str]:
        body = await self._answer(service, operation, parameters)
        is_open = True

        def gone() -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                body.stop()

        def finish() -> None:
            gone()
            receiver.connectionLost(Failure(ConnectionDone()))

        receiver.transport = _BodyTransport(gone)  # type: ignore[assignment]
        body.start(receiver.dataReceived, finish)
        return {}


class VirtualGateway:
    """One gateway that takes Kinesis calls."""

    def __init__(
        self,
        world: KinesisWorld,
        clock: Clock,
        *,
        max_calls: int = 100,
        profile: AgentProfile | None = None,
        leg: str = "caller",
        voice: Voice | None = None,
        recordings: Any = None,
    ) -> None:
        self.aws = MemoryAws(world)
        self.measures = RecordingMeasures()
        self.agents = VirtualAgents(clock, voice or Parrot(), Behaviour(), False)
        self.replies: list[float] = []
        self.metronome = Metronome(clock)
        self.calls = CallTable(
            Lines(self.agents, Limits()),
            roster=Roster(agents={"default": profile or AgentProfile()}, routes={}),
            tools=RecordingTools([]),
            recordings=recordings,
            limits=Limits(max_calls=max_calls),
            clock=clock,
            metronome=self.metronome,
            measures=self.measures,
            wall_time=lambda: 1_000_000.0,
            new_id=iter(map(str, range(10_000))).__next__,
        )
        self.control = SmaControl(self.aws, world.application.application_id, clock)
        settings = KinesisSettings(
            queue_url=world.media.queues.url_of(QUEUE),
            bucket=BUCKET,
            leg=leg,
            events_prefix="chimegw-events-",
        )
        self.carrier = KinesisCarrier(
            settings,
            self.calls,
            aws=self.aws,
            control=self.control,
            clock=clock,
            observe_reply=self.replies.append,
        )
        self.carrier.start()

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.aws.asked]

    @property
    def records(self) -> Sequence[Any]:
        return self.measures.records


class VirtualNetwork:
    """
    Clock, network, Lambda, gateways.

    @ivar lambda_settings: its environment.
    @ivar hears: whether the Lambda's reports arrive.
    """

    def __init__(self, *, is_bridged: bool = True) -> None:
        self.clock = Clock()
        self.world = KinesisWorld(self._function, self.clock)
        environ = self.world.function_settings()
        if not is_bridged:
            del environ["VOICE_CONNECTOR_ARN"]
        self.lambda_settings = sma.read_settings(environ)
        self.hears = True
        self.reports: list[dict[str, str]] = []

    def _function(self, event: dict[str, Any]) -> dict[str, Any]:
        decision = sma.decide(event, self.lambda_settings)
        queue = decision.attributes.get("events", "").rpartition("/")[2]
        for report in decision.reports:
            self.reports.append(report)
            if queue in self.world.media.queues.queues and self.hears:
                self.world.media.queues.send(queue, json.dumps(report))
        return sma.response(decision)

    def gateway(self, **options: Any) -> VirtualGateway:
        return VirtualGateway(self.world, self.clock, **options)

    def call(self, plan: CallPlan) -> Deferred[CallReport]:
        return place_kinesis_call(self.world, plan)

    def line(self) -> KinesisLine:
        (line,) = self.world.lines.values()
        return line

    def advance(self, seconds: float, step: float = STEP_SECONDS) -> None:
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until - step / 2:
            self.clock.advance(step)

    def until(self, done: Callable[[], bool], most_seconds: float = 60.0) -> None:
        until = self.clock.seconds() + most_seconds
        while not done():
            assert self.clock.seconds() < until, "it never happened"
            self.clock.advance(STEP_SECONDS)

    def report(self, call: Deferred[CallReport]) -> CallReport:
        """Run a call to its end, and return its report."""
        got: list[CallReport] = []
        call.addCallback(got.append)
        self.until(lambda: bool(got))
        self.advance(2)
        return got[0]
