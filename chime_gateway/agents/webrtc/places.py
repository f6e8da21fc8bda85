"""
Makes the calls of one deployment, with its URLs and secrets.

GA uses a secret that is minted in advance, the preview a new one for each call.
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
    """Return the first settings of a GA call: only what cannot be changed later."""
    return {
        "type": "realtime",
        "model": settings.deployment,
        "audio": {"output": {"voice": profile.voice}},
    }


class Place(Protocol):
    """
    Where the calls of one deployment are made.

    @ivar credential: used to mint secrets.
    """

    credential: Credential

    def want(self, settings: DeploymentSettings, profile: AgentProfile) -> None:
        """Prepare for calls with this profile."""

    async def make(
        self,
        settings: DeploymentSettings,
        profile: AgentProfile,
        offer: bytes,
        headers: Mapping[str, str],
    ) -> Made:
        """
        Make a call.

        @param headers: of the real key, in case the call has to be hung up.
        @raise AgentUnavailable: the call cannot be made.
        """

    def hang_up(self, headers: Mapping[str, str], call_id: str) -> None: ...
    def stop(self) -> None:
        """Stop minting secrets in advance."""


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
    """
    The place of a deployment with the GA protocol.

    @param base: the URL that its requests begin with.
    """

    def __init__(
        self, base: str, credential: Credential, calls: Calls, clock: IReactorTime
    ) -> None:
        self.credential = credential
        self._base = base
        self._calls = calls
        self._secrets = ClientSecrets(self._mint, clock, time.time)

    def _mint(self, session: Mapping[str, object]) -> Deferred[bytes]:
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
            # Whatever the reason, this secret is not used again.
            self._secrets.refused(secret)
        return await make(await self._secrets.get(session))

    def hang_up(self, headers: Mapping[str, str], call_id: str) -> None:
        self._calls.hang_up(self._base, headers, call_id)

    def stop(self) -> None:
        self._secrets.stop()


class PreviewPlace:
    """The place of a deployment with the preview protocol.  A secret lasts a minute."""

    def __init__(self, credential: Credential, calls: Calls) -> None:
        self.credential = credential
        self._calls = calls

    def want(self, settings: DeploymentSettings, profile: AgentProfile) -> None:
        """Do nothing: secrets are minted when they are needed."""

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
        """Do nothing: the preview has no such request, and DTLS ends the call."""

    def stop(self) -> None:
        """Do nothing: no secret is minted in advance."""


async def _mint(
    calls: Calls, credential: Credential, url: str, asked: Mapping[str, object]
) -> bytes:
    headers = await credential.headers()
    try:
        return await calls.mint(url, headers, asked)
    except HandshakeRefused as exc:
        if exc.status == 401 and credential.refused(headers):
            exc.misconfigured = False
        raise
