"""
Spoken responses: one at a time, generated faster than they are heard.

A response may also call tools.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import evolve

from chime_gateway.sim.realtime.behaviour import Answer, Behaviour, SessionLog
from chime_gateway.sim.realtime.conversation import Conversation, Item
from chime_gateway.sim.realtime.dialect import Configuration
from chime_gateway.sim.realtime.events import ServerEvents, new_id
from chime_gateway.sim.realtime.faults.errors import ServiceError
from chime_gateway.sim.realtime.faults.injected import Injected
from chime_gateway.sim.realtime.faults.schedule import Moment, Stage
from chime_gateway.sim.realtime.model.answering import in_words
from chime_gateway.sim.realtime.model.remote import RemoteCalls
from chime_gateway.sim.realtime.output.ahead import Output
from chime_gateway.sim.realtime.responses import (
    AGENT_TOKENS,
    CALLER_TOKENS,
    Response,
    ResponseEvents,
    ResponseRequest,
    active_response,
    emit_text,
    usage,
)
from chime_gateway.sim.realtime.voices import (
    Failure,
    Part,
    RemoteCall,
    Speech,
    Stuck,
    ToolCall,
    Turn,
    Voice,
    Words,
)

#: What a model with phases says before its final answer.
COMMENTARY: Final = "One moment."

#: The observed lengths of the service's audio deltas; the last one repeats.
DELTA_MS: Final = (100, 150, 250)


class SpokenResponses:
    """
    The spoken responses of one session.

    @param close: ends the connection: C{close(code, reason)}.
    @param ended: called when a response ends, with the seconds of speech that the
        caller has not heard yet.
    @ivar has_spoken: the agent has spoken in this session.
    """

    def __init__(
        self,
        voice: Voice,
        behaviour: Behaviour,
        configuration: Configuration,
        conversation: Conversation,
        *,
        events: ServerEvents,
        about: ResponseEvents,
        output: Output,
        log: SessionLog,
        close: Callable[[int, str], None],
        ended: Callable[[float], None],
        injected: Injected,
    ) -> None:
        self.has_spoken = False
        self._voice = voice
        self._behaviour = behaviour
        self._configuration = configuration
        self._conversation = conversation
        self._events = events
        self._about = about
        self._output = output
        self._log = log
        self._close = close
        self._ended = ended
        self._injected = injected
        self._remote = RemoteCalls(events, behaviour.remote_seconds)
        self._active: Response | None = None
        self._count = 0

    @property
    def active_id(self) -> str | None:
        """The id of the response in progress."""
        return self._active.id if self._active is not None else None

    def answer(self, utterance: bytes) -> None:
        """Begin the response that VAD creates after the caller's turn."""
        if self._active is None:
            self.begin(utterance, ResponseRequest())
        else:
            # The error does not belong to any command of the client.
            self._events.refuse(active_response(self._active.id), None)

    def interrupt(self) -> None:
        """The caller begins to speak."""
        if self._active is not None:
            self._end("cancelled", "turn_detected")
        self._output.interrupt()

    def cancel(self) -> None:
        """The client cancels the response."""
        self._end("cancelled", "client_cancelled")

    def begin(self, utterance: bytes, wanted: ResponseRequest) -> None:
        """@param utterance: the speech that is answered; may be empty."""
        wait = self._injected.wait(Stage.CREATED)
        if not wait:
            self._begin(utterance, wanted)
        elif wait < math.inf:
            self._events.later(wait, self._begin_late, utterance, wanted)

    def _begin_late(self, utterance: bytes, wanted: ResponseRequest) -> None:
        if self._active is None:
            self._begin(utterance, wanted)

    def _begin(self, utterance: bytes, wanted: ResponseRequest) -> None:
        configuration = self._configuration
        settings = configuration.settings
        turn = Turn(
            utterance,
            settings.input_codec,
            settings.output_codec,
            wanted.instructions or settings.instructions,
            self._conversation.lines(wanted.context),
            configuration.session["tools"],
        )
        response = self._active = Response(wanted)
        self._about.created(response)
        parts = self._faulty(list(self._voice.answer(turn)), turn, wanted)
        said = " ".join(x.transcript for x in parts if isinstance(x, Speech))
        answer = Answer(turn.instructions, turn.lines, said)
        self._log.answers.append(answer)
        self._log.note(
            self._events.seconds(),
            "answer",
            number=0 if wanted.is_out_of_band else self._count,
            said=said,
            own_instructions=bool(wanted.instructions),
        )
        if not wanted.is_out_of_band:
            self._injected.reached(Moment.RESPONSE, self._count)
        self._later(self._behaviour.first_delta_seconds, Stage.AUDIO, parts)

    def _faulty(
        self, parts: list[Part], turn: Turn, wanted: ResponseRequest
    ) -> list[Part]:
        """Return the parts of the answer after applying commentary and faults."""
        if wanted.is_out_of_band:
            return parts
        self._count += 1
        if self._count in self._behaviour.commentary:
            final = [
                evolve(part, phase="final_answer") if isinstance(part, Speech) else part
                for part in parts
            ]
            before = in_words(turn.output_codec, [COMMENTARY])
            parts = [evolve(before, phase="commentary"), *final]
        fault = self._injected.response() or next(
            (one for one in self._behaviour.responses if self._count in one.which), None
        )
        return parts if fault is None else fault.parts(parts, turn.output_codec)

    def _later(self, seconds: float, stage: Stage, parts: Sequence[Part]) -> None:
        """Continue with these parts later, unless a fault prevents it."""
        wait = self._injected.wait(stage)
        if wait < math.inf:
            self._in_response(max(seconds, wait), self._speak_next, parts)

    def _in_response(
        self, seconds: float, function: Callable[..., None], *args: object
    ) -> None:
        assert self._active is not None
        self._active.timers.append(self._events.later(seconds, function, *args))

    def _speak_next(self, parts: Sequence[Any]) -> None:
        response = self._active
        assert response is not None
        if not parts:
            self._end("completed", None)
            return
        part, rest = parts[0], parts[1:]
        if isinstance(part, Failure):
            self._end(part.status, part.code)
        elif isinstance(part, Stuck):
            pass  # the response goes on until it is cancelled
        elif isinstance(part, ToolCall):
            self._call_tool(response, part)
            self._speak_next(rest)
        elif isinstance(part, RemoteCall):
            item = self._open_item(response, self._remote.body(part))
            self._remote.call(part, item, response)
            self._close_item(response, item)
            self._speak_next(rest)
        elif isinstance(part, Words):
            self._write(response, part)
            self._speak_next(rest)
        else:
            self._open_speech(response, part)
            self._speak(part, 0, 0, rest)

    def _open_item(self, response: Response, body: dict[str, object]) -> Item:
        item = Item(new_id("item"), {"status": "in_progress", **body})
        response.items.append(item)
        if response.request.is_out_of_band:
            # The item does not become part of the conversation.
            self._events.emit(
                "response.output_item.added",
                response_id=response.id,
                output_index=response.items.index(item),
                item=item.public(),
            )
            return item
        previous = self._conversation.append(item)
        if not self._behaviour.unannounced_items:
            self._events.emit(
                "response.output_item.added",
                response_id=response.id,
                output_index=response.items.index(item),
                item=item.public(),
            )
            self._events.emit(
                "conversation.item.added", previous_item_id=previous, item=item.public()
            )
        return item

    def _open_speech(self, response: Response, speech: Speech) -> None:
        body: dict[str, Any] = {"type": "message", "role": "assistant", "content": []}
        if speech.phase:
            body["phase"] = speech.phase
        item = self._open_item(response, body)
        item.audio = speech.audio
        response.open_item = item
        self.has_spoken = True
        self._log.spoken[item.id] = bytearray()
        if not self._behaviour.unannounced_items:
            self._events.emit(
                "response.content_part.added",
                **response.members(item, content_index=0),
                part={"type": "audio", "transcript": ""},
            )
        item.body["content"] = [
            {"type": self._configuration.dialect.audio, "transcript": speech.transcript}
        ]
        for word in speech.transcript.split(" "):
            self._events.emit(
                "response.output_audio_transcript.delta",
                **response.members(item, content_index=0, delta=word + " "),
            )

    def _speak(
        self, speech: Speech, sent: int, count: int, rest: Sequence[object]
    ) -> None:
        response = self._active
        assert response is not None and response.open_item is not None
        item = response.open_item
        codec = self._configuration.settings.output_codec
        length_ms = DELTA_MS[min(count, len(DELTA_MS) - 1)]
        size = length_ms * codec.bytes_per_second // 1000
        if self._behaviour.odd_deltas:
            size |= 1
        piece = speech.audio[sent : sent + size]
        if not piece:
            if not (rest and isinstance(rest[0], Failure | Stuck)):
                self._close_speech(response, item, "completed")
            wait = self._injected.wait(Stage.DONE)
            if not wait:
                self._speak_next(rest)
            elif wait < math.inf:
                self._in_response(wait, self._speak_next, rest)
            return
        if not response.output_bytes and not response.request.is_out_of_band:
            self._log.note(self._events.seconds(), "audio", number=self._count)
            self._injected.reached(Moment.AUDIO, self._count)
        response.output_bytes += len(piece)
        self._output.write(response, item, piece)
        if self._behaviour.drop_in_response and count == 1:
            self._close(0, "")
            return
        # Generating this piece took its length divided by the speed.
        seconds = len(piece) / codec.bytes_per_second / self._behaviour.speed
        self._in_response(
            seconds, self._speak_on, speech, sent + len(piece), count + 1, rest
        )

    def _speak_on(self, *where: Any) -> None:
        """Continue with the next piece, unless a fault prevents it."""
        wait = self._injected.wait(Stage.WITHIN)
        if not wait:
            self._speak(*where)
        elif wait < math.inf:
            self._in_response(wait, self._speak_on, *where)

    def _close_speech(self, response: Response, item: Item, status: str) -> None:
        response.open_item = None
        item.body["status"] = status
        transcript = item.body["content"][0]["transcript"]
        at = response.members(item, content_index=0)
        self._events.emit("response.output_audio.done", **at)
        self._events.emit(
            "response.output_audio_transcript.done", **at, transcript=transcript
        )
        if self._behaviour.unannounced_items:
            return
        part = {"type": "audio", "transcript": transcript}
        self._events.emit("response.content_part.done", **at, part=part)
        self._close_item(response, item)

    def _close_item(self, response: Response, item: Item) -> None:
        self._events.emit(
            "response.output_item.done",
            response_id=response.id,
            output_index=response.items.index(item),
            item=item.public(),
        )
        if not response.request.is_out_of_band:
            self._events.emit(
                "conversation.item.done", previous_item_id=None, item=item.public()
            )

    def _write(self, response: Response, words: Words) -> None:
        item = self._open_item(
            response, {"type": "message", "role": "assistant", "content": []}
        )
        emit_text(self._events, response.members(item, content_index=0), words.text)
        text = self._configuration.dialect.text
        item.body["content"] = [{"type": text, "text": words.text}]
        item.body["status"] = "completed"
        self._close_item(response, item)

    def _call_tool(self, response: Response, call: ToolCall) -> None:
        call_id = new_id("call", 16)
        item = self._open_item(
            response,
            {
                "type": "function_call",
                "name": call.name,
                "call_id": call_id,
                "arguments": "",
            },
        )
        at = response.members(item, call_id=call_id)
        half = len(call.arguments) // 2
        for delta in (call.arguments[:half], call.arguments[half:]):
            self._events.emit(
                "response.function_call_arguments.delta", **at, delta=delta
            )
        item.body.update(arguments=call.arguments, status="completed")
        self._events.emit(
            "response.function_call_arguments.done",
            **at,
            name=call.name,
            arguments=call.arguments,
        )
        self._close_item(response, item)

    def _end(self, status: str, reason: str | ServiceError | None) -> None:
        response, self._active = self._active, None
        assert response is not None
        for timer in response.timers:
            self._events.forget(timer)
        if response.open_item is not None:
            self._close_speech(response, response.open_item, "incomplete")
        into, out = (
            self._configuration.settings.input_codec,
            self._configuration.settings.output_codec,
        )
        counted = usage(
            audio_in=len(self._log.appended) * CALLER_TOKENS // into.bytes_per_second,
            audio_out=response.output_bytes * AGENT_TOKENS // out.bytes_per_second,
        )
        self._about.done(response, status, reason, counted)
        self._output.done(response)
        self._remote.ended(response)
        self._ended(self._output.bytes_to_hear(response) / out.bytes_per_second)
