"""There is no memory for one call of a function, whichever."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import chime_gateway

_ROOT: Final = str(Path(chime_gateway.__file__).parent)


class NoMemory:
    """
    Fails the call of a function of the gateway's, once.

    A generator is spared: it is resumed to be thrown away, too, where nobody can be
    told of a failure.

    @param at: the number of that call.
    @param spares: others that are not counted.
    @ivar where: it was; empty: there were fewer calls.
    """

    def __init__(
        self, at: int, spares: Callable[[FrameType], bool] = lambda _: False
    ) -> None:
        self.where = ""
        self._left = at
        self._spares = spares

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_ROOT):
            return
        if code.co_flags & inspect.CO_GENERATOR or self._spares(frame):
            return
        self._left -= 1
        if not self._left:
            self.where = f"{code.co_filename}:{code.co_qualname}"
            raise MemoryError(self.where)

    def run(self, do: Callable[[], object]) -> None:
        """What fails is for C{do} to deal with, or is lost, as in the reactor."""
        sys.setprofile(self)
        try:
            with contextlib.suppress(MemoryError):
                do()
        finally:
            sys.setprofile(None)
