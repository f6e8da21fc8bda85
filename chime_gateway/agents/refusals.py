"""
Says whose fault an error is that comes before a session is ready.

L{chime_gateway.wire.realtime.faults} reads codes and types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.wire.realtime.events import ServiceError

#: What a session can do without, as records and the log name it.
REASONING: Final = "reasoning"
TRANSCRIPTION: Final = "transcription"

#: Words by which an error tells that it is about this.
_WORDS: Final[Mapping[str, Sequence[str]]] = {
    REASONING: ("reasoning", "effort"),
    TRANSCRIPTION: ("transcri", "deployment"),
}


def refused_session(event: ServiceError, text: str) -> AgentUnavailable:
    """Nothing was asked for yet but a session: throttled, or none for this key."""
    return AgentUnavailable(
        text,
        misconfigured=event.is_of_account or event.is_about_request,
        retry_after_seconds=event.retry_seconds,
    )


def refused_member(event: ServiceError, dispensable: Sequence[str]) -> str | None:
    """
    Which of the settings is to be left out; C{None}: that would not help.

    @param dispensable: those that a session can do without; the first is meant if the
        service does not say what it refuses.
    """
    if event.fatal or event.is_about_model or not event.is_about_request:
        return None
    about = (event.param or event.message).lower()
    for member in dispensable:
        if any(word in about for word in _WORDS[member]):
            return member
    if "session." in about:
        return None
    return next(iter(dispensable), None)


def refused_settings(event: ServiceError, text: str) -> AgentUnavailable:
    """
    The answer to C{session.update}.  What cannot be had is the agent profile's fault;
    what passes, a model that has no such sessions, or an account that does not pay, is
    none of it.
    """
    if event.fatal or event.is_about_model or not event.is_about_request:
        return AgentUnavailable(
            text,
            misconfigured=event.is_of_account or event.is_about_model,
            retry_after_seconds=event.retry_seconds,
        )
    return ProfileRefused(
        f"the service refused the session's settings: {text}",
        # The only ones in which values of a call may stand.
        is_of_call=event.param.startswith("session.instructions"),
    )
