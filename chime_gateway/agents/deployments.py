"""
Opens sessions at several deployments of Azure OpenAI Realtime.

L{chime_gateway.agents.chooser.race} decides which deployment is tried when,
L{chime_gateway.agents.chooser.health} evaluates how an attempt ended, and this module
makes the attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.agents.chooser.breaker import Permit
from chime_gateway.agents.chooser.choice import Candidate, Choice
from chime_gateway.agents.chooser.health import ConnectMeasures, Health
from chime_gateway.agents.chooser.opening import Opening, OpeningAttempt
from chime_gateway.agents.chooser.probe import Probe
from chime_gateway.agents.chooser.race import Attempt, Race
from chime_gateway.agents.configuration import UnsupportedSettings
from chime_gateway.agents.credentials import Credential
from chime_gateway.agents.session import AzureSession
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.agents.websocket import (
    HandshakeRefused,
    RealtimeSockets,
    SocketUser,
    connect,
    dial,
)
from chime_gateway.audio import Codec
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.system.tls import client_tls
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import WEBRTC, DeploymentSettings, Limits
from chime_gateway.wire.realtime.dialects import GA, PREVIEW, session_url

if TYPE_CHECKING:
    from chime_gateway.agents.webrtc.sessions import RtcSessions


@frozen(eq=False)
class Deployment:
    """One deployment and the credential for it."""

    settings: DeploymentSettings
    credential: Credential


def endpoint_for(
    reactor: Any, url: str, tls: Callable[[str], Any] = client_tls
) -> IStreamClientEndpoint:
    """
    Return a TCP or TLS endpoint for a C{ws} or C{wss} URL.

    @param tls: makes TLS connections to the host of that name.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_secure = parts.scheme == "wss"
    endpoint = HostnameEndpoint(reactor, host, parts.port or (443 if is_secure else 80))
    if is_secure:
        return wrapClientTLS(tls(host), endpoint)
    return endpoint


