"""
Decides whether a call may come in: by the limits of the gateway, of the profile and
of the caller, and by the load of the process.

It counts the calls in progress and never ends one: a running call always takes
precedence over a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Final

from attrs import frozen

from chime_gateway.call.admission.load import Load
from chime_gateway.outcomes import CallerInfo
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits


class Reason(Enum):
    """Why a call was refused; the values are metric labels."""

    DRAINING = "draining"
    FULL = "full"
    OVERLOADED = "overloaded"
    SHORTAGE = "shortage"  #: this machine lacks what each call needs
    PROFILE = "profile"
    PEER = "peer"
    CALLER = "caller"


#: Reasons for which the gateway is to blame, so the caller hears an apology.
APOLOGISED_FOR: Final = frozenset({Reason.FULL, Reason.OVERLOADED, Reason.PROFILE})


@frozen
class Refusal:
    """
    A refused call.

    @ivar text: for the peer, C{/ready} and the log.
    """

    reason: Reason
    text: str


@frozen
class Place:
    """
    The place that one call occupies until it is given back.

    @ivar is_apology: the caller only hears an apology.
    """

    profile: str
    peer: str
    caller: str
    is_apology: bool = False


class Admission:
    """
    @ivar limits: the limits in force.
    @ivar load: the load of the process.
    @ivar elsewhere: returns the number of calls in other processes of this gateway;
        they count towards the limit.
    @ivar refused: number of refused calls, by reason.
    @ivar apologised: number of refused calls whose caller heard an apology.
    """

    def __init__(self, limits: Limits, load: Load) -> None:
        self.load = load
        self.elsewhere: Callable[[], int] = lambda: 0
        self.refused: Counter[Reason] = Counter()
        self.apologised = 0
        self.limits = limits
        self._calls = 0
        self._apologies = 0
        self._by_profile: Counter[str] = Counter()
        self._by_peer: Counter[str] = Counter()
        self._by_caller: Counter[str] = Counter()

    # -- queries ---------------------------------------------------------------

    def fault(self) -> Refusal | None:
        """Return why no call at all may come in now, or C{None}."""
        most = self.limits.max_calls
        elsewhere = self.elsewhere()
        if self._calls + elsewhere >= most:
            text = f"full: max_calls is {most}"
            if elsewhere:
                text += f", and older processes have {elsewhere}"
            return Refusal(Reason.FULL, text)
        overload = self.load.fault()
        if overload is not None:
            return Refusal(Reason.OVERLOADED, overload)
        return None

    def fault_of(
        self, name: str, profile: AgentProfile, info: CallerInfo, *, is_outbound: bool
    ) -> Refusal | None:
        """Return why this call may not come in, or C{None}."""
        limits = self.limits
        most = profile.limits.max_calls
        if most is not None and self._by_profile[name] >= most:
            text = f"full: agents.{name}.limits.max_calls is {most}"
            return Refusal(Reason.PROFILE, text)
        if is_outbound:
            return None
        most = limits.max_calls_per_peer
        if most and info.peer and self._by_peer[info.peer] >= most:
            return Refusal(Reason.PEER, f"full: max_calls_per_peer is {most}")
        most = limits.max_calls_per_caller
        # Callers who withhold their number are not counted as one caller.
        if most and info.caller and self._by_caller[info.caller] >= most:
            return Refusal(Reason.CALLER, f"full: max_calls_per_caller is {most}")
        return None

    @property
    def can_apologise(self) -> bool:
        """Whether there is room for one more apology."""
        return self._apologies < self.limits.max_apologies

    # -- changes ---------------------------------------------------------------

    def take(self, name: str, info: CallerInfo, *, is_outbound: bool) -> Place:
        """Count a call that is admitted."""
        peer, caller = ("", "") if is_outbound else (info.peer, info.caller)
        place = Place(name, peer, caller)
        self.load.call_began()
        self._calls += 1
        for counts, who in (
            (self._by_profile, name),
            (self._by_peer, peer),
            (self._by_caller, caller),
        ):
            if who:
                counts[who] = counts.get(who, 0) + 1
        return place

    def apologise(self, refusal: Refusal) -> Place:
        """Count a refused call whose caller hears an apology."""
        place = Place("", "", "", is_apology=True)
        self.refuse(refusal)
        self._apologies += 1
        self.apologised += 1
        return place

    def refuse(self, refusal: Refusal) -> None:
        """Count a refused call."""
        self.refused[refusal.reason] += 1

    def give_back(self, place: Place) -> None:
        """Give back the place of a call that is over."""
        if place.is_apology:
            self._apologies -= 1
            return
        self._calls -= 1
        for counts, key in (
            (self._by_profile, place.profile),
            (self._by_peer, place.peer),
            (self._by_caller, place.caller),
        ):
            if key:
                counts[key] -= 1
                if not counts[key]:
                    del counts[key]
