"""
Opens sessions over WebRTC: a call is made with a secret and an offer, ICE finds a
path for its audio, and a sideband carries its events.

Where no packet gets through, the session is opened over the WebSocket instead, and
for a while so are the next ones of that deployment.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.agents.credentials import Credential
from chime_gateway.agents.session import AzureSession
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.agents.webrtc.audio import AudioContext, NoPath, RtpAudio
from chime_gateway.agents.webrtc.blocked import BlockedPlaces
from chime_gateway.agents.webrtc.calls import Calls, Made
from chime_gateway.agents.webrtc.places import Place, new_place
from chime_gateway.agents.webrtc.sideband import Sideband
from chime_gateway.agents.webrtc.traffic import Traffic
from chime_gateway.agents.websocket import SocketUser
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentSession
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.http_client import HttpClient
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import CHANNEL, DeploymentSettings
from chime_gateway.webrtc.sockets import Sockets
from chime_gateway.webrtc.tcp import ActiveTcp
from chime_gateway.webrtc.udp import Batch, OwnPort
from chime_gateway.wire.realtime.dialects import sideband_url

#: So long UDP has to find a path before TCP is tried as well.
TCP_AFTER_SECONDS: Final = 0.6

#: Connections to one deployment that are kept for the next request.
_IDLE_CONNECTIONS: Final = 8

#: How long a stopping gateway waits for calls that are being hung up.
_STOP_SECONDS: Final = 2.0

#: Somewhere outside: the way there begins at the address that others know us by.  No
#: packet is sent (RFC 5737).
_OUTSIDE: Final = ("192.0.2.1", 9)


def own_address(endpoint: str) -> str:
    """
    The address of this machine that a deployment's media comes to, as far as is known.
    Behind NAT it is a private one; the other side answers to where it is asked from.
    """
    host = urlsplit(endpoint).hostname or ""
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if is_local:
        return "127.0.0.1"
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(_OUTSIDE)
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()


class Opening(Protocol):
    """What one attempt is made with."""

    def new_session(self, transport: Transport | None) -> AzureSession: ...
    def by_socket(self) -> Awaitable[AgentSession]:
        """The same session over the WebSocket."""

    def dial(
        self, url: str, headers: Mapping[str, str], user: SocketUser
    ) -> Callable[[], None]: ...


class Fallbacks(Protocol):
    """Counts sessions that were opened another way, by deployment and reason."""

    fallbacks: Counter[tuple[str, str]]


_Key: TypeAlias = tuple[str, str, str]


def _key(settings: DeploymentSettings) -> _Key:
    return settings.endpoint, settings.deployment, settings.api_version


def _has_channel(settings: DeploymentSettings) -> bool:
    """The preview has its events nowhere else."""
    return bool(settings.api_version) or settings.events == CHANNEL


class RtcSessions:
    """
    @param counts: is told of each fall-back.
    @ivar traffic: of their audio.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        clock: IReactorTime,
        metronome: Metronome,
        batch: Batch,
        counts: Fallbacks,
    ) -> None:
        self.traffic = Traffic()
        self._reactor = reactor
        self._clock = clock
        self._batch = batch
        self._counts = counts
        self._audio = AudioContext(
            clock=clock,
            metronome=metronome,
            wall_time=time.time,
            random32=lambda: random.getrandbits(32),
            traffic=self.traffic,
        )
        self._calls = Calls(HttpClient(reactor, _IDLE_CONNECTIONS), clock)
        self._places: dict[_Key, Place] = {}
        self._blocked = BlockedPlaces(clock.seconds)

    # -- ahead of need -------------------------------------------------------------

    def want(
        self,
        settings: DeploymentSettings,
        credential: Credential,
        profile: AgentProfile,
    ) -> None:
        """Calls of this profile will come."""
        self._place(settings, credential).want(settings, profile)

    def _place(self, settings: DeploymentSettings, credential: Credential) -> Place:
        key = _key(settings)
        place = self._places.get(key)
        if place is None or place.credential is not credential:
            if place is not None:
                place.stop()
            place = new_place(settings, credential, self._calls, self._clock)
            self._places[key] = place
        return place

    # -- a session -----------------------------------------------------------------

    async def open(
        self,
        settings: DeploymentSettings,
        credential: Credential,
        profile: AgentProfile,
        opening: Opening,
    ) -> AgentSession:
        """
        @raise AgentUnavailable: no session can be opened.
        """
        key = _key(settings)
        if self._blocked.is_blocked(key):
            self._counts.fallbacks[settings.name, "remembered"] += 1
            return await opening.by_socket()
        place = self._place(settings, credential)
        audio = self._new_audio(settings, profile)
        audio.path_lost = lambda: self._lost(key, settings.name)
        session = opening.new_session(audio)
        if _has_channel(settings):
            audio.carry(session)
        try:
            return await self._connect(
                place, settings, profile, audio, session, opening
            )
        except NoPath as exc:
            session.close()
            self._counts.fallbacks[settings.name, "no_path"] += 1
            self._tell(settings.name, str(exc), self._blocked.none_found(key))
            return await opening.by_socket()
        except BaseException:
            session.close()
            raise

    def _lost(self, key: _Key, name: str) -> None:
        """In mid-call: its next session does not look for a path first."""
        reason = "the audio of a session has no path any more"
        self._tell(name, reason, self._blocked.lost(key))

    def _tell(self, name: str, reason: str, seconds: float) -> None:
        self._log.warn(
            "deployment {deployment}: {reason}; its sessions are opened over the"
            " WebSocket for {seconds:.0f} s",
            deployment=name,
            reason=reason,
            seconds=seconds,
        )

    def _new_audio(
        self, settings: DeploymentSettings, profile: AgentProfile
    ) -> RtpAudio:
        address = own_address(settings.endpoint)
        host = address if address == "127.0.0.1" else "0.0.0.0"
        port = OwnPort(host, self._batch, [address])
        sockets: list[Sockets] = [port, ActiveTcp(self._reactor, TCP_AFTER_SECONDS)]
        return RtpAudio(
            self._audio,
            sockets,
            is_interruptible=profile.interruptible,
            has_channel=_has_channel(settings),
        )

    async def _connect(
        self,
        place: Place,
        settings: DeploymentSettings,
        profile: AgentProfile,
        audio: RtpAudio,
        session: AzureSession,
        opening: Opening,
    ) -> AgentSession:
        # Behind the call nothing is waited for: whoever gives up then hangs up.
        headers = await place.credential.headers()
        made = await place.make(settings, profile, audio.offer(), headers)
        audio.call_id = made.call_id
        if not _has_channel(settings):
            self._join_sideband(place, settings, audio, made, headers, session, opening)
        else:
            # Its events come when its audio has a way.
            if made.call_id:
                audio.closing = lambda: place.hang_up(headers, made.call_id)
            audio.answered(made.answer)
        ready = await session.ready
        if audio.is_over_tcp:
            self._counts.fallbacks[settings.name, "tcp"] += 1
            self._log.info(
                "deployment {deployment}: the audio of a session goes over TCP, as UDP"
                " has no path",
                deployment=settings.name,
            )
        return ready

    def _join_sideband(
        self,
        place: Place,
        settings: DeploymentSettings,
        audio: RtpAudio,
        made: Made,
        headers: Mapping[str, str],
        session: AzureSession,
        opening: Opening,
    ) -> None:
        if not made.call_id:
            audio.answered(made.answer)
            audio.part()
            raise AgentUnavailable("the agent's service does not say which call it is")
        url = sideband_url(settings, made.call_id)
        sideband = Sideband(
            session, lambda user: opening.dial(url, headers, user), self._clock
        )

        def closing() -> None:
            sideband.close()
            place.hang_up(headers, made.call_id)

        audio.closing = closing
        audio.answered(made.answer)
        sideband.open()

    def stop(self) -> Deferred[None]:
        """Wait for calls that are being hung up; make nothing ahead any more."""
        for place in self._places.values():
            place.stop()
        return Deferred.fromCoroutine(self._calls.close(_STOP_SECONDS))
