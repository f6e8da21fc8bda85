"""
The line of a call to its agent: one session at a time, followed by the next when it
ends.

It remembers the conversation, what the agent owes, and what the caller said last, so
the next session continues where the previous one ended.  It passes the reports of its
sessions to the call, and also reports that a session has followed another and that none
is available.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from chime_gateway.agents.line.memory import Memory
from chime_gateway.agents.line.owed import Owed, PendingResponse
from chime_gateway.agents.line.reports import Reports
from chime_gateway.agents.line.succession.caller_audio import CallerAudio
from chime_gateway.agents.line.succession.resumption import (
    ask_again,
    ask_caller_again,
    tell_of_cut,
)
from chime_gateway.agents.line.succession.successor import Successor
from chime_gateway.agents.line.succession.watch import Watch
from chime_gateway.audio import Codec
from chime_gateway.errors import BROKE_PROTOCOL
from chime_gateway.history import History
from chime_gateway.interfaces import (
    SILENCE,
    AgentLine,
    Agents,
    AgentSession,
    AgentTraits,
    LineEvents,
)
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits


class Line:
    """
    Implements L{AgentLine}.

    @param started_at: Unix seconds, now.
    @param limits: the gateway's limits, overridden by the profile's own.
    @ivar events: receives the line's reports: the call.
    @ivar now: seconds, monotonic.
    @ivar current: receives the current session's reports; C{None}: there is none.
    @ivar memory: of the conversation.
    @ivar owed: what the agent owes the caller.
    @ivar heard_by: when the caller has heard all audio that has arrived.
    @ivar byte_seconds: the duration of one byte of the agent's audio.
    """

    __slots__ = (
        *("_agents", "_caller", "_count", "_is_closed", "_is_lost", "_leg_codec"),
        *("_profile", "_resumed", "_session", "_successor", "_reported_over", "_watch"),
        *("byte_seconds", "current", "deployment", "events", "heard_by", "memory"),
        *("now", "owed", "traits"),
    )

    def __init__(
        self,
        agents: Agents,
        profile: AgentProfile,
        leg_codec: Codec,
        events: LineEvents,
        clock: Callable[[], float],
        started_at: float,
        limits: Limits,
    ) -> None:
        self.events = events
        self.now = clock
        self.current: Reports | None = None
        self.memory = Memory()
        self.owed = Owed(is_interruptible=profile.interruptible)
        self.traits = AgentTraits(codec=leg_codec)
        self.deployment = ""
        self._agents = agents
        self._profile = profile
        self._leg_codec = leg_codec
        self._session: AgentSession | None = None
        self._count = 0
        self._successor = successor = Successor(
            self._open_session, self._new_reports, self._next_ready, clock
        )
        now = self.heard_by = clock()
        self._watch = Watch(self, successor, limits, profile, now, started_at)
        self._caller = CallerAudio(leg_codec)
        self._is_lost = self._is_closed = False
        self.byte_seconds = 1 / leg_codec.bytes_per_second
        self._resumed = self._reported_over = ""

    def open(self) -> Deferred[AgentLine]:
        """Open the first session; see L{chime_gateway.interfaces.AgentLines}."""
        reports = self._new_reports()

        def ready(session: AgentSession) -> AgentLine:
            # The caller's audio arrives in the session's codec, not in the leg's.
            self._caller = CallerAudio(session.traits.codec)
            self._set_session(reports, session)
            return self

        return self._open_session(reports, "").addCallback(ready)

    def _new_reports(self) -> Reports:
        self._count += 1
        return Reports(self, self._count)

    def _open_session(self, reports: Reports, avoid: str) -> Deferred[AgentSession]:
        is_running = self._count > 1
        return self._agents.open(
            *(self._profile, self._leg_codec, reports, avoid), is_running=is_running
        )

    def _set_session(self, reports: Reports, session: AgentSession) -> None:
        """Make this the current session."""
        self.current = reports
        self._session = session
        self.traits = traits = session.traits
        self.deployment = session.deployment
        self.byte_seconds = 1 / traits.codec.bytes_per_second
        self._watch.began(traits, self.now())

    # -- AgentLine -----------------------------------------------------------------

    def send_audio(self, audio: bytes) -> None:
        """Called for every frame."""
        self._caller.audio += audio
        session = self._session
        if session is not None:
            session.send_audio(audio)

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        own = None if self.current is None else self.current.own(item_id)
        if self._session is not None and own is not None:
            self._session.truncate(own, content_index, played_ms)

    def say(self, instructions: str, *, is_last: bool = False) -> None:
        self.owed.say(instructions, self.now(), is_last=is_last)
        if self._session is not None:
            self._session.say(instructions, is_last=is_last)

    def interject(self, instructions: str) -> None:
        if self._session is not None:
            self._session.interject(instructions)

    def tell(self, text: str, *, is_order: bool = False) -> None:
        self.memory.told(text, is_order=is_order)
        if self._session is not None:
            self._session.tell(text, is_order=is_order)

    def respond(self) -> None:
        self.owed.expect(self.now())
        if self._session is not None:
            self._session.respond()

    def cancel(self) -> None:
        self.owed.cancel()
        self._answer_begun()
        if self._session is not None:
            self._session.cancel()

    def tool_result(self, call_id: str, output: str) -> None:
        self.memory.tool_result(call_id, output)
        self.owed.tool_result(call_id)
        if self._session is not None and self.current is not None:
            # A tool call of an earlier session was recalled in this one.
            own = self.current.own(call_id) or self.memory.call_id(call_id)
            self._session.tool_result(own, output)

    def tick(self, now: float) -> None:
        """Called at least ten times a second."""
        if now >= self._watch.look_at and not self._is_closed:
            self._watch.look(now)

    def probe(self) -> None:
        if self._session is not None:
            self._session.probe()

    def recall(self, history: History) -> None:
        """Does nothing, as a line has its own memory."""

    def heard(self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        self.memory.heard(item_id, heard_ms, spoken_ms, is_cut)
        if not is_cut or self._session is None or self.current is None:
            return
        if self.current.own(item_id) is None:
            # The session was told that the whole item would be heard.
            tell_of_cut(self._session, self.memory.heard_text(item_id))

    def close(self) -> None:
        self._is_closed = True
        session, self._session = self._session, None
        self.current = None
        self._is_lost = False
        try:
            self._successor.drop()
        finally:
            if session is not None:
                session.close()

    # -- reports of the current session ----------------------------------------------

    def item_began(self, item_id: str) -> None:
        """The first audio of an item has arrived."""
        self.memory.agent_began(item_id)
        self._watch.settle()
        self._answer_begun()

    def tool_called(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> None:
        self.memory.tool_called(call_id, name, arguments)
        self.owed.tool_called(response_id, call_id)
        self._watch.settle()
        self._answer_begun()

    def response_done(self, response_id: str, status: str) -> None:
        making = self.owed.making.get(response_id)
        if making is not None:
            self._sound_ended(making, is_whole=status == "completed")
        self.owed.response_done(response_id, status, self.now())
        self._answer_begun()

    def _sound_ended(self, making: PendingResponse, *, is_whole: bool) -> None:
        """
        Complete the items of a response.  A service reports that an item's audio is
        done even if the response was cut short, and ends the response afterwards.
        """
        if is_whole:
            for item_id in list(making.spoken):
                self.memory.agent_audio_done(item_id)
                self.events.agent_audio_done(item_id)
            return
        item_id, size = next(reversed(making.spoken.items()), making.last)
        if item_id:
            received_ms = self.traits.codec.duration_ms(size)
            self.memory.agent_fell_short(item_id, received_ms)
            self.events.agent_fell_short(item_id)

    def _answer_begun(self) -> None:
        """The agent has answered the caller's last turn, or owes no answer to it."""
        caller = self._caller
        if caller.turn and caller.is_over and not self.owed.is_answer_due:
            caller.settle()

    def answer_failed(self, cause: str, reason: str) -> None:
        if cause != SILENCE:
            self.lose(f"{cause}: {reason}", is_bad=True)
        elif self._watch.is_troubled:
            # The previous session was silent as well: the agent has nothing to say.
            self.owed.settle()
            self._answer_begun()
        else:
            self.owed.expect(self.now())
            self.lose("its answers are empty", is_bad=True)

    def speech_started(self, reports: Reports, own_id: str, item_id: str) -> None:
        self.owed.caller_began()
        self._watch.heard()
        self.heard_by = self.now()
        turn, self._resumed = self._resumed, ""
        if turn:
            # The call knows this turn; the session has heard its beginning again.
            reports.aliases[own_id] = turn
            self._caller.began(turn)
            return
        self._caller.began(item_id)
        self.memory.caller_began(item_id)
        self.events.speech_started(item_id)

    def speech_stopped(self, item_id: str) -> None:
        self._caller.stopped()
        self.owed.caller_stopped(self.now())
        self._report_turn_over(item_id)

    def _report_turn_over(self, item_id: str) -> None:
        if self._reported_over != item_id:
            self._reported_over = item_id
            self.events.speech_stopped(item_id)

    def caller_said(self, item_id: str, text: str) -> None:
        self.memory.caller_said(item_id, text)
        if text and self._caller.turn == item_id and self._caller.is_over:
            # The next session gets the text, and need not hear the turn.
            self._caller.settle()

    def session_lost(self, reports: Reports, reason: str) -> None:
        """A session has ended unexpectedly."""
        if reports is self.current:
            self._session = None
            is_bad = self._watch.is_troubled or reason.startswith(BROKE_PROTOCOL)
            self.lose(reason, is_bad=is_bad)
        else:
            self._successor.lost(reports, reason)

    # -- one session after another -----------------------------------------------------

    def lose(
        self, reason: str, *, is_bad: bool, waits_since: float | None = None
    ) -> None:
        """
        The current session is over; seek the next one.

        @param is_bad: prefer another deployment for the next session.
        @param waits_since: since when the caller waits, although nothing seems to be
            owed; C{None}: the caller does not.
        """
        now = self.now()
        session, self._session = self._session, None
        self.current = None
        self._is_lost = True
        is_due = self.owed.is_anything_due or bool(self.owed.making)
        since = self.owed.waits_since(now) if is_due else now
        if waits_since is not None:
            is_due, since = True, min(since, waits_since)
        if self._watch.ended(now, since, reason):
            self._agents.failed(self.deployment)
        self._caller.hold()
        if session is not None:
            session.close()
        duration_ms = self.traits.codec.duration_ms
        for response_id, making in self.owed.session_over().items():
            for item_id, size in making.spoken.items():
                self.memory.broke_off(item_id, duration_ms(size))
                self.events.agent_fell_short(item_id)
            self.events.response_done(response_id, "lost", reason, {})
        self.events.session_ended(reason, since if is_due else None)
        if self._is_lost and self._watch.is_hopeless:
            self.give_up(f"no session lasts: {reason}")
        elif self._is_lost:  # the call may be over by now
            avoid = self.deployment if is_bad else ""
            self._successor.want(avoid, self._watch.pause)
            self._next_ready()

    def _next_ready(self) -> None:
        if not self._is_lost:
            return  # it takes over later
        taken = self._successor.take()
        if taken is not None:
            self._is_lost = False
            self._take_over(*taken)

    def _take_over(self, reports: Reports, session: AgentSession) -> None:
        """Let the next session take over."""
        self._set_session(reports, session)
        self._resumed = turn = self._caller.turn
        history = self.memory.history({turn} if turn else ())
        session.recall(history)
        self.events.agent_changed(self.deployment)
        if self._session is not session:
            return
        ask_again(session, self.owed, history.unfinished, is_turn_repeated=bool(turn))
        self.owed.session_began(self.now())
        audio = self._caller.take(self.traits.codec)
        if audio:
            session.send_audio(audio)

    # -- Watched -----------------------------------------------------------------------

    def is_caller_loud(self) -> bool:
        return self._caller.was_loud()

    def trim(self) -> None:
        dropped = self._caller.trim()
        if dropped:
            self.events.audio_dropped("no_agent", dropped)

    @property
    def is_turn_open(self) -> bool:
        return bool(self._caller.turn)

    def give_up(self, why: str) -> None:
        self._is_lost = False
        self._successor.drop()
        self.events.agent_lost(why)

    def waits(self, *, is_caller_silent: bool) -> None:
        self.events.agent_waits(is_caller_silent)

    def noticed(self) -> None:
        turn, self._resumed = self._resumed, ""
        if turn and self._session is not None:
            self.owed.caller_stopped(self.now())
            self._caller.stopped()
            self._caller.settle()
            ask_caller_again(self._session)
            self._report_turn_over(turn)

    def keep(self, seconds: float) -> None:
        self._caller.keep(seconds)

    def expires(self, why: str) -> None:
        self.events.agent_expires(why)
