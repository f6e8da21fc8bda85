"""
Collects the digits that the caller presses: for a question of the agent's, or
unprompted.

The caller of this class supplies the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen
from twisted.internet.defer import Deferred

#: Keys that follow each other within this time belong together.
GROUP_SECONDS: Final = 2.0

#: A key that ends a group of keys nobody asked for.
_GROUP_END: Final = "#"

#: A caller who leans on the keypad.
_MAX_DIGITS: Final = 64


@frozen
class Collected:
    """
    What was typed for a question.

    @ivar why: C{terminator}, C{complete}, C{timeout} or C{ended} (the call).
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
    @param typed: told digits that nobody asked for, in groups.
    """

    def __init__(self, typed: Callable[[str], None]) -> None:
        self._typed = typed
        self._digits = ""
        self._last_at = 0.0
        self._question: _Question | None = None

    @property
    def is_waiting(self) -> bool:
        """L{tick} wants to be called."""
        return bool(self._digits) or self._question is not None

    def collect(
        self, max_digits: int, terminator: str, timeout_seconds: float, now: float
    ) -> Deferred[Collected]:
        """
        Ask for digits.  A question that was open is over with what it has.

        @param timeout_seconds: without a key, counted anew after each.
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
                self._hand_over()
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
        @param is_agent_heard: the agent is still speaking, perhaps asking.
        """
        question = self._question
        if question is not None:
            if is_agent_heard and not self._digits:
                question.due_at = now + question.timeout_seconds
            elif now >= question.due_at:
                self._answer("timeout")
        elif self._digits and now - self._last_at >= GROUP_SECONDS:
            self._hand_over()

    def close(self) -> None:
        """Whoever asked is told what there is."""
        if self._question is not None:
            self._answer("ended")

    def _answer(self, why: str) -> None:
        question, self._question = self._question, None
        digits, self._digits = self._digits, ""
        assert question is not None
        question.answered.callback(Collected(digits, why))

    def _hand_over(self) -> None:
        digits, self._digits = self._digits, ""
        self._typed(digits)
