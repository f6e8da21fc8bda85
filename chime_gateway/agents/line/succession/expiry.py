"""
Computes when a session expires, and when the next one has to be opened.

All times are monotonic seconds, except where Unix time is stated.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.interfaces import AgentTraits

#: A longer lifetime than this means that a clock is wrong.
_MOST_SESSION_SECONDS: Final = 86_400.0

#: How long before the end the take-over no longer waits until the caller has heard
#: everything, and how long before the end it waits for nothing.  The margin allows for
#: a difference between the service's clock and this one.
_SOON_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 20.0

#: Added to the configured time for a goodbye before a session ends.
_GOODBYE_SLACK_SECONDS: Final = 10.0


@frozen
class Expiry:
    """
    The expiry of one session.

    @ivar ends_at: when the service ends it.
    @ivar wanted_at: from then on, the next session takes over in a pause.
    @ivar soon_at: from then on, also in a pause in which the caller still hears queued
        audio; and the next session is prepared without waiting for a pause.
    @ivar goodbye_at: if there is no next session by then, the agent says goodbye.
    @ivar last_at: from then on, the next session takes over at once.
    """

    ends_at: float
    wanted_at: float
    soon_at: float
    goodbye_at: float
    last_at: float


def expiry(
    traits: AgentTraits,
    began: float,
    unix_began: float,
    lead_seconds: float,
    goodbye_seconds: float,
) -> Expiry | None:
    """
    Compute the expiry of a session.

    @param began: when it was opened; C{unix_began} is the same in Unix seconds.
    @param lead_seconds: how long before its end the next session is wanted.  It is at
        most half of the session's lifetime, but always leaves time for a goodbye.
    @param goodbye_seconds: how long a goodbye takes; at most a quarter of the lifetime.
    @return: C{None}: the end is not known.
    """
    seconds = traits.most_seconds
    if traits.expires_at is not None:
        said = traits.expires_at - unix_began
        if 0.0 < said < _MOST_SESSION_SECONDS:
            seconds = said
        # Otherwise one of the clocks is wrong.
    if seconds is None:
        return None
    ends_at = began + seconds
    goodbye = min(goodbye_seconds + _GOODBYE_SLACK_SECONDS, seconds / 4)
    # It takes a while until a session is ready, or turns out to be unavailable.
    lead = max(min(lead_seconds, seconds / 2), 1.75 * goodbye)
    soon = max(min(lead / 2, _SOON_SECONDS), 1.5 * goodbye)
    last = min(lead / 4, _LAST_SECONDS)
    return Expiry(
        *(ends_at, ends_at - lead, ends_at - soon, ends_at - goodbye, ends_at - last)
    )
