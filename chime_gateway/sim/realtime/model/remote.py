"""
Tool calls that the service itself makes to MCP servers.

The response may end before or after such a call; in neither case does the service
create another response.
"""

from __future__ import annotations

from typing import Any

from chime_gateway.sim.realtime.conversation import Item
from chime_gateway.sim.realtime.events import ServerEvents
from chime_gateway.sim.realtime.responses import Response
from chime_gateway.sim.realtime.voices import RemoteCall


class RemoteCalls:
    """
    The calls of one session.

    @param seconds: the time from the end of a response to the end of its calls;
        negative: calls end before their response.
    """

    def __init__(self, events: ServerEvents, seconds: float) -> None:
        self._events = events
        self._seconds = seconds
        self._waiting: list[tuple[RemoteCall, Item, Response]] = []

    @staticmethod
    def body(call: RemoteCall) -> dict[str, Any]:
        return {
            "type": "mcp_call",
            "server_label": call.server,
            "name": call.name,
            "arguments": call.arguments,
            "output": None,
            "error": None,
        }

    def call(self, call: RemoteCall, item: Item, response: Response) -> None:
        at = response.members(item)
        self._events.emit(
            "response.mcp_call_arguments.delta", **at, delta=call.arguments
        )
        self._events.emit(
            "response.mcp_call_arguments.done", **at, arguments=call.arguments
        )
        del at["response_id"]
        self._events.emit("response.mcp_call.in_progress", **at)
        if self._seconds < 0:
            self._end(call, item, response)
        else:
            self._waiting.append((call, item, response))

    def ended(self, response: Response) -> None:
        """A response has ended; its calls continue."""
        mine = [one for one in self._waiting if one[2] is response]
        for one in mine:
            self._waiting.remove(one)
            self._events.later(self._seconds, self._end, *one)

    def _end(self, call: RemoteCall, item: Item, response: Response) -> None:
        at = {"item_id": item.id, "output_index": response.items.index(item)}
        if call.output is None:
            item.body["error"] = {"type": "tool_execution_error", "message": "failed"}
        else:
            item.body["output"] = call.output
        how = "failed" if call.output is None else "completed"
        self._events.emit(f"response.mcp_call.{how}", **at)
