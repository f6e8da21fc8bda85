"""
The commands of C{chimegw} that simulate a peer: the caller, Azure, AWS.

They import the simulator, so L{chime_gateway.cli.main} imports this module only when
one of them is used.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.python import usage

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.audio import CODECS
from chime_gateway.aws.sma import prove
from chime_gateway.cli.call_advice import advice
from chime_gateway.cli.calls import NameFirst
from chime_gateway.cli.demo import (
    TRANSPORTS,
    Demo,
    call_report_lines,
    prepare_call,
    save_recording,
)
from chime_gateway.cli.keys import read_keys
from chime_gateway.errors import ConfigError
from chime_gateway.settings.sources import (
    process_environment,
    read_call_secret,
    read_secret,
)
from chime_gateway.sim.aws.account import Account
from chime_gateway.sim.aws.protocol import REGION
from chime_gateway.sim.caller.dial import (
    SIP_SCHEMES,
    STREAM_SCHEMES,
    WEBRTC_SCHEMES,
    place_call,
)
from chime_gateway.sim.caller.meter import TerminalMeter
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.reading import with_fault
from chime_gateway.sim.realtime.faults.which import Which
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.realtime.server import Door, SimulatorFactory
from chime_gateway.sim.realtime.voices import (
    Parrot,
    Prompt,
    Script,
    Voice,
    shipped_script,
)

_DOOR_KEYS: Final = ("api-key", "deployment")


def _codec(name: str) -> str:
    if name not in CODECS:
        raise ValueError(f"--codec {name}: expected one of {', '.join(CODECS)}")
    return name


class CallOptions(NameFirst):
    synopsis = "[WAV ...] --to URL [options]"
    longdesc = (
        "Place a test call to a gateway: play WAV, listen to the answer, play the next"
        " WAV, listen again, and hang up. Without WAV a shipped recording is played."
        " The shared secret is read from CHIMEGW_SHARED_SECRET, the call secret for SIP"
        " from CHIMEGW_CALL_SECRET."
    )
    optParameters: ClassVar = [
        [
            *("to", "t", None),
            "URL of /stream, /stream/raw or /webrtc/offer, or sip:USER@HOST:PORT.",
        ],
        ["codec", "c", "PCMU", "PCMU, PCMA or L16/8000, /16000, /24000.", _codec],
        ["agent", "a", None, "The agent to ask for. [default: the gateway chooses]"],
        [
            *("interrupt-after", "i", None),
            "Interrupt the last answer after this many seconds of it.",
            float,
        ],
        ["record", "r", None, "Write a stereo WAV: caller left, agent right."],
    ]
    optFlags: ClassVar = [["greeting", "g", "Let the agent speak first."]]

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[tuple[float, str]] = []

    def opt_keys(self, text: str) -> None:
        """DIGITS@SECONDS: press these keys so long after the call began; repeatable."""
        try:
            self._keys += read_keys(text)
        except ValueError as exc:
            raise usage.UsageError(f"--keys {text}: {exc}") from exc

    def parseArgs(self, *wavs: str) -> None:
        self["wavs"] = wavs

    def postOptions(self) -> None:
        if not self["to"]:
            raise usage.UsageError(
                "--to is missing: name the URL of a gateway, such as"
                " ws://127.0.0.1:8080/stream"
            )
        scheme = urlsplit(self["to"]).scheme
        over_rtp = SIP_SCHEMES + WEBRTC_SCHEMES
        if scheme not in STREAM_SCHEMES + over_rtp:
            raise usage.UsageError(
                f"--to {self['to']}: expected ws://, wss://, sip:USER@HOST:PORT or"
                " http(s)://HOST/webrtc/offer"
            )
        if scheme in SIP_SCHEMES and "transport=tls" in self["to"].lower():
            raise usage.UsageError(
                f"--to {self['to']}: this command has no TLS for SIP; call a tcp or udp"
                " listener of the gateway"
            )
        if scheme in over_rtp and self["codec"] not in ("PCMU", "PCMA"):
            raise usage.UsageError(
                f"--codec {self['codec']}: expected PCMU or PCMA over SIP and WebRTC"
            )

    def run(self, reactor: Any) -> Deferred[int]:
        return Deferred.fromCoroutine(self._run(reactor))

    async def _run(self, reactor: Any) -> int:
        codec = CODECS[self["codec"]]
        plan = prepare_call(
            self["wavs"],
            codec,
            interrupt_after=self["interrupt-after"],
            agent=self["agent"] or "",
            wait_for_greeting=bool(self["greeting"]),
            keys=tuple(self._keys),
        )
        call_secret = read_call_secret(process_environment())
        if call_secret and urlsplit(self["to"]).scheme in SIP_SCHEMES:
            # Like the Lambda.
            proof = prove(call_secret, "", self["agent"] or "", time.time())
            proven = {**plan.parameters, "X-Gw-Auth": proof}
            plan = evolve(plan, parameters=proven)
        secret = read_secret(process_environment())
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        meter = TerminalMeter(sys.stdout)
        try:
            report = await place_call(
                self["to"], plan, codec, reactor=reactor, headers=headers, meter=meter
            )
        except OSError as exc:  # a host that has no address, or no way to it
            raise ConfigError(f"--to {self['to']}: {exc.strerror or exc}") from exc
        cure = advice(
            self["to"],
            report.error,
            report.close_code,
            has_secret=bool(secret),
            has_call_secret=bool(call_secret),
        )
        if report.error or (cure and not report.answer_latencies):
            why = report.error or f"{report.close_code} {report.close_reason}"
            raise ConfigError(f"--to {self['to']}: {why}{'; ' if cure else ''}{cure}")
        for line in call_report_lines(report):
            meter.say(line)
        if self["record"]:
            save_recording(self["record"], report)
            meter.say(f"recording             {self['record']}")
        return 0 if report.answer_latencies else 1


class DemoOptions(CommandOptions):
    synopsis = (
        "[--wav FILE] [--agent simulator|azure] [--carrier CARRIER] [--transport"
        " TRANSPORT]"
    )
    longdesc = (
        "Start a gateway, place a call to it over a real socket, interrupt the agent"
        " once, and report what both sides heard. Exit status 1: something was not as"
        " expected."
    )
    optParameters: ClassVar = [
        ["wav", "w", None, "What the caller says. [default: a shipped recording]"],
        ["agent", "a", "simulator", "simulator, or azure with AZURE_OPENAI_* set."],
        ["record", "r", "demo-recording.wav", "Where to write the stereo recording."],
        ["path", None, "/stream", "/stream or /stream/raw."],
        ["carrier", "c", "websocket", "websocket, sip or kinesis."],
        ["transport", "t", "websocket", "Transport to the agent: websocket or webrtc."],
    ]

    def postOptions(self) -> None:
        if self["transport"] not in TRANSPORTS:
            known = " or ".join(TRANSPORTS)
            raise usage.UsageError(f"--transport {self['transport']}: expected {known}")
        if self["carrier"] not in ("websocket", "sip", "kinesis"):
            raise usage.UsageError(
                f"--carrier {self['carrier']}: expected websocket, sip or kinesis"
            )
        if self["agent"] not in ("simulator", "azure"):
            raise usage.UsageError(
                f"--agent {self['agent']}: expected simulator or azure"
            )
        if self["path"] not in ("/stream", "/stream/raw"):
            raise usage.UsageError(
                f"--path {self['path']}: expected /stream or /stream/raw"
            )

    def run(self, reactor: Any) -> Deferred[int]:
        demo = Demo(
            reactor,
            out=sys.stdout,
            wav=self["wav"],
            is_simulated=self["agent"] == "simulator",
            recording=self["record"],
            path=self["path"],
            carrier=self["carrier"],
            transport=self["transport"],
            environ=process_environment(),
        )
        return Deferred.fromCoroutine(demo.run())


class SimulateOptions(CommandOptions):
    synopsis = "[--port PORT] [--voice parrot|answering|prompt:WAV|script:JSON]"
    longdesc = (
        "Run a local simulator of Azure OpenAI Realtime, GA and preview. Connect a"
        " gateway to it with AZURE_OPENAI_ENDPOINT=http://127.0.0.1:PORT."
    )
    optParameters: ClassVar = [
        ["port", "p", 8090, "TCP port on loopback.", int],
        [
            *("voice", "v", "parrot"),
            "parrot, answering, prompt:FILE.wav or script:FILE.json; script:tools is"
            " shipped, and calls the tool order_status.",
        ],
        ["api-key", "k", None, "Accept only this key. [default: any]"],
        ["deployment", "d", None, "Accept only this deployment. [default: any]"],
        [
            *("refuse", None, "0"),
            "Refuse handshakes: an HTTP status, silence (never answer) or drop.",
        ],
        [
            *("refuse-code", None, ""),
            "Error code of --refuse: OperationNotSupported, ...",
        ],
        [
            *("refuse-which", None, ""),
            "Refuse only these handshakes: 2, 1-3 or 2-. [default: all]",
        ],
        ["retry-after", None, -1, "Retry-After of --refuse, in seconds.", int],
        ["log", "l", None, "Append events to this file, one JSON object per line."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self._behaviour = Behaviour()

    def opt_fault(self, fault: str) -> None:
        """Misbehave: drop_after_seconds=5, response=failed:server_error@1, ..."""
        try:
            self._behaviour = with_fault(self._behaviour, fault)
        except ConfigError as exc:
            raise usage.UsageError(str(exc)) from exc

    def postOptions(self) -> None:
        self._new_voice = self._voice()
        self._door = self._refusing()

    def _refusing(self) -> Door:
        known = {name: frozenset(filter(None, [self[name]])) for name in _DOOR_KEYS}
        how = self["refuse"]
        is_status = how == "0" or (how.isascii() and how.isdigit() and len(how) == 3)
        if not is_status and how not in ("silence", "drop"):
            raise usage.UsageError(
                f"--refuse {how}: expected an HTTP status, silence or drop"
            )
        try:
            which = Which.read(self["refuse-which"])
        except ValueError as exc:
            raise usage.UsageError(f"--refuse-which {exc}") from exc
        return Door(
            known["api-key"],
            known["deployment"],
            int(how) if is_status else 0,
            self["retry-after"],
            is_silent=how == "silence",
            breaks=how == "drop",
            which=which,
            refuse_code=self["refuse-code"],
        )

    def _voice(self) -> Callable[[], Voice]:
        kind, _, path = self["voice"].partition(":")
        try:
            if self["voice"] == "parrot":
                return Parrot
            if self["voice"] == "answering":
                return Answering
            if kind == "prompt" and path:
                prompt = Prompt(path)
                return lambda: prompt
            if kind == "script" and path:
                path = shipped_script(path)
                Script.from_file(path)  # report an invalid file now
                return lambda: Script.from_file(path)
        except ConfigError as exc:
            raise usage.UsageError(str(exc)) from exc
        raise usage.UsageError(
            f"--voice {self['voice']}: expected parrot, answering, prompt:FILE.wav or"
            " script:FILE.json"
        )

    def run(self, reactor: Any) -> Deferred[int]:
        factory = SimulatorFactory(
            self._new_voice,
            reactor=reactor,
            behaviour=self._behaviour,
            door=self._door,
            tell=self._journal(),
        )
        return Deferred.fromCoroutine(self._serve(reactor, factory))

    def _journal(self) -> Callable[[int, str, Mapping[str, Any]], None]:
        """@raise ConfigError: the file cannot be written."""
        if not self["log"]:
            return lambda number, what, members: None
        try:
            # It stays open until the process ends.
            file = open(self["log"], "a", encoding="utf-8")  # noqa: SIM115
        except OSError as exc:
            raise ConfigError(
                f"--log {self['log']}: it cannot be written: {exc.strerror}"
            ) from exc

        def tell(number: int, what: str, members: Mapping[str, object]) -> None:
            at = {"t": time.monotonic(), "session": number, "what": what}
            print(json.dumps({**at, **members}), file=file, flush=True)

        return tell

    async def _serve(self, reactor: Any, factory: SimulatorFactory) -> int:
        where = f"tcp:{self['port']}:interface=127.0.0.1"
        try:
            port = await serverFromString(reactor, where).listen(factory)
        except CannotListenError as exc:
            raise ConfigError(f"--port {self['port']}: {exc.socketError}") from exc
        number = port.getHost().port
        print(f"AZURE_OPENAI_ENDPOINT=http://127.0.0.1:{number}", flush=True)
        print(
            f"AZURE_OPENAI_DEPLOYMENT={self['deployment'] or 'simulator'}", flush=True
        )
        stopped: Deferred[int] = Deferred()
        return await stopped  # until the process is interrupted


class SimulateAwsOptions(CommandOptions):
    synopsis = "[--port PORT] [--region REGION]"
    longdesc = (
        "Run a local simulator of an empty AWS account, to try chimegw aws (and the AWS"
        " CLI). It prints the environment variables to set. Nothing is stored."
    )
    optParameters: ClassVar = [
        ["port", "p", 8091, "TCP port on loopback.", int],
        ["region", "r", REGION, "The region that it is in."],
    ]

    def run(self, reactor: Any) -> Deferred[int]:
        return Deferred.fromCoroutine(self._serve(reactor))

    async def _serve(self, reactor: Any) -> int:
        account = Account(reactor, self["region"])
        where = f"tcp:{self['port']}:interface=127.0.0.1"
        try:
            port = await serverFromString(reactor, where).listen(account.aws.site())
        except CannotListenError as exc:
            raise ConfigError(f"--port {self['port']}: {exc.socketError}") from exc
        number = port.getHost().port
        account.queues.url = f"http://127.0.0.1:{number}"
        for name, value in account.aws.environment(number).items():
            print(f"export {name}={value}", flush=True)
        stopped: Deferred[int] = Deferred()
        return await stopped  # until the process is interrupted
