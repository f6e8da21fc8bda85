"""
A carrier with a caller on the line: dials a media stream, speaks a recording,
listens, may interrupt, hangs up, and reports what it was like.

The other side of C{/stream} and C{/stream/raw}, over plain Autobahn.  It takes
nothing from the gateway's own dialects.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import Factory, define, field, frozen
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from chime_gateway.codec.level import FLOOR_DBFS, level_dbfs
from chime_gateway.codec.registry import decode
from chime_gateway.frames import PCMA, PCMU, PTIME_MS, Codec
from chime_gateway.sim.playout import PlayoutBuffer

_ENCODINGS: Final[Mapping[str, str]] = {
    PCMU.name: "audio/x-mulaw",
    PCMA.name: "audio/x-alaw",
}

#: The agent has finished when nothing was heard for so long.
_ANSWER_OVER_SECONDS: Final = 1.0

#: The jitter buffer of a peer that is fed frame by frame: one frame.
_JITTER_SECONDS: Final = 0.02

#: Levels are shown this often.
_METER_SECONDS: Final = 0.1


@frozen(kw_only=True)
class CallPlan:
    """
    What the caller does.

    @ivar utterances: what to say, in the codec; each after the answer to the
        one before.
    @ivar interrupt_after_seconds: for each utterance but the first, how much of
        the answer is listened to before it is interrupted; absent or C{None}:
        the answer is heard to its end.
    @ivar wait_for_greeting: begin when the agent has spoken.
    @ivar answer_seconds: give an answer up after so long.
    """

    utterances: tuple[bytes, ...] = field(repr=lambda u: f"<{len(u)} utterances>")
    interrupt_after_seconds: tuple[float | None, ...] = ()
    wait_for_greeting: bool = False
    lead_seconds: float = 0.3
    answer_seconds: float = 15.0
    parameters: Mapping[str, str] = field(factory=dict, repr=False)


@frozen
class Interruption:
    """
    One barge-in, as the caller lived it.

    @ivar heard_ms: of the agent's speech, when it fell silent.
    @ivar silence_after_ms: from the caller's first word to the agent's silence.
    """

    heard_ms: float
    silence_after_ms: float


@define
class CallReport:
    """
    @ivar said: what the caller said, silence included; as long as C{heard}.
    @ivar answer_latencies: seconds from the caller's last word to the answer.
    @ivar stale_bytes: agent audio that came between a C{clear} and the end of
        the caller's interruption: old speech after the cut.
    @ivar audio_sizes: lengths of the audio messages that came.
    """

    codec: Codec
    said: bytearray = field(factory=bytearray, repr=False)
    heard: bytearray = field(factory=bytearray, repr=False)
    answer_latencies: list[float] = Factory(list)
    interruptions: list[Interruption] = Factory(list)
    unanswered: int = 0
    stale_bytes: int = 0
    audio_sizes: set[int] = Factory(set)
    received_bytes: int = 0
    close_code: int | None = None
    close_reason: str = ""
    error: str = ""


class Meter(Protocol):
    """Who watches the call live."""

    def show(
        self, seconds: float, state: str, caller_dbfs: float, agent_dbfs: float
    ) -> None: ...


class _State(Enum):
    GREETING = "being greeted"
    SPEAKING = "speaking"
    WAITING = "waiting"
    LISTENING = "listening"
    DONE = "hanging up"


class SimulatedCaller:
    """
    The caller, apart from the socket.

    @param send: takes a text or a binary message.
    @param hang_up: ends the connection.
    """

    def __init__(
        self,
        plan: CallPlan,
        codec: Codec,
        clock: IReactorTime,
        *,
        is_raw: bool,
        send: Callable[[bytes, bool], None],
        hang_up: Callable[[], None],
        meter: Meter | None = None,
    ) -> None:
        self.report = CallReport(codec)
        self._plan = plan
        self._codec = codec
        self._clock = clock
        self._is_raw = is_raw
        self._send = send
        self._hang_up = hang_up
        self._meter = meter
        self._playout = self._new_playout()
        self._timer: IDelayedCall | None = None
        self._began = 0.0
        self._frames = 0
        self._state = _State.GREETING if plan.wait_for_greeting else _State.WAITING
        self._next = 0
        self._to_say = b""
        self._stopped_at = 0.0
        self._began_speaking = 0.0
        self._is_cutting = False
        self._answer_came = False
        self._meter_at = 0.0
        self._loudest = FLOOR_DBFS

    def start(self) -> None:
        """The stream is open."""
        now = self._began = self._clock.seconds()
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
                "customParameters": dict(self._plan.parameters),
            },
        )
        self._playout = self._new_playout()
        self._stopped_at = now
        self._timer = self._clock.callLater(0, self._tick)

    def stop(self) -> CallReport:
        """The connection is gone."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._playout.stop()
        self.report.heard = self._playout.heard
        return self.report

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            self._audio(payload)
            return
        message = json.loads(payload)
        event = message.get("event")
        if event == "media":
            self._audio(base64.b64decode(message["media"]["payload"]))
        elif event == "mark":
            self._playout.mark(message["mark"]["name"])
        elif event == "clear":
            self._cleared()

    # -- inside ------------------------------------------------------------------

    def _new_playout(self) -> PlayoutBuffer:
        delay = _JITTER_SECONDS if self._is_raw else 0.0
        return PlayoutBuffer(self._codec, self._clock, self._mark_reached, delay)

    def _command(self, event: str, **members: Any) -> None:
        message = {"event": event, "streamSid": "MZsimulated", **members}
        self._send(json.dumps(message).encode(), False)

    def _mark_reached(self, name: str) -> None:
        self._command("mark", mark={"name": name})

    def _audio(self, audio: bytes) -> None:
        report = self.report
        report.received_bytes += len(audio)
        report.audio_sizes.add(len(audio))
        if self._is_cutting and self._state is _State.SPEAKING:
            report.stale_bytes += len(audio)
        self._playout.play(audio)
        if self._state is _State.WAITING and self._next and not self._answer_came:
            self._answer_came = True
            report.answer_latencies.append(self._clock.seconds() - self._stopped_at)
            self._state = _State.LISTENING

    def _cleared(self) -> None:
        heard = self._playout.clear()
        now = self._clock.seconds()
        self._is_cutting = True
        self.report.interruptions.append(
            Interruption(
                heard * 1000 / self._codec.bytes_per_second,
                (now - self._began_speaking) * 1000,
            )
        )

    def _tick(self) -> None:
        """One frame each ptime on an absolute clock; late ones are made up."""
        now = self._clock.seconds()
        self._playout.advance()
        due = int((now - self._began) * 1000 / PTIME_MS + 1e-6) + 1
        while self._frames < due:
            self._frames += 1
            self._decide(now)
            self._send_frame()
        if self._state is _State.DONE:
            self._timer = None
            self._command("stop", stop={"callSid": "CAsimulated"})
            self._hang_up()
            return
        self._show(now)
        ahead = self._began + self._frames * PTIME_MS / 1000 - self._clock.seconds()
        self._timer = self._clock.callLater(max(0.0, ahead), self._tick)

    def _decide(self, now: float) -> None:
        plan = self._plan
        state = self._state
        if state is _State.SPEAKING:
            if not self._to_say:
                self._state = _State.WAITING
                self._stopped_at = now
                self._answer_came = False
                self._is_cutting = False
        elif state is _State.GREETING:
            is_over = self._playout.heard and self._is_answer_over()
            if is_over or now - self._began > plan.answer_seconds:
                self._speak(now)
        elif not self._next:
            if now - self._began >= plan.lead_seconds:
                self._speak(now)
        elif state is _State.WAITING:
            if now - self._stopped_at > plan.answer_seconds:
                self.report.unanswered += 1
                self._speak(now)
        elif state is _State.LISTENING:
            after = self._interrupts_after()
            heard = self._playout.speech_bytes / self._codec.bytes_per_second
            if self._is_answer_over() or (after is not None and heard >= after):
                self._speak(now)

    def _interrupts_after(self) -> float | None:
        index = self._next - 1
        seconds = self._plan.interrupt_after_seconds
        return seconds[index] if index < len(seconds) else None

    def _is_answer_over(self) -> bool:
        return self._playout.quiet_seconds() > _ANSWER_OVER_SECONDS

    def _speak(self, now: float) -> None:
        """Say what comes next, or hang up when all was said."""
        if self._next >= len(self._plan.utterances):
            self._state = _State.DONE
            return
        self._to_say = self._plan.utterances[self._next]
        self._next += 1
        self._began_speaking = now
        self._state = _State.SPEAKING

    def _send_frame(self) -> None:
        size = self._codec.frame_bytes
        frame, self._to_say = self._to_say[:size], self._to_say[size:]
        frame += self._codec.silence(size - len(frame))
        self.report.said += frame
        if self._meter is not None:
            level = level_dbfs(decode(self._codec, frame))
            self._loudest = max(self._loudest, level)
        if self._is_raw:
            self._send(frame, True)
            return
        self._command(
            "media",
            sequenceNumber=str(self._frames + 1),
            media={
                "track": "inbound",
                "chunk": str(self._frames),
                "timestamp": str(self._frames * PTIME_MS),
                "payload": base64.b64encode(frame).decode(),
            },
        )

    def _show(self, now: float) -> None:
        if self._meter is None or now < self._meter_at:
            return
        self._meter_at = now + _METER_SECONDS
        window = int(_METER_SECONDS * self._codec.clock_rate) * self._codec.sample_bytes
        heard = (
            bytes(self._playout.heard[-window:]) if self._playout.is_playing else b""
        )
        agent = level_dbfs(decode(self._codec, heard))
        self._meter.show(now - self._began, self._state.value, self._loudest, agent)
        self._loudest = FLOOR_DBFS


class CallerProtocol(WebSocketClientProtocol):  # type: ignore[misc]
    """The socket of one L{SimulatedCaller}."""

    caller: SimulatedCaller | None = None

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        factory = self.factory
        self.caller = SimulatedCaller(
            factory.plan,
            factory.codec,
            factory.reactor,
            is_raw=factory.is_raw,
            send=self._send,
            hang_up=self.sendClose,
            meter=factory.meter,
        )
        self.caller.start()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.caller is not None
        self.caller.message_received(payload, isBinary)

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
        # The gateway may have begun to close; then nothing more is wanted.
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload, isBinary=is_binary)


class CallerFactory(WebSocketClientFactory):  # type: ignore[misc]
    """Dial once."""

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
        self.plan = plan
        self.codec = codec
        self.is_raw = urlsplit(url).path.rstrip("/").endswith("/raw")
        self.meter = meter
        self.finished = finished


def place_call(
    url: str,
    plan: CallPlan,
    codec: Codec,
    *,
    reactor: Any,
    headers: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> Deferred[CallReport]:
    """
    Dial C{url} and act out C{plan}.

    @return: fires with the report when the call is over, however it went;
        C{report.error} says why there was none.
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
