"""
The input audio buffer of a simulated session: divides the caller's audio into turns.

A turn ends when VAD detects its end, when the client commits it, or when the caller
has been silent for too long.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.conversation import Conversation, Item
from chime_gateway.sim.realtime.dialect import Configuration, Refused
from chime_gateway.sim.realtime.events import ServerEvents, new_id
from chime_gateway.sim.realtime.faults.injected import Injected
from chime_gateway.sim.realtime.faults.schedule import Moment
from chime_gateway.sim.realtime.model.context import words_in
from chime_gateway.sim.realtime.spoken import SpokenResponses
from chime_gateway.sim.realtime.transcription import Transcription
from chime_gateway.sim.realtime.vad import EnergyVad

#: The documented limit of one append.
MAX_APPEND_BYTES: Final = 15 << 20

#: How much audio is kept from before the detected start of speech.
_HISTORY_SECONDS: Final = 10


class InputBuffer:
    def __init__(
        self,
        configuration: Configuration,
        conversation: Conversation,
        transcription: Transcription,
        responses: SpokenResponses,
        events: ServerEvents,
        log: SessionLog,
        clock: IReactorTime,
        injected: Injected,
    ) -> None:
        self._configuration = configuration
        self._conversation = conversation
        self._transcription = transcription
        self._responses = responses
        self._events = events
        self._log = log
        self._clock = clock
        self._injected = injected
        self._turns = 0
        self._buffer = bytearray()
        self._start = 0  # the number of bytes received before those in the buffer
        self._speech_item = ""
        self._idle: IDelayedCall | None = None
        self._vad: EnergyVad | None = None
        self.restart_vad()

    def restart_vad(self) -> None:
        """Restart VAD with the current settings."""
        settings = self._configuration.settings
        vad = settings.turn_detection
        if vad is None:
            self._vad = None
            return
        silence_ms = int(vad.get("silence_duration_ms") or 500)
        threshold = vad.get("threshold")
        self._buffer.clear()
        self._start = 0
        self._vad = EnergyVad(
            settings.input_codec,
            0.5 if threshold is None else float(threshold),
            silence_ms,
        )

    # -- commands ----------------------------------------------------------------

    def append(self, message: Mapping[str, Any]) -> None:
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
        if not self._configuration.is_updated and not self._log.appended:
            self._log.violated(self._events.seconds(), "audio before session.update")
        self.hear(audio)

    def hear(self, audio: bytes) -> None:
        """Receive more of the caller's audio."""
        self._log.appended += audio
        self._buffer += audio
        if self._vad is None:
            return
        for edge in self._vad.feed(audio):
            if edge.is_start:
                self._speech_started(edge.at_ms)
            else:
                self._speech_stopped(edge.at_ms)
        if not self._vad.is_speech:
            codec = self._configuration.settings.input_codec
            surplus = len(self._buffer) - _HISTORY_SECONDS * codec.bytes_per_second
            if surplus > 0:
                del self._buffer[:surplus]
                self._start += surplus

    def commit(self, message: Mapping[str, object]) -> None:
        codec = self._configuration.settings.input_codec
        length = len(self._buffer) * 1000 / codec.bytes_per_second
        if length < 100:
            raise Refused(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at"
                f" least 100ms of audio, but buffer only has {length:.2f}ms of audio.",
            )
        self._commit(self._take(len(self._buffer)), new_id("item"))

    def clear(self, message: Mapping[str, object]) -> None:
        self._take(len(self._buffer))
        self._events.emit("input_audio_buffer.cleared")

    # -- turns forced by a fault --------------------------------------------------

    def end_turn(self) -> None:
        """End the caller's turn here, even if there was no speech."""
        if self._vad is None:
            return
        now_ms = self._now_ms()
        if not self._vad.is_speech:
            self._speech_started(now_ms)
        self._vad.end_speech()
        self._speech_stopped(now_ms)

    def begin_turn(self, least_ms: int) -> None:
        """Begin a turn of the caller here, whatever the audio contains."""
        if self._vad is not None and not self._vad.is_speech:
            self._vad.begin_speech(least_ms)
            self._speech_started(self._now_ms())

    def _now_ms(self) -> int:
        codec = self._configuration.settings.input_codec
        return codec.duration_ms(self._start + len(self._buffer))

    # -- turns -------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        """Remove and return the oldest audio of the buffer."""
        audio = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._start += size
        return audio

    def _bytes_at(self, at_ms: int) -> int:
        codec = self._configuration.settings.input_codec
        return at_ms * codec.bytes_per_second // 1000

    def _speech_started(self, at_ms: int) -> None:
        vad = self._configuration.settings.turn_detection or {}
        at_ms = max(0, at_ms - int(vad.get("prefix_padding_ms") or 0))
        start = max(self._bytes_at(at_ms), self._start)
        del self._buffer[: start - self._start]
        self._start = start
        self._speech_item = new_id("item")
        self._forget_idle()
        self._log.interrupted_at.append(self._clock.seconds())
        self._events.emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=at_ms,
            item_id=self._speech_item,
        )
        if vad.get("interrupt_response", True):
            self._responses.interrupt()

    def _speech_stopped(self, at_ms: int) -> None:
        self._events.emit(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=at_ms,
            item_id=self._speech_item,
        )
        utterance = self._take(self._bytes_at(at_ms) - self._start)
        self._commit(utterance, self._speech_item)
        vad = self._configuration.settings.turn_detection or {}
        if vad.get("create_response", True):
            self._responses.answer(utterance)

    def _commit(self, audio: bytes, item_id: str) -> None:
        body = {
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        item = Item(item_id, body, audio=audio)
        self._events.emit(
            "input_audio_buffer.committed",
            item_id=item_id,
            previous_item_id=self._conversation.last,
        )
        self._conversation.add(item)
        self._turns += 1
        self._log.note(
            self._events.seconds(),
            "turn",
            number=self._turns,
            text=words_in(self._conversation.sound(item)),
        )
        self._injected.reached(Moment.TURN, self._turns)
        wanted = self._configuration.settings.transcription
        if wanted is not None:
            self._events.later(0.2, self._transcribe, item, wanted)

    def _transcribe(self, item: Item, wanted: Mapping[str, object]) -> None:
        seconds = self._configuration.settings.seconds_of(item.audio)
        text = words_in(self._conversation.sound(item))
        for kind, members in self._transcription.events(wanted, item.id, seconds, text):
            self._events.emit(kind, **members)

    # -- idle timeout ------------------------------------------------------------

    def expect_caller(self, seconds: float) -> None:
        """
        Start the idle timeout.

        @param seconds: the speech that the caller has not heard yet.
        """
        self._forget_idle()
        vad = self._configuration.settings.turn_detection
        idle_ms = vad.get("idle_timeout_ms") if vad else None
        if idle_ms is not None:
            self._idle = self._events.later(
                seconds + idle_ms / 1000, self._idle_timed_out
            )

    def _forget_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            self._events.forget(idle)

    def _idle_timed_out(self) -> None:
        if self._responses.active_id is not None:
            return  # the client has created a response; its end restarts the timeout
        codec = self._configuration.settings.input_codec
        item_id = new_id("item")
        self._events.emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=codec.duration_ms(self._start),
            audio_end_ms=self._now_ms(),
            item_id=item_id,
        )
        self._commit(self._take(len(self._buffer)), item_id)
        self._responses.answer(b"")
