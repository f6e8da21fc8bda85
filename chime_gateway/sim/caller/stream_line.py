"""
A line over a media stream: the peer of C{/stream} and C{/stream/raw}, built on
Autobahn alone.  It uses none of the gateway's own dialects.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from chime_gateway.audio import PCMA, PCMU, PTIME_MS, Codec
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter, SimulatedCaller
from chime_gateway.sim.caller.playout import PlayoutBuffer

_ENCODINGS: Final[Mapping[str, str]] = {
    PCMU.name: "audio/x-mulaw",
    PCMA.name: "audio/x-alaw",
}

#: The jitter buffer of a peer that receives single frames: one frame.
_JITTER_SECONDS: Final = 0.02

#: How long the gateway may take to complete the closing handshake.
_CLOSE_SECONDS: Final = 10


class StreamLine:
    """
    One media stream.

    @param send: sends a message; the second argument says whether it is binary.
    @param hang_up: ends the connection.
    @ivar caller: the caller on the line; set before the call begins.
    """

    says_clear = True
    caller: SimulatedCaller

    def __init__(
        self,
        codec: Codec,
        clock: IReactorTime,
        *,
        is_raw: bool,
        parameters: Mapping[str, str],
        send: Callable[[bytes, bool], None],
        hang_up: Callable[[], None],
    ) -> None:
        self._codec = codec
        self._clock = clock
        self._is_raw = is_raw
        self._parameters = parameters
        self._send = send
        self._hang_up = hang_up
        self.playout = self._new_playout()

    # -- Line --------------------------------------------------------------------

    def begin(self) -> None:
        if not self._is_raw:
            self._command("connected", protocol="Call", version="1.0.0")
        encoding = _ENCODINGS.get(self._codec.name, "audio/x-l16")
        self._command(
            "start",
            sequenceNumber="1",
            start={
                "accountSid": "ACsimulated",
                "streamSid": "MZsimulated",
                "callSid": "CAsimulated",
                "tracks": ["inbound"],
                "mediaFormat": {
                    "encoding": encoding,
                    "sampleRate": self._codec.clock_rate,
                    "channels": 1,
                },
                "customParameters": dict(self._parameters),
            },
        )
        self.playout = self._new_playout()

    def send_frame(self, frame: bytes, number: int) -> None:
        if self._is_raw:
            self._send(frame, True)
            return
        self._command(
            "media",
            sequenceNumber=str(number + 1),
            media={
                "track": "inbound",
                "chunk": str(number),
                "timestamp": str(number * PTIME_MS),
                "payload": base64.b64encode(frame).decode(),
            },
        )

    def press(self, digit: str) -> None:
        self._command("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def hang_up(self) -> None:
        self._command("stop", stop={"callSid": "CAsimulated"})
        self._hang_up()

    # -- from the gateway ----------------------------------------------------------

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            self._audio(payload)
            return
        message = json.loads(payload)
        event = message.get("event")
        if event == "media":
            self._audio(base64.b64decode(message["media"]["payload"]))
        elif event == "mark":
            self.playout.mark(message["mark"]["name"])
        elif event == "clear":
            self.caller.cleared(self.playout.clear())

    # -- inside ----------------------------------------------------------------------

    def _new_playout(self) -> PlayoutBuffer:
        delay = _JITTER_SECONDS if self._is_raw else 0.0
        return PlayoutBuffer(self._codec, self._clock, self._mark_reached, delay)

    def _command(self, event: str, **members: object) -> None:
        message = {"event": event, "streamSid": "MZsimulated", **members}
        self._send(json.dumps(message).encode(), False)

    def _mark_reached(self, name: str) -> None:
        self._command("mark", mark={"name": name})

    def _audio(self, audio: bytes) -> None:
        self.playout.play(audio)
        self.caller.audio_came(len(audio))


class CallerProtocol(WebSocketClientProtocol):  # type: ignore[misc]
    """The WebSocket of one L{SimulatedCaller}."""

    caller: SimulatedCaller | None = None
    line: StreamLine

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        factory = self.factory
        self.line = StreamLine(
            factory.codec,
            factory.reactor,
            is_raw=factory.is_raw,
            parameters=factory.plan.parameters,
            send=self._send,
            hang_up=self.sendClose,
        )
        self.caller = SimulatedCaller(
            factory.plan, factory.codec, factory.reactor, self.line, factory.meter
        )
        self.line.caller = self.caller
        self.caller.start()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.line.message_received(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        factory = self.factory
        report = (
            CallReport(factory.codec) if self.caller is None else self.caller.stop()
        )
        report.close_code = code
        report.close_reason = reason or ""
        if self.caller is None:
            report.error = self.wasNotCleanReason or "the call was not connected"
        factory.finished(report)

    def _send(self, payload: bytes, is_binary: bool) -> None:
        # The gateway may have begun to close; nothing may be sent then.
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload, isBinary=is_binary)


class CallerFactory(WebSocketClientFactory):  # type: ignore[misc]
    """Makes one connection."""

    noisy = False
    protocol = CallerProtocol

    def __init__(
        self,
        url: str,
        plan: CallPlan,
        codec: Codec,
        *,
        reactor: Any,
        headers: Mapping[str, str],
        meter: Meter | None,
        finished: Callable[[CallReport], None],
    ) -> None:
        super().__init__(url, headers=dict(headers), reactor=reactor)
        # Autobahn's default of 1 s is too short on a busy machine: a call that ended
        # well would be reported as broken (1006).
        self.setProtocolOptions(
            closeHandshakeTimeout=_CLOSE_SECONDS,
            serverConnectionDropTimeout=_CLOSE_SECONDS,
        )
        self.plan = plan
        self.codec = codec
        self.is_raw = urlsplit(url).path.rstrip("/").endswith("/raw")
        self.meter = meter
        self.finished = finished


def place_stream_call(
    url: str,
    plan: CallPlan,
    codec: Codec,
    *,
    reactor: Any,
    headers: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> Deferred[CallReport]:
    """
    Call C{url} and follow C{plan}.

    @return: fires with the report when the call is over, even if it failed;
        C{report.error} says why there was no call.
    """
    done: Deferred[CallReport] = Deferred()

    def finished(report: CallReport) -> None:
        if not done.called:
            done.callback(report)

    def failed(failure: Failure) -> None:
        finished(CallReport(codec, error=failure.getErrorMessage()))

    factory = CallerFactory(
        url,
        plan,
        codec,
        reactor=reactor,
        headers=headers or {},
        meter=meter,
        finished=finished,
    )
    host = factory.host
    endpoint: Any = HostnameEndpoint(reactor, host, factory.port)
    if factory.isSecure:
        endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
    endpoint.connect(factory).addErrback(failed)
    return done
