"""
Whole calls without a socket whose agent is reached over WebRTC.

ICE, DTLS, SRTP and RTP are real on both sides; the network is in memory, and may lose,
repeat and reorder datagrams.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from chime_gateway.agents.session import AzureSession
from chime_gateway.agents.webrtc.audio import AudioContext, RtpAudio
from chime_gateway.agents.webrtc.traffic import Traffic
from chime_gateway.audio import Codec
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.media.metronome import Metronome
from chime_gateway.rtp.ports import Address
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.voices import Voice
from chime_gateway.sim.realtime.webrtc.call import WebRtcCall
from chime_gateway.sim.realtime.webrtc.service import WebRtcService
from chime_gateway.wire.realtime.dialects import GA
from chime_gateway.wire.webrtc.candidate import Path
from tests.support.rtc_network import Network, NetworkSockets
from tests.support.virtual import VirtualAgents, VirtualCall

SERVICE: Address = ("127.0.0.1", 3478)

_SESSION = {"session": {"type": "realtime", "model": "d"}}


class _ServicePort:
    """Replaces the service's UDP port, and the socket below it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._udp: Any = None
        self.peer = self
        network.sockets[SERVICE] = self  # type: ignore[assignment]

    def bound(self, protocol: Any) -> None:
        self._udp = protocol
        protocol.transport = self

    def received(self, data: bytes, path: Path) -> None:
        address = path.host, path.port
        self._udp.datagramReceived(data, address)

    def write(self, data: bytes, address: Address) -> None:
        self._network.sends(SERVICE, address, data)

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", *SERVICE)

    def stopListening(self) -> None:
        """Do nothing."""


class _Reactor:
    """The clock of a test, with ports."""

    def __init__(self, clock: Clock, network: Network) -> None:
        self._network = network
        self.seconds = clock.seconds
        self.callLater = clock.callLater

    def listenUDP(self, number: int, protocol: Any, **members: Any) -> _ServicePort:
        port = _ServicePort(self._network)
        port.bound(protocol)
        return port

    def listenTCP(self, number: int, factory: Any, **members: Any) -> _ServicePort:
        return _ServicePort.__new__(_ServicePort)


class _Sideband:
    """Both sides of a sideband, the service's and the gateway's, in one."""

    def __init__(self, call: WebRtcCall, azure: AzureSession, clock: Clock) -> None:
        self._call = call
        self._azure = azure
        self._clock = clock
        self.events: list[Mapping[str, Any]] = []

    def send_event(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)
        payload = json.dumps(event).encode()
        self._clock.callLater(0, self._azure.message_received, payload, False)

    def end(self, code: int, reason: str) -> None:
        self._clock.callLater(0, self._azure.socket_closed, f"closed ({code})")

    def freeze(self) -> None:
        """Stop all events."""

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        self._clock.callLater(0, self._call.session.receive, payload)
        return True

    def close(self, code: int, reason: str) -> None:
        self._call.detach(self)


class RtcAgents(VirtualAgents):
    """
    Opens sessions over WebRTC.

    @ivar network: between the gateway and the service.
    @ivar calls: at the service.
    @ivar traffic: the counts of the audio of all sessions.
    """

    def __init__(
        self,
        clock: Clock,
        voice: Voice,
        behaviour: Behaviour,
        is_preview: bool,
        network: Network,
    ) -> None:
        super().__init__(clock, voice, behaviour, is_preview)
        self.network = network
        self.behaviour = behaviour
        self.calls: list[WebRtcCall] = []
        self.traffic = Traffic()
        self._service = WebRtcService(
            self, reactor=_Reactor(clock, self.network), wall_time=lambda: 1e6
        )
        self._context = AudioContext(
            clock=clock,
            metronome=Metronome(clock),
            wall_time=lambda: 1e6 + clock.seconds(),
            random32=lambda: 7,
            traffic=self.traffic,
        )

    # -- what the service asks for ---------------------------------------------------

    def next_behaviour(self) -> Behaviour:
        number = len(self.sessions) + 1
        later = self.later if number > 1 else None
        return (later or self.behaviour).of_session(number)

    def open_session(self, **members: Any) -> SimulatedSession:
        session = SimulatedSession(
            self._voice,
            self.next_behaviour(),
            clock=self._clock,
            wall_time=lambda: 1e6 + self._clock.seconds(),
            **members,
        )
        self.sessions.append(session)
        return session

    def new_audio(self, *, is_interruptible: bool = True) -> RtpAudio:
        """Make the gateway's side of the next session."""
        address = ("192.0.2.7", 40001 + len(self.sessions))
        sockets = NetworkSockets(self.network, address)
        return RtpAudio(self._context, [sockets], is_interruptible=is_interruptible)

    def answer(self, offer: bytes) -> tuple[WebRtcCall, bytes]:
        secret = self._service.mint(_SESSION)
        call, answer = self._service.answer(offer, secret)
        self.calls.append(call)
        return call, answer

    # -- what the gateway asks for -----------------------------------------------------

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> Deferred[AgentSession]:
        number = len(self.sessions) + 1
        if number > self.most:
            return fail(AgentUnavailable("there are no more"))
        audio = self.new_audio(is_interruptible=profile.interruptible)
        azure = AzureSession(
            GA, profile, leg_codec, events, self._clock, transport=audio
        )
        azure.deployment = f"d{number}"
        self.azure.append(azure)
        call, answer = self.answer(audio.offer())
        audio.closing = lambda: call.end("hung up")
        audio.call_id = call.id
        audio.answered(answer)
        sideband = _Sideband(call, azure, self._clock)
        azure.opened(sideband)
        delay = self.delay_seconds if number > 1 else 0.0
        self._clock.callLater(delay, call.attach, sideband)
        return azure.ready


class VirtualRtcCall(VirtualCall):
    """
    One call.

    @param seed: of the network's behaviour.
    """

    rtc: RtcAgents

    def __init__(self, *found: Any, seed: int = 0, **members: Any) -> None:
        def new_agents(
            clock: Clock, voice: Voice, behaviour: Behaviour, is_preview: bool
        ) -> RtcAgents:
            network = Network(clock, seed)
            self.rtc = RtcAgents(clock, voice, behaviour, is_preview, network)
            return self.rtc

        super().__init__(*found, new_agents=new_agents, **members)
