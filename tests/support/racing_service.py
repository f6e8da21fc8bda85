"""
A service that behaves like the reference, over a slow connection.

It makes one response at a time, answers turns by itself, refuses a second response, and
may fail.  Commands and events take time, so both sides act on outdated information.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import Factory, define, frozen
from twisted.internet.task import Clock


@frozen(kw_only=True)
class Manners:
    """
    How the service behaves.

    @ivar names: it repeats the name (metadata) of a requested response.
    @ivar tells_command: an error names its command.
    @ivar interrupts: the caller's voice stops a response.
    @ivar complains: it reports an error if a response prevents its own answer.
    @ivar up: seconds that commands take, in turn; C{down}: that events take.
    @ivar outcomes: of responses, in turn; all others are spoken.
    @ivar refusals: of C{response.create}, in turn: a code and a text; empty: it is
        accepted.
    """

    names: bool = True
    tells_command: bool = True
    interrupts: bool = True
    complains: bool = False
    up: Sequence[float] = (0.05,)
    down: Sequence[float] = (0.05,)
    outcomes: Sequence[str] = ()
    refusals: Sequence[str] = ()


@define(eq=False)
class Made:
    """
    A response that was made.

    @ivar said: the words that it was told to say; empty: it is an answer.
    @ivar knows: the content of the conversation when it began.
    @ivar is_asked_for: it was requested, not started by the VAD.
    @ivar was_overtaken: when it was requested, the other side did not know of another
        one that had begun.
    @ivar is_empty: it is an answer without content.
    @ivar name: the name in its request.
    @ivar is_vain: nothing is said or done in it.
    """

    id: str
    said: str
    knows: frozenset[str]
    is_asked_for: bool
    was_overtaken: bool
    is_empty: bool = False
    name: str = ""
    is_vain: bool = False
    timers: list[Any] = Factory(list)


#: Outcomes other than completed: the status, and its details.
_OUTCOMES: Final[Mapping[str, tuple[str, object]]] = {
    "cut short": ("incomplete", {"reason": "max_output_tokens"}),
    "fails": ("failed", {"error": {"message": "Please try again in 0.4s"}}),
    "breaks": ("failed", {"error": {"type": "server_error", "message": "Sorry."}}),
    "filtered": ("incomplete", {"reason": "content_filter"}),
    "throttled": (
        "failed",
        {"error": {"code": "rate_limit_exceeded", "message": "Try again in 12s."}},
    ),
}


def _name(asked: dict[str, Any]) -> str:
    return str((asked.get("metadata") or {}).get("asked_as", ""))


class RacingService:
    """
    The service.

    @param receive: called with each event.
    @ivar made: every response.
    @ivar last_asked_at: when the last C{response.create} was sent.
    @ivar in_vain: how often each thing was requested without result, although neither
        side had prevented it.
    @ivar turns: of the caller.
    """

    def __init__(
        self, clock: Clock, manners: Manners, receive: Callable[[bytes], None]
    ) -> None:
        self.made: list[Made] = []
        self.in_vain: Counter[str] = Counter()
        self.last_asked_at = 0.0
        self._clock = clock
        self._manners = manners
        self._receive = receive
        self._items: set[str] = set()
        self._overtaken: set[str] = set()
        self._active: Made | None = None
        self.turns = 0
        self._told = 0  # the number of responses that the other side knows
        self._counts = {"up": 0, "down": 0, "outcomes": 0, "refusals": 0}
        self._free_at = {"up": 0.0, "down": 0.0}

    # -- the line ------------------------------------------------------------------

    def _next(self, what: str, default: Any) -> Any:
        values = getattr(self._manners, what)
        count = self._counts[what]
        self._counts[what] += 1
        if what in ("up", "down"):
            return values[count % len(values)]
        return values[count] if count < len(values) else default

    def _travel(self, way: str, arrive: Callable[..., None], *args: Any) -> None:
        """Messages arrive in the order in which they were sent."""
        now = self._clock.seconds()
        at = max(now + self._next(way, 0.0), self._free_at[way])
        self._free_at[way] = at
        self._clock.callLater(at - now, arrive, *args)

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        command = json.loads(payload)
        if command["type"] == "response.create":
            self.last_asked_at = self._clock.seconds()
        self._travel("up", self._command, command, self._told)
        return True

    def close(self, code: int, reason: str) -> None:
        assert not reason, reason

    def emit(self, kind: str, **members: Any) -> None:
        payload = json.dumps({"type": kind, **members}).encode()
        self._travel("down", self._arrive, payload, kind == "response.created")

    def _arrive(self, payload: bytes, is_response: bool) -> None:
        self._told += is_response
        self._receive(payload)

    # -- the caller ------------------------------------------------------------------

    def caller_begins(self) -> None:
        self.turns += 1
        self.emit("input_audio_buffer.speech_started", item_id=f"turn {self.turns}")
        if self._active is not None and self._manners.interrupts:
            self._end("cancelled")

    def caller_stops(self) -> None:
        turn = f"turn {self.turns}"
        self.emit("input_audio_buffer.speech_stopped", item_id=turn)
        self._items.add(turn)
        self.emit("input_audio_buffer.committed", item_id=turn)
        if self._active is None:
            self._begin(None)
        elif self._manners.complains:
            self._refuse("conversation_already_has_active_response", "", None)

    # -- commands --------------------------------------------------------------------

    def _command(self, command: dict[str, Any], told: int) -> None:
        kind, event_id = command["type"], command.get("event_id")
        if kind == "conversation.item.create":
            item = command["item"]
            self._items.add(item["output"])
            self.emit("conversation.item.added", item={**item, "id": "i"})
        elif kind == "response.create":
            asked = command.get("response", {})
            if len(self.made) > told:
                self._overtaken.add(_name(asked))
            self._create(asked, str(event_id))
        elif kind == "response.cancel":
            wanted = command.get("response_id")
            if self._active is None or wanted not in (None, self._active.id):
                self._refuse("response_cancel_not_active", "", event_id)
            else:
                self._end("cancelled")

    def _create(self, asked: dict[str, Any], event_id: str) -> None:
        if self._active is not None:
            self._overtaken.add(_name(asked))
            code = "conversation_already_has_active_response"
            self._refuse(code, "", event_id)
            return
        code, _, text = self._next("refusals", "").partition(" ")
        if code:
            self.in_vain[_name(asked)] += 1
            self._refuse(code, text, event_id)
        else:
            self._begin(asked)

    def _refuse(self, code: str, text: str, event_id: str | None) -> None:
        error: dict[str, Any] = {"code": code, "message": text, "event_id": None}
        if self._manners.tells_command:
            error["event_id"] = event_id
        self.emit("error", error=error)

    # -- responses -------------------------------------------------------------------

    def _begin(self, asked: dict[str, Any] | None) -> None:
        """@param asked: C{None}: the VAD starts it."""
        made = Made(
            f"resp {len(self.made)}",
            (asked or {}).get("instructions", ""),
            frozenset(self._items),
            asked is not None,
            asked is not None and _name(asked) in self._overtaken,
        )
        more = {}
        if asked is not None and self._manners.names:
            more["metadata"] = asked.get("metadata")
        self.made.append(made)
        self._active = made
        self.emit("response.created", response={"id": made.id, **more})
        outcome = self._next("outcomes", "spoken")
        if outcome == "calls" and made.said:
            outcome = "spoken"  # a model that is told what to say calls no tool
        made.name = "" if asked is None else _name(asked)
        made.is_vain = outcome not in ("spoken", "calls", "cut short")
        made.is_empty = outcome == "empty" and not made.said
        if outcome in ("spoken", "cut short"):
            for number in range(4):
                made.timers.append(
                    self._clock.callLater(0.2 + 0.1 * number, self._speak, made)
                )
        if outcome == "written":
            made.timers.append(self._clock.callLater(0.2, self._write, made))
        if outcome == "calls":
            made.timers.append(self._clock.callLater(0.2, self._call, made))
        status, details = _OUTCOMES.get(outcome, ("completed", {}))
        made.timers.append(self._clock.callLater(0.6, self._end, status, details))

    def _speak(self, made: Made) -> None:
        self.emit(
            "response.output_audio.delta",
            response_id=made.id,
            item_id=f"item of {made.id}",
            content_index=0,
            delta=base64.b64encode(b"audio").decode(),
        )

    def _write(self, made: Made) -> None:
        self.emit(
            "response.output_text.done",
            response_id=made.id,
            item_id=f"item of {made.id}",
            output_index=0,
            content_index=0,
            text="text",
        )

    def _call(self, made: Made) -> None:
        self.emit(
            "response.function_call_arguments.done",
            response_id=made.id,
            call_id=f"call of {made.id}",
            name="order",
            arguments="{}",
        )

    def _end(self, status: str, details: object = None) -> None:
        made, self._active = self._active, None
        assert made is not None
        self.in_vain[made.name] += made.is_vain and status != "cancelled"
        for timer in made.timers:
            if timer.active():
                timer.cancel()
        self.emit(
            "response.done",
            response={"id": made.id, "status": status, "status_details": details},
        )
