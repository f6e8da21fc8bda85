"""
What an error says that comes before a session is ready: whose fault it is.

Codes and types are read in L{chime_gateway.wire.realtime.faults}.
"""

from __future__ import annotations

from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.settings.transcribers import Transcription
from chime_gateway.wire.realtime.events import ServiceError


def refused_session(event: ServiceError, text: str) -> AgentUnavailable:
    """Nothing was asked for yet but a session: throttled, or none for this key."""
    return AgentUnavailable(
        text,
        misconfigured=event.is_of_account or event.is_about_request,
        retry_after_seconds=event.retry_seconds,
    )


def is_about_transcription(
    event: ServiceError, transcription: Transcription | None
) -> bool:
    """Whether settings that were refused may be taken without a transcriber."""
    about = event.param or event.message
    is_about_others = "session." in about and "transcription" not in about
    return not (
        event.fatal
        or not event.is_about_request
        or is_about_others
        or transcription is None
        or transcription.is_by_the_model
    )


def refused_settings(event: ServiceError, text: str) -> AgentUnavailable:
    """
    The answer to C{session.update}.  What cannot be had is the agent profile's fault;
    what passes, or an account that does not pay, is none of it.
    """
    if event.fatal or not event.is_about_request:
        return AgentUnavailable(
            text,
            misconfigured=event.is_of_account,
            retry_after_seconds=event.retry_seconds,
        )
    return ProfileRefused(
        f"the service refused the session's settings: {text}",
        # The only ones in which values of a call may stand.
        is_of_call=event.param.startswith("session.instructions"),
    )
