"""
Makes the calls of one deployment, with its URLs and secrets.

GA uses a secret that is minted ahead, the preview a new one for each call.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.credentials import Credential
from chime_gateway.agents.webrtc.calls import Calls, Made
from chime_gateway.agents.webrtc.secrets import ClientSecrets, Secret, read_secret
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings
from chime_gateway.wire.realtime.dialects import (
    calls_url,
    preview_call_url,
    preview_sessions_url,
)


def first_session(
    settings: DeploymentSettings, profile: AgentProfile
) -> dict[str, Any]:
    """What calls of GA begin with: only what cannot be changed later."""
    return {
        "type": "realtime",
        "model": settings.deployment,
        "audio": {"output": {"voice": profile.voice}},
    }


class Place(Protocol):
    """@ivar credential: with which its secrets are made."""

    credential: Credential

    def want(self, settings: DeploymentSettings, profile: AgentProfile) -> None:
        """Calls of this profile will come."""

    async def make(
        self,
        settings: DeploymentSettings,
        profile: AgentProfile,
        offer: bytes,
        headers: Mapping[str, str],
    ) -> Made:
        """
        @param headers: of the real key, for what has to be hung up.
        @raise AgentUnavailable: there is no call.
        """

    def hang_up(self, headers: Mapping[str, str], call_id: str) -> None: ...
    def stop(self) -> None:
        """Stop making secrets ahead."""


def new_place(
    settings: DeploymentSettings,
    credential: Credential,
    calls: Calls,
    clock: IReactorTime,
) -> Place:
    if settings.api_version:
        return PreviewPlace(credential, calls)
    return GaPlace(calls_url(settings), credential, calls, clock)


class GaPlace:
    """@param base: of its requests."""

    def __init__(
        self, base: str, credential: Credential, calls: Calls, clock: IReactorTime
    ) -> None:
        self.credential = credential
        self._base = base
        self._calls = calls
        self._secrets = ClientSecrets(self._mint, clock, time.time)

    def _mint(self, session: Mapping[str, Any]) -> Deferred[bytes]:
        url = f"{self._base}/client_secrets"
        asking = _mint(self._calls, self.credential, url, {"session": session})
        return Deferred.fromCoroutine(asking)

    def want(self, settings: DeploymentSettings, profile: AgentProfile) -> None:
        self._secrets.want(first_session(settings, profile))

    async def make(
        self,
        settings: DeploymentSettings,
        profile: AgentProfile,
        offer: bytes,
        headers: Mapping[str, str],
    ) -> Made:
        def unwanted(made: Made) -> None:
            if made.call_id:
                self.hang_up(headers, made.call_id)

        def make(secret: Secret) -> Deferred[Made]:
            url = f"{self._base}/calls"
            return self._calls.make(url, secret.value, offer, unwanted)

        session = first_session(settings, profile)
        secret: Secret = await self._secrets.get(session)
        try:
            return await make(secret)
        except HandshakeRefused as exc:
            if exc.status != 401:
                raise
            # For whatever reason: it is not used again.
            self._secrets.refused(secret)
        return await make(await self._secrets.get(session))

    def hang_up(self, headers: Mapping[str, str], call_id: str) -> None:
        self._calls.hang_up(self._base, headers, call_id)

    def stop(self) -> None:
        self._secrets.stop()


class PreviewPlace:
    """Its secrets live for a minute, so nothing is made ahead."""

    def __init__(self, credential: Credential, calls: Calls) -> None:
        self.credential = credential
        self._calls = calls

    def want(self, settings: DeploymentSettings, profile: AgentProfile) -> None:
        """Does nothing, as secrets are made when they are needed."""

    async def make(
        self,
        settings: DeploymentSettings,
        profile: AgentProfile,
        offer: bytes,
        headers: Mapping[str, str],
    ) -> Made:
        session = {"model": settings.deployment, "voice": profile.voice}
        url = preview_sessions_url(settings)
        body = await _mint(self._calls, self.credential, url, session)
        secret = read_secret(body, 0.0, time.time(), is_preview=True)
        url = preview_call_url(settings)
        return await self._calls.make(url, secret.value, offer)

    def hang_up(self, headers: Mapping[str, str], call_id: str) -> None:
        """It has no request for that: DTLS says that a call is over."""

    def stop(self) -> None:
        """There is nothing."""


async def _mint(
    calls: Calls, credential: Credential, url: str, asked: Mapping[str, Any]
) -> bytes:
    headers = await credential.headers()
    try:
        return await calls.mint(url, headers, asked)
    except HandshakeRefused as exc:
        if exc.status == 401 and credential.refused(headers):
            exc.misconfigured = False
        raise
