"""
Attributes an error that arrives before a session is ready to its cause.

L{chime_gateway.wire.realtime.faults} interprets codes and types of errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.wire.realtime.events import ServiceError

#: Settings that are not essential, as named in records and in the log.
REASONING: Final = "reasoning"
TRANSCRIPTION: Final = "transcription"

#: Words that show that an error is about one of these settings.
_WORDS: Final[Mapping[str, Sequence[str]]] = {
    REASONING: ("reasoning", "effort"),
    TRANSCRIPTION: ("transcri", "deployment"),
}


def refused_session(event: ServiceError, text: str) -> AgentUnavailable:
    """An error before any command: the key is throttled, or not allowed a session."""
    return AgentUnavailable(
        text,
        misconfigured=event.is_of_account or event.is_about_request,
        retry_after_seconds=event.retry_seconds,
    )


def refused_member(event: ServiceError, dispensable: Sequence[str]) -> str | None:
    """
    Return which setting to leave out; C{None}: that would not help.

    @param dispensable: the settings that are not essential; the first of them is left
        out if the service does not say what it refuses.
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
    An error in answer to C{session.update}.  It is the agent profile's fault, unless it
    is temporary, or the model or the account is not allowed such a session.
    """
    if event.fatal or event.is_about_model or not event.is_about_request:
        return AgentUnavailable(
            text,
            misconfigured=event.is_of_account or event.is_about_model,
            retry_after_seconds=event.retry_seconds,
        )
    return ProfileRefused(
        f"the service refused the session's settings: {text}",
        # Only the instructions may contain values of the call.
        is_of_call=event.param.startswith("session.instructions"),
    )
