"""
Collects the digits that the caller presses, in answer to a question of the agent or
unprompted.

It has no clock: every method is passed the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen
from twisted.internet.defer import Deferred

#: Unprompted keys that follow each other within this time form one group.
GROUP_SECONDS: Final = 2.0

#: The key that ends a group of unprompted keys.
_GROUP_END: Final = "#"

#: Maximum length of a group; a caller may lean on the keypad.
_MAX_DIGITS: Final = 64


@frozen
class Collected:
    """
    The digits that were typed for a question.

    @ivar why: why the input ended: C{terminator}, C{complete}, C{timeout}, or C{ended}
        (the call has ended, or another question was asked).
    """

    digits: str = field(repr=lambda digits: f"<{len(digits)} digits>")
    why: str


class _Question:
    def __init__(
        self, max_digits: int, terminator: str, timeout_seconds: float, due_at: float
    ) -> None:
        self.max_digits = max_digits
        self.terminator = terminator
        self.timeout_seconds = timeout_seconds
        self.due_at = due_at
        self.answered: Deferred[Collected] = Deferred()


class Keypad:
    """
    The keypad of one call.

    @param typed: called with each group of unprompted digits.
    """

    def __init__(self, typed: Callable[[str], None]) -> None:
        self._typed = typed
        self._digits = ""
        self._last_at = 0.0
        self._question: _Question | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether L{tick} has to be called."""
        return bool(self._digits) or self._question is not None

    def collect(
        self, max_digits: int, terminator: str, timeout_seconds: float, now: float
    ) -> Deferred[Collected]:
        """
        Ask for digits.  An open question ends with the digits it has.

        @param timeout_seconds: the longest time without a key; restarted by each key.
        """
        self.close()
        question = _Question(
            max_digits, terminator, timeout_seconds, now + timeout_seconds
        )
        self._question = question
        return question.answered

    def press(self, digit: str, now: float) -> None:
        self._last_at = now
        question = self._question
        if question is None:
            if digit == _GROUP_END and self._digits:
                self._digits += digit
                self._report_group()
            elif len(self._digits) < _MAX_DIGITS:
                self._digits += digit
            return
        question.due_at = now + question.timeout_seconds
        if question.terminator and digit == question.terminator:
            self._answer("terminator")
            return
        self._digits += digit
        if len(self._digits) >= question.max_digits:
            self._answer("complete")

    def tick(self, now: float, is_agent_heard: bool) -> None:
        """
        @param is_agent_heard: the caller still hears the agent, perhaps the question.
        """
        question = self._question
        if question is not None:
            if is_agent_heard and not self._digits:
                question.due_at = now + question.timeout_seconds
            elif now >= question.due_at:
                self._answer("timeout")
        elif self._digits and now - self._last_at >= GROUP_SECONDS:
            self._report_group()

    def close(self) -> None:
        """End an open question with the digits it has."""
        if self._question is not None:
            self._answer("ended")

    def _answer(self, why: str) -> None:
        question, self._question = self._question, None
        digits, self._digits = self._digits, ""
        assert question is not None
        question.answered.callback(Collected(digits, why))

    def _report_group(self) -> None:
        digits, self._digits = self._digits, ""
        self._typed(digits)
