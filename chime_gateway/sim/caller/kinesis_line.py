"""
A line over Kinesis: a Voice Connector streams the caller's audio, and the SIP media
application plays files to the caller.

It simulates the telephone network for a gateway without SIP: notifications in a
queue, audio in video streams, and files played to the caller.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from chime_gateway.audio import PCMU
from chime_gateway.codec.g711 import decode_mu_law
from chime_gateway.sim.aws.protocol import ACCOUNT, REGION
from chime_gateway.sim.aws.server import MediaAws
from chime_gateway.sim.aws.sma.application import SmaSimulator
from chime_gateway.sim.aws.sma.call import Function, SmaCall
from chime_gateway.sim.aws.sma.rules import InvalidAction
from chime_gateway.sim.aws.streams import Stream
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter, SimulatedCaller
from chime_gateway.sim.caller.playout import PlayoutBuffer

#: The resources of the simulated installation.
QUEUE: Final = "chimegw-notices"
BUCKET: Final = "chimegw-replies"
VOICE_CONNECTOR_ID: Final = "abcdef1ghij2klmno3pqr4"
VOICE_CONNECTOR_ARN: Final = f"arn:aws:chime:{REGION}:{ACCOUNT}:vc/{VOICE_CONNECTOR_ID}"
OWNED_NUMBER: Final = "+12065550100"
CALLER_NUMBER: Final = "+15105550101"

#: The start of the names of the gateways' queues for the Lambda's reports.
_EVENT_QUEUES: Final = QUEUE.removesuffix("notices") + "events-"

#: The delay of a notification.
_NOTICE_SECONDS: Final = 0.1


class KinesisWorld:
    """
    The queue, bucket, streams and application of one installation.

    @param function: the Lambda function.
    @ivar lines: the calls in progress.
    @ivar unreachable: telephone numbers that do not answer.
    """

    def __init__(self, function: Function, clock: IReactorTime) -> None:
        self.clock = clock
        self.lines: dict[str, KinesisLine] = {}
        self.unreachable: set[str] = set()
        self._free_streams: list[Stream] = []
        self.application = SmaSimulator(
            function,
            clock,
            fetch=lambda bucket, key: self.media.files.fetch(bucket, key),
            bridge=self._bridge,
            owned=frozenset({OWNED_NUMBER}),
        )
        self.media = MediaAws(clock, self.application.operations())
        self.media.queues._create({"QueueName": QUEUE})
        self.media.files.buckets[BUCKET] = {}

    @property
    def aws(self) -> Any:
        return self.media.aws

    def gateway_settings(self) -> dict[str, str]:
        """Return the settings with which a gateway accepts these calls."""
        return {
            "CHIMEGW_SMA_ID": self.application.application_id,
            "CHIMEGW_KINESIS_QUEUE": self.media.queues.url_of(QUEUE),
            "CHIMEGW_KINESIS_BUCKET": BUCKET,
        }

    def function_settings(self) -> dict[str, str]:
        """Return the environment of the Lambda function."""
        return {
            "MODE": "kinesis",
            "VOICE_CONNECTOR_ARN": VOICE_CONNECTOR_ARN,
            "CALLER_ID_NUMBER": OWNED_NUMBER,
            "EVENTS_QUEUE": self.media.queues.url_of(_EVENT_QUEUES),
        }

    def stream(self) -> Stream:
        """Return a stream.  Streams are pooled: earlier calls may have used it."""
        if self._free_streams:
            return self._free_streams.pop(0)
        return self.media.streams.new_stream(VOICE_CONNECTOR_ID)

    def give_back(self, stream: Stream) -> None:
        self._free_streams.append(stream)

    def notify(self, detail: Mapping[str, object]) -> None:
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Chime VoiceConnector Streaming Status",
            "source": "aws.chime",
            "account": ACCOUNT,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [],
            "detail": dict(detail),
        }
        body = json.dumps(event)
        self.clock.callLater(_NOTICE_SECONDS, self.media.queues.send, QUEUE, body)

    def _bridge(
        self, call: SmaCall, endpoint: Mapping[str, str], headers: Mapping[str, str]
    ) -> Deferred[Any]:
        """
        Answer a call from the application: the Voice Connector answers at once and
        starts streaming; telephones answer unless they are unreachable.
        """
        if endpoint["BridgeEndpointType"] == "PSTN":
            if endpoint["Uri"] in self.unreachable:
                return fail(InvalidAction("Call not answered", "CallNotAnswered"))
            return succeed(_TransferTarget())
        return succeed(_SourceLeg(self.lines[call.transaction_id], endpoint["Uri"]))


class _TransferTarget:
    """The party to whom the caller was transferred."""

    def hang_up(self) -> None:
        """Do nothing."""


class _SourceLeg:
    """The Voice Connector's leg, which streams as long as it lasts."""

    def __init__(self, line: KinesisLine, called: str) -> None:
        self._line = line
        line.begin_streaming(called)

    def hang_up(self) -> None:
        self._line.end_streaming()


