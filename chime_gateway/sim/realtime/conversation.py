"""
The conversation of a simulated Realtime session: its items, in their order.

Who says something, and when, is not known here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from attrs import define

from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.dialect import Configuration, Refused, missing
from chime_gateway.sim.realtime.events import ServerEvents, new_id


@define(eq=False)
class Item:
    """One item of the conversation, as the service knows it."""

    id: str
    body: dict[str, Any]
    audio: bytes = b""
    sent_bytes: int = 0

    def public(self) -> dict[str, Any]:
        return {"id": self.id, "object": "realtime.item", **self.body}


class Conversation:
    """
    @ivar items: by their id.
    @ivar last: id of the newest item, whether it is still there or not.
    """

    def __init__(
        self, configuration: Configuration, events: ServerEvents, log: SessionLog
    ) -> None:
        self.id = new_id("conv")
        self.items: dict[str, Item] = {}
        self.last: str | None = None
        self._configuration = configuration
        self._events = events
        self._log = log

    def append(self, item: Item) -> str | None:
        """@return: id of the item before it."""
        previous, self.last = self.last, item.id
        self.items[item.id] = item
        return previous

    def add(self, item: Item) -> None:
        """The item is whole, and told so."""
        previous = self.append(item)
        for event in ("conversation.item.added", "conversation.item.done"):
            self._events.emit(event, previous_item_id=previous, item=item.public())

    # -- commands ----------------------------------------------------------------

    def create(self, message: Mapping[str, Any]) -> None:
        body = message.get("item")
        if not isinstance(body, dict) or "type" not in body:
            raise missing("item.type")
        text = self._configuration.dialect.text
        for index, part in enumerate(body.get("content") or ()):
            if body.get("role") == "assistant" and part.get("type") != text:
                raise missing(f"item.content[{index}].text")
        item_id = body.get("id") or new_id("item")
        if item_id in self.items:
            raise Refused(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item_id}' already exists.",
            )
        rest = {k: v for k, v in body.items() if k not in ("id", "object")}
        self.add(Item(item_id, {"status": "completed", **rest}))

    def truncate(self, message: Mapping[str, Any]) -> None:
        item = self._named(message, "truncating", "item_truncate_invalid_item_id")
        if item.body.get("role") != "assistant":
            raise Refused("invalid_value", "Only assistant audio can be truncated.")
        index = message.get("content_index")
        if index is None:
            raise missing("content_index")
        parts = item.body.get("content") or []
        if type(index) is not int or not 0 <= index < len(parts):
            raise Refused(
                "invalid_value", f"Invalid value: '{index}'.", "content_index"
            )
        if parts[index]["type"] != self._configuration.dialect.audio:
            raise Refused("invalid_value", "Only assistant audio can be truncated.")
        if "audio_end_ms" not in message:
            raise missing("audio_end_ms")
        end_ms = message.get("audio_end_ms")
        if type(end_ms) is not int or end_ms < 0:
            raise Refused(
                "invalid_type",
                "Invalid type for 'audio_end_ms': expected an integer.",
                "audio_end_ms",
            )
        codec = self._configuration.settings.output_codec
        generated = codec.duration_ms(item.sent_bytes)
        if end_ms > generated:
            raise Refused(
                "invalid_value",
                f"Audio content of {generated}ms is already shorter than {end_ms}ms",
            )
        self._log.truncations.append((item.id, end_ms, generated))
        # What was cut off cannot be cut again.
        item.sent_bytes = end_ms * codec.bytes_per_second // 1000
        parts[index] = {**parts[index], "transcript": ""}
        self._events.emit(
            "conversation.item.truncated",
            item_id=item.id,
            content_index=index,
            audio_end_ms=end_ms,
        )

    def delete(self, message: Mapping[str, Any]) -> None:
        item = self._named(message, "deleting", "item_delete_invalid_item_id")
        del self.items[item.id]
        self._events.emit("conversation.item.deleted", item_id=item.id)

    def retrieve(self, message: Mapping[str, Any]) -> None:
        item = self._named(message, "retrieving", "item_retrieve_invalid_item_id")
        public = item.public()
        if item.audio:
            audio = base64.b64encode(item.audio).decode()
            public["content"] = [{**part, "audio": audio} for part in public["content"]]
        self._events.emit("conversation.item.retrieved", item=public)

    def _named(self, message: Mapping[str, Any], doing: str, code: str) -> Item:
        if "item_id" not in message:
            raise missing("item_id")
        item = self.items.get(str(message.get("item_id")))
        if item is None:
            raise Refused(
                code,
                f"Error {doing} item: the item with id"
                f" '{message.get('item_id')}' does not exist.",
            )
        return item
