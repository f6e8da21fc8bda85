"""
One simulated Realtime session: the service's side of the protocol.

Messages in, messages out through C{send}; time is the clock that was passed in.
It aims to do what the real service is documented and seen to do, its errors and
its refusals included.  It knows neither sockets nor HTTP, and takes nothing
from the client's side of this package, so that a mistake there shows.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.sim.realtime.dialect import (
    GA_ONLY,
    PREVIEW_NAMES,
    Ga,
    Preview,
    Refused,
    merged,
    refuse_type,
    refuse_unknown,
)
from chime_gateway.sim.realtime.responses import (
    AGENT_TOKENS,
    CALLER_TOKENS,
    Item,
    Response,
    TextResponses,
    Wanted,
    new_id,
    usage,
)
from chime_gateway.sim.realtime.transcription import (
    ONE_OF_EACH,
    Transcription,
    words_of,
)
from chime_gateway.sim.realtime.vad import EnergyVad
from chime_gateway.sim.realtime.voices import Failure, Speech, ToolCall, Turn, Voice

#: Lengths of audio deltas as the service was seen to send them; the last repeats.
DELTA_MS: Final = (100, 150, 250)

#: An append may not be larger (documented).
MAX_APPEND_BYTES: Final = 15 << 20

#: Speech kept from before the VAD heard it.
_HISTORY_SECONDS: Final = 10


@frozen(kw_only=True)
class Behaviour:
    """
    How the service behaves, its faults included.

    @ivar speed: times real time at which speech is generated.
    @ivar first_delta_seconds: from C{response.created} to the first audio.
    @ivar session_seconds: after which the session expires.
    @ivar update_delay_seconds: before C{session.updated}; negative: never.
    @ivar silent_start: accept the connection and never say anything.
    @ivar stall_after_seconds: from then on say nothing at all.
    @ivar garbage_after_seconds: then send something that is not JSON.
    @ivar drop_after_seconds: then break the connection.
    @ivar close_after_seconds: then close it with C{close_code}.
    @ivar drop_in_response: break the connection in the middle of an answer.
    @ivar unknown_events: send event types nobody knows, and duplicates.
    @ivar rate_limits: send C{rate_limits.updated}.
    @ivar obfuscation: pad deltas as the service does at times.
    @ivar unannounced_items: send the audio of an item and nothing before it.
    @ivar transcription: which transcribers there are, and how they refuse; unless
        it is said, one of each.
    """

    speed: float = 5.0
    first_delta_seconds: float = 0.3
    session_seconds: float = 3600.0
    update_delay_seconds: float = 0.0
    silent_start: bool = False
    stall_after_seconds: float | None = None
    garbage_after_seconds: float | None = None
    drop_after_seconds: float | None = None
    close_after_seconds: float | None = None
    close_code: int = 3000
    drop_in_response: bool = False
    unknown_events: bool = False
    rate_limits: bool = True
    obfuscation: bool = False
    unannounced_items: bool = False
    transcription: Transcription = Factory(
        lambda: Transcription(deployments=ONE_OF_EACH)
    )


@define(eq=False)
class SessionLog:
    """
    What a test wants to know afterwards.

    @ivar truncations: (item id, audio_end_ms, generated ms) of each truncation.
    @ivar appended: all the caller's audio.
    @ivar commands: types of client events, but for appends.
    @ivar errors: codes of the errors sent.
    @ivar spoken: item id -> its audio, as far as it was sent.
    """

    truncations: list[tuple[str, int, int]] = Factory(list)
    appended: bytearray = field(factory=bytearray)
    commands: list[str] = Factory(list)
    errors: list[str] = Factory(list)
    spoken: dict[str, bytearray] = Factory(dict)
    interrupted_at: list[float] = Factory(list)


class SimulatedSession:
    """
    @param send: takes a server event.
    @param close: ends the connection: C{close(code, reason)}; code 0 breaks it.
    @param wall_time: Unix seconds.
    """

    def __init__(
        self,
        voice: Voice,
        behaviour: Behaviour,
        *,
        is_preview: bool,
        send: Callable[[Mapping[str, Any]], None],
        close: Callable[[int, str], None],
        clock: IReactorTime,
        wall_time: Callable[[], float],
    ) -> None:
        self.log = SessionLog()
        self._voice = voice
        self._behaviour = behaviour
        self._dialect = Preview if is_preview else Ga
        self._send_event = send
        self._close = close
        self._clock = clock
        self._timers: set[IDelayedCall] = set()
        self._is_mute = behaviour.silent_start
        self._is_over = False
        self._session = {
            "id": new_id("sess"),
            **copy.deepcopy(dict(self._dialect.session)),
            "expires_at": int(wall_time() + behaviour.session_seconds),
        }
        self._settings = self._dialect.settings(self._session)
        self._conversation = new_id("conv")
        self._items: dict[str, Item] = {}
        self._last_item: str | None = None
        self._has_spoken = False
        self._active: Response | None = None
        self._texts = TextResponses(
            self._dialect.text,
            emit=self._emit,
            announce=self._announce,
            finish=self._finish,
            later=self._later,
        )
        self._buffer = bytearray()
        self._buffer_start = 0  # bytes written before what is in the buffer
        self._speech_item = ""
        self._speech_start = 0
        self._idle: IDelayedCall | None = None
        self._vad = self._new_vad()
        self._commands: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "session.update": self._update_session,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit_command,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": self._delete_item,
            "conversation.item.retrieve": self._retrieve_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_command,
        }

    # -- the connection ----------------------------------------------------------

    def start(self) -> None:
        """The connection is open."""
        self._emit("session.created", session=copy.deepcopy(self._session))
        how = self._behaviour
        self._later(how.session_seconds, self._expire)
        if how.stall_after_seconds is not None:
            self._later(how.stall_after_seconds, self._fall_silent)
        if how.garbage_after_seconds is not None:
            self._later(how.garbage_after_seconds, self._send_event, {"no": "type"})
        if how.drop_after_seconds is not None:
            self._later(how.drop_after_seconds, self._close, 0, "")
        if how.close_after_seconds is not None:
            self._later(how.close_after_seconds, self._close, how.close_code, "fault")

    def stop(self) -> None:
        """The connection is gone."""
        self._is_over = True
        for timer in list(self._timers):
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def receive(self, payload: bytes) -> None:
        """One message from the client."""
        if self._is_mute:
            return
        event_id: Any = None
        try:
            message = json.loads(payload)
            if not isinstance(message, dict) or not isinstance(
                message.get("type"), str
            ):
                raise Refused("invalid_event", "The 'type' field is missing.")
            event_id = message.get("event_id")
            kind = message["type"]
            if kind != "input_audio_buffer.append":
                self.log.commands.append(kind)
            command = self._commands.get(kind)
            if command is None:
                raise Refused("invalid_value", f"Invalid value: '{kind}'.", "type")
            command(message)
        except Refused as exc:
            self._error(exc, event_id if exc.is_correlated else None)
        except (ValueError, RecursionError) as exc:
            self._error(Refused("invalid_json", f"Could not parse: {exc}"), event_id)

    def _expire(self) -> None:
        minutes = self._behaviour.session_seconds / 60
        text = f"Your session hit the maximum duration of {minutes:g} minutes."
        self._error(Refused("session_expired", text), None)
        self._close(1001, text)

    def _fall_silent(self) -> None:
        self._is_mute = True

    # -- events ------------------------------------------------------------------

    def _emit(self, kind: str, /, **members: Any) -> None:
        if self._is_mute or self._is_over:
            return
        if self._dialect is Preview:
            if kind in GA_ONLY:
                return
            kind = PREVIEW_NAMES.get(kind, kind)
        event = {"type": kind, "event_id": new_id("event"), **members}
        if self._behaviour.obfuscation and kind.endswith(".delta"):
            event["obfuscation"] = secrets.token_urlsafe(6)
        self._send_event(event)
        if self._behaviour.unknown_events and kind.endswith(".done"):
            self._send_event({"type": "future.event", "event_id": new_id("event")})
            self._send_event({"type": kind, "event_id": new_id("event"), **members})

    def _error(self, refused: Refused, event_id: Any) -> None:
        self.log.errors.append(refused.code)
        self._emit(
            "error",
            error={
                "type": "invalid_request_error",
                "code": refused.code,
                "message": str(refused),
                "param": refused.param,
                "event_id": event_id if isinstance(event_id, str) else None,
            },
        )

    def _later(
        self, seconds: float, function: Callable[..., None], *args: Any
    ) -> IDelayedCall:
        def run() -> None:
            self._timers.discard(timer)
            function(*args)

        timer: IDelayedCall = self._clock.callLater(seconds, run)
        self._timers.add(timer)
        return timer

    # -- session -----------------------------------------------------------------

    def _update_session(self, message: dict[str, Any]) -> None:
        patch = message.get("session")
        if not isinstance(patch, dict):
            raise Refused(
                "missing_required_parameter",
                "Missing required parameter: 'session'.",
                "session",
            )
        if self._dialect is Ga and "type" not in patch:
            raise Refused(
                "missing_required_parameter",
                "Missing required parameter: 'session.type'.",
                "session.type",
            )
        refuse_unknown(patch, self._dialect.keys, "session")
        session = merged(self._session, patch)
        settings = self._dialect.settings(session)
        if self._has_spoken and settings.voice != self._settings.voice:
            raise Refused(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
            )
        if settings.transcription is not None:
            self._behaviour.transcription.check(
                settings.transcription, self._dialect.transcription
            )
        vad = settings.turn_detection
        idle = vad.get("idle_timeout_ms") if vad else None
        if idle is not None and not 5000 <= idle <= 30000:
            raise Refused("invalid_value", f"Invalid value: '{idle}'.")
        delay = self._behaviour.update_delay_seconds
        if delay < 0:
            return
        if vad != self._settings.turn_detection or (
            settings.input_codec != self._settings.input_codec
        ):
            self._settings = settings
            self._vad = self._new_vad()
        self._settings = settings
        self._session = session
        if delay:
            self._later(delay, self._session_updated)
        else:
            self._session_updated()

    def _session_updated(self) -> None:
        self._emit("session.updated", session=copy.deepcopy(self._session))

    def _new_vad(self) -> EnergyVad | None:
        vad = self._settings.turn_detection
        if vad is None:
            return None
        silence_ms = int(vad.get("silence_duration_ms") or 500)
        threshold = vad.get("threshold")
        self._buffer.clear()
        self._buffer_start = 0
        return EnergyVad(
            self._settings.input_codec,
            0.5 if threshold is None else float(threshold),
            silence_ms,
        )

    # -- the caller's audio --------------------------------------------------------

    def _append(self, message: dict[str, Any]) -> None:
        text = message.get("audio")
        if not isinstance(text, str):
            raise Refused(
                "missing_required_parameter",
                "Missing required parameter: 'audio'.",
                "audio",
            )
        if len(text) > MAX_APPEND_BYTES:
            raise Refused("invalid_value", "Audio is too large.", "audio")
        try:
            audio = base64.b64decode(text, validate=True)
        except binascii.Error as exc:
            raise Refused("invalid_value", f"Invalid base64: {exc}", "audio") from exc
        self.log.appended += audio
        self._buffer += audio
        if self._vad is None:
            return
        for edge in self._vad.feed(audio):
            if edge.is_start:
                self._speech_started(edge.at_ms)
            else:
                self._speech_stopped(edge.at_ms)
        if not self._vad.is_speech:
            keep = _HISTORY_SECONDS * self._settings.input_codec.bytes_per_second
            surplus = len(self._buffer) - keep
            if surplus > 0:
                del self._buffer[:surplus]
                self._buffer_start += surplus

    def _bytes_at(self, at_ms: int) -> int:
        codec = self._settings.input_codec
        return at_ms * codec.bytes_per_second // 1000

    def _speech_started(self, at_ms: int) -> None:
        vad = self._settings.turn_detection or {}
        at_ms = max(0, at_ms - int(vad.get("prefix_padding_ms") or 0))
        start = max(self._bytes_at(at_ms), self._buffer_start)
        del self._buffer[: start - self._buffer_start]
        self._buffer_start = start
        self._speech_item = new_id("item")
        self._forget_idle()
        self.log.interrupted_at.append(self._clock.seconds())
        self._emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=at_ms,
            item_id=self._speech_item,
        )
        if vad.get("interrupt_response", True) and self._active is not None:
            self._end_response("cancelled", "turn_detected")

    def _speech_stopped(self, at_ms: int) -> None:
        self._emit(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=at_ms,
            item_id=self._speech_item,
        )
        size = self._bytes_at(at_ms) - self._buffer_start
        utterance = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._buffer_start += size
        self._commit(utterance, self._speech_item)
        vad = self._settings.turn_detection or {}
        if vad.get("create_response", True) and self._active is None:
            self._respond(utterance, Wanted())

    def _commit_command(self, message: dict[str, Any]) -> None:
        audio = bytes(self._buffer)
        length = len(audio) * 1000 / self._settings.input_codec.bytes_per_second
        if length < 100:
            raise Refused(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at"
                f" least 100ms of audio, but buffer only has {length:.2f}ms of audio.",
            )
        self._buffer_start += len(audio)
        self._buffer.clear()
        self._commit(audio, new_id("item"))

    def _clear(self, message: dict[str, Any]) -> None:
        self._buffer_start += len(self._buffer)
        self._buffer.clear()
        self._emit("input_audio_buffer.cleared")

    def _commit(self, audio: bytes, item_id: str) -> None:
        body = {
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        item = Item(item_id, body, audio=audio)
        self._emit(
            "input_audio_buffer.committed",
            item_id=item_id,
            previous_item_id=self._last_item,
        )
        self._add_item(item)
        wanted = self._settings.transcription
        if wanted is not None:
            self._later(0.2, self._transcribe, item, wanted)

    def _transcribe(self, item: Item, wanted: Mapping[str, Any]) -> None:
        transcription = self._behaviour.transcription
        for kind, members in transcription.events(
            wanted, item.id, self._seconds_of(item)
        ):
            self._emit(kind, **members)

    def _seconds_of(self, item: Item) -> float:
        return len(item.audio) / self._settings.input_codec.bytes_per_second

    # -- items -------------------------------------------------------------------

    def _add_item(self, item: Item) -> None:
        previous, self._last_item = self._last_item, item.id
        self._items[item.id] = item
        for event in ("conversation.item.added", "conversation.item.done"):
            self._emit(event, previous_item_id=previous, item=item.public())

    def _create_item(self, message: dict[str, Any]) -> None:
        body = message.get("item")
        if not isinstance(body, dict) or "type" not in body:
            raise Refused(
                "missing_required_parameter",
                "Missing required parameter: 'item.type'.",
                "item.type",
            )
        for index, part in enumerate(body.get("content") or ()):
            if (
                body.get("role") == "assistant"
                and part.get("type") != self._dialect.text
            ):
                where = f"item.content[{index}].text"
                raise Refused(
                    "missing_required_parameter",
                    f"Missing required parameter: '{where}'.",
                    where,
                )
        item_id = body.get("id") or new_id("item")
        if item_id in self._items:
            raise Refused(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item_id}' already exists.",
            )
        rest = {k: v for k, v in body.items() if k not in ("id", "object")}
        self._add_item(Item(item_id, {"status": "completed", **rest}))

    def _item(self, message: Mapping[str, Any], doing: str, code: str) -> Item:
        item = self._items.get(str(message.get("item_id")))
        if item is None:
            raise Refused(
                code,
                f"Error {doing} item: the item with id"
                f" '{message.get('item_id')}' does not exist.",
            )
        return item

    def _truncate(self, message: dict[str, Any]) -> None:
        item = self._item(message, "truncating", "item_truncate_invalid_item_id")
        if item.body.get("role") != "assistant":
            raise Refused("invalid_value", "Only assistant audio can be truncated.")
        end_ms = message.get("audio_end_ms")
        if type(end_ms) is not int or end_ms < 0:
            raise Refused(
                "invalid_type",
                "Invalid type for 'audio_end_ms': expected an integer.",
                "audio_end_ms",
            )
        generated = self._settings.output_codec.duration_ms(item.sent_bytes)
        if end_ms > generated:
            raise Refused(
                "invalid_value",
                f"Audio content of {generated}ms is already shorter than {end_ms}ms",
            )
        self.log.truncations.append((item.id, end_ms, generated))
        item.body["content"] = [{"type": self._dialect.audio, "transcript": ""}]
        self._emit(
            "conversation.item.truncated",
            item_id=item.id,
            content_index=message.get("content_index", 0),
            audio_end_ms=end_ms,
        )

    def _delete_item(self, message: dict[str, Any]) -> None:
        item = self._item(message, "deleting", "item_delete_invalid_item_id")
        del self._items[item.id]
        self._emit("conversation.item.deleted", item_id=item.id)

    def _retrieve_item(self, message: dict[str, Any]) -> None:
        item = self._item(message, "retrieving", "item_retrieve_invalid_item_id")
        public = item.public()
        if item.audio:
            audio = base64.b64encode(item.audio).decode()
            public["content"] = [{**part, "audio": audio} for part in public["content"]]
        self._emit("conversation.item.retrieved", item=public)

    # -- responses -----------------------------------------------------------------

    def _create_response(self, message: dict[str, Any]) -> None:
        wanted = Wanted.read(message, self._dialect, self._session, self._items)
        if wanted.is_aside and wanted.is_text:
            self._write(wanted)
            return
        if self._active is not None:
            raise Refused(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress:"
                f" {self._active.id}. Wait until the response is finished before"
                " creating a new one.",
            )
        self._respond(b"", wanted)

    def _write(self, wanted: Wanted) -> None:
        """Answer in words: what was heard in the audio that is referred to."""
        items = self._items.values() if wanted.context is None else wanted.context
        said = [item for item in items if item.body.get("role") == "user"]
        # Of the whole conversation, the last turn.
        heard = said[-1:] if wanted.context is None else said
        seconds = sum(self._seconds_of(item) for item in said)
        self._texts.begin(
            Response(wanted),
            " ".join(self._words(item) for item in heard),
            int(seconds * CALLER_TOKENS),
            self._behaviour.first_delta_seconds,
        )

    def _words(self, item: Item) -> str:
        if item.audio:
            return words_of(self._seconds_of(item))
        return " ".join(part.get("text", "") for part in item.body.get("content") or ())

    def _cancel_command(self, message: dict[str, Any]) -> None:
        wanted = message.get("response_id")
        if wanted is not None:
            refuse_type(wanted, str, "response_id")
            if self._texts.cancel(wanted):
                return
        if self._active is None or wanted not in (None, self._active.id):
            raise Refused(
                "response_cancel_not_active",
                "Cancellation failed: no active response found",
            )
        self._end_response("cancelled", "client_cancelled")

    def _respond(self, utterance: bytes, wanted: Wanted) -> None:
        settings = self._settings
        turn = Turn(
            utterance,
            settings.input_codec,
            settings.output_codec,
            wanted.instructions or settings.instructions,
        )
        response = self._active = Response(wanted)
        self._announce(response)
        self._in_response(
            self._behaviour.first_delta_seconds,
            self._speak_next,
            list(self._voice.answer(turn)),
        )

    def _announce(self, response: Response) -> None:
        self._emit("response.created", response=self._public(response, "in_progress"))
        if self._behaviour.rate_limits:
            limit = {"name": "tokens", "limit": 100000, "remaining": 99000}
            self._emit(
                "rate_limits.updated", rate_limits=[{**limit, "reset_seconds": 1.0}]
            )

    def _in_response(
        self, seconds: float, function: Callable[..., None], *args: Any
    ) -> None:
        assert self._active is not None
        self._active.timers.append(self._later(seconds, function, *args))

    def _speak_next(self, parts: Sequence[Any]) -> None:
        response = self._active
        assert response is not None
        if not parts:
            self._end_response("completed", None)
            return
        part, rest = parts[0], parts[1:]
        if isinstance(part, Failure):
            self._end_response(part.status, part.code)
        elif isinstance(part, ToolCall):
            self._call_tool(response, part)
            self._speak_next(rest)
        else:
            self._open_speech(response, part)
            self._speak(part, 0, 0, rest)

    def _open_item(self, response: Response, body: dict[str, Any]) -> Item:
        item = Item(new_id("item"), {"status": "in_progress", **body})
        response.items.append(item)
        if response.wanted.is_aside:
            # It does not become a part of the conversation.
            self._emit(
                "response.output_item.added",
                response_id=response.id,
                output_index=response.items.index(item),
                item=item.public(),
            )
            return item
        previous, self._last_item = self._last_item, item.id
        self._items[item.id] = item
        if not self._behaviour.unannounced_items:
            self._emit(
                "response.output_item.added",
                response_id=response.id,
                output_index=response.items.index(item),
                item=item.public(),
            )
            self._emit(
                "conversation.item.added", previous_item_id=previous, item=item.public()
            )
        return item

    def _open_speech(self, response: Response, speech: Speech) -> None:
        item = self._open_item(
            response, {"type": "message", "role": "assistant", "content": []}
        )
        item.audio = speech.audio
        response.open_item = item
        self._has_spoken = True
        self.log.spoken[item.id] = bytearray()
        if not self._behaviour.unannounced_items:
            self._emit(
                "response.content_part.added",
                **response.members(item, content_index=0),
                part={"type": "audio", "transcript": ""},
            )
        item.body["content"] = [
            {"type": self._dialect.audio, "transcript": speech.transcript}
        ]
        for word in speech.transcript.split(" "):
            self._emit(
                "response.output_audio_transcript.delta",
                **response.members(item, content_index=0, delta=word + " "),
            )

    def _speak(
        self, speech: Speech, sent: int, count: int, rest: Sequence[Any]
    ) -> None:
        response = self._active
        assert response is not None and response.open_item is not None
        item = response.open_item
        codec = self._settings.output_codec
        length_ms = DELTA_MS[min(count, len(DELTA_MS) - 1)]
        piece = speech.audio[sent : sent + length_ms * codec.bytes_per_second // 1000]
        if not piece:
            self._close_speech(response, item, "completed")
            self._speak_next(rest)
            return
        item.sent_bytes += len(piece)
        response.output_bytes += len(piece)
        self.log.spoken[item.id] += piece
        self._emit(
            "response.output_audio.delta",
            **response.members(
                item, content_index=0, delta=base64.b64encode(piece).decode()
            ),
        )
        if self._behaviour.drop_in_response and count == 1:
            self._close(0, "")
            return
        # Generating this piece took its length divided by the speed.
        seconds = len(piece) / codec.bytes_per_second / self._behaviour.speed
        self._in_response(
            seconds, self._speak, speech, sent + len(piece), count + 1, rest
        )

    def _close_speech(self, response: Response, item: Item, status: str) -> None:
        response.open_item = None
        item.body["status"] = status
        transcript = item.body["content"][0]["transcript"]
        at = response.members(item, content_index=0)
        self._emit("response.output_audio.done", **at)
        self._emit("response.output_audio_transcript.done", **at, transcript=transcript)
        if self._behaviour.unannounced_items:
            return
        part = {"type": "audio", "transcript": transcript}
        self._emit("response.content_part.done", **at, part=part)
        self._close_item(response, item)

    def _close_item(self, response: Response, item: Item) -> None:
        self._emit(
            "response.output_item.done",
            response_id=response.id,
            output_index=response.items.index(item),
            item=item.public(),
        )
        if not response.wanted.is_aside:
            self._emit(
                "conversation.item.done", previous_item_id=None, item=item.public()
            )

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
            self._emit("response.function_call_arguments.delta", **at, delta=delta)
        item.body.update(arguments=call.arguments, status="completed")
        self._emit(
            "response.function_call_arguments.done",
            **at,
            name=call.name,
            arguments=call.arguments,
        )
        self._close_item(response, item)

    def _end_response(self, status: str, reason: str | None) -> None:
        response, self._active = self._active, None
        assert response is not None
        for timer in response.timers:
            if timer.active():
                timer.cancel()
                self._timers.discard(timer)
        if response.open_item is not None:
            self._close_speech(response, response.open_item, "incomplete")
        into, out = self._settings.input_codec, self._settings.output_codec
        counted = usage(
            audio_in=len(self.log.appended) * CALLER_TOKENS // into.bytes_per_second,
            audio_out=response.output_bytes * AGENT_TOKENS // out.bytes_per_second,
        )
        self._finish(response, status, reason, counted)
        self._expect_caller(response)

    def _finish(
        self,
        response: Response,
        status: str,
        reason: str | None,
        counted: Mapping[str, Any],
    ) -> None:
        details: dict[str, Any] | None = None
        if status == "failed":
            details = {
                "type": "failed",
                "error": {"type": "server_error", "code": reason, "message": reason},
            }
        elif status != "completed":
            details = {"type": status, "reason": reason}
        self._emit(
            "response.done",
            response={
                **self._public(response, status),
                "status_details": details,
                "usage": counted,
            },
        )

    def _public(self, response: Response, status: str) -> dict[str, Any]:
        return response.public(status, self._dialect, self._session, self._conversation)

    # -- a caller who says nothing --------------------------------------------------

    def _expect_caller(self, response: Response) -> None:
        self._forget_idle()
        vad = self._settings.turn_detection
        idle_ms = vad.get("idle_timeout_ms") if vad else None
        if idle_ms is not None:
            heard = response.output_bytes / self._settings.output_codec.bytes_per_second
            self._idle = self._later(heard + idle_ms / 1000, self._idle_timed_out)

    def _forget_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and idle.active():
            idle.cancel()
            self._timers.discard(idle)

    def _idle_timed_out(self) -> None:
        codec = self._settings.input_codec
        end_ms = codec.duration_ms(self._buffer_start + len(self._buffer))
        item_id = new_id("item")
        self._emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=codec.duration_ms(self._buffer_start),
            audio_end_ms=end_ms,
            item_id=item_id,
        )
        audio = bytes(self._buffer)
        self._buffer_start += len(audio)
        self._buffer.clear()
        self._commit(audio, item_id)
        self._respond(b"", Wanted())
