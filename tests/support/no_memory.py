"""Makes one chosen function call fail for lack of memory."""

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
    Makes one call of a function of the gateway fail.

    Generators are spared: they are also resumed to be discarded, where a failure cannot
    be reported.

    @param at: the number of the call.
    @param spares: further functions that are not counted.
    @ivar where: the function that failed; empty: there were fewer calls.
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
        """Run C{do}; exceptions that it does not handle are lost, as in the reactor."""
        sys.setprofile(self)
        try:
            with contextlib.suppress(MemoryError):
                do()
        finally:
            sys.setprofile(None)
