"""
Tells when a session expires, and when the next one has to be opened.

All times are seconds, monotonic, but those of the wall clock.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.interfaces import AgentTraits

#: A session that is said to last for longer is the word of a wrong clock.
_MOST_SESSION_SECONDS: Final = 86_400.0

#: So long before its end nobody waits for the caller to have heard everything, and then
#: for nothing at all: the service's clock is not ours.
_SOON_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 20.0

#: The agent needs so long to say goodbye before its session ends, beside what is set.
_GOODBYE_SLACK_SECONDS: Final = 10.0


@frozen
class Expiry:
    """
    @ivar ends_at: when the service ends it.
    @ivar wanted_at: from then on the next one takes over in a pause.
    @ivar soon_at: from then on in one in which the caller may still be hearing; and
        the next one is prepared, pause or no pause.
    @ivar goodbye_at: without a next one by then, it is time to say goodbye.
    @ivar last_at: from then on at once.
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
    @param began: when it was opened; C{unix_began} is the same in Unix seconds.
    @param lead_seconds: so long before its end the next one is wanted; of a session
        that is short, half of its time; and in time to say goodbye if there is none.
    @param goodbye_seconds: that takes so long; a quarter of a short session's time.
    @return: C{None}: nobody knows of an end.
    """
    seconds = traits.most_seconds
    if traits.expires_at is not None:
        said = traits.expires_at - unix_began
        if 0.0 < said < _MOST_SESSION_SECONDS:
            seconds = said
        # Or one of the clocks is wrong.
    if seconds is None:
        return None
    ends_at = began + seconds
    goodbye = min(goodbye_seconds + _GOODBYE_SLACK_SECONDS, seconds / 4)
    # It takes a while until a session is ready, or turns out not to be had.
    lead = max(min(lead_seconds, seconds / 2), 1.75 * goodbye)
    soon = max(min(lead / 2, _SOON_SECONDS), 1.5 * goodbye)
    last = min(lead / 4, _LAST_SECONDS)
    return Expiry(
        *(ends_at, ends_at - lead, ends_at - soon, ends_at - goodbye, ends_at - last)
    )
