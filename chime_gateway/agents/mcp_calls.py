"""
Tracks the tool calls that the service makes itself, to MCP servers, until their results
have arrived.

A tool call may end before the response that made it, or many seconds after.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from chime_gateway.agents.responses.active_responses import ActiveResponses
from chime_gateway.interfaces import AgentEvents
from chime_gateway.wire.realtime.events import McpBegan, McpCalled, McpOver

#: Limits the number of tracked tool calls, if some never end.
_REMEMBERED: Final = 64

_NO_REASON: Final = "the service gave no reason"


@define(eq=False)
class _Call:
    """
    One tool call.

    @ivar name: C{SERVER.TOOL}; empty: not known yet.
    @ivar is_over: it has succeeded or failed.
    @ivar is_complete: the service has reported everything about it.
    @ivar fault: why it failed.
    """

    name: str = ""
    is_over: bool = False
    is_complete: bool = False
    fault: str = ""


class McpCalls:
    """The MCP calls of one session."""

    __slots__ = ("_active", "_calls", "_events")

    def __init__(self, active: ActiveResponses, events: AgentEvents) -> None:
        self._active = active
        self._events = events
        #: By item; C{None}: its result was reported.
        self._calls: dict[str, _Call | None] = {}

    def began(self, event: McpBegan) -> None:
        self._active.tool_called("")
        call = self._call(event.item_id)
        if call is not None:
            call.name = event.name or call.name

    def over(self, event: McpOver) -> None:
        call = self._call(event.item_id)
        if call is not None:
            call.is_over = True
            call.fault = (call.fault or _NO_REASON) if event.has_failed else ""
        self.report_results()

    def told(self, event: McpCalled) -> None:
        """
        The item of a tool call is done.  The service also says so when the response
        ends before the tool call does.
        """
        self._active.tool_called("")
        is_new = event.item_id not in self._calls
        call = self._call(event.item_id)
        if call is not None:
            call.name = event.name
            call.is_complete = True
            call.is_over |= is_new or event.has_result
            call.fault = event.fault or call.fault
        self.report_results()

    def report_results(self) -> None:
        """Report the results of all tool calls, once all of them are complete."""
        is_active = len(self._active) > 0
        calls = [call for call in self._calls.values() if call is not None]
        if all(one.is_over and (one.is_complete or not is_active) for one in calls):
            self._calls = {item_id: None for item_id in self._calls if item_id}
            for call in calls:
                self._events.mcp_called(call.name or "mcp.?", call.fault)

    def _call(self, item_id: str) -> _Call | None:
        """Return the tool call of an item; C{None}: its result was reported already."""
        call = self._calls.setdefault(item_id, _Call())
        if len(self._calls) > _REMEMBERED:
            del self._calls[next(iter(self._calls))]
        return call
