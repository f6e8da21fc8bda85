"""
Opens sessions over WebRTC: a call is made with a secret and an offer, ICE finds a path
for its audio, and a sideband carries its events.

If no packet gets through, the session is opened over the WebSocket instead, and so are
the next sessions of that deployment for a while.
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

#: How long UDP may take to find a path before TCP is tried as well.
TCP_AFTER_SECONDS: Final = 0.6

#: Number of idle connections to a deployment that are kept for the next request.
_IDLE_CONNECTIONS: Final = 8

#: How long a stopping gateway waits for calls that are being hung up.
_STOP_SECONDS: Final = 2.0

#: An external address (RFC 5737): the route to it shows this machine's own address.  No
#: packet is sent.
_OUTSIDE: Final = ("192.0.2.1", 9)


def own_address(endpoint: str) -> str:
    """
    Return the address of this machine for a deployment's media, as far as is known.
    Behind NAT it is a private one; the service replies to the address that it sees.
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
    """The means of one attempt."""

    def new_session(self, transport: Transport | None) -> AzureSession: ...
    def by_socket(self) -> Awaitable[AgentSession]:
        """Open the same session over the WebSocket."""

    def dial(
        self, url: str, headers: Mapping[str, str], user: SocketUser
    ) -> Callable[[], None]: ...


class Fallbacks(Protocol):
    """Counts sessions that were not opened over UDP, by deployment and reason."""

    fallbacks: Counter[tuple[str, str]]


_Key: TypeAlias = tuple[str, str, str]


def _key(settings: DeploymentSettings) -> _Key:
    return settings.endpoint, settings.deployment, settings.api_version


def _has_channel(settings: DeploymentSettings) -> bool:
    """Return whether the events use a data channel, as the preview's always do."""
    return bool(settings.api_version) or settings.events == CHANNEL


class RtcSessions:
    """
    All sessions over WebRTC.

    @param counts: counts each fallback.
    @ivar traffic: the network statistics of their audio.
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

    # -- in advance ----------------------------------------------------------------

    def want(
        self,
        settings: DeploymentSettings,
        credential: Credential,
        profile: AgentProfile,
    ) -> None:
        """Prepare for calls with this profile."""
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
        Open a session.

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
        """A path was lost during a call: block it, so the next session skips ICE."""
        reason = "the path of a session's audio is lost"
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
        # No await between making the call and setting C{closing}, which hangs it up.
        headers = await place.credential.headers()
        made = await place.make(settings, profile, audio.offer(), headers)
        audio.call_id = made.call_id
        if not _has_channel(settings):
            self._join_sideband(place, settings, audio, made, headers, session, opening)
        else:
            # Its events arrive once its audio has a path.
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
            raise AgentUnavailable("the agent's service sent no id of the call")
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
        """Stop minting secrets, and wait for calls that are being hung up."""
        for place in self._places.values():
            place.stop()
        return Deferred.fromCoroutine(self._calls.close(_STOP_SECONDS))
