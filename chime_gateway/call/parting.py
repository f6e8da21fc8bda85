"""
How a call ends politely: the agent says goodbye, and what was said is heard; and
how all that it has is let go, surely.

When that begins is not known here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.logger import Logger

from chime_gateway.outcomes import Ending

_Owner = TypeVar("_Owner")


class Parting:
    """
    @ivar farewell: what the agent is told to say.
    @ivar ending: how the call will have ended.
    """

    def __init__(self, farewell: str) -> None:
        self.farewell = farewell
        self.ending: Ending | None = None
        self._goodbye_by: float | None = None
        self._heard_by: float | None = None

    @property
    def has_begun(self) -> bool:
        """The call is ending."""
        return self.ending is not None

    @property
    def is_saying_goodbye(self) -> bool:
        return self._goodbye_by is not None

    def say_goodbye(self, ending: Ending, by: float) -> None:
        """
        @param by: the agent has no longer for its last words.
        """
        self.ending = ending
        self._goodbye_by = by

    def is_goodbye_overdue(self, now: float) -> bool:
        return self._goodbye_by is not None and now >= self._goodbye_by

    def play_out(self, ending: Ending | None, by: float) -> None:
        """
        @param ending: C{None}: the one that is known already.
        @param by: what is not heard by then is not waited for.
        """
        self.ending = ending or self.ending
        self._goodbye_by = None
        self._heard_by = by

    def take_heard(self, now: float, is_drained: Callable[[float], bool]) -> bool:
        """All was heard, or it took too long; told once."""
        if self._heard_by is None or not (now >= self._heard_by or is_drained(now)):
            return False
        self._heard_by = None
        return True


class Release(Generic[_Owner]):
    """
    Letting go of all that a call has: whatever fails in one step, nothing is kept and
    nothing counted for ever.

    @param owner: whose all that is.
    @param steps: each is done again, once, if it fails: out of memory, it may have
        failed before it began.
    @ivar is_done: there is nothing left.
    """

    _log = Logger()

    def __init__(
        self, owner: _Owner, steps: Sequence[Callable[[_Owner], object]]
    ) -> None:
        self._owner = owner
        self._steps = steps
        self._at = 0
        self._is_running = False

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._steps)

    def by(
        self,
        tell: Callable[[Ending], object],
        end: Callable[[Ending, bool], object],
        ending: Ending,
        hang_up_leg: bool,
    ) -> None:
        """
        Have it done by telling somebody, and surely.

        @param end: does it, should they not.
        """
        try:
            tell(ending)
        finally:
            if not self.is_done:
                end(ending, hang_up_leg)

    def run(self) -> None:
        """Do what is left; a step may come back here."""
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._at < len(self._steps):
                step = self._steps[self._at]
                try:
                    step(self._owner)
                except Exception:
                    self._again(step)
                self._at += 1
        finally:
            self._is_running = False

    def _again(self, step: Callable[[_Owner], object]) -> None:
        try:
            self._log.failure("a call ended badly")
            step(self._owner)
        except Exception:
            with contextlib.suppress(Exception):
                self._log.failure("a call ended badly, and again")
