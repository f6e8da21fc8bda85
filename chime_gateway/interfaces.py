"""
The interfaces between a call, its caller's leg and its agent's session.

Legs and agents are independent of each other; each uses only its own pair of protocols
below.  Names of requests are imperatives, names of reports are in the past tense.
Audio is C{bytes} in the codec that its sender declared.  No method blocks.
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

#: The cause of a failed answer: it was complete and empty.
SILENCE: Final = "silence"


@frozen(kw_only=True)
class CarrierTraits:
    """
    The traits of a carrier: all that other code may know of its differences.

    @ivar name: its name in metrics and records.
    @ivar buffers: the peer has its own playout buffer, accepts audio faster than real
        time and obeys L{CallLeg.clear}.
    @ivar reports_playback: it reports by marks what was heard; otherwise that is
        estimated from the clock.
    @ivar lag_seconds: its greatest delay, in either direction.
    @ivar fails_over: a call that is refused before it was answered goes to another
        gateway, which may serve it.
    @ivar keeps_time: it has the caller's clock, and fills gaps in the audio itself
        (L{LegEvents.gap_filled}).
    @ivar arrives_later: when the call begins, the caller cannot hear yet: each of its
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
            raise ValueError(f"{self.name}: lag_seconds needs reports_playback")

    @property
    def is_paced(self) -> bool:
        """Whether it needs exactly one frame per ptime."""
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
        """Answer the call; the agent is ready."""

    def play(self, audio: bytes) -> None:
        """Play whole frames; a paced leg gets one at a time."""

    def clear(self) -> None:
        """Drop all audio that has been played but not heard yet."""

    def mark(self, name: str) -> None:
        """
        Ask for a report when all audio played so far was heard.  Only for carriers
        that report playback.
        """

    def hang_up(self, ending: Ending) -> None:
        """End the leg; before L{answer} this refuses the call.  Reports nothing."""

    def send_digits(self, digits: str) -> bool:
        """Send DTMF digits; return C{False} if the carrier or its peer cannot."""

    def transfer(self, target: str) -> Deferred[None]:
        """
        Transfer the caller.  When the Deferred fires, the call is over for this leg.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.
        """


class ArrivingLeg(CallLeg, Protocol):
    """The leg of a caller whose media is not connected yet."""

    def arrive(self) -> Deferred[None]:
        """
        Fires when the caller can hear, perhaps at once; if that never happens, only
        L{LegEvents.leg_ended} is called.  Called once, when it is clear that audio will
        be sent to the caller.
        """


class OutboundLeg(CallLeg, Protocol):
    """The leg of an outbound call."""

    def dial(self) -> Deferred[None]:
        """
        Place the call.  Fires when the call is answered; if it never is, only
        L{LegEvents.leg_ended} is called.  Cancelling abandons the attempt.
        """


class LegEvents(Protocol):
    """What a leg reports."""

    def caller_audio(self, audio: bytes) -> None: ...
    def gap_filled(self, audio: bytes) -> None:
        """
        No audio came from the caller's side; this audio takes its place.  Only called
        by a leg that has the caller's clock.
        """

    def digit_pressed(self, digit: str) -> None: ...
    def mark_reached(self, name: str) -> None: ...
    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def oddity_seen(self, kind: str) -> None:
        """The peer sent something unusual but harmless; counted."""

    def leg_ended(self, ending: Ending) -> None:
        """The leg has ended and accepts no more requests.  Reported once."""


@frozen(kw_only=True)
class AgentTraits:
    """
    The traits of one session; the next session of the same call may differ.

    @ivar codec: of audio in both directions.
    @ivar is_ahead: it sends audio faster than real time, so what it sent and what was
        heard differ; otherwise its audio comes in real time.
    @ivar cuts_itself: on a barge-in the service itself drops what was not heard, and
        needs no truncation.
    @ivar expires_at: the announced end of the session, in Unix seconds.
    @ivar most_seconds: the age at which the service ends a session, announced or not.
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
        """Send the caller's audio, of any length."""

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        """Tell the service that the caller heard only C{played_ms} of this item."""

    def say(self, instructions: str, *, is_last: bool = False) -> None:
        """
        Make the agent speak now, following C{instructions} for this response only.

        @param is_last: these are its last words: nothing else is said before or after
            them.  They are asked for again if another response comes first, or if
            they fail.
        """

    def interject(self, instructions: str) -> None:
        """Like L{say}, but outside the conversation: the agent will not remember it."""

    def tell(self, text: str, *, is_order: bool = False) -> None:
        """
        Add a text to the conversation, as if the caller had said it, or as an
        instruction.  The agent does not answer before L{respond}.
        """

    def respond(self) -> None:
        """
        Let the agent answer the conversation so far, once, when no one is speaking.
        The response is asked for again if it fails.
        """

    def cancel(self) -> None:
        """Stop the response in progress, if there is one."""

    def tool_result(self, call_id: str, output: str) -> None:
        """
        Send the result of a tool call, possibly one of the recalled history.  The
        agent continues after L{respond}.
        """

    def probe(self) -> None:
        """Send a request without effect, which a working session answers."""

    def close(self) -> None:
        """End the session.  Reports nothing."""


