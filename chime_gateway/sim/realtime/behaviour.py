"""
The settings of the simulated service, and the log of a session that tests read
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import Factory, define, evolve, field, frozen

from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.errors import UnsolicitedError
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import Chance, Scheduled
from chime_gateway.sim.realtime.faults.webrtc import NO_FAULTS, WebRtcFaults
from chime_gateway.sim.realtime.faults.which import ALL, NONE, Which
from chime_gateway.sim.realtime.transcription import ONE_OF_EACH, Transcription
from chime_gateway.sim.realtime.voices import Line


@frozen(kw_only=True)
class Behaviour:
    """
    How the service behaves, including its faults.

    @ivar speed: how many times faster than real time speech is generated.
    @ivar first_delta_seconds: from C{response.created} to the first audio.
    @ivar session_seconds: when the session expires.
    @ivar early_seconds: how much earlier than C{expires_at} the session expires.
    @ivar update_delay_seconds: the delay of C{session.updated}; negative: never sent.
    @ivar silent_start: accept the connection and never send anything.
    @ivar stall_after_seconds: when to stop sending anything.
    @ivar garbage_after_seconds: when to send an event without a type.
    @ivar drop_after_seconds: when to reset the connection.
    @ivar close_after_seconds: when to close the connection with C{close_code}.
    @ivar drop_in_response: reset the connection in the middle of an answer.
    @ivar unknown_events: send events of unknown types, and duplicates.
    @ivar rate_limits: send C{rate_limits.updated}.
    @ivar obfuscation: pad deltas, as the service does at times.
    @ivar unannounced_items: send an item's audio without the events before it.
    @ivar close_at_once: close with C{close_code} (0: reset) before sending anything.
    @ivar odd_deltas: cut audio within samples, so that deltas have odd lengths.
    @ivar vad_first: the C{response.create} commands before which the service's VAD
        starts its own response.
    @ivar speech_after_create: the C{response.create} commands after which the caller
        begins to speak before the response.
    @ivar speech_seconds: the minimum length of that speech, by the caller's audio.
    @ivar responses: faults of responses; the first that applies counts.
    @ivar refusals: commands that are not carried out; the first that applies counts.
    @ivar errors: unsolicited C{error} events.
    @ivar at: faults that begin at a given moment of a session.
    @ivar chance: additional faults drawn from a seed.
    @ivar is_older_model: refuse updates with C{reasoning} or C{parallel_tool_calls},
        without saying why.
    @ivar commentary: the responses that begin with an item of the phase
        C{commentary}.
    @ivar remote_seconds: the time from C{response.done} to the answer of a remote
        tool; negative: the answer comes before C{response.done}.
    @ivar sessions: the server's sessions, counted from 1, that have these faults; the
        others are L{healthy}.
    @ivar webrtc: the faults of calls over WebRTC.
    @ivar transcription: the resource's transcribers, and how they refuse; by default
        one of each kind.
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
    errors: Sequence[UnsolicitedError] = ()
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
        """Return the same behaviour without its faults."""
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
        """@param number: the session's number at its server, counted from 1."""
        if number not in self.sessions:
            return self.healthy()
        drawn = self.chance.of_session(number) if self.chance else ()
        at = tuple(one for one in (*self.at, *drawn) if number in one.sessions)
        return evolve(self, at=at)


@frozen
class Answer:
    """
    What the voice was given, and what it answered.

    @ivar instructions: the instructions it was given.
    @ivar lines: the conversation it was given.
    @ivar said: the words of its answer.
    """

    instructions: str
    lines: Sequence[Line]
    said: str


@define(eq=False)
class SessionLog:
    """
    What happened in a session, for tests.

    @ivar answers: the answers of the voice.
    @ivar violations: what a client must not do: using an id of another session, or
        sending audio before its first update.
    @ivar notes: (time, kind, members) of what happened, in order.
    @ivar tell: called with each note.
    @ivar truncations: (item id, audio_end_ms, generated ms) of each truncation.
    @ivar appended: all the caller's audio.
    @ivar commands: the types of the client's events, except appends.
    @ivar errors: the codes of the errors sent.
    @ivar spoken: item id -> the part of its audio that was sent.
    @ivar interrupted_at: the times at which the caller began to speak.
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

    def note(self, at: float, what: str, /, **members: object) -> None:
        self.notes.append((at, what, members))
        if self.tell is not None:
            self.tell(what, members)

    def violated(self, at: float, how: str) -> None:
        self.violations.append(how)
        self.note(at, "violation", how=how)
