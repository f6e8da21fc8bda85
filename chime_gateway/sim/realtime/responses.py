"""
Responses of a simulated Realtime session: the requests for all of them, and the text
responses.

A text response is requested out of band.  It does not belong to the conversation, runs
in parallel with other responses, and leaves no item behind.
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

#: Approximate tokens per second of the caller's and of the agent's audio.
CALLER_TOKENS: Final = 10
AGENT_TOKENS: Final = 20


@frozen
class ResponseRequest:
    """
    A checked C{response.create}.

    @ivar instructions: the response's own instructions; empty: the session's.
    @ivar is_out_of_band: the response does not become part of the conversation.
    @ivar context: the items that the response may use; None: the whole conversation.
    """

    instructions: str = ""
    metadata: Mapping[str, str] | None = None
    is_out_of_band: bool = False
    is_text: bool = False
    context: tuple[Item, ...] | None = None

    @classmethod
    def read(
        cls,
        message: Mapping[str, Any],
        dialect: type[Ga] | type[Preview],
        session: Mapping[str, Any],
        items: Mapping[str, Item],
    ) -> ResponseRequest:
        """@raise Refused: the request is invalid."""
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
    request: ResponseRequest = Factory(ResponseRequest)
    id: str = Factory(lambda: new_id("resp"))
    items: list[Item] = Factory(list)
    timers: list[IDelayedCall] = Factory(list)
    open_item: Item | None = None
    output_bytes: int = 0

    def members(self, item: Item, **more: object) -> dict[str, Any]:
        """Return the members that identify an item in an event of this response."""
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
            "conversation_id": None if self.request.is_out_of_band else conversation,
            "usage": None,
            "metadata": self.request.metadata,
        }
        is_text = self.request.is_text and self.request.is_out_of_band
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
    """Return the token counts in the form of C{response.done}."""
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
    """Return the refusal of a second response while one is in progress."""
    return Refused(
        "conversation_already_has_active_response",
        f"Conversation already has an active response in progress: {response_id}."
        " Wait until the response is finished before creating a new one.",
    )


class ResponseEvents:
    """
    Sends the events that every response has: that it was created, and that it is done.

    @ivar issued: the ids of all responses so far in this session.
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
        counted: Mapping[str, object],
    ) -> None:
        """
        @param reason: the reason; for a failed response the error or its name.
        @param counted: the response's L{usage}.
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


def emit_text(events: ServerEvents, at: Mapping[str, object], words: str) -> int:
    """
    Send the events of one text part.

    @param at: the members that identify the part.
    @return: the number of tokens.
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
    The text responses in progress.

    @param text: the type of an assistant's text part in the session's dialect.
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
        @param words: the text of the answer.
        @param audio_tokens: the tokens of the audio in the context.
        @param seconds: the time until the answer.
        """
        self._about.created(response)
        timer = self._events.later(seconds, self._write, response, words, audio_tokens)
        self._running[response.id] = response, timer

    def cancel(self, response_id: str) -> bool:
        """Cancel a response; return whether it was in progress."""
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
            text_in=len(response.request.instructions) // 4,
            audio_in=audio_tokens,
            text_out=tokens,
        )
        self._about.done(response, "completed", None, counted)
