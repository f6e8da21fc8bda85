"""
Detects a session that no longer hears the caller although its connection is open.

Such a session owes nothing, so no deadline detects it.  It is suspicious if the caller
was loud and no event followed, or if the session regards the caller as speaking during
silence or for very long.  Then it is probed: it is sent something that it has to
answer.  Noise, music and thinking aloud have the same symptoms, so a session that
answers is probed less and less often, until it reports speech again.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final

#: The longest times until a service reports that the caller speaks, or has stopped.
_NOTICE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.5

#: The longest time without an event while the caller is regarded as speaking; in steady
#: noise a pause cannot be detected.
_LONG_SECONDS: Final = 4.0

#: Shorter sounds, such as a click or a cough, need no reaction.
_LEAST_LOUD_SECONDS: Final = 0.4

#: The pause after an answered probe, doubled each time.
_FIRST_REST_SECONDS: Final = 3.0
_LONGEST_REST_SECONDS: Final = 24.0


class Sign(Enum):
    """What to do about a session."""

    NONE = "none"
    ASK = "ask"
    DEAF = "deaf"


class Deafness:
    """
    The signs of one session.  L{look} is called a few times a second.  Times are in
    seconds.

    @param answer_seconds: how long the session may take to answer a probe.
    @ivar loud_since: since when the caller has been loud without any event of the
        session; C{None}: not at all.
    @ivar loud_at: when the caller was last loud.
    """

    def __init__(self, now: float, answer_seconds: float) -> None:
        self.loud_since: float | None = None
        self.loud_at = now
        self._answer_seconds = answer_seconds
        self._loud_seconds = 0.0
        self._looked_at = self._event_at = self._not_before = now
        self._rest = _FIRST_REST_SECONDS
        self._asked_at: float | None = None

    @property
    def deaf_at(self) -> float:
        """When the session is considered deaf, if it sends nothing until then."""
        return inf if self._asked_at is None else self._asked_at + self._answer_seconds

    @property
    def unheard_since(self) -> float | None:
        """Since when the caller has been silent with a probe unanswered, or C{None}."""
        return None if self._asked_at is None else max(self._asked_at, self.loud_at)

    def heard(self) -> None:
        """The session has reported that the caller speaks."""
        self._rest = _FIRST_REST_SECONDS
        self._not_before = self._event_at

    def look(self, now: float, event_at: float, *, is_loud: bool) -> None:
        """
        Update the signs.

        @param event_at: time of the session's last event.
        @param is_loud: whether the caller's side is loud.
        """
        if event_at > self._event_at:
            self._event_at = event_at
            self.loud_since = None
            self._loud_seconds = 0.0
            if self._asked_at is not None:
                self._asked_at = None
                self._not_before = now + self._rest
                self._rest = min(2 * self._rest, _LONGEST_REST_SECONDS)
        elif is_loud:
            self._loud_seconds += now - self._looked_at
            if self.loud_since is None:
                self.loud_since = now
        if is_loud:
            self.loud_at = now
        self._looked_at = now

    def sign(self, now: float, *, is_taken_to_speak: bool) -> Sign:
        """
        Return what to do now.

        @param is_taken_to_speak: whether the service regards the caller as speaking.
        """
        if self._asked_at is not None:
            return Sign.DEAF if now >= self.deaf_at else Sign.NONE
        if now < self._not_before or not self._is_suspicious(now, is_taken_to_speak):
            return Sign.NONE
        self._asked_at = now
        return Sign.ASK

    def _is_suspicious(self, now: float, is_taken_to_speak: bool) -> bool:
        if is_taken_to_speak:
            quiet_since = max(self.loud_at, self._event_at)
            return (
                now - quiet_since >= _PAUSE_SECONDS
                or now - self._event_at >= _LONG_SECONDS
            )
        return (
            self.loud_since is not None
            and now - self.loud_since >= _NOTICE_SECONDS
            and self._loud_seconds >= _LEAST_LOUD_SECONDS
        )