class AgentLine(AgentSession, Protocol):
    """
    A call's line to its agent: one session after another.

    Its C{traits} and C{deployment} are those of the current session; requests that come
    between two sessions are kept for the next one.
    """

    def tick(self, now: float) -> None:
        """Called at least ten times a second; the line has no other clock."""

    def heard(self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        """An item was heard to its end, or was cut after C{heard_ms}."""


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
        The response that starts next is probably the last words that were asked for.
        A second report, for a later response, withdraws the first.
        """

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        """
        @param status: the service's status; or C{empty}: completed, but without speech
            or tool calls; C{silent}: empty again, so the agent has nothing to say;
            C{lost}: its session is over, and the line asks the next session for the
            missing rest.
        """

    def caller_said(self, item_id: str, text: str) -> None: ...
    def transcription_failed(self, item_id: str, form: str, reason: str) -> None:
        """
        There will be no text of what the caller said.

        @param item_id: the item without a text; empty: no later item will have one.
        @param form: C{failed}; C{refused}: the service rejected the settings for it.
        """

    def tokens_used(self, tokens: Mapping[str, int]) -> None:
        """Tokens were used by something other than a reported response."""

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        """
        @param text: the next piece; the whole text if C{is_final}.
        """

    def tool_called(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> None: ...
    def mcp_called(self, name: str, fault: str) -> None:
        """
        A tool that the service calls itself (C{SERVER.TOOL}) has its result, and no
        other is running: the agent continues after L{AgentSession.respond}.
        """

    def agent_active(self) -> None:
        """The agent sent something other than audio."""

    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def oddity_seen(self, kind: str) -> None:
        """The service sent something unusual but harmless; counted."""

    def agent_lost(self, reason: str) -> None:
        """The session has ended and accepts no more requests.  Reported once."""


class AgentEvents(AgentReports, Protocol):
    """What an agent session reports once it is ready."""

    def words_start(self, response_id: str) -> None:
        """The next response is the oldest unspoken request of L{AgentSession.say}."""

    def answer_delayed(self, seconds: float) -> None:
        """An answer failed; it will be asked for again after C{seconds}."""

    def answer_failed(self, cause: str, reason: str, retry_seconds: float) -> None:
        """
        An answer failed too often, or the session is stuck; another one may succeed.

        @param cause: one word; L{SILENCE}: the answers were complete and empty.
        @param reason: the service's own text.
        @param retry_seconds: when the deployment may be asked again; 0: unknown.
        """


class LineEvents(AgentReports, Protocol):
    """What a line reports; ids are unique over sessions.  L{agent_lost} is final."""

    def session_ended(self, reason: str, awaited_since: float | None) -> None:
        """
        @param awaited_since: since when the caller has been waiting, or C{None}.
        """

    def agent_fell_short(self, item_id: str) -> None:
        """This item's audio is incomplete, and no more of it will come."""

    def agent_changed(self, deployment: str) -> None:
        """The next session has taken over; L{AgentLine.traits} are now its traits."""

    def agent_waits(self, is_caller_silent: bool) -> None:
        """
        The caller has waited for the agent for a while; repeated while that lasts.

        @param is_caller_silent: the caller is silent, although the session has not
            reported the end of speech.
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
        Open a session and configure it.  Cancelling abandons the attempt.

        The Deferred fails with L{chime_gateway.errors.AgentUnavailable}.

        @param avoid: a deployment that is tried after all others.
        @param is_running: the call has had a session, and can no longer be refused.
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
        Open a line with its first session.  Cancelling abandons the attempt.

        The Deferred fails with L{chime_gateway.errors.AgentUnavailable}.

        @param clock: the call's monotonic clock, in seconds.
        @param started_at: the current time, in Unix seconds.
        """

    def through(self, wrap: Callable[[Agents], Agents]) -> AgentLines:
        """Return the same with an observer between the lines and their sessions."""
