"""
Follows the tool calls that the service makes itself, at MCP servers, until their
results are there.

A call may end before the response that made it, or many seconds after.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from chime_gateway.agents.responses.making import Making
from chime_gateway.interfaces import AgentEvents
from chime_gateway.wire.realtime.events import McpBegan, McpCalled, McpOver

#: A call that is never over is not remembered in full.
_REMEMBERED: Final = 64

_NO_REASON: Final = "the service does not say why"


@define(eq=False)
class _Call:
    """
    @ivar name: C{SERVER.TOOL}; empty: not known yet.
    @ivar is_over: its result is there, or there is none.
    @ivar is_told: the service has said all that it says of it.
    """

    name: str = ""
    is_over: bool = False
    is_told: bool = False
    fault: str = ""


class McpCalls:
    """The MCP calls of one session."""

    __slots__ = ("_calls", "_events", "_making")

    def __init__(self, making: Making, events: AgentEvents) -> None:
        self._making = making
        self._events = events
        #: C{None}: its result was told.
        self._calls: dict[str, _Call | None] = {}

    def began(self, event: McpBegan) -> None:
        self._making.tool_called("")
        call = self._call(event.item_id)
        if call is not None:
            call.name = event.name or call.name

    def over(self, event: McpOver) -> None:
        call = self._call(event.item_id)
        if call is not None:
            call.is_over = True
            call.fault = (call.fault or _NO_REASON) if event.has_failed else ""
        self.tell_results()

    def told(self, event: McpCalled) -> None:
        """Its item is done; that is so, too, when its response is over before it is."""
        self._making.tool_called("")
        is_new = event.item_id not in self._calls
        call = self._call(event.item_id)
        if call is not None:
            call.name = event.name
            call.is_told = True
            call.is_over |= is_new or event.has_result
            call.fault = event.fault or call.fault
        self.tell_results()

    def tell_results(self) -> None:
        """Of all calls, if all are over and no more is going to be said of them."""
        is_making = len(self._making) > 0
        calls = [call for call in self._calls.values() if call is not None]
        if all(one.is_over and (one.is_told or not is_making) for one in calls):
            self._calls = {item_id: None for item_id in self._calls if item_id}
            for call in calls:
                self._events.mcp_called(call.name or "mcp.?", call.fault)

    def _call(self, item_id: str) -> _Call | None:
        """@return: C{None}: its result was told before all was said of it."""
        call = self._calls.setdefault(item_id, _Call())
        if len(self._calls) > _REMEMBERED:
            del self._calls[next(iter(self._calls))]
        return call
