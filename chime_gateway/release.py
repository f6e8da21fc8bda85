"""Releases what a call or a leg holds, step by step, even if a step fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.logger import Logger

_Owner = TypeVar("_Owner")


class Release(Generic[_Owner]):
    """
    Runs every step, even if one fails, so that nothing stays allocated or counted.

    @param owner: what the steps release.
    @param steps: a step that fails is repeated once: when memory is short, it may have
        failed before it did anything.
    @ivar is_done: no step is left.
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

    def run(self) -> None:
        """Run the remaining steps; a step may call this again."""
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
            self._log.failure("could not release a part of a call")
            step(self._owner)
        except Exception:
            with contextlib.suppress(Exception):
                self._log.failure("could not release a part of a call, and again")
