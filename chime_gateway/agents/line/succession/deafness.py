"""
Detects a session that no longer hears the caller although its connection is open.

Such a session owes nothing, so no deadline finds it.  Suspicious is: the caller was
loud, and no event followed; or the session takes him to speak while he is silent, or
for very long.  Then the session is asked something that it has to answer.  As noise,
music, or thinking aloud cause the same, a session that answers is asked less and less
often, until it reports speech again.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final

#: A service says within this that somebody speaks, or has stopped.
_NOTICE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.5

#: Behind a loud street nobody can tell.
_LONG_SECONDS: Final = 4.0

#: A click is no speech, and somebody who coughs asks for no answer.
_LEAST_LOUD_SECONDS: Final = 0.4

#: After an answer; each time twice as long.
_FIRST_REST_SECONDS: Final = 3.0
_LONGEST_REST_SECONDS: Final = 24.0


class Sign(Enum):
    """What has to be done."""

    NONE = "none"
    ASK = "ask"
    DEAF = "deaf"


class Deafness:
    """
    It is told of moments some tenths of a second apart; times are seconds.

    @param answer_seconds: the session has to answer within this.
    @ivar loud_since: the caller has been loud, and nothing was said since then;
        C{None}: he has not been.
    @ivar loud_at: he was, the last time.
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
        """It is taken to be if it gives no sign until then."""
        return inf if self._asked_at is None else self._asked_at + self._answer_seconds

    @property
    def unheard_since(self) -> float | None:
        """The caller is silent since then, and what was asked has no answer."""
        return None if self._asked_at is None else max(self._asked_at, self.loud_at)

    def heard(self) -> None:
        """The session has said that the caller speaks."""
        self._rest = _FIRST_REST_SECONDS
        self._not_before = self._event_at

    def look(self, now: float, event_at: float, *, is_loud: bool) -> None:
        """
        @param event_at: when the session has said something last.
        @param is_loud: the caller's side is.
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
        @param is_taken_to_speak: the service takes the caller to speak.
        """
        if self._asked_at is not None:
            return Sign.DEAF if now >= self.deaf_at else Sign.NONE
        if now < self._not_before or not self._is_odd(now, is_taken_to_speak):
            return Sign.NONE
        self._asked_at = now
        return Sign.ASK

    def _is_odd(self, now: float, is_taken_to_speak: bool) -> bool:
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
