"""
The seams: what a call, its caller's leg and its agent's session ask of each other.

Legs and agents are independent of each other; each uses only its own pair of
protocols below.  Requests are imperatives, reports are past tense, audio is C{bytes}
in the codec its sender declared.  Every method here is a plain function that returns
at once.
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
    What a carrier says of itself; nobody else knows one carrier from another.

    @ivar name: in metrics and records.
    @ivar buffers: the peer has a playout buffer of its own, takes audio as fast
        as it comes and obeys L{CallLeg.clear}.
    @ivar reports_playback: it says, by marks, what was heard; otherwise that is
        told by the clock.
    @ivar lag_seconds: how late it may be, in either direction.
    @ivar fails_over: a call that is refused before it was answered is taken by somebody
        else, who may serve it.
    @ivar keeps_time: it knows the caller's time, and says itself what stands for
        audio that did not come (L{LegEvents.gap_filled}).
    @ivar arrives_later: whoever calls cannot hear yet when his call begins: its legs
        are each an L{ArrivingLeg}.
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
        """Forget everything played and not yet heard, now."""

    def mark(self, name: str) -> None:
        """
        Ask to be told when everything played so far was heard.  Not asked of a
        carrier that does not report playback.
        """

    def hang_up(self, ending: Ending) -> None:
        """End it; before L{answer} this refuses the call.  Reports nothing."""

    def send_digits(self, digits: str) -> bool:
        """Press keys; C{False}: this carrier or its peer cannot."""

    def transfer(self, target: str) -> Deferred[None]:
        """
        Hand the caller on.  The call is over for this leg when it fires.

        The Deferred fails with L{chime_gateway.errors.TransferFailed}.
        """


class ArrivingLeg(CallLeg, Protocol):
    """A leg of somebody who calls, and is still on his way."""

    def arrive(self) -> Deferred[None]:
        """
        Fires when he can hear; perhaps he can already.  If he never comes,
        L{LegEvents.leg_ended} says so and this does not fire.  Asked once, when it is
        known what he is to hear.
        """


class OutboundLeg(CallLeg, Protocol):
    """A leg to somebody whom we call."""

    def dial(self) -> Deferred[None]:
        """
        Call.  Fires when it is answered; if it never is, L{LegEvents.leg_ended}
        says so and this does not fire.  Cancelling gives the attempt up.
        """


class LegEvents(Protocol):
    """What a leg reports."""

    def caller_audio(self, audio: bytes) -> None: ...
    def gap_filled(self, audio: bytes) -> None:
        """
        Nothing came from the caller's side, and this stands for it: of a leg that
        keeps the caller's time itself.
        """

    def digit_pressed(self, digit: str) -> None: ...
    def mark_reached(self, name: str) -> None: ...
    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def oddity_seen(self, kind: str) -> None:
        """Something harmless that the peer need not have sent; counted."""

    def leg_ended(self, ending: Ending) -> None:
        """The leg is gone; nothing may be asked of it any more.  Said once."""


@frozen(kw_only=True)
class AgentTraits:
    """
    What one session is like; the next session of the same call may be otherwise.

    @ivar codec: of audio in both directions.
    @ivar is_ahead: it speaks faster than it is heard, so what it sent and what was
        heard are two things; otherwise its audio comes as it is to be heard.
    @ivar cuts_itself: on an interruption it forgets by itself what was not heard,
        and is not to be told.
    @ivar expires_at: Unix seconds; the service says that it ends the session then.
    @ivar most_seconds: it ends one that is so old, also if it does not say when.
    """

    codec: Codec
    is_ahead: bool = True
    cuts_itself: bool = False
    expires_at: float | None = None
    most_seconds: float | None = None


class AgentSession(Protocol):
    """
    The agent's side of a call, ready to talk.

    @ivar deployment: the name of where it is.
    """

    traits: AgentTraits
    deployment: str

    def recall(self, history: History) -> None:
        """
        What was said before this session, in others of the same call: it goes on with
        that.  Asked before anything else is sent; nothing is answered to it by itself.
        """

    def send_audio(self, audio: bytes) -> None:
        """What the caller says, in any length."""

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        """Of this item the caller heard only so much."""

    def say(self, instructions: str, *, is_last: bool = False) -> None:
        """
        Let the agent speak now, told by C{instructions} for this once.

        @param is_last: these are its last words: nothing else is said before them or
            after.  They are asked for again if somebody else is first, and if nothing
            came of them.
        """

    def interject(self, instructions: str) -> None:
        """The same beside the conversation: the agent will not know of it."""

    def tell(self, text: str, *, is_order: bool = False) -> None:
        """
        Put a text into the conversation, as if the caller had said it, or as an
        order.  Nothing is answered before L{respond}.
        """

    def respond(self) -> None:
        """
        Let the agent speak to what it knows by now, once, when nobody else speaks.  It
        is asked for again if nothing comes of it.
        """

    def cancel(self) -> None:
        """Stop the answer that is being made, if there is one."""

    def tool_result(self, call_id: str, output: str) -> None:
        """
        Answer a tool call, also one that is in what was recalled.  The agent goes on at
        L{respond}.
        """

    def probe(self) -> None:
        """Ask something that changes nothing: whoever is there answers it."""

    def close(self) -> None:
        """End the session.  Reports nothing."""


class AgentLine(AgentSession, Protocol):
    """
    What a call has of its agent: sessions that come and go behind it.

    Its C{traits} and C{deployment} are those of the session that it has; requests that
    come while it has none are kept for the next one.
    """

    def tick(self, now: float) -> None:
        """Ten times a second at least; the line has no other time."""

    def heard(self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        """An item was heard to its end, or cut after so much of it."""


class AgentReports(Protocol):
    """What is reported of an agent, by its session and by the line alike."""

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None: ...
    def agent_audio_done(self, item_id: str) -> None: ...
    def speech_started(self, item_id: str) -> None: ...
    def speech_stopped(self, item_id: str) -> None: ...
    def response_started(self, response_id: str) -> None: ...
    def last_words_start(self, response_id: str) -> None:
        """
        The response that starts next is the last words that were asked for, as far as
        it is known; if that is said of another one later, it was not.
        """

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        """
        @param status: as the service says; C{empty}: it is completed, but nothing was
            said in it and nothing done; C{silent}: that is so again, the agent has
            nothing to say to what it knows; C{lost}: its session is over, and if more
            is owed, the line asks the next one for it.
        """

    def caller_said(self, item_id: str, text: str) -> None: ...
    def transcription_failed(self, item_id: str, form: str, reason: str) -> None:
        """
        What the caller said will not be written down.

        @param item_id: in this item; empty: in none that comes.
        @param form: C{failed}, or C{refused} with the session's settings.
        """

    def tokens_used(self, tokens: Mapping[str, int]) -> None:
        """By something else than a response that is told of."""

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        """
        @param text: the next piece, or the whole if it C{is_final}.
        """

    def tool_called(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> None: ...
    def mcp_called(self, name: str, fault: str) -> None:
        """
        A tool that the service calls itself (C{SERVER.TOOL}) has its result, and so
        have all others: the agent goes on at L{AgentSession.respond}.
        """

    def agent_active(self) -> None:
        """Anything but audio was heard from the agent."""

    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def oddity_seen(self, kind: str) -> None:
        """Something harmless that the service need not have sent; counted."""

    def agent_lost(self, reason: str) -> None:
        """The session is gone; nothing may be asked of it any more.  Said once."""


class AgentEvents(AgentReports, Protocol):
    """What an agent session reports once it is ready."""

    def words_start(self, response_id: str) -> None:
        """The response that starts next is the first of L{AgentSession.say} unsaid."""

    def answer_delayed(self, seconds: float) -> None:
        """An answer that came to nothing is asked for again in so long."""

    def answer_failed(self, cause: str, reason: str, retry_seconds: float) -> None:
        """
        What is to be said will not be said in this session, as it came to nothing too
        often, or the session is stuck; another one may say it.

        @param cause: in a word; L{SILENCE}: its answers were whole and empty.
        @param reason: as the service words it.
        @param retry_seconds: when this deployment wants to be asked again; 0: not said.
        """


class LineEvents(AgentReports, Protocol):
    """What a line reports; no two sessions share an id.  L{agent_lost}: it gives up."""

    def session_ended(self, reason: str, awaited_since: float | None) -> None:
        """
        @param awaited_since: the caller waits for it since then; C{None}: he does not.
        """

    def agent_fell_short(self, item_id: str) -> None:
        """Not all of this item's sound has come, and no more will."""

    def agent_changed(self, deployment: str) -> None:
        """The next session goes on; L{AgentLine.traits} are its own."""

    def agent_waits(self, is_caller_silent: bool) -> None:
        """
        The caller has waited for it for a while; said again while that lasts.

        @param is_caller_silent: he is, though the session has not said that he stopped.
        """

    def agent_expires(self, reason: str) -> None:
        """The session is about to end, and no other is to be had: say goodbye now."""


class Agents(Protocol):
    """Where agent sessions come from."""

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

        @param avoid: a deployment that is tried behind all others.
        @param is_running: the call has had a session, and has nowhere else to go.
        """

    def failed(self, deployment: str) -> None:
        """A session of it has failed in the middle of its call."""


class AgentLines(Protocol):
    """Where the lines of calls to their agents come from."""

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
        """The same, with whoever watches its sessions in between."""
