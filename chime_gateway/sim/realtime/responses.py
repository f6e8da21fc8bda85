"""
Responses of a simulated Realtime session: all requests for them, and those as text.

A text response is asked for out of band.  It runs beside the conversation, next to
others and to the spoken one, and leaves no item behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, define, frozen
from twisted.internet.interfaces import IDelayedCall

from chime_gateway.sim.realtime.conversation import Conversation, Item
from chime_gateway.sim.realtime.dialect import (
    Configuration,
    Ga,
    Preview,
    Refused,
    refuse_type,
    refuse_unknown,
)
from chime_gateway.sim.realtime.events import ServerEvents, new_id
from chime_gateway.sim.realtime.faults.errors import ServiceError

#: Some ten tokens a second of a caller's audio, twenty of an agent's.
CALLER_TOKENS: Final = 10
AGENT_TOKENS: Final = 20


@frozen
class Wanted:
    """
    A C{response.create}, checked.

    @ivar instructions: empty: the session's.
    @ivar is_aside: it does not become a part of the conversation.
    @ivar context: items of the conversation that it refers to; None: all of it.
    """

    instructions: str = ""
    metadata: Mapping[str, str] | None = None
    is_aside: bool = False
    is_text: bool = False
    context: tuple[Item, ...] | None = None

    @classmethod
    def read(
        cls,
        message: Mapping[str, Any],
        dialect: type[Ga] | type[Preview],
        session: Mapping[str, Any],
        items: Mapping[str, Item],
    ) -> Wanted:
        """@raise Refused: the service does not take it."""
        asked = message.get("response")
        if asked is None:
            asked = {}
        refuse_type(asked, dict, "response")
        refuse_unknown(asked, dialect.response_keys, "response")
        conversation = asked.get("conversation") or "auto"
        if conversation not in ("auto", "none"):
            raise Refused(
                "invalid_value",
                f"Invalid value: '{conversation}'. Supported values are: 'auto',"
                " 'none'.",
                "response.conversation",
            )
        instructions = asked.get("instructions") or ""
        refuse_type(instructions, str, "response.instructions")
        key = dialect.modalities
        modalities = asked.get(key) or session[key]
        if modalities not in dialect.modality_sets:
            sets = " and ".join(str(known) for known in dialect.modality_sets)
            raise Refused(
                "invalid_value",
                f"Invalid modalities: {modalities}. Supported combinations are:"
                f" {sets}.",
                f"response.{key}",
            )
        return cls(
            instructions,
            _metadata(asked.get("metadata")),
            conversation == "none",
            modalities == ["text"],
            _context(asked.get("input"), items),
        )


def _metadata(value: Any) -> Mapping[str, str] | None:
    if value is None:
        return None
    refuse_type(value, dict, "response.metadata")
    for name, member in value.items():
        refuse_type(member, str, f"response.metadata.{name}")
    longest = max((len(member) for member in value.values()), default=0)
    if len(value) > 16 or longest > 512 or any(len(name) > 64 for name in value):
        raise Refused("invalid_value", "Metadata is too large.", "response.metadata")
    return dict(value)


def _context(value: Any, items: Mapping[str, Item]) -> tuple[Item, ...] | None:
    if value is None:
        return None
    refuse_type(value, list, "response.input")
    found: list[Item] = []
    for index, member in enumerate(value):
        at = f"response.input[{index}]"
        refuse_type(member, dict, at)
        if not isinstance(member.get("type"), str):
            text = f"Missing required parameter: '{at}.type'."
            raise Refused("missing_required_parameter", text, f"{at}.type")
        if member["type"] != "item_reference":
            continue
        item = items.get(str(member.get("id")))
        if item is None:
            text = f"The item with id '{member.get('id')}' does not exist."
            raise Refused("invalid_value", text, f"{at}.id")
        found.append(item)
    return tuple(found)


@define(eq=False)
class Response:
    wanted: Wanted = Factory(Wanted)
    id: str = Factory(lambda: new_id("resp"))
    items: list[Item] = Factory(list)
    timers: list[IDelayedCall] = Factory(list)
    open_item: Item | None = None
    output_bytes: int = 0

    def members(self, item: Item, **more: Any) -> dict[str, Any]:
        """How an event of this response says what it is about."""
        return {
            "response_id": self.id,
            "item_id": item.id,
            "output_index": self.items.index(item),
            **more,
        }

    def public(
        self,
        status: str,
        dialect: type[Ga] | type[Preview],
        session: Mapping[str, Any],
        conversation: str,
    ) -> dict[str, Any]:
        common = {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": None,
            "output": [item.public() for item in self.items],
            "conversation_id": None if self.wanted.is_aside else conversation,
            "usage": None,
            "metadata": self.wanted.metadata,
        }
        is_text = self.wanted.is_text and self.wanted.is_aside
        if dialect is Preview:
            return {**common, "modalities": ["text"] if is_text else ["audio", "text"]}
        common["max_output_tokens"] = "inf"
        if is_text:
            return {**common, "output_modalities": ["text"]}
        output = {k: v for k, v in session["audio"]["output"].items() if k != "speed"}
        return {
            **common,
            "output_modalities": ["audio"],
            "audio": {"output": output},
        }


def usage(
    *, text_in: int = 0, audio_in: int = 0, text_out: int = 0, audio_out: int = 0
) -> dict[str, Any]:
    """Tokens, as C{response.done} tells them."""
    into, out = text_in + audio_in, text_out + audio_out
    return {
        "total_tokens": into + out,
        "input_tokens": into,
        "output_tokens": out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens": 0,
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


def active_response(response_id: str) -> Refused:
    """There is one, so that there cannot be another."""
    return Refused(
        "conversation_already_has_active_response",
        f"Conversation already has an active response in progress: {response_id}."
        " Wait until the response is finished before creating a new one.",
    )


class ResponseEvents:
    """
    What is said of every response: that it was created, and that it is done.

    @ivar issued: ids of all there ever were in this session.
    """

    def __init__(
        self,
        configuration: Configuration,
        conversation: Conversation,
        events: ServerEvents,
        *,
        tells_limits: bool,
    ) -> None:
        self._configuration = configuration
        self._conversation = conversation
        self._events = events
        self._tells_limits = tells_limits
        self.issued: set[str] = set()

    def created(self, response: Response) -> None:
        self.issued.add(response.id)
        public = self._public(response, "in_progress")
        self._events.emit("response.created", response=public)
        if self._tells_limits:
            limit = {"name": "tokens", "limit": 100000, "remaining": 99000}
            self._events.emit(
                "rate_limits.updated", rate_limits=[{**limit, "reset_seconds": 1.0}]
            )

    def done(
        self,
        response: Response,
        status: str,
        reason: str | ServiceError | None,
        counted: Mapping[str, Any],
    ) -> None:
        """
        @param reason: of a response that failed the error, or its name.
        @param counted: its L{usage}.
        """
        details: dict[str, Any] | None = None
        if status == "failed":
            error = (
                reason
                if isinstance(reason, ServiceError)
                else ServiceError.named(reason or "server_error")
            )
            details = {"type": "failed", "error": error.in_response()}
        elif status != "completed":
            details = {"type": status, "reason": reason}
        self._events.emit(
            "response.done",
            response={
                **self._public(response, status),
                "status_details": details,
                "usage": counted,
            },
        )

    def _public(self, response: Response, status: str) -> dict[str, Any]:
        configuration = self._configuration
        return response.public(
            status,
            configuration.dialect,
            configuration.session,
            self._conversation.id,
        )


def emit_text(events: ServerEvents, at: Mapping[str, Any], words: str) -> int:
    """
    One part of text, from its beginning to its end.

    @param at: which part of which response.
    @return: its tokens.
    """
    empty, whole = {"type": "text", "text": ""}, {"type": "text", "text": words}
    events.emit("response.content_part.added", **at, part=empty)
    pieces = re.findall(r"\s*\S+", words)
    for piece in pieces:
        events.emit("response.output_text.delta", **at, delta=piece)
    events.emit("response.output_text.done", **at, text=words)
    events.emit("response.content_part.done", **at, part=whole)
    return len(pieces)


class TextResponses:
    """
    The responses in words that are under way.

    @param text: the type of an assistant's text in the session's dialect.
    """

    def __init__(
        self, text: str, *, events: ServerEvents, about: ResponseEvents
    ) -> None:
        self._text = text
        self._events = events
        self._about = about
        self._running: dict[str, tuple[Response, IDelayedCall]] = {}

    def begin(
        self, response: Response, words: str, audio_tokens: int, seconds: float
    ) -> None:
        """
        @param words: what it answers.
        @param audio_tokens: of the audio in its context.
        @param seconds: until it does.
        """
        self._about.created(response)
        timer = self._events.later(seconds, self._write, response, words, audio_tokens)
        self._running[response.id] = response, timer

    def cancel(self, response_id: str) -> bool:
        """Whether there was such a response."""
        response, timer = self._running.pop(response_id, (None, None))
        if response is None or timer is None:
            return False
        timer.cancel()
        self._about.done(response, "cancelled", "client_cancelled", usage())
        return True

    def _write(self, response: Response, words: str, audio_tokens: int) -> None:
        del self._running[response.id]
        item = Item(
            new_id("item"),
            {
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            },
        )
        response.items.append(item)
        whole = {"response_id": response.id, "output_index": 0}
        at = response.members(item, content_index=0)
        self._events.emit("response.output_item.added", **whole, item=item.public())
        tokens = emit_text(self._events, at, words)
        item.body["status"] = "completed"
        item.body["content"] = [{"type": self._text, "text": words}]
        self._events.emit("response.output_item.done", **whole, item=item.public())
        counted = usage(
            text_in=len(response.wanted.instructions) // 4,
            audio_in=audio_tokens,
            text_out=tokens,
        )
        self._about.done(response, "completed", None, counted)
