"""
Evaluates how each attempt ended: which deployment, profile or machine is at fault.

A deployment that is unreachable, throttled or silent rests.  So does one with wrong
settings, until an operator fixes them.  If the service rejects the settings of an agent
profile, no deployment is at fault; if this machine has no file descriptors left, no
peer is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from chime_gateway.agents.chooser.breaker import RECHECK_SECONDS, Permit, State
from chime_gateway.agents.chooser.choice import Candidate, Choice
from chime_gateway.errors import AgentUnavailable, ProfileRefused

_RESTS: Final = (State.OPEN, State.MISCONFIGURED)

#: The state of a deployment that works, but has used up its budget for this minute.
SPENT: Final = "spent"

#: A spent budget is not a fault if it is free again this soon: a call waits for it.
_WORTH_A_WAIT_SECONDS: Final = 2.0


#: The fault of a profile, without the service's error.
REFUSED: Final = "its settings are refused"


class ConnectMeasures(Protocol):
    """Counts attempts."""

    def agent_connected(self, seconds: float) -> None: ...
    def agent_session(self, outcome: str) -> None: ...


@frozen
class _ProfileFault:
    reason: str
    until: float


class Health:
    """
    The health of all deployments.

    @param chance: returns a random number in [0, 1).
    @param shortage: returns what this machine lacks to open a connection, or C{None}.
    @ivar attempts: number of attempts, by deployment and result: C{opened}, C{failed},
        C{misconfigured}, C{refused} (the profile), C{overtaken} (another deployment was
        ready first, or the call was over).
    @ivar hedges: how often a deployment was tried while another was slow.
    @ivar fallbacks: number of sessions of a deployment with WebRTC that were opened
        another way: C{tcp}: with audio over TCP; C{no_path}, C{remembered}: over the
        WebSocket, because there was no path, or none for an earlier session.
    """

    _log = Logger()

    def __init__(
        self,
        choice: Choice,
        clock: IReactorTime,
        chance: Callable[[], float],
        measures: ConnectMeasures,
        shortage: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.hedges: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        self._choice = choice
        self._clock = clock
        self._chance = chance
        self._measures = measures
        self._shortage = shortage
        self._profiles: dict[str, _ProfileFault] = {}

    # -- queries ---------------------------------------------------------------

    def fault(self, profiles: Collection[str], *, in_detail: bool = True) -> str | None:
        """
        Return why no new call would get an agent, or C{None}.

        A deployment whose rest is over counts as usable.  Otherwise it would never be
        tried again, as a load balancer sends no calls to a gateway that is not ready.

        @param profiles: the profiles that calls may ask for.
        @param in_detail: include the service's errors; not for strangers.
        """
        now = self._clock.seconds()
        candidates = self._choice.candidates
        if all(_is_away(c, now) for c in candidates):
            said = (_said_of(c, now, in_detail=in_detail) for c in candidates)
            return "; ".join(said) or "no deployment"
        faults = self.profile_faults()
        if profiles and all(name in faults for name in profiles):
            return "; ".join(
                f"agents.{name}: {faults[name] if in_detail else REFUSED}"
                for name in profiles
            )
        return None

    def profile_faults(self) -> Mapping[str, str]:
        """Return why settings of profiles are refused, by profile name."""
        now = self._clock.seconds()
        return {
            name: fault.reason
            for name, fault in self._profiles.items()
            if now < fault.until
        }

    def states(self) -> Mapping[str, str]:
        """Return the states, by deployment name."""
        now = self._clock.seconds()
        return {c.name: _state(c, now) for c in self._choice.candidates}

    def budgets(self) -> Mapping[str, Mapping[str, tuple[int, int]]]:
        """Return L{Budget.counts} by deployment name."""
        now = self._clock.seconds()
        return {c.name: c.budget.counts(now) for c in self._choice.candidates}

    def candidates(self) -> list[Candidate]:
        return list(self._choice.candidates)

    def permit(self, candidate: Candidate) -> Permit | None:
        """Begin an attempt; C{None}: the deployment rests, or its budget is spent."""
        now = self._clock.seconds()
        if not candidate.may_be_tried(now, is_running=False):
            return None
        candidate.budget.requested(now)
        return candidate.breaker.take(now)

    # -- results of attempts ---------------------------------------------------

    def hedged(self, candidate: Candidate) -> None:
        self.hedges[candidate.name] += 1

    def opened(
        self, candidate: Candidate, permit: Permit, profile: str, seconds: float
    ) -> None:
        """
        A session was opened.

        @param profile: the name of its profile.
        @param seconds: how long that took.
        """
        self._measures.agent_connected(seconds)
        self._count(candidate, "opened")
        self._profiles.pop(profile, None)
        self._is_there(candidate, permit)

    def was_there(self, candidate: Candidate, permit: Permit) -> None:
        """A session was opened, but no call waited for it any more."""
        self._count(candidate, "overtaken")
        self._is_there(candidate, permit)

    def failed(
        self,
        candidate: Candidate,
        permit: Permit,
        profile: str,
        why: AgentUnavailable,
    ) -> None:
        if isinstance(why, ProfileRefused):
            # A deployment that refuses a profile works.
            self._count(candidate, "refused")
            self._profile_refused(candidate, profile, why)
            self._is_there(candidate, permit)
            return
        self._count(candidate, "misconfigured" if why.misconfigured else "failed")
        now = self._clock.seconds()
        shortage = self._shortage()
        if shortage is not None:
            has_changed = permit.could_not_begin(now, self._chance(), shortage)
            if has_changed:
                self._log.error(
                    "no session at {deployment}, this machine is {shortage}: {reason}",
                    deployment=candidate.name,
                    shortage=shortage,
                    reason=str(why),
                )
            self._settled(permit, has_changed)
            return
        has_changed = permit.failed(
            now,
            self._chance(),
            str(why),
            misconfigured=why.misconfigured,
            retry_after_seconds=why.retry_after_seconds,
        )
        if has_changed:
            self._log_rest(candidate, why)
        self._settled(permit, has_changed)

    def dropped(self, candidate: Candidate, permit: Permit) -> None:
        """An attempt was given up without a result."""
        self._count(candidate, "overtaken")
        self._settled(permit, permit.dropped() and permit.is_probe)

    def failed_call(self, name: str) -> None:
        """A session of this deployment has failed during its call."""
        now = self._clock.seconds()
        for candidate in self._choice.candidates:
            if candidate.name == name:
                is_busy = candidate.busy_until > now
                if candidate.failed_call(now) and not is_busy:
                    self._log.warn(
                        "sessions of deployment {deployment} fail during calls:"
                        " other deployments are preferred",
                        deployment=name,
                    )

    def forget_profiles(self) -> None:
        """Forget refused profiles: they were reloaded, and may be fixed."""
        self._profiles.clear()

    # -- inside ----------------------------------------------------------------

    def _count(self, candidate: Candidate, outcome: str) -> None:
        self.attempts[candidate.name, outcome] += 1
        self._measures.agent_session(outcome)

    def _is_there(self, candidate: Candidate, permit: Permit) -> None:
        has_changed = permit.succeeded()
        if has_changed:
            self._log.info(
                "deployment {deployment} is usable again", deployment=candidate.name
            )
        self._settled(permit, has_changed)

    def _settled(self, permit: Permit, may_matter: bool) -> None:
        """Notify those who wait, if the result may matter to them."""
        if may_matter or permit.is_probe:
            self._choice.changed()

    def _log_rest(self, candidate: Candidate, why: AgentUnavailable) -> None:
        self._log.emit(
            LogLevel.error if why.misconfigured else LogLevel.warn,
            "deployment {deployment} {what} and rests for {rest_seconds} s: {reason}",
            deployment=candidate.name,
            what="cannot work" if why.misconfigured else "failed",
            rest_seconds=round(
                candidate.breaker.rests_until - self._clock.seconds(), 1
            ),
            reason=str(why),
        )

    def _profile_refused(
        self, candidate: Candidate, profile: str, why: ProfileRefused
    ) -> None:
        if not why.is_of_call:
            until = self._clock.seconds() + RECHECK_SECONDS
            self._profiles[profile] = _ProfileFault(str(why), until)
        self._log.error(
            "agent profile {agent} is refused by deployment {deployment}: {reason}",
            agent=profile,
            deployment=candidate.name,
            reason=str(why),
        )


def _is_away(candidate: Candidate, now: float) -> bool:
    wait = candidate.budget.free_at(now) - now
    return candidate.breaker.state(now) in _RESTS or wait > _WORTH_A_WAIT_SECONDS


def _state(candidate: Candidate, now: float) -> str:
    state = candidate.breaker.state(now)
    if state not in _RESTS and candidate.budget.is_spent(now):
        return SPENT
    return state.value


def _said_of(candidate: Candidate, now: float, *, in_detail: bool) -> str:
    breaker = candidate.breaker
    if breaker.state(now) not in _RESTS:
        why = f": {candidate.budget.why(now)}" if in_detail else ""
        rest = candidate.budget.free_at(now) - now
        return f"the budget of {candidate.name} is spent for another {rest:.1f} s{why}"
    why = f": {breaker.why}" if in_detail else ""
    if breaker.state(now) is State.MISCONFIGURED:
        return f"{candidate.name}{why or ' is misconfigured'}"
    rest = breaker.rests_until - now
    return f"{candidate.name} rests for another {rest:.1f} s{why}"