class Deployments:
    """
    All deployments of a gateway.

    @param endpoint: returns the endpoint for a URL.
    @param chance: returns a random number in [0, 1).
    @param shortage: returns what this machine lacks to open a connection, or C{None}.
    @param new_webrtc: makes the shared part of sessions over WebRTC, once a deployment
        needs it.
    @ivar health: the known health of the deployments.
    @ivar probe: checks the deployments without a call.
    """

    _log = Logger()

    def __init__(
        self,
        deployments: Sequence[Deployment],
        *,
        reactor: Any,
        clock: IReactorTime,
        endpoint: Callable[[str], IStreamClientEndpoint],
        limits: Limits,
        chance: Callable[[], float],
        measures: ConnectMeasures,
        batch: BatchReader | None = None,
        shortage: Callable[[], str | None] = lambda: None,
        new_webrtc: Callable[[Health], RtcSessions] | None = None,
    ) -> None:
        self._credentials = {Candidate(d.settings): d.credential for d in deployments}
        self._unsupported: dict[Candidate, UnsupportedSettings] = {}
        self._choice = Choice(self._credentials, clock.seconds, chance)
        self.health = Health(self._choice, clock, chance, measures, shortage)
        self._sockets = RealtimeSockets(reactor)
        self._clock = clock
        self._endpoint = endpoint
        self.limits = limits
        self._batch = batch
        self._watched: dict[Deferred[AgentSession], Candidate] = {}
        self._new_webrtc = new_webrtc
        self.probe = Probe(self)
        self._webrtc: RtcSessions | None = None

    @property
    def webrtc(self) -> RtcSessions:
        """The shared part of sessions over WebRTC."""
        if self._webrtc is None:
            assert self._new_webrtc is not None
            self._webrtc = self._new_webrtc(self.health)
        return self._webrtc

    def expect(self, profiles: Iterable[AgentProfile]) -> None:
        """Prepare in advance what calls with these profiles need."""
        for candidate, credential in self._credentials.items():
            if candidate.settings.transport == WEBRTC:
                for profile in profiles:
                    self.webrtc.want(candidate.settings, credential, profile)

    def change(self, deployments: Sequence[Deployment]) -> None:
        """
        Use these deployments from now on.  The health of those that remain is kept, and
        sessions and attempts continue unchanged.
        """
        before = {_place(c.settings): c for c in self._choice.candidates}
        found: dict[Candidate, Credential] = {}
        for deployment in deployments:
            candidate = before.get(_place(deployment.settings))
            if candidate is None:
                candidate = Candidate(deployment.settings)
            else:
                candidate.change(deployment.settings)
            found[candidate] = deployment.credential
        self._credentials = found
        self._unsupported = {
            one: it for one, it in self._unsupported.items() if one in found
        }
        self._choice.change(found)

    # -- Agents --------------------------------------------------------------

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> Deferred[AgentSession]:
        """
        Open a session at the best available deployment.

        The Deferred fails with L{AgentUnavailable} if no deployment provides a session
        within the time for connecting.
        """
        race = Race(
            self._choice,
            _Search(self, profile, leg_codec, events),
            self._clock,
            self.limits.agent_connect_seconds,
            self.limits.agent_hedge_seconds,
            avoid,
            is_running=is_running,
        )
        race.begin()
        return race.result

    def failed(self, deployment: str) -> None:
        """See L{chime_gateway.interfaces.Agents.failed}."""
        self.health.failed_call(deployment)

    def stop(self) -> Deferred[None]:
        """Stop probing, and cancel the attempts that no call waits for."""
        self.probe.stop()
        for ready in list(self._watched):
            ready.cancel()
        return succeed(None) if self._webrtc is None else self._webrtc.stop()

    # -- attempts --------------------------------------------------------------

    def attempt(
        self,
        candidate: Candidate,
        seconds: float,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
    ) -> OpeningAttempt:
        opening = Opening(self, candidate, profile, leg_codec, events)

        def late(result: AgentSession | Failure, seconds: float) -> AgentSession:
            if not isinstance(result, Failure):
                return result
            result.trap(CancelledError, AgentUnavailable)
            raise AgentUnavailable(f"the agent was not ready within {seconds:.1f} s")

        ready = Deferred.fromCoroutine(opening.ready())
        return OpeningAttempt(opening, ready.addTimeout(seconds, self._clock, late))

    def new_session(
        self,
        candidate: Candidate,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        transport: Transport | None,
    ) -> AzureSession:
        dialect = PREVIEW if candidate.settings.api_version else GA
        budget = candidate.budget
        unsupported = self._unsupported.setdefault(
            candidate, UnsupportedSettings(self._clock.seconds)
        )
        session = AzureSession(
            *(dialect, profile, leg_codec, events, self._clock),
            spend=lambda tokens: budget.used(tokens, self._clock.seconds()),
            let_wait=lambda s: candidate.let_wait(s, self._clock.seconds()),
            unsupported=unsupported,
            transport=transport,
        )
        session.deployment = candidate.name
        return session

    def credential(self, candidate: Candidate) -> Credential:
        return self._credentials[candidate]

    async def by_socket(
        self, candidate: Candidate, credential: Credential, session: AzureSession
    ) -> AgentSession:
        """Open it over the WebSocket."""
        url = session_url(candidate.settings)
        headers = await credential.headers()
        endpoint = self._endpoint_of(url)
        try:
            return await connect(
                url, headers, session, endpoint, self._sockets, self._batch
            )
        except HandshakeRefused as exc:
            if exc.status == 401 and credential.refused(headers):
                exc.misconfigured = False
            raise

    def dial(
        self, url: str, headers: Mapping[str, str], user: SocketUser
    ) -> Callable[[], None]:
        """Start opening a WebSocket for events; return a function that cancels that."""
        endpoint = self._endpoint_of(url)
        return dial(url, headers, user, endpoint, self._sockets, self._batch)

    def _endpoint_of(self, url: str) -> IStreamClientEndpoint:
        try:
            return self._endpoint(url)
        except OSError as exc:
            raise AgentUnavailable(f"no connection to the agent: {exc}") from exc

    def watch(
        self, candidate: Candidate, permit: Permit, profile: str, attempt: Attempt
    ) -> bool:
        """
        Follow an attempt that no call waits for to its end, or a deployment that does
        not answer would never be detected.  One attempt per deployment is enough,
        besides probes.

        @return: whether the attempt is followed.
        """
        if candidate in self._watched.values() and not permit.is_probe:
            return False
        ready = attempt.ready
        self._watched[ready] = candidate

        def opened(session: AgentSession) -> None:
            session.close()
            self.health.was_there(candidate, permit)

        def failed(failure: Failure) -> None:
            why = failure.value
            if isinstance(why, AgentUnavailable):
                self.health.failed(candidate, permit, profile, why)
                return
            self.health.dropped(candidate, permit)
            failure.trap(CancelledError)

        def over(result: object) -> Any:
            del self._watched[ready]
            return result

        ready.addBoth(over).addCallbacks(opened, failed)
        ready.addErrback(
            lambda failure: self._log.failure("a bug in an attempt", failure)
        )
        return True


def _place(settings: DeploymentSettings) -> tuple[str, ...]:
    """Return what identifies a deployment when settings are reloaded."""
    return (
        settings.name,
        settings.endpoint,
        settings.deployment,
        settings.api_version,
    )


class _Search:
    """The attempts of one call (L{chime_gateway.agents.chooser.race.Attempts})."""

    def __init__(
        self,
        deployments: Deployments,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
    ) -> None:
        self._deployments = deployments
        self._health = deployments.health
        self._profile = profile
        self._leg_codec = leg_codec
        self._events = events

    def begin(self, candidate: Candidate, seconds: float) -> Attempt:
        return self._deployments.attempt(
            candidate, seconds, self._profile, self._leg_codec, self._events
        )

    def hedged(self, candidate: Candidate) -> None:
        self._health.hedged(candidate)

    def opened(self, candidate: Candidate, permit: Permit, seconds: float) -> None:
        self._health.opened(candidate, permit, self._profile.name, seconds)

    def failed(
        self, candidate: Candidate, permit: Permit, why: AgentUnavailable
    ) -> None:
        self._health.failed(candidate, permit, self._profile.name, why)

    def overtaken(self, candidate: Candidate, permit: Permit, attempt: Attempt) -> None:
        attempt.leave()
        if not self._deployments.watch(candidate, permit, self._profile.name, attempt):
            self.dropped(candidate, permit, attempt)

    def dropped(self, candidate: Candidate, permit: Permit, attempt: Attempt) -> None:
        attempt.ready.addErrback(
            lambda failure: failure.trap(CancelledError, AgentUnavailable)
        )
        attempt.ready.cancel()
        self._health.dropped(candidate, permit)
