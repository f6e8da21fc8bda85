"""
C{chimegw demo}: starts a gateway and calls it over a real socket, in a minute.

The gateway runs as in production, as a separate C{twistd} process.  The simulated
service runs in this process, so that what the model was told can be compared with what
the caller heard.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from chime_gateway.audio import PCMU, Codec
from chime_gateway.aws import sma
from chime_gateway.cli.calls import turn_lines
from chime_gateway.cli.gateway_process import (
    GatewayProcess,
    free_port,
    free_udp_port,
)
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.level import level_dbfs
from chime_gateway.codec.registry import decode
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.standard_output import printable
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import correlation, piecewise_correlation
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.sim.caller.kinesis_line import KinesisWorld, place_kinesis_call
from chime_gateway.sim.caller.meter import TerminalMeter
from chime_gateway.sim.caller.wav import convert, read_wav, write_wav
from chime_gateway.sim.realtime.server import SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot
from chime_gateway.store.database import Database
from chime_gateway.store.rows import StoredCall

#: Transports to the agent.
TRANSPORTS: Final = {"websocket": "the WebSocket", "webrtc": "WebRTC"}

#: How long the agent speaks before the caller interrupts it.
_INTERRUPT_AFTER_SECONDS: Final = 1.2

#: The gateway's state folder; the call of each demo is added to it.
_STATE: Final = "demo-state"

#: Voice activity detection does not take less for speech.
_LEAST_SECONDS: Final = 0.3
_LEAST_DBFS: Final = -50.0
_WINDOW_SECONDS: Final = 0.1

#: The least correlation of the parrot's answer with what was said.
_GOOD_CORRELATION: Final = 0.95


def _shipped(name: str) -> str:
    return str(resources.files("chime_gateway.sim") / "data" / name)


def _utterance(name: str, codec: Codec) -> bytes:
    """
    Read an utterance from a WAV file.

    @raise ConfigError: it cannot be played, or is too short or silent.
    """
    samples, rate = read_wav(name)
    seconds = len(samples) / rate
    if seconds < _LEAST_SECONDS:
        raise ConfigError(
            f"{name}: {seconds:.1f} s are too short to be taken for speech; record at"
            f" least {_LEAST_SECONDS:g} s"
        )
    window = max(1, int(rate * _WINDOW_SECONDS))
    starts = range(0, len(samples), window)
    loudest = max(level_dbfs(samples[at : at + window]) for at in starts)
    if loudest < _LEAST_DBFS:
        raise ConfigError(
            f"{name}: it is silent (at most {loudest:.0f} dBFS), so the agent would not"
            " answer; check that it is the right file and that the microphone was on"
        )
    return convert(samples, rate, codec)


def prepare_call(
    wavs: Sequence[str],
    codec: Codec,
    *,
    interrupt_after: float | None,
    agent: str = "",
    wait_for_greeting: bool = False,
    keys: tuple[tuple[float, str], ...] = (),
) -> CallPlan:
    """
    Plan a caller who says C{wavs}, each after the answer to the previous one.

    @param wavs: files; none: a shipped recording.
    @param interrupt_after: seconds after which the caller interrupts the last answer;
        C{None}: never.
    @raise ConfigError: a file cannot be played, or is silent.
    """
    names = [*wavs] or [_shipped("hello.wav")]
    interruptions: list[float | None] = [None] * (len(names) - 1)
    if interrupt_after is not None:
        names.append(_shipped("interruption.wav"))
        interruptions.append(interrupt_after)
    return CallPlan(
        utterances=tuple(_utterance(name, codec) for name in names),
        interrupt_after_seconds=tuple(interruptions),
        wait_for_greeting=wait_for_greeting,
        parameters={"agent": agent} if agent else {},
        keys=keys,
    )


def _samples(codec: Codec, audio: bytes | bytearray) -> Samples:
    return decode(codec, bytes(audio))


def save_recording(path: str, report: CallReport) -> None:
    """Save the call as a stereo WAV file: caller left, agent right, as heard."""
    codec = report.codec
    try:
        write_wav(
            path,
            codec.clock_rate,
            _samples(codec, report.said),
            _samples(codec, report.heard),
        )
    except OSError as exc:
        raise ConfigError(f"--record {path}: it cannot be written: {exc}") from exc


def call_report_lines(report: CallReport) -> Iterator[str]:
    """Yield the report of a call, as lines for people."""
    rate = report.codec.bytes_per_second
    yield ""
    yield f"codec                 {report.codec.name}"
    yield f"call lasted           {len(report.said) / rate:.1f} s"
    yield f"agent audio received  {report.received_bytes / rate:.1f} s"
    latencies = ", ".join(f"{s * 1000:.0f} ms" for s in report.answer_latencies)
    yield f"answered after        {latencies or 'no answer'}"
    if report.keys:
        yield f"keys pressed          {report.keys}"
    for cut in report.interruptions:
        yield (
            f"interruption          agent silent {cut.silence_after_ms:.0f} ms after"
            f" the caller's first sound, {cut.heard_ms:.0f} ms of its answer heard"
        )
    if report.interruptions:
        yield f"stale audio after it  {report.stale_bytes} bytes"
    yield f"closed                {report.close_code} {printable(report.close_reason)}"


class Demo:
    """One demonstration, from an empty machine to the report."""

    def __init__(
        self,
        reactor: Any,
        *,
        out: TextIO,
        wav: str | None,
        is_simulated: bool,
        recording: str,
        path: str,
        carrier: str,
        transport: str,
        environ: Mapping[str, str],
    ) -> None:
        self._reactor = reactor
        self._meter = TerminalMeter(out)
        self._wav = wav
        self._is_simulated = is_simulated
        self._recording = recording
        self._path = path
        self._carrier = carrier
        self._transport = transport
        self._environ = environ
        self._simulator: SimulatorFactory | None = None
        self._world: KinesisWorld | None = None
        self._stored: list[StoredCall] = []

    async def run(self) -> int:
        """
        @return: the exit status: 0 if the call was as expected.
        @raise ConfigError: the gateway does not start, or a file is invalid.
        """
        codec = PCMU
        wavs = [self._wav] if self._wav else []
        plan = prepare_call(wavs, codec, interrupt_after=_INTERRUPT_AFTER_SECONDS)
        say = self._meter.say
        port = free_port()
        secret = secrets.token_hex(16)
        url, listens = self._dialled(port)
        env = {
            **self._environ,
            "CHIMEGW_SHARED_SECRET": secret,
            **(self._simulate() if self._is_simulated else {}),
            "AZURE_OPENAI_TRANSPORT": self._transport,
            **listens,
            "CHIMEGW_DATABASE_URL": "",
            "CHIMEGW_STATE": (state := str(Path(_STATE).absolute())),
            "CHIMEGW_INSTANCE": "demo",
        }
        say(
            f"starting: twistd -n chimegw --port {port}   (agent: "
            f"{'the simulator, a parrot' if self._is_simulated else 'Azure'}, over"
            f" {TRANSPORTS[self._transport]})"
        )
        gateway = GatewayProcess(self._reactor, say)
        gateway.start(port, env)
        try:
            await gateway.listening()
            say(f"calling:  {url}")
            report = await self._call(url, plan, secret)
            # The record is written when the call has ended in the gateway as well.
            await deferLater(self._reactor, 0.3)
        finally:
            await gateway.stop()
            ids = {str(record.get("call_id")) for record in gateway.records}
            self._stored = _stored_calls(Path(state), ids)
        if report.error:
            raise ConfigError(f"the call failed: {report.error}\n{gateway.errors}")
        return self._judge(plan, report, gateway)

    def _call(self, url: str, plan: CallPlan, secret: str) -> Deferred[CallReport]:
        if self._world is not None:
            return place_kinesis_call(self._world, plan, meter=self._meter)
        return place_call(
            url,
            plan,
            PCMU,
            reactor=self._reactor,
            headers={"Authorization": f"Bearer {secret}"},
            meter=self._meter,
        )

    def _dialled(self, port: int) -> tuple[str, dict[str, str]]:
        """Return the URL that the caller dials, and the settings of its carrier."""
        if self._carrier == "websocket":
            return f"ws://127.0.0.1:{port}{self._path}", {}
        if self._carrier == "kinesis":
            return "the SIP media application's number", self._amazon()
        sip_port = free_udp_port()
        settings = {
            "CHIMEGW_SIP_LISTEN": f"udp:{sip_port}:interface=127.0.0.1",
            "CHIMEGW_SIP_ALLOW": "127.0.0.0/8",
            "CHIMEGW_PUBLIC_ADDRESS": "127.0.0.1",
        }
        return f"sip:+15550100@127.0.0.1:{sip_port}", settings

    def _amazon(self) -> dict[str, str]:
        """Start a simulator of AWS on loopback, with the shipped Lambda."""
        reactor = self._reactor
        environ: dict[str, str] = {}

        def function(event: dict[str, object]) -> Deferred[Any]:
            pool = reactor.getThreadPool()
            return deferToThreadPool(reactor, pool, sma.answer, event, environ)

        self._world = world = KinesisWorld(function, reactor)
        port = reactor.listenTCP(0, world.aws.site(), interface="127.0.0.1")
        number = port.getHost().port
        world.media.listens_on(number)
        amazon: dict[str, str] = world.aws.environment(number)
        environ.update(amazon, **world.function_settings())
        return {**amazon, **world.gateway_settings()}

    def _simulate(self) -> dict[str, str]:
        key = secrets.token_hex(16)
        self._simulator = SimulatorFactory(
            Parrot, reactor=self._reactor, api_keys=frozenset({key})
        )
        port = self._reactor.listenTCP(0, self._simulator, interface="127.0.0.1")
        return {
            "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{port.getHost().port}",
            "AZURE_OPENAI_DEPLOYMENT": "parrot",
            "AZURE_OPENAI_API_KEY": key,
            "AZURE_OPENAI_API_VERSION": "",
        }

    def _judge(
        self, plan: CallPlan, report: CallReport, gateway: GatewayProcess
    ) -> int:
        say = self._meter.say
        say("")
        say("--- the caller ---------------------------------------------------------")
        for line in call_report_lines(report):
            say(line)
        faults = self._compare(plan, report) if self._simulator else []
        if not report.answer_latencies:
            faults.append("expected an answer of the agent, got none")
        say("")
        say("--- the gateway's record -----------------------------------------------")
        shown = ("outcome", "turns", "barge_ins", "turn_latency_p50", "frames_in")
        for record in gateway.records:
            for name in (*shown, "frames_out", "frames_dropped", "tokens"):
                say(f"{name:21} {printable(str(record.get(name)))}")
        if len(gateway.records) != 1:
            faults.append(f"expected one call record, got {len(gateway.records)}")
        say("")
        say("--- the stored call (chimegw show) -------------------------------------")
        for call in self._stored:
            for turn in call.transcript:
                for line in turn_lines(turn):
                    say(line)
        if [call.row.state for call in self._stored] != ["ended"]:
            faults.append(
                f"expected one ended call in the store, got {len(self._stored)}"
            )
        save_recording(self._recording, report)
        say("")
        say(f"recording             {self._recording} (caller left, agent right)")
        program = sys.argv[0] if sys.argv[0].endswith("chimegw") else "chimegw"
        say(f"stored in             {_STATE}; to list the calls:")
        say(f"                      CHIMEGW_STATE={_STATE} {program} calls")
        for fault in faults:
            say(f"unexpected            {fault}")
        if gateway.errors.strip():
            say(gateway.errors.strip())
        return 1 if faults else 0

    def _compare(self, plan: CallPlan, report: CallReport) -> list[str]:
        """Compare what the simulated model heard with what the caller said."""
        say = self._meter.say
        faults: list[str] = []
        codec = report.codec
        assert self._simulator is not None
        sessions = self._simulator.sessions
        log = sessions[0].log
        is_rtc = self._transport == "webrtc"
        if any((session.speech is not None) is not is_rtc for session in sessions):
            faults.append(
                f"expected all sessions over {TRANSPORTS[self._transport]}, one was not"
            )
        faults += [fault for session in sessions for fault in session.log.violations]
        say("")
        say("--- what the model was told --------------------------------------------")
        heard_ms = [cut.heard_ms for cut in report.interruptions]
        for (_, told_ms, generated_ms), heard in zip(
            log.truncations, heard_ms, strict=False
        ):
            say(
                f"truncated at          {told_ms} ms of {generated_ms} ms; the caller"
                f" heard {heard:.0f} ms (off by {told_ms - heard:+.1f} ms)"
            )
        # If an utterance ends at the moment of the cut, the caller hears no cut.
        is_told = bool(self._world and log.truncations)
        if not is_told and (not heard_ms or len(log.truncations) != len(heard_ms)):
            faults.append(
                f"expected one truncation for each of {len(heard_ms)} interruptions,"
                f" got {len(log.truncations)}"
            )
        if report.stale_bytes:
            faults.append(
                "expected no old speech after the interruption, got"
                f" {report.stale_bytes} bytes"
            )
        # The last answer is heard to its end: the parrot repeats the last utterance.
        last = _samples(codec, plan.utterances[-1])
        answer = _samples(codec, report.heard)
        if self._world is None and not is_rtc:
            score, _ = correlation(last, answer)
            how = "whole last answer"
        else:
            # It is played in utterances with short pauses; or it comes in real time,
            # so that a stall of the machine can be heard.
            score, _ = piecewise_correlation(last, answer, codec.clock_rate // 4)
            how = "last answer, median over quarters of a second"
        say(f"answer = question     correlation {score:.4f} ({how})")
        if score < _GOOD_CORRELATION:
            faults.append(
                f"expected the parrot to repeat the caller (correlation at least"
                f" {_GOOD_CORRELATION}), got {score:.3f}"
            )
        return faults


def _stored_calls(state: Path, ids: Collection[str]) -> list[StoredCall]:
    """Read calls from the gateway's store."""
    if not (state / "chimegw.sqlite").exists():
        return []
    database = Database(f"sqlite:///{state}/chimegw.sqlite", state)
    try:
        found = [database.call(call_id) for call_id in ids]
    finally:
        database.close()
    return [call for call in found if call is not None]
