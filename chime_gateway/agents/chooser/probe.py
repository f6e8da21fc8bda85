"""
Probes each deployment before the first call: opens a session, configures it, and closes
it.  Nothing is said in the session, and it costs no tokens.

L{chime_gateway.agents.chooser.health} receives the result, as for any session.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from chime_gateway.agents.chooser.choice import Candidate
from chime_gateway.agents.line.ignored_events import IGNORED_EVENTS
from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.interfaces import AgentSession
from chime_gateway.settings.agent_profile import AgentProfile

if TYPE_CHECKING:
    from chime_gateway.agents.deployments import Deployments


class Probe:
    """
    Probes the deployments of a gateway.

    @ivar is_open: it is not known yet whether any deployment works.
    """

    _log = Logger()

    def __init__(self, deployments: Deployments) -> None:
        self.is_open = False
        self._deployments = deployments
        self._asking: set[Deferred[AgentSession]] = set()
        self._is_stopped = False

    def ask(self, profiles: Iterable[AgentProfile], *, is_first: bool) -> None:
        """
        Probe each deployment with the first of these profiles, and the one that answers
        first with the other profiles as well.

        @param is_first: nothing is known yet, so the gateway should get no calls.
        """
        self.is_open = is_first
        done = Deferred.fromCoroutine(self._ask(list(profiles)))
        done.addErrback(lambda failure: self._log.failure("a bug in a probe", failure))

    def stop(self) -> None:
        """Cancel all probes, without a result."""
        self._is_stopped = True
        for asking in list(self._asking):
            asking.cancel()

    async def _ask(self, profiles: Sequence[AgentProfile]) -> None:
        health = self._deployments.health
        answered: list[Candidate] = []

        async def first(candidate: Candidate) -> None:
            if await self._try(candidate, profiles[0]):
                answered.append(candidate)
                self.is_open = False

        try:
            await DeferredList(
                [Deferred.fromCoroutine(first(one)) for one in health.candidates()],
                fireOnOneErrback=True,
                consumeErrors=True,
            )
        finally:
            self.is_open = False
        for profile in profiles[1:]:
            if answered and not self._is_stopped:
                await self._try(answered[0], profile)

    async def _try(self, candidate: Candidate, profile: AgentProfile) -> bool:
        """Return whether the deployment works, even if it refuses the profile."""
        deployments = self._deployments
        health = deployments.health
        permit = health.permit(candidate)
        if permit is None:
            return False
        seconds = deployments.limits.agent_connect_seconds
        attempt = deployments.attempt(candidate, seconds, profile, PCMU, IGNORED_EVENTS)
        self._asking.add(attempt.ready)
        try:
            session = await attempt.ready
        except CancelledError:
            health.dropped(candidate, permit)
            return False
        except AgentUnavailable as exc:
            health.failed(candidate, permit, profile.name, exc)
            return isinstance(exc, ProfileRefused)
        finally:
            self._asking.discard(attempt.ready)
        session.close()
        health.was_there(candidate, permit)
        return True
