"""
Checks a deployment with one profile: opens a session with all its settings, and asks
for one text response.  This finds a wrong key, name, voice or tool, and a model that
does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from twisted.internet.defer import TimeoutError

from chime_gateway.agents.credentials import Credential
from chime_gateway.agents.deployments import endpoint_for
from chime_gateway.agents.websocket import HandshakeRefused, RealtimeSockets, dial
from chime_gateway.audio import PCMU
from chime_gateway.cli.online.finding import Finding
from chime_gateway.cli.online.socket_events import KeptEvents, until
from chime_gateway.errors import AgentUnavailable
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings
from chime_gateway.wire.realtime.commands import update_session
from chime_gateway.wire.realtime.dialects import GA, PREVIEW, session_url

_OPEN_SECONDS: Final = 15.0
_ANSWER_SECONDS: Final = 30.0
_NORMAL: Final = 1000

#: What to do about each HTTP status of a refused handshake.
_CURES: Final[Mapping[int, str]] = {
    400: "check AZURE_OPENAI_API_VERSION; leave it out for GA",
    401: "set AZURE_OPENAI_API_KEY to a key of this resource, or leave it out to use"
    " Entra ID",
    403: "give this identity the role Cognitive Services OpenAI User, and check the"
    " network rules of the resource",
    404: "check AZURE_OPENAI_DEPLOYMENT: it must be the name of a deployment of a"
    " Realtime model in this resource",
    429: "the quota of the deployment is used up: wait, or raise it",
}
_NO_CONNECTION: Final = (
    "check AZURE_OPENAI_ENDPOINT, DNS, and that a firewall lets TCP port 443 out"
)
_AWAY: Final = "the fault is in the service: try again, and check Azure's status"


class TextProbe:
    """
    Asks one deployment.

    @param answer_seconds: how long to wait for the response.
    @ivar is_there: whether it has opened a session.
    """

    def __init__(
        self,
        reactor: Any,
        settings: DeploymentSettings,
        credential: Credential,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._credential = credential
        self._answer_seconds = answer_seconds
        self.is_there = False
        self._sockets = RealtimeSockets(reactor)

    async def token(self) -> Finding | None:
        """Check the token; C{None}: a key is used."""
        if self._settings.api_key:
            return None
        about = f"token for {self._settings.name}"
        try:
            await self._credential.headers()
        except (AgentUnavailable, TimeoutError) as exc:
            return Finding(
                about,
                str(exc) or "no token in time",
                "sign in (az login), give the machine an identity, or set"
                " AZURE_OPENAI_API_KEY",
            )
        return Finding(about, "Microsoft Entra ID issues one")

    async def ask(self, profile: AgentProfile) -> Finding:
        settings = self._settings
        about = (
            f"deployment {settings.name} ({settings.deployment}), agent {profile.name}"
        )
        events = KeptEvents()
        try:
            headers = await self._credential.headers()
            url = session_url(settings)
            endpoint = endpoint_for(self._reactor, url)
            give_up = dial(url, headers, events, endpoint, self._sockets)
        except (AgentUnavailable, OSError) as exc:
            return Finding(about, str(exc), self._by_its_keys(_NO_CONNECTION))
        began = self._reactor.seconds()
        try:
            found = await self._converse(events, profile)
        finally:
            if events.socket is not None:
                events.socket.close(_NORMAL, "")
            give_up()
        if isinstance(found, str):
            took = self._reactor.seconds() - began
            return Finding(about, f"{found} after {took:.1f} s")
        said, cure = found
        return Finding(about, said, self._by_its_keys(cure))

    def _by_its_keys(self, cure: str) -> str:
        """Name the keys of the file if the deployment is configured there."""
        name = self._settings.name
        if name in ("environment", "simulator"):
            return cure
        for variable in ("ENDPOINT", "API_KEY", "API_VERSION", "DEPLOYMENT"):
            key = f"deployments.{name}.{variable.lower()}"
            cure = cure.replace(f"AZURE_OPENAI_{variable}", key)
        return cure

    async def _converse(
        self, events: KeptEvents, profile: AgentProfile
    ) -> str | tuple[str, str]:
        """
        Open a session and ask for a response.

        @return: that it works, in words; or what is wrong, and what to do.
        """
        dialect = PREVIEW if self._settings.api_version else GA
        if not await self._heard(events, _OPEN_SECONDS, "session.created"):
            return _not_opened(events)
        self.is_there = True
        self._send(events, update_session(dialect, profile, PCMU))
        if not await self._heard(events, _OPEN_SECONDS, "session.updated"):
            said = events.closed or _error_of(events.find("error"))
            where = f"agents.{profile.name}"
            return (
                f"the service rejects its settings: {said or 'no answer'}",
                f"change the setting that it names in [{where}] (voice, tools,"
                " transcription_model, ...)",
            )
        self._send(
            events,
            {
                "type": "response.create",
                "response": {
                    dialect.modalities_key: ["text"],
                    "instructions": "Answer with the one word: ready",
                    "tool_choice": "none",
                },
            },
        )
        if not await self._heard(events, self._answer_seconds, "response.done"):
            said = events.closed or _error_of(events.find("error"))
            return f"no response: {said or 'none in time'}", _AWAY
        done = events.find("response.done") or {}
        response = done.get("response")
        response = response if isinstance(response, dict) else {}
        if response.get("status") != "completed":
            return f"the response failed: {_failure_of(response)}", _AWAY
        return "it accepts the settings, and answered"

    async def _heard(self, events: KeptEvents, seconds: float, kind: str) -> bool:
        await until(
            self._reactor,
            lambda: bool(events.find(kind, "error") or events.closed),
            seconds,
        )
        return events.find(kind) is not None

    def _send(self, events: KeptEvents, command: Mapping[str, object]) -> None:
        if events.socket is not None:
            events.socket.send_message(msgspec.json.encode(command))


def _not_opened(events: KeptEvents) -> tuple[str, str]:
    why = events.why
    if isinstance(why, HandshakeRefused):
        cure = _CURES.get(why.status, _AWAY)
        return str(why), cure
    said = events.closed or _error_of(events.find("error"))
    return said or f"no session within {_OPEN_SECONDS:.0f} s", _NO_CONNECTION


def _error_of(event: Mapping[str, object] | None) -> str:
    error = (event or {}).get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def _failure_of(response: Mapping[str, object]) -> str:
    details = response.get("status_details")
    error = details.get("error") if isinstance(details, dict) else None
    if isinstance(error, dict):
        return str(error.get("message") or error.get("code") or "")
    return str(response.get("status"))