class KinesisLine:
    """
    One caller's line: a L{chime_gateway.sim.caller.caller.Line}, and the application's
    L{chime_gateway.sim.aws.sma.participants.Phone}.
    """

    says_clear = True

    def __init__(
        self,
        world: KinesisWorld,
        plan: CallPlan,
        meter: Meter | None,
        finished: Deferred[CallReport],
    ) -> None:
        self._world = world
        self._finished = finished
        self._was_answered = False
        self._streams: dict[bool, tuple[Stream, dict[str, str], str]] = {}
        self._told: dict[str, Any] = {}
        self.playout = PlayoutBuffer(PCMU, world.clock, lambda name: None)
        self.caller = SimulatedCaller(plan, PCMU, world.clock, self, meter)
        self.call: SmaCall

    # -- Line ------------------------------------------------------------------------

    def begin(self) -> None:
        """Do nothing: this line sends nothing first."""

    def send_frame(self, frame: bytes, number: int) -> None:
        streaming = self._streams.get(True)
        if streaming is not None:
            stream, tags, _ = streaming
            stream.write(decode_mu_law(frame).astype("<i2").tobytes(), tags)

    def press(self, digit: str) -> None:
        """An application without C{ReceiveDigits} is not told of keys."""

    def hang_up(self) -> None:
        self.call.hang_up()
        self.end_streaming()
        self._over(200, "the caller hung up")

    # -- Phone -----------------------------------------------------------------------

    def answered(self) -> None:
        self._was_answered = True
        self.caller.start()

    def play(self, audio: bytes) -> None:
        self.playout.play(audio)
        self.caller.audio_came(len(audio))

    def stop_playing(self) -> None:
        self.caller.cleared(self.playout.clear())

    def hung_up(self, code: int) -> None:
        self.end_streaming()
        self._over(code or 200, "hung up by the application")

    # -- the Voice Connector ---------------------------------------------------------

    def begin_streaming(self, called: str, transaction_id: str = "") -> None:
        """Stream each leg into a stream of its own."""
        transaction_id = transaction_id or str(uuid.uuid4())
        for is_caller in (False, True):
            stream = self._world.stream()
            call_id = str(uuid.uuid4())
            tags = {
                "TransactionId": transaction_id,
                "CallId": call_id,
                "VoiceConnectorId": VOICE_CONNECTOR_ID,
            }
            self._streams[is_caller] = (stream, tags, call_id)
            self._told = {
                "direction": "Outbound",
                "fromNumber": CALLER_NUMBER,
                "toNumber": called,
                "transactionId": transaction_id,
                "voiceConnectorId": VOICE_CONNECTOR_ID,
                "version": "0",
            }
            self._world.notify(
                {
                    **self._told,
                    "callId": call_id,
                    "isCaller": is_caller,
                    "mediaType": "audio/L16",
                    "startFragmentNumber": str(stream.next_number() - 1),
                    "startTime": "2026-11-22T10:00:00.000Z",
                    "streamArn": stream.arn,
                    "streamingStatus": "STARTED",
                }
            )

    def end_streaming(self) -> None:
        for is_caller, (stream, tags, call_id) in self._streams.items():
            stream.cut(tags)
            self._world.notify(
                {
                    **self._told,
                    "callId": call_id,
                    "isCaller": is_caller,
                    "currentFragmentNumber": str(stream.next_number() - 1),
                    "streamArn": stream.arn,
                    "endTime": "2026-11-22T10:01:00.000Z",
                    "streamingStatus": "ENDED",
                }
            )
            self._world.give_back(stream)
        self._streams.clear()

    def _over(self, code: int, reason: str) -> None:
        if self._finished.called:
            return
        self._world.lines.pop(self.call.transaction_id, None)
        report = self.caller.stop() if self._was_answered else CallReport(PCMU)
        report.close_code, report.close_reason = code, reason
        if not self._was_answered:
            report.error = f"{code} {reason}"
        self._finished.callback(report)


def place_kinesis_call(
    world: KinesisWorld, plan: CallPlan, *, meter: Meter | None = None
) -> Deferred[CallReport]:
    """
    Call the application's number and follow C{plan}.

    @return: fires with the report when the call is over, even if it failed.
    """
    finished: Deferred[CallReport] = Deferred()
    line = KinesisLine(world, plan, meter, finished)
    headers = {"X-Test": secrets.token_hex(4)}
    call = world.application.incoming(CALLER_NUMBER, OWNED_NUMBER, line, headers)
    line.call = call
    world.lines[call.transaction_id] = line
    return finished
