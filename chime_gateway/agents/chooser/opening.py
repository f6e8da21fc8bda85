"""
Opens one session at the chosen deployment, over the transport in its settings:
WebSocket or WebRTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from chime_gateway.agents.chooser.choice import Candidate
from chime_gateway.agents.line.ignored_events import IGNORED_EVENTS
from chime_gateway.agents.session import AzureSession
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.agents.websocket import SocketUser
from chime_gateway.audio import Codec
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import WEBRTC

if TYPE_CHECKING:
    from chime_gateway.agents.deployments import Deployments


class Opening:
    """See L{chime_gateway.agents.webrtc.sessions.Opening}."""

    def __init__(
        self,
        deployments: Deployments,
        candidate: Candidate,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
    ) -> None:
        self._deployments = deployments
        self._candidate = candidate
        self._credential = deployments.credential(candidate)
        self._profile = profile
        self._leg_codec = leg_codec
        self._events = events
        self._session: AzureSession | None = None

    async def ready(self) -> AgentSession:
        settings = self._candidate.settings
        if settings.transport != WEBRTC:
            return await self.by_socket()
        return await self._deployments.webrtc.open(
            settings, self._credential, self._profile, self
        )

    def new_session(self, transport: Transport | None) -> AzureSession:
        self._session = self._deployments.new_session(
            *(self._candidate, self._profile, self._leg_codec, self._events),
            transport,
        )
        return self._session

    async def by_socket(self) -> AgentSession:
        session = self.new_session(None)
        return await self._deployments.by_socket(
            self._candidate, self._credential, session
        )

    def dial(
        self, url: str, headers: Mapping[str, str], user: SocketUser
    ) -> Callable[[], None]:
        return self._deployments.dial(url, headers, user)

    def leave(self) -> None:
        """Report nothing more: the call has another session."""
        self._events = IGNORED_EVENTS
        if self._session is not None:
            self._session.forget_call()


class OpeningAttempt:
    """See L{chime_gateway.agents.chooser.race.Attempt}."""

    def __init__(self, opening: Opening, ready: Deferred[AgentSession]) -> None:
        self.ready = ready
        self.leave = opening.leave
