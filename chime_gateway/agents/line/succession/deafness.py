"""
Whether a session still hears the caller: one that is gone and does not say so owes
nothing that anybody knows of.

The caller was loud and nothing was said of that, or is silent and the session takes him
to speak: then it is asked something, and has to answer.  What is done if it does not is
not known here.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

#: A service says within this that somebody speaks, or has stopped.
_NOTICE_SECONDS: Final = 1.5

#: And answers to a question within this.
_ANSWER_SECONDS: Final = 2.0

#: What the service takes for no speech is not asked about all the time.
_PAUSE_SECONDS: Final = 5.0

#: A click is no speech.
_LEAST_LOUD: Final = 2


class Sign(Enum):
    """What is to be done."""

    NONE = "none"
    ASK = "ask"
    DEAF = "deaf"


class Deafness:
    """It is told of moments some tenths of a second apart; times are seconds."""

    def __init__(self) -> None:
        self._event_at = 0.0
        self._loud = 0
        self._loud_since = self._quiet_since = 0.0
        self._asked_at: float | None = None
        self._not_before = 0.0

    def look(
        self, now: float, event_at: float, *, is_loud: bool, is_taken_to_speak: bool
    ) -> Sign:
        """
        @param event_at: when the session has said something last.
        @param is_loud: the caller's side is.
        @param is_taken_to_speak: the service takes the caller to speak.
        """
        if event_at > self._event_at:
            if self._asked_at is not None:
                self._not_before = now + _PAUSE_SECONDS
            self._event_at = event_at
            self._loud = 0
            self._quiet_since = now
            self._asked_at = None
        if self._asked_at is not None:
            is_deaf = now - self._asked_at >= _ANSWER_SECONDS
            return Sign.DEAF if is_deaf else Sign.NONE
        if is_loud:
            if not self._loud:
                self._loud_since = now
            self._loud += 1
            self._quiet_since = now
        since = self._quiet_since if is_taken_to_speak else self._loud_since
        is_odd = is_taken_to_speak or self._loud >= _LEAST_LOUD
        if not is_odd or now - since < _NOTICE_SECONDS or now < self._not_before:
            return Sign.NONE
        self._asked_at = now
        return Sign.ASK
