"""
One simulated Realtime session: the service's side of the protocol.

It imitates the documented and observed behaviour of the real service, its errors and
refusals included.  It is sans I/O, with an injected clock.  It shares no code with the
client's side of this package, so that a mistake there is detected.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.behaviour import Behaviour, SessionLog
from chime_gateway.sim.realtime.conversation import Conversation, Item
from chime_gateway.sim.realtime.dialect import (
    Configuration,
    Ga,
    Preview,
    Refused,
    refuse_reasoning,
    refuse_type,
)
from chime_gateway.sim.realtime.events import ServerEvents, new_id
from chime_gateway.sim.realtime.faults.injected import Injected
from chime_gateway.sim.realtime.faults.schedule import (
    Close,
    Drop,
    Expire,
    Freeze,
    Mute,
    Reset,
)
from chime_gateway.sim.realtime.input_buffer import InputBuffer
from chime_gateway.sim.realtime.model.context import words_in
from chime_gateway.sim.realtime.output.ahead import AheadOutput
from chime_gateway.sim.realtime.output.paced import PacedOutput
from chime_gateway.sim.realtime.responses import (
    CALLER_TOKENS,
    Response,
    ResponseEvents,
    ResponseRequest,
    TextResponses,
    active_response,
)
from chime_gateway.sim.realtime.spoken import SpokenResponses
from chime_gateway.sim.realtime.transcription import words_of
from chime_gateway.sim.realtime.voices import Voice


class SimulatedSession:
    """
    @param send: sends a server event.
    @param close: ends the connection: C{close(code, reason)}; code 0 resets it, 1006
        ends it without a closing handshake.
    @param freeze: makes the connection stay open without reading or writing.
    @param wall_time: returns Unix seconds.
    @param tell: called with each note of the log.
    @param rtp_codec: the codec of audio that is carried over RTP in real time; C{None}:
        audio is in the events.
    @ivar speech: the output audio buffer of a session over RTP.
    """

    def __init__(
        self,
        voice: Voice,
        behaviour: Behaviour,
        *,
        is_preview: bool,
        send: Callable[[Mapping[str, object]], None],
        close: Callable[[int, str], None],
        clock: IReactorTime,
        wall_time: Callable[[], float],
        freeze: Callable[[], None] = lambda: None,
        tell: Callable[[str, Mapping[str, object]], None] | None = None,
        rtp_codec: Codec | None = None,
    ) -> None:
        self.log = SessionLog(tell=tell)
        self._freeze = freeze
        self._behaviour = behaviour
        self._counts: Counter[str] = Counter()
        self._send = send
        self._close = close
        dialect = Preview if is_preview else Ga
        self._configuration = configuration = Configuration(
            dialect,
            session_id=new_id("sess"),
            expires_at=int(
                wall_time() + behaviour.session_seconds + behaviour.early_seconds
            ),
            rtp_codec=rtp_codec,
        )
        self._events = events = ServerEvents(
            dialect, behaviour, self.log, send=send, clock=clock
        )
        self._conversation = conversation = Conversation(
            configuration, events, self.log
        )
        self._injected = injected = Injected(
            behaviour.at, events, self.log, self._end_by_fault
        )
        about = ResponseEvents(
            configuration, conversation, events, tells_limits=behaviour.rate_limits
        )
        self._about = about
        self._texts = TextResponses(dialect.text, events=events, about=about)
        self.speech: PacedOutput | None = None
        if rtp_codec is not None:
            self.speech = PacedOutput(rtp_codec, events, conversation, self.log)
        self._spoken = SpokenResponses(
            voice,
            behaviour,
            configuration,
            conversation,
            events=events,
            about=about,
            output=self.speech or AheadOutput(events, self.log),
            log=self.log,
            close=close,
            ended=lambda seconds: self._input.expect_caller(seconds),
            injected=injected,
        )
        self._input = InputBuffer(
            configuration,
            conversation,
            behaviour.transcription,
            self._spoken,
            events,
            self.log,
            clock,
            injected,
        )
        self._commands: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._input.append,
            "input_audio_buffer.commit": self._input.commit,
            "input_audio_buffer.clear": self._input.clear,
            "conversation.item.create": conversation.create,
            "conversation.item.truncate": conversation.truncate,
            "conversation.item.delete": conversation.delete,
            "conversation.item.retrieve": conversation.retrieve,
            "response.create": self._respond,
            "response.cancel": self._cancel,
        }
        if self.speech is not None:
            over_rtp = {
                "input_audio_buffer.append": self._refuse_over_rtp,
                "conversation.item.truncate": self._refuse_over_rtp,
                "output_audio_buffer.clear": self.speech.clear,
            }
            self._commands = {**self._commands, **over_rtp}

    @property
    def is_over(self) -> bool:
        """Whether the connection is gone and no timer is left."""
        return self._events.is_over

    # -- the connection ----------------------------------------------------------

    def start(self) -> None:
        """Begin the session: the connection is open."""
        how = self._behaviour
        if how.close_at_once:
            self._close(how.close_code, "fault")
            return
        self.greet()
        for unsolicited in how.errors:
            self._events.later(
                unsolicited.after_seconds,
                self._events.refuse,
                unsolicited.error.refused(),
                None,
            )
        self._events.later(how.session_seconds, self._expire)
        self._injected.start()
        if how.stall_after_seconds is not None:
            self._events.later(how.stall_after_seconds, self._fall_silent)
        if how.garbage_after_seconds is not None:
            self._events.later(how.garbage_after_seconds, self._send, {"no": "type"})
        if how.drop_after_seconds is not None:
            self._events.later(how.drop_after_seconds, self._close, 0, "")
        if how.close_after_seconds is not None:
            self._events.later(
                how.close_after_seconds, self._close, how.close_code, "fault"
            )

    def adopt(self, session: Mapping[str, object]) -> None:
        """@param session: the client's initial settings, which were checked."""
        configuration = self._configuration
        configuration.session, configuration.settings = configuration.patched(
            {"session": session}
        )
        self._input.restart_vad()

    def greet(self) -> None:
        """Send C{session.created}."""
        session = copy.deepcopy(self._configuration.session)
        self._events.emit("session.created", session=session)

    def stop(self) -> None:
        """End the session: the connection is gone."""
        self._events.stop()

    def hear(self, audio: bytes) -> None:
        """Receive audio over RTP; silence may come before the first update."""
        if self._events.is_mute:
            return
        silence = self._configuration.settings.input_codec.silence_byte
        if not self._configuration.is_updated and audio.strip(silence):
            how = "audio before session.update"
            if how not in self.log.violations:
                self.log.violated(self._events.seconds(), how)
        self._input.hear(audio)

    def receive(self, payload: bytes) -> None:
        """Receive one message from the client."""
        if self._events.is_mute:
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
            if not self._is_ignored(kind):
                command(message)
        except Refused as exc:
            self._events.refuse(exc, event_id if exc.is_correlated else None)
        except (ValueError, RecursionError) as exc:
            self._events.refuse(
                Refused("invalid_json", f"Could not parse: {exc}"), event_id
            )

    def _is_ignored(self, kind: str) -> bool:
        """@raise Refused: a fault refuses the command."""
        self._counts[kind] += 1
        number = self._counts[kind]
        fault = self._injected.refusal(kind) or next(
            (
                one
                for one in self._behaviour.refusals
                if one.command == kind and number in one.which
            ),
            None,
        )
        if fault is None or fault.error is None:
            return fault is not None
        raise fault.error.refused(is_correlated=fault.is_correlated)

    def _expire(self) -> None:
        minutes = self._behaviour.session_seconds / 60
        text = f"Your session hit the maximum duration of {minutes:g} minutes."
        self._events.refuse(Refused("session_expired", text), None)
        self._close(1001, text)

    def _fall_silent(self) -> None:
        self._events.is_mute = True

    def _end_by_fault(
        self, fault: Drop | Reset | Close | Freeze | Mute | Expire
    ) -> None:
        if isinstance(fault, Expire):
            self._expire()
        elif isinstance(fault, Close):
            self._close(fault.code, "fault")
        elif isinstance(fault, Drop | Reset):
            self._close(1006 if isinstance(fault, Drop) else 0, "")
        else:
            self._fall_silent()
            if isinstance(fault, Freeze):
                self._freeze()

    # -- commands ----------------------------------------------------------------

    def _refuse_over_rtp(self, message: dict[str, object]) -> None:
        """Refuse commands about audio, which the service itself sends over RTP."""
        kind = message["type"]
        self.log.violated(self._events.seconds(), f"{kind} in a session over WebRTC")
        raise Refused(
            "invalid_value",
            f"The event '{kind}' cannot be used in a session over WebRTC.",
            "type",
        )

    def _update(self, message: dict[str, Any]) -> None:
        configuration = self._configuration
        session, settings = configuration.patched(message)
        old = configuration.settings
        if self._behaviour.is_older_model:
            refuse_reasoning(message["session"])
        if self._spoken.has_spoken and settings.voice != old.voice:
            raise Refused(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
            )
        if settings.transcription is not None:
            self._behaviour.transcription.check(
                settings.transcription, configuration.dialect.transcription
            )
        vad = settings.turn_detection
        idle = vad.get("idle_timeout_ms") if vad else None
        if idle is not None and not 5000 <= idle <= 30000:
            raise Refused("invalid_value", f"Invalid value: '{idle}'.")
        delay = self._behaviour.update_delay_seconds
        if delay < 0:
            return
        configuration.is_updated = True
        configuration.settings = settings
        configuration.session = session
        if vad != old.turn_detection or settings.input_codec != old.input_codec:
            self._input.restart_vad()
        if delay:
            self._events.later(delay, self._updated)
        else:
            self._updated()

    def _updated(self) -> None:
        session = copy.deepcopy(self._configuration.session)
        self._events.emit("session.updated", session=session)

    def _respond(self, message: dict[str, object]) -> None:
        wanted = ResponseRequest.read(
            message,
            self._configuration.dialect,
            self._configuration.session,
            self._conversation.items,
        )
        if wanted.is_out_of_band and wanted.is_text:
            self._write(wanted)
            return
        how, number = self._behaviour, self._counts["response.create"]
        if number in how.vad_first and self._spoken.active_id is None:
            self._input.end_turn()
        if self._spoken.active_id is not None:
            raise active_response(self._spoken.active_id)
        if number in how.speech_after_create:
            self._input.begin_turn(int(how.speech_seconds * 1000))
        self._spoken.begin(b"", wanted)

    def _write(self, wanted: ResponseRequest) -> None:
        """Answer in text, with the words heard in the referenced audio."""
        items = (
            self._conversation.items.values()
            if wanted.context is None
            else wanted.context
        )
        said = [item for item in items if item.body.get("role") == "user"]
        # Without references, only the last turn of the conversation counts.
        heard = said[-1:] if wanted.context is None else said
        seconds_of = self._configuration.settings.seconds_of
        seconds = sum(seconds_of(item.audio) for item in said)
        self._texts.begin(
            Response(wanted),
            " ".join(self._words(item) for item in heard),
            int(seconds * CALLER_TOKENS),
            self._behaviour.first_delta_seconds,
        )

    def _words(self, item: Item) -> str:
        if item.audio:
            seconds = self._configuration.settings.seconds_of(item.audio)
            return words_in(self._conversation.sound(item)) or words_of(seconds)
        return " ".join(part.get("text", "") for part in item.body.get("content") or ())

    def _cancel(self, message: dict[str, Any]) -> None:
        wanted = message.get("response_id")
        if wanted is not None:
            refuse_type(wanted, str, "response_id")
            if self._texts.cancel(wanted):
                return
            if wanted not in self._about.issued:
                self.log.violated(
                    self._events.seconds(),
                    f"response.cancel of {wanted}, which is not of this session",
                )
        active = self._spoken.active_id
        if active is None or wanted not in (None, active):
            raise Refused(
                "response_cancel_not_active",
                "Cancellation failed: no active response found",
            )
        self._spoken.cancel()
