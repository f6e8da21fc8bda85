"""Events about the items of a response in progress, as far as a call needs them."""

from __future__ import annotations

from typing import Final

import msgspec

from chime_gateway.wire.realtime.events import Event, McpBegan, McpCalled, Unrecognized
from chime_gateway.wire.realtime.members import NOTHING, Id

_NULL: Final = bytes(NOTHING)


class _OutputItem(msgspec.Struct):
    type: str = ""
    id: Id | None = ""
    name: Id = ""
    server_label: Id = ""
    error: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING

    @property
    def tool(self) -> str:
        return f"{self.server_label}.{self.name}"


class OutputItemEvent(msgspec.Struct):
    item: _OutputItem


def output_item_added(message: OutputItemEvent) -> Event:
    item = message.item
    if item.type != "mcp_call":
        return Unrecognized("response.output_item.added")
    return McpBegan(item.id or "", item.tool)


def output_item_done(message: OutputItemEvent) -> Event:
    item = message.item
    if item.type != "mcp_call":
        return Unrecognized("response.output_item.done")
    fault = bytes(item.error)
    text = "" if fault == _NULL else fault.decode("utf-8", "replace")[:300]
    has_result = bool(text) or bytes(item.output) != _NULL
    return McpCalled(item.tool, text, item.id or "", has_result)
