"""
Which deployment serves the next call.

Deployments are tried in the order of their priority.  One whose settings are
wrong is left alone and says why in C{/ready}; one that is throttled or away
rests for a while, each time longer, and the next takes the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chime_gateway.agents.credentials import Credential
from chime_gateway.agents.session import AzureSession, session_url
from chime_gateway.agents.websocket import HandshakeRefused, connect
from chime_gateway.audio import Codec
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.net.backoff import BackOff, FailedRounds
from chime_gateway.net.batch import BatchReader
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings
from chime_gateway.wire.realtime.dialects import GA, PREVIEW

#: How long a deployment rests that failed.
_REST: Final = BackOff.doubling(0.5, 30.0, spread=(0.5, 1.0))

#: A wrong setting is tried again so often, because the mending may happen in
#: Azure (a role, a deployment that was still being made) without our knowing.
RECHECK_SECONDS: Final = 60.0


class ConnectMeasures(Protocol):
    """Where attempts are counted."""

    def agent_connected(self, seconds: float) -> None: ...
    def agent_session(self, outcome: str) -> None: ...


@define(eq=False)
class Deployment:
    """
    One deployment and what is known of its health.

    @ivar fault: why its settings cannot work; empty while they may.
    @ivar rests_until: it is not tried before this time (of the clock); then a
        fault may have been mended.
    """

    settings: DeploymentSettings
    credential: Credential
    fault: str = ""
    rounds: FailedRounds = Factory(FailedRounds)
    rests_until: float = 0.0


def _is_faulty(deployment: Deployment, now: float) -> bool:
    return bool(deployment.fault) and now < deployment.rests_until


def endpoint_for(reactor: Any, url: str) -> IStreamClientEndpoint:
    """A TCP or TLS endpoint for a C{ws} or C{wss} URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_secure = parts.scheme == "wss"
    endpoint = HostnameEndpoint(reactor, host, parts.port or (443 if is_secure else 80))
    if is_secure:
        return wrapClientTLS(optionsForClientTLS(host), endpoint)
    return endpoint


class Deployments:
    """
    @param endpoint: from a URL to where it is dialled.
    @param jitter: a number from 0 to 1, a new one each time.
    """

    _log = Logger()

    def __init__(
        self,
        deployments: Sequence[Deployment],
        *,
        reactor: Any,
        clock: IReactorTime,
        endpoint: Callable[[str], IStreamClientEndpoint],
        connect_seconds: float,
        jitter: Callable[[], float],
        measures: ConnectMeasures,
        batch: BatchReader | None = None,
    ) -> None:
        self._deployments = sorted(deployments, key=lambda d: d.settings.priority)
        self._reactor = reactor
        self._clock = clock
        self._endpoint = endpoint
        self._connect_seconds = connect_seconds
        self._jitter = jitter
        self._measures = measures
        self._batch = batch

    def fault(self) -> str | None:
        """Why no deployment is usable, or C{None}."""
        now = self._clock.seconds()
        if self._deployments and all(_is_faulty(d, now) for d in self._deployments):
            return "; ".join(f"{d.settings.name}: {d.fault}" for d in self._deployments)
        return None

    def states(self) -> Mapping[str, str]:
        """Each deployment's health in a word, by name."""
        now = self._clock.seconds()
        return {
            d.settings.name: "misconfigured"
            if _is_faulty(d, now)
            else "resting"
            if d.rests_until > now
            else "usable"
            for d in self._deployments
        }

    # -- Agents --------------------------------------------------------------

    def open(
        self, profile: AgentProfile, leg_codec: Codec, events: AgentEvents
    ) -> Deferred[AgentSession]:
        """
        Open a session at the best deployment that has one.

        The Deferred fails with L{AgentUnavailable} when none had within the
        time for connecting.
        """
        return Deferred.fromCoroutine(self._open(profile, leg_codec, events))

    async def _open(
        self, profile: AgentProfile, leg_codec: Codec, events: AgentEvents
    ) -> AgentSession:
        deadline = self._clock.seconds() + self._connect_seconds
        why: AgentUnavailable | None = None
        while True:
            now = self._clock.seconds()
            deployment = self._next(now)
            if deployment is None:
                reason = self.fault() or "no deployment is configured"
                raise AgentUnavailable(reason, misconfigured=True)
            wait = deployment.rests_until - now
            if now + max(0.0, wait) >= deadline:
                raise why or AgentUnavailable(
                    f"every deployment is resting after failures"
                    f" ({deployment.settings.name} for {wait:.1f} s more)"
                )
            if wait > 0:
                await deferLater(self._clock, wait)
                continue
            try:
                return await self._connect(
                    deployment, deadline - now, profile, leg_codec, events
                )
            except AgentUnavailable as exc:
                self._failed(deployment, exc, now)
                why = exc

    def _next(self, now: float) -> Deployment | None:
        """The best one that may be tried now, else the one that may be soonest."""
        candidates = [d for d in self._deployments if not _is_faulty(d, now)]
        for deployment in candidates:
            if deployment.rests_until <= now:
                return deployment
        return min(candidates, key=lambda d: d.rests_until, default=None)

    async def _connect(
        self,
        deployment: Deployment,
        timeout_seconds: float,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
    ) -> AgentSession:
        settings = deployment.settings
        began = self._clock.seconds()
        headers = await deployment.credential.headers()
        url = session_url(settings)
        dialect = PREVIEW if settings.api_version else GA
        session = AzureSession(dialect, profile, leg_codec, events, self._clock.seconds)
        ready = await connect(
            url,
            headers,
            session,
            self._endpoint(url),
            self._reactor,
            timeout_seconds,
            self._batch,
        )
        deployment.rounds.succeeded()
        deployment.fault = ""
        self._measures.agent_connected(self._clock.seconds() - began)
        self._measures.agent_session("opened")
        return ready

    def _failed(
        self, deployment: Deployment, why: AgentUnavailable, began: float
    ) -> None:
        name = deployment.settings.name
        now = self._clock.seconds()
        if why.misconfigured:
            deployment.fault = str(why)
            deployment.rests_until = now + RECHECK_SECONDS
            self._measures.agent_session("misconfigured")
            self._log.error(
                "deployment {deployment} cannot work: {reason}",
                deployment=name,
                reason=str(why),
            )
            return
        deployment.rounds.failed(began, now)
        rest = _REST.pause(deployment.rounds.count, self._jitter())
        if isinstance(why, HandshakeRefused) and why.retry_after_seconds is not None:
            rest = max(rest, why.retry_after_seconds)
        until = now + rest
        if not deployment.fault:
            # Another attempt of the same round may have been asked to wait longer.
            until = max(until, deployment.rests_until)
        deployment.fault = ""
        deployment.rests_until = until
        self._measures.agent_session("failed")
        self._log.warn(
            "deployment {deployment} failed and rests for {rest_seconds} s: {reason}",
            deployment=name,
            rest_seconds=round(rest, 1),
            reason=str(why),
        )
