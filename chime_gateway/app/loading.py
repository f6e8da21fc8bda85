"""
Loads the modules that process samples, in a thread, when the first call begins that
may need them.

They import numpy: 10 MB, which most gateways never use, and a quarter of a second,
during which all calls would stall if it were loaded at the first lost packet.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.interfaces import CallLeg

#: Conceals lost packets; it imports numpy.
_MODULE: Final = "chime_gateway.codec.pitch"


class SampleWork:
    """
    Loads the modules once.

    @param in_thread: runs a function in a thread.
    """

    _log = Logger()

    def __init__(self, in_thread: Callable[..., Deferred[object]]) -> None:
        self._in_thread = in_thread
        self._is_loaded = False

    def expect(self, leg: CallLeg) -> None:
        """A call begins: load the modules if it may need them."""
        if self._is_loaded or not _may_need_it(leg):
            return
        self._is_loaded = True
        self._in_thread(import_module, _MODULE).addErrback(
            lambda failure: self._log.failure(
                "could not load the resampler ahead of need", failure
            )
        )


def _may_need_it(leg: CallLeg) -> bool:
    """
    Whether a leg may lose packets, or its codec differs from the agent's.  Neither is
    true of a leg that buffers and uses G.711.
    """
    return not leg.traits.buffers or leg.codec not in (PCMU, PCMA)
