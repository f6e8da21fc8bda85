"""
A gateway with some calls of one kind, and its environment: callers and the service.

It is the complete gateway, on loopback sockets.  It has its own reactor, so that its
work can be separated from that of the callers and the service in the same process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any, Final

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import Clock
from twisted.protocols import tls
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.gateway import GatewayService
from chime_gateway.audio import PCMU, PTIME_MS
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import (
    WEBRTC,
    WEBSOCKET,
    DeploymentSettings,
    GatewaySettings,
    Limits,
    SipSettings,
)
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.sim.caller import softphone
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.server import SimulatorFactory
from chime_gateway.sim.realtime.voices import Part, Speech, Turn
from tests.counts.loops import Loop, Time, pass_until
from tests.counts.service import Service
from tests.counts.srtp_caller import SrtpCall
from tests.support.certificates import self_signed
from tests.support.files import temporary_file
from tests.support.ports import MEDIA, free_port

#: No caller speaks or hangs up before that.
_LONG_SECONDS: Final = 1e6

#: Length of the agent's only answer.
_SPEECH_SECONDS: Final = 60

_HOST: Final = "127.0.0.1"

#: Time for the first frames and their effects.
_BEGINNING_SECONDS: Final = 0.5

#: The gateway's beats are between those of the others.
_HALF_SECONDS: Final = PTIME_MS / 2000


def _trust_certificate(test: SynchronousTestCase, path: str) -> None:
    """Make OpenSSL use a file as the system's certificates."""
    name = "SSL_CERT_FILE"
    before = os.environ.get(name)

    def restore() -> None:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before

    test.addCleanup(restore)
    os.environ[name] = path


def _turn(loop: Loop) -> None:
    """Run until written data was sent; TLS defers it twice."""
    for _ in range(3):
        loop.turn()


