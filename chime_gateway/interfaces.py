"""
The seams: what a call, its caller's leg and its agent's session ask of each other.

Legs and agents are independent of each other; each uses only its own pair of protocols
below.  Requests are imperatives, reports are past tense, audio is C{bytes} in the codec
its sender declared.  Every method here is a plain function that returns at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from chime_gateway.audio import Codec
from chime_gateway.history import History
from chime_gateway.outcomes import CallerInfo, Ending
from chime_gateway.settings.agent_profile import AgentProfile

#: Why an answer failed: there was none in it.
SILENCE: Final = "silence"


@frozen(kw_only=True)
class CarrierTraits:
    """
    The traits of a carrier; all differences between carriers that others may use.

    @ivar name: in metrics and records.
    @ivar buffers: the peer has a playout buffer of its own, takes audio as fast
        as it comes and obeys L{CallLeg.clear}.
    @ivar reports_playback: it reports by marks what was heard; otherwise that is
        estimated from the clock.
    @ivar lag_seconds: its greatest delay, in either direction.
    @ivar fails_over: a call that is refused before it was answered goes to another
        gateway, which may serve it.
    @ivar keeps_time: it has the caller's clock, and fills gaps in the audio itself
        (L{LegEvents.gap_filled}).
    @ivar arrives_later: a caller cannot hear yet when the call begins: each of its
        legs is an L{ArrivingLeg}.
    """

    name: str
    buffers: bool
    reports_playback: bool
    lag_seconds: float = 0.0
    keeps_time: bool = False
    fails_over: bool = False
    arrives_later: bool = False

    def __attrs_post_init__(self) -> None:
        if self.lag_seconds and not self.reports_playback:
            raise ValueError(f"{self.name}: one that may be late reports playback")

    @property
    def is_paced(self) -> bool:
        """It has to be given exactly one frame each ptime."""
        return not self.buffers


class CallLeg(Protocol):
    """
    The caller's side of a call.

    @ivar traits: of its carrier.
    @ivar codec: of audio in both directions.
    """

    traits: CarrierTraits
    codec: Codec
    info: CallerInfo

    def answer(self) -> None:
        """The agent is there: let the caller in."""

    def play(self, audio: bytes) -> None:
        """Play whole frames; a leg that is paced gets one at a time."""

    def clear(self) -> None:
        """Drop everything played and not yet heard, now."""

    def mark(self, name: str) -> None:
        """
        Ask for a report when everything played so far was heard.  Only for carriers
        that report playback.
        """

    def hang_up(self, ending: Ending) -> None:
        """End the leg; before L{answer} this refuses the call.  Reports nothing."""

    def send_digits(self, digits: str) -> bool:
        """Send DTMF digits; C{False}: this carrier or its peer cannot."""

    def transfer(self, target: str) -> Deferred[None]:
        """
        Transfer the caller.  The call is over for this leg when the Deferred fires.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.
        """


class ArrivingLeg(CallLeg, Protocol):
    """The leg of a caller whose media is not connected yet."""

    def arrive(self) -> Deferred[None]:
        """
        Fires when the caller can hear, perhaps at once.  If that never happens,
        L{LegEvents.leg_ended} says so and this does not fire.  Called once, when the
        first audio for the caller is decided.
        """


class OutboundLeg(CallLeg, Protocol):
    """The leg of an outbound call."""

    def dial(self) -> Deferred[None]:
        """
        Place the call.  Fires when it is answered; if it never is, this does not fire,
        and L{LegEvents.leg_ended} is called.  Cancelling gives the attempt up.
        """


class LegEvents(Protocol):
    """What a leg reports."""

    def caller_audio(self, audio: bytes) -> None: ...
    def gap_filled(self, audio: bytes) -> None:
        """
        Nothing came from the caller's side, and this audio takes its place.  Only from
        a leg that has the caller's clock.
        """

    def digit_pressed(self, digit: str) -> None: ...
    def mark_reached(self, name: str) -> None: ...
    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def oddity_seen(self, kind: str) -> None:
        """The peer sent something unusual but harmless; counted."""

    def leg_ended(self, ending: Ending) -> None:
        """The leg is gone, and takes no more requests.  Reported once."""


@frozen(kw_only=True)
class AgentTraits:
    """
    The traits of one session; the next session of the same call may differ.

    @ivar codec: of audio in both directions.
    @ivar is_ahead: it speaks faster than it is heard, so what it sent and what was
        heard differ; otherwise its audio comes in real time.
    @ivar cuts_itself: on an interruption it drops what was not heard by itself, and
        needs no truncation.
    @ivar expires_at: Unix seconds; when the service will end the session, as it says.
    @ivar most_seconds: the service ends a session of that age, even if it does not say
        when.
    """

    codec: Codec
    is_ahead: bool = True
    cuts_itself: bool = False
    expires_at: float | None = None
    most_seconds: float | None = None


class AgentSession(Protocol):
    """
    The agent's side of a call, ready to talk.

    @ivar deployment: the name of its deployment.
    """

    traits: AgentTraits
    deployment: str

    def recall(self, history: History) -> None:
        """
        Continue the conversation of earlier sessions of the same call.  Called before
        anything else is sent; it does not make the agent speak.
        """

    def send_audio(self, audio: bytes) -> None:
        """What the caller says, in any length."""

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        """The caller heard only so much of this item."""

    def say(self, instructions: str, *, is_last: bool = False) -> None:
        """
        Let the agent speak now, by C{instructions} for this response only.

        @param is_last: these are its last words: nothing else is said before them or
            after.  They are asked for again if another response comes first, or if
            they fail.
        """

    def interject(self, instructions: str) -> None:
        """The same outside of the conversation: the agent will not remember it."""

    def tell(self, text: str, *, is_order: bool = False) -> None:
        """
        Put a text into the conversation, as if the caller had said it, or as an
        instruction.  The agent does not answer before L{respond}.
        """

    def respond(self) -> None:
        """
        Let the agent answer the conversation so far, once, when nobody else speaks.
        The response is asked for again if it fails.
        """

    def cancel(self) -> None:
        """Stop the response in progress, if there is one."""

    def tool_result(self, call_id: str, output: str) -> None:
        """
        Answer a tool call, also one of the recalled history.  The agent goes on at
        L{respond}.
        """

    def probe(self) -> None:
        """Ask something that changes nothing: a session that is alive answers it."""

    def close(self) -> None:
        """End the session.  Reports nothing."""


class AgentLine(AgentSession, Protocol):
    """
    A call's line to its agent: one session after another.

    Its C{traits} and C{deployment} are those of the current session; requests that come
    while there is none are kept for the next one.
    """

    def tick(self, now: float) -> None:
        """Called ten times a second at least; the line has no other clock."""

    def heard(self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        """An item was heard to its end, or cut after so much of it."""


class AgentReports(Protocol):
    """What both a session and a line report of the agent."""

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None: ...
    def agent_audio_done(self, item_id: str) -> None: ...
    def speech_started(self, item_id: str) -> None: ...
    def speech_stopped(self, item_id: str) -> None: ...
    def response_started(self, response_id: str) -> None: ...
    def last_words_start(self, response_id: str) -> None:
        """
        The response that starts next is probably the last words that were asked for;
        if this is reported again for a later one, it was not.
        """

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        """
        @param status: the service's; or C{empty}: completed, but without speech or
            tool calls; C{silent}: empty again, so the agent has nothing to say;
            C{lost}: its session is over, and the line asks the next one for the rest,
            if more is owed.
        """

    def caller_said(self, item_id: str, text: str) -> None: ...
    def transcription_failed(self, item_id: str, form: str, reason: str) -> None:
        """
        There will be no text of what the caller said.

        @param item_id: of this item; empty: of no later item.
        @param form: C{failed}, or C{refused} with the session's settings.
        """

    def tokens_used(self, tokens: Mapping[str, int]) -> None:
        """By something other than a reported response."""

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        """
        @param text: the next piece, or the whole if it C{is_final}.
        """

    def tool_called(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> None: ...
    def mcp_called(self, name: str, fault: str) -> None:
        """
        A tool that the service calls itself (C{SERVER.TOOL}) has its result, and no
        other is running: the agent goes on at L{AgentSession.respond}.
        """

    def agent_active(self) -> None:
        """The agent sent anything but audio."""

    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def oddity_seen(self, kind: str) -> None:
        """The service sent something unusual but harmless; counted."""

    def agent_lost(self, reason: str) -> None:
        """The session is gone, and takes no more requests.  Reported once."""


class AgentEvents(AgentReports, Protocol):
    """What an agent session reports once it is ready."""

    def words_start(self, response_id: str) -> None:
        """The response that starts next is the first of L{AgentSession.say} unsaid."""

    def answer_delayed(self, seconds: float) -> None:
        """An answer failed, and is asked for again after so many seconds."""

    def answer_failed(self, cause: str, reason: str, retry_seconds: float) -> None:
        """
        An answer has failed too often, or the session is stuck: another session may
        give it.

        @param cause: in a word; L{SILENCE}: its answers were complete and empty.
        @param reason: in the service's words.
        @param retry_seconds: after which the deployment may be asked again; 0: unknown.
        """


class LineEvents(AgentReports, Protocol):
    """What a line reports; no two sessions share an id.  L{agent_lost}: it gives up."""

    def session_ended(self, reason: str, awaited_since: float | None) -> None:
        """
        @param awaited_since: since when the caller waits; C{None}: he does not.
        """

    def agent_fell_short(self, item_id: str) -> None:
        """This item's audio is incomplete, and no more of it will come."""

    def agent_changed(self, deployment: str) -> None:
        """The next session continues; L{AgentLine.traits} are now its own."""

    def agent_waits(self, is_caller_silent: bool) -> None:
        """
        The caller has waited for the agent for a while; repeated while that lasts.

        @param is_caller_silent: the caller is silent, although the session has not
            reported that he stopped.
        """

    def agent_expires(self, reason: str) -> None:
        """The session is about to end, and no other is available: say goodbye now."""


class Agents(Protocol):
    """Opens agent sessions."""

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        avoid: str = "",
        *,
        is_running: bool = False,
    ) -> Deferred[AgentSession]:
        """
        Open a session and configure it.  Cancelling gives the attempt up.

        The Deferred fails with L{chime_gateway.errors.AgentUnavailable}.

        @param avoid: a deployment that is tried after all others.
        @param is_running: the call has had a session, and cannot be refused any more.
        """

    def failed(self, deployment: str) -> None:
        """A session of this deployment has failed during its call."""


class AgentLines(Protocol):
    """Opens the lines of calls to their agents."""

    def open(
        self,
        profile: AgentProfile,
        leg_codec: Codec,
        events: LineEvents,
        clock: Callable[[], float],
        started_at: float,
    ) -> Deferred[AgentLine]:
        """
        Open a line with its first session.  Cancelling gives the attempt up.

        The Deferred fails with L{chime_gateway.errors.AgentUnavailable}.

        @param clock: the call's, seconds, monotonic.
        @param started_at: Unix seconds, now.
        """

    def through(self, wrap: Callable[[Agents], Agents]) -> AgentLines:
        """The same, with an observer between the lines and their sessions."""
