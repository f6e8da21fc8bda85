"""The conversation of a simulated Realtime session: its items, in order."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import define

from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.dialect import (
    Configuration,
    Refused,
    missing,
    refuse_type,
)
from chime_gateway.sim.realtime.events import ServerEvents, new_id
from chime_gateway.sim.realtime.model.context import Sound, lines_of
from chime_gateway.sim.realtime.voices import Line

_ROLES: Final = ("user", "assistant", "system")

#: The types of text parts by role; others have the dialect's output type.
_TEXT_OF: Final = {"user": "input_text", "system": "input_text"}


@define(eq=False)
class Item:
    """
    One item of the conversation, as the service stores it.

    @ivar sent_bytes: how much of an agent's audio was sent and not truncated.
    """

    id: str
    body: dict[str, Any]
    audio: bytes = b""
    sent_bytes: int = 0

    def public(self) -> dict[str, Any]:
        return {"id": self.id, "object": "realtime.item", **self.body}


class Conversation:
    """
    The items of one session.

    @ivar items: the items by id, in order.
    @ivar last: the id of the newest item, even if it was deleted.
    @ivar issued: the ids of all items so far in this session.
    """

    def __init__(
        self, configuration: Configuration, events: ServerEvents, log: SessionLog
    ) -> None:
        self.id = new_id("conv")
        self.items: dict[str, Item] = {}
        self.last: str | None = None
        self.issued: set[str] = set()
        self._calls: set[str] = set()
        self._configuration = configuration
        self._events = events
        self._log = log

    def append(self, item: Item) -> str | None:
        """@return: the id of the item before it."""
        previous, self.last = self.last, item.id
        self.items[item.id] = item
        self._know(item)
        return previous

    def _know(self, item: Item) -> None:
        self.issued.add(item.id)
        if item.body.get("type") == "function_call":
            self._calls.add(str(item.body.get("call_id")))

    def _insert(self, item: Item, before: str | None) -> None:
        """@param before: the id of the preceding item; C{None}: insert it first."""
        ids = list(self.items)
        ids.insert(0 if before is None else ids.index(before) + 1, item.id)
        self.items = {one: self.items.get(one, item) for one in ids}
        self._know(item)

    def lines(self, items: Iterable[Item] | None = None) -> tuple[Line, ...]:
        """
        Return the items as the model sees them.

        @param items: only these items; C{None}: all.
        """
        chosen = self.items.values() if items is None else items
        return lines_of((item.body, self.sound(item)) for item in chosen)

    def sound(self, item: Item) -> Sound:
        """Return an item's audio; of an agent's, what was sent and not truncated."""
        settings = self._configuration.settings
        if item.body.get("role") == "assistant":
            return Sound(item.audio[: item.sent_bytes], settings.output_codec)
        return Sound(item.audio, settings.input_codec)

    def add(self, item: Item) -> None:
        """Append a complete item and send its events."""
        self._tell(item, self.append(item))

    def _tell(self, item: Item, previous: str | None) -> None:
        for event in ("conversation.item.added", "conversation.item.done"):
            self._events.emit(event, previous_item_id=previous, item=item.public())

    # -- commands ----------------------------------------------------------------

    def create(self, message: Mapping[str, object]) -> None:
        body = message.get("item")
        if not isinstance(body, dict) or "type" not in body:
            raise missing("item.type")
        self._check(body)
        before = message.get("previous_item_id")
        if before not in (None, "root") and before not in self.items:
            self._foreign("conversation.item.create", before)
            raise Refused(
                "invalid_value",
                f"Error adding item: the previous item with id '{before}' does not"
                " exist.",
                "previous_item_id",
            )
        item_id = body.get("id") or new_id("item")
        if item_id in self.items:
            raise Refused(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item_id}' already exists.",
            )
        rest = {k: v for k, v in body.items() if k not in ("id", "object")}
        item = Item(item_id, {"status": "completed", **rest})
        told = " ".join(line.text for line in self.lines([item]))
        kind, role = rest["type"], rest.get("role", "")
        now = self._events.seconds()
        self._log.note(now, "item", type=kind, role=role, text=told)
        if before is None or before == self.last:
            self.add(item)
            return
        place = None if before == "root" else str(before)
        self._insert(item, place)
        self._tell(item, place)

    def _check(self, body: Mapping[str, object]) -> None:
        """@raise Refused: the item is invalid."""
        kind = body["type"]
        if kind == "message":
            self._check_message(body)
        elif kind == "function_call_output":
            refuse_type(body.get("output"), str, "item.output")
            call_id = body.get("call_id")
            if call_id not in self._calls:
                self._violated(f"function_call_output for unknown call_id {call_id}")
                raise Refused(
                    "item_create_invalid_function_call_output",
                    f"Error adding item: the call_id '{call_id}' was not found in the"
                    " conversation.",
                    "item.call_id",
                )
        elif kind == "function_call":
            for name in ("call_id", "name", "arguments"):
                refuse_type(body.get(name), str, f"item.{name}")

    def _check_message(self, body: Mapping[str, Any]) -> None:
        role = body.get("role")
        if role not in _ROLES:
            supported = ", ".join(f"'{one}'" for one in _ROLES)
            raise Refused(
                "invalid_value",
                f"Invalid value: '{role}'. Supported values are: {supported}.",
                "item.role",
            )
        parts = body.get("content")
        refuse_type(parts, list, "item.content")
        wanted = _TEXT_OF.get(str(role), self._configuration.dialect.text)
        for index, part in enumerate(parts or ()):
            at = f"item.content[{index}]"
            refuse_type(part, dict, at)
            if part.get("type") == "input_audio" and role == "user":
                continue
            if part.get("type") != wanted or not isinstance(part.get("text"), str):
                raise missing(f"{at}.text")

    def truncate(self, message: Mapping[str, object]) -> None:
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
        self.cut(item, index, end_ms)

    def cut(self, item: Item, index: int, end_ms: int) -> None:
        """
        Truncate an answer; the removed audio cannot be restored.

        @param index: the index of the spoken part.
        @param end_ms: the new length, not more than the present one.
        """
        codec = self._configuration.settings.output_codec
        generated = codec.duration_ms(item.sent_bytes)
        self._log.truncations.append((item.id, end_ms, generated))
        item.sent_bytes = end_ms * codec.bytes_per_second // 1000
        parts = item.body["content"]
        parts[index] = {**parts[index], "transcript": ""}
        self._events.emit(
            "conversation.item.truncated",
            item_id=item.id,
            content_index=index,
            audio_end_ms=end_ms,
        )

    def delete(self, message: Mapping[str, object]) -> None:
        item = self._named(message, "deleting", "item_delete_invalid_item_id")
        del self.items[item.id]
        self._events.emit("conversation.item.deleted", item_id=item.id)

    def retrieve(self, message: Mapping[str, object]) -> None:
        item = self._named(message, "retrieving", "item_retrieve_invalid_item_id")
        public = item.public()
        if item.audio:
            audio = base64.b64encode(item.audio).decode()
            public["content"] = [{**part, "audio": audio} for part in public["content"]]
        self._events.emit("conversation.item.retrieved", item=public)

    def _named(self, message: Mapping[str, object], doing: str, code: str) -> Item:
        if "item_id" not in message:
            raise missing("item_id")
        item = self.items.get(str(message.get("item_id")))
        if item is None:
            self._foreign(str(message.get("type")), message.get("item_id"))
            raise Refused(
                code,
                f"Error {doing} item: the item with id"
                f" '{message.get('item_id')}' does not exist.",
            )
        return item

    def _foreign(self, command: str, item_id: object) -> None:
        """Note an id that was never issued here: it must be from another session."""
        if item_id not in self.issued:
            self._violated(f"{command} of {item_id}, which is not of this session")

    def _violated(self, how: str) -> None:
        self._log.violated(self._events.seconds(), how)