class _Monologue:
    """An agent that speaks for a minute."""

    def answer(self, turn: Turn) -> Sequence[Part]:
        size = turn.output_codec.bytes_per_second * _SPEECH_SECONDS
        return [Speech(bytes(range(100)) * (size // 100), "words")]


class World:
    """
    Calls that each send and receive a frame every 20 ms.

    @ivar gateway: the gateway's reactor.
    @param carrier: C{stream}, C{wss}, C{raw}, C{sip}, C{srtp} or C{webrtc}.
    @param agent: C{websocket}, C{tls} or C{webrtc}.
    """

    def __init__(
        self, test: SynchronousTestCase, carrier: str, agent: str, calls: int
    ) -> None:
        self._clock = Time()
        # Autobahn's timers, pings included, use this clock, and are never due.
        test.patch(txaio.config, "loop", Clock())
        if carrier == "srtp":
            test.patch(softphone, "SipCall", SrtpCall)
        self.gateway = Loop(self._clock)
        self._callers, self._agents = Loop(self._clock), Loop(self._clock)
        # TLS clients use a default clock: that of the only side with TLS clients here.
        client = self._callers if carrier == "wss" else self.gateway
        test.patch(tls, "_get_default_clock", lambda: client)
        self._carrier, self._agent, self._calls = carrier, agent, calls
        self._reports: list[CallReport] = []
        self._port = free_port()
        self._pem = temporary_file(test, self_signed())
        _trust_certificate(test, self._pem)
        self._service: Service | SimulatorFactory
        settings = self._settings(self._new_service())
        self._gateway = GatewayService(settings, self.gateway)
        self._gateway.startService()
        test.addCleanup(self._stop)
        for _ in range(calls):
            self._place().addCallback(self._reports.append)
        self._until(lambda: self._reports or self._are_talking())
        assert not self._reports, self._reports
        # Callers are notified of the answer a moment later.
        until = self._clock.seconds() + _BEGINNING_SECONDS
        self._until(lambda: self._clock.seconds() > until)
        # Ensures that calls due at a beat are due, however their times were rounded.
        self._clock.advance(_HALF_SECONDS / 10)

    # -- one beat ---------------------------------------------------------------------

    def callers_speak(self) -> None:
        """Let all callers send their frames, which is due every 20 ms."""
        self._clock.advance(_HALF_SECONDS)
        _turn(self._callers)
        # All WebRTC calls share one port.
        self.gateway.wait_for(1 if self._carrier == "webrtc" else self._calls)

    def agents_speak(self) -> None:
        """Let all agents send their frames; over WebRTC they are due at that time."""
        _turn(self._agents)
        if isinstance(self._service, Service):
            self._service.speak()
            _turn(self._agents)
        self.gateway.wait_for(self._calls)

    def gateway_is_due(self) -> None:
        self._clock.advance(_HALF_SECONDS)

    def others_hear(self) -> None:
        _turn(self._callers)
        _turn(self._agents)

    def heard_bytes(self) -> int:
        """Return the number of bytes that all agents have received."""
        if isinstance(self._service, Service):
            return self._service.heard_bytes()
        return sum(len(one.log.appended) for one in self._service.sessions)

    # -- setting up -------------------------------------------------------------------

    def _new_service(self) -> DeploymentSettings:
        loop = self._agents
        if self._agent == "webrtc":
            # The whole answer is generated at once, and then sent in real time.
            behaviour = Behaviour(speed=1000.0, first_delta_seconds=0.0)
            self._service = SimulatorFactory(
                _Monologue, reactor=loop, behaviour=behaviour
            )
        else:
            self._service = Service(loop)
        factory: Any
        if self._agent == "tls":
            context = DefaultOpenSSLContextFactory(self._pem, self._pem)
            factory = TLSMemoryBIOFactory(context, False, self._service, clock=loop)
        else:
            factory = self._service
        port: Any = loop.listenTCP(0, factory, interface=_HOST)
        scheme = "https" if self._agent == "tls" else "http"
        return DeploymentSettings(
            name="d",
            endpoint=f"{scheme}://{_HOST}:{port.getHost().port}",
            deployment="d",
            api_key="key",
            transport=WEBRTC if self._agent == "webrtc" else WEBSOCKET,
        )

    def _settings(self, service: DeploymentSettings) -> GatewaySettings:
        listen = f"tcp:0:interface={_HOST}"
        if self._carrier == "wss":
            pem = self._pem
            listen = f"ssl:0:interface={_HOST}:privateKey={pem}:certKey={pem}"
        at = (Listener(transport="udp", port=self._port, interface=_HOST),)
        has_sip = self._carrier in ("sip", "srtp")
        has_webrtc = self._carrier == "webrtc"
        return GatewaySettings(
            listen=(listen,),
            deployments=(service,),
            agents={"default": AgentProfile(greeting="Say something long.")},
            limits=Limits(max_cpu=1000.0, max_late_seconds=1000.0),
            sip=SipSettings(
                listen=at if has_sip else (),
                allow=(ip_network("127.0.0.0/8"),),
                rtp_ports=MEDIA,
            ),
            webrtc=WebRtcSettings(listen=at if has_webrtc else ()),
        )

    def _place(self) -> Deferred[CallReport]:
        plan = CallPlan(utterances=(b"",), lead_seconds=_LONG_SECONDS)
        host: Any = self._gateway.ports[-1].getHost()
        url = {
            "stream": f"ws://{_HOST}:{host.port}/stream",
            "wss": f"wss://{_HOST}:{host.port}/stream",
            "raw": f"ws://{_HOST}:{host.port}/stream/raw",
            "webrtc": f"http://{_HOST}:{host.port}/webrtc/offer",
        }.get(self._carrier, f"sip:agent@{_HOST}:{self._port}")
        return place_call(url, plan, PCMU, reactor=self._callers)

    def _are_talking(self) -> bool:
        calls = self._gateway.calls.calls()
        return len(calls) == self._calls and all(
            call.record.answered_seconds is not None for call in calls
        )

    def _until(self, is_so: Callable[[], object]) -> None:
        others = (self._callers, self._agents)
        pass_until(self._clock, others, self.gateway, is_so, _HALF_SECONDS)

    def _stop(self) -> None:
        self._gateway.calls.hang_up_all()
        stopped: list[Any] = []
        self._gateway.stopService().addBoth(stopped.append)
        self._until(lambda: stopped and len(self._reports) == self._calls)
        for loop in (self.gateway, self._callers, self._agents):
            loop.close()
