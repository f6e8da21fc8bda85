"""
The settings of the simulated service for a test, and what the test reads of a session
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import Factory, define, evolve, field, frozen

from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import UnaskedError
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import Chance, Scheduled
from chime_gateway.sim.realtime.faults.webrtc import NO_FAULTS, WebRtcFaults
from chime_gateway.sim.realtime.faults.which import ALL, NONE, Which
from chime_gateway.sim.realtime.transcription import ONE_OF_EACH, Transcription
from chime_gateway.sim.realtime.voices import Line


@frozen(kw_only=True)
class Behaviour:
    """
    How the service behaves, its faults included.

    @ivar speed: times real time at which speech is generated.
    @ivar first_delta_seconds: from C{response.created} to the first audio.
    @ivar session_seconds: after which the session expires.
    @ivar early_seconds: so much earlier than its C{expires_at} it does.
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
    @ivar close_at_once: close with C{close_code} (0: break) before saying anything.
    @ivar odd_deltas: audio is cut within samples: deltas have odd lengths.
    @ivar vad_first: to which C{response.create} the voice activity's own response
        comes first.
    @ivar speech_after_create: after which C{response.create} the caller begins to
        speak, before it is answered.
    @ivar speech_seconds: for how long at least, by the caller's audio.
    @ivar responses: those that end otherwise; the first that fits counts.
    @ivar refusals: commands that are not carried out; the first that fits counts.
    @ivar errors: C{error} events that answer nothing.
    @ivar at: faults that begin at some moment of a session.
    @ivar chance: and such as a seed says.
    @ivar is_older_model: C{reasoning} and C{parallel_tool_calls} are refused, with
        all of the update, and it is not said what was wrong.
    @ivar commentary: which responses begin with an item of the phase C{commentary}.
    @ivar remote_seconds: so long after C{response.done} a remote tool has answered;
        negative: before it.
    @ivar sessions: of a server, which have these faults, counted from 1; the
        others are L{healthy}.
    @ivar webrtc: what goes wrong where audio is not in the events.
    @ivar transcription: which transcribers there are, and how they refuse; unless
        it is said, one of each.
    """

    speed: float = 5.0
    first_delta_seconds: float = 0.3
    session_seconds: float = 3600.0
    early_seconds: float = 0.0
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
    close_at_once: bool = False
    odd_deltas: bool = False
    vad_first: Which = NONE
    speech_after_create: Which = NONE
    speech_seconds: float = 1.0
    responses: Sequence[ResponseFault] = ()
    refusals: Sequence[CommandFault] = ()
    errors: Sequence[UnaskedError] = ()
    at: Sequence[Scheduled] = ()
    chance: Chance | None = None
    is_older_model: bool = False
    commentary: Which = NONE
    remote_seconds: float = 1.0
    sessions: Which = ALL
    webrtc: WebRtcFaults = NO_FAULTS
    transcription: Transcription = Factory(
        lambda: Transcription(deployments=ONE_OF_EACH)
    )

    def healthy(self) -> Behaviour:
        """As fast as this, and without its faults."""
        return Behaviour(
            speed=self.speed,
            first_delta_seconds=self.first_delta_seconds,
            rate_limits=self.rate_limits,
            is_older_model=self.is_older_model,
            commentary=self.commentary,
            remote_seconds=self.remote_seconds,
            transcription=self.transcription,
        )

    def of_session(self, number: int) -> Behaviour:
        """@param number: of the session at its server, counted from 1."""
        if number not in self.sessions:
            return self.healthy()
        drawn = self.chance.of_session(number) if self.chance else ()
        at = tuple(one for one in (*self.at, *drawn) if number in one.sessions)
        return evolve(self, at=at)


@frozen
class Answer:
    """
    What the voice was asked, and what it said.

    @ivar instructions: that it saw.
    @ivar lines: the conversation that it saw.
    @ivar said: its words.
    """

    instructions: str
    lines: Sequence[Line]
    said: str


@define(eq=False)
class SessionLog:
    """
    What a test wants to know afterwards.

    @ivar answers: of the voice, each once.
    @ivar violations: what no client may do: naming an id of another session, sending
        audio before its first update.  None of them is done.
    @ivar notes: (time, what, its members) of what happened, in order.
    @ivar tell: is told each of L{notes}, too.

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
    answers: list[Answer] = Factory(list)
    violations: list[str] = Factory(list)
    notes: list[tuple[float, str, Mapping[str, Any]]] = Factory(list)
    tell: Callable[[str, Mapping[str, Any]], None] | None = None

    def note(self, at: float, what: str, /, **members: Any) -> None:
        self.notes.append((at, what, members))
        if self.tell is not None:
            self.tell(what, members)

    def violated(self, at: float, how: str) -> None:
        self.violations.append(how)
        self.note(at, "violation", how=how)
