"""
Detects that a call has to end, because the caller's side is silent or the call has
reached its maximum length.

The call decides what to do about it.
"""

from __future__ import annotations

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import Limits


def idle_ending(limits: Limits, idle_seconds: float) -> Ending | None:
    """
    @param idle_seconds: time since anything came from the caller's side.
    """
    if idle_seconds < limits.idle_seconds:
        return None
    reason = f"no audio from the caller for {limits.idle_seconds:g} s"
    return Ending(Outcome.IDLE, reason)


def time_ending(limits: Limits, seconds: float) -> Ending | None:
    """
    @param seconds: how long the call has lasted.
    """
    most = limits.max_call_seconds
    if seconds < most:
        return None
    return Ending(Outcome.TIME_LIMIT, f"the call reached its limit of {most:g} s")
