"""What all calls of a gateway share, and the observer of their events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from attrs import define

from chime_gateway.call.reports.events import CallEvent
from chime_gateway.call.reports.record import Shown
from chime_gateway.media.metronome import Metronome
from chime_gateway.services import Destinations, Recordings, ToolRunner
from chime_gateway.settings.values import Limits

if TYPE_CHECKING:
    from chime_gateway.call.call import Call


class CallObserver(Protocol):
    """Receives a call's measurements and events."""

    def turn_answered(self, seconds: float) -> None: ...
    def bridged(self, seconds: float) -> None: ...
    def text_missed(self, form: str) -> None: ...
    def happened(self, event: CallEvent) -> None: ...
    def call_ended(self, call: Call) -> None: ...


@define(kw_only=True, eq=False)
class CallContext:
    """
    @ivar clock: seconds, monotonic.
    @ivar recordings: C{None}: calls are not recorded.
    @ivar shown: reduces a record to what may be logged.
    """

    clock: Callable[[], float]
    metronome: Metronome
    limits: Limits
    observer: CallObserver
    tools: ToolRunner
    destinations: Destinations
    recordings: Recordings | None = None
    shown: Shown = lambda facts: facts
