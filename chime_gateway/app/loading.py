"""
Loads the modules that process samples, in a thread, when the first call begins that
may need them.

They need numpy: 10 MB, which most gateways never use, and a quarter of a second, in
which all calls would stand still if the first lost packet loaded it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.interfaces import CallLeg

#: It brings numpy: what makes up for lost packets.
_MODULE: Final = "chime_gateway.codec.pitch"


class SampleWork:
    """
    @param in_thread: runs a function beside the reactor.
    """

    _log = Logger()

    def __init__(self, in_thread: Callable[..., Deferred[Any]]) -> None:
        self._in_thread = in_thread
        self._is_loaded = False

    def expect(self, leg: CallLeg) -> None:
        """A call begins: once is enough."""
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
    It loses packets, or has another codec than an agent.  A leg with a buffer and
    G.711 has none of that.
    """
    return not leg.traits.buffers or leg.codec not in (PCMU, PCMA)
