"""
The conversation of a call: turns, tools, keys, and who speaks next.

It receives everything that the agent reports, and tells the agent what it has to know.
Its L{Owner} begins and ends the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.call.conversation.agent_sessions import AgentSessions
from chime_gateway.call.conversation.failures import Failures
from chime_gateway.call.conversation.farewell import Farewell
from chime_gateway.call.conversation.owed_answer import OwedAnswer
from chime_gateway.call.conversation.owner import Owner
from chime_gateway.call.conversation.transcript import Speaker
from chime_gateway.call.conversation.turns import Turns
from chime_gateway.call.reports import events
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.call.tools.belt import ToolBelt, ToolUse
from chime_gateway.call.tools.keypad import Collected, Keypad
from chime_gateway.interfaces import AgentLine
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.services import ToolRunner
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.sound import TONE
from chime_gateway.settings.values import Limits

_VERBATIM: Final = "Say this to the caller, word for word and nothing else: "
_STILL_THERE: Final = "Ask the caller in a few words whether they are still there."
_STILL_HERE: Final = (
    "[The transfer has failed: {why}. The caller is still on the line with you.]"
)
_GREETING: Final = "Greet the caller now, with these words and no others: "


class Conversation:
    """
    Implements L{chime_gateway.interfaces.LineEvents} and
    L{chime_gateway.call.tools.belt.ToolUser}.

    @param clock: seconds, monotonic; the call began at C{began}.
    @ivar agent: the line to the agent; C{None}: there is none.
    @ivar answer: whether the agent owes an answer.
    @ivar turns: what has been said so far.
    """

    _log = Logger()

    def __init__(
        self,
        owner: Owner,
        profile: AgentProfile,
        record: CallRecord,
        pump: MediaPump,
        *,
        clock: Callable[[], float],
        began: float,
        limits: Limits,
        tools: ToolRunner,
    ) -> None:
        self.agent: AgentLine | None = None
        self.answer = OwedAnswer(clock, limits.agent_silence_seconds)
        self.turns = Turns(
            record.call_id,
            clock,
            began,
            has_caller_text=profile.transcription is not None,
            happened=owner.happened,
            text_missed=self._text_missed,
        )
        self._owner = owner
        self._profile = profile
        self._record = record
        self._failures = Failures(record)
        self._pump = pump
        self._clock = clock
        self._belt = ToolBelt(profile, self, tools, clock, owner.bug)
        self._keypad = Keypad(self._typed)
        self._farewell = Farewell(
            owner, pump, clock, limits.goodbye_seconds, may_stay=profile.interruptible
        )
        self._sessions = sessions = AgentSessions(record, pump, clock, began)
        self.session_ended = sessions.ended
        self.agent_changed = sessions.changed
        self._responses: set[str] = set()
        self._turn_ended_at = began
        self._spoke_at = began - 1.0
        # A tool that the service runs has its result; the agent has not spoken since.
        self._has_result = False

    # -- requests of the call ------------------------------------------------------

    def begin(self, agent: AgentLine, first_words: str) -> None:
        """The line is open; the agent begins with C{first_words}, if any."""
        self.agent = agent
        self._sessions.joined(agent)
        if first_words:
            agent.say(_GREETING + first_words)
            self.answer.expect()

    def wait_with(self, agent: AgentLine) -> None:
        """The agent's line is open, but the caller is not connected yet."""
        self.agent = agent

    def say_goodbye(self, words: str) -> None:
        """Ask the agent for its last words; the caller is no longer heard."""
        self.answer.settle()
        self._belt.close()
        self._silence_agent()
        self._pump.mute_caller()
        self._farewell.say_goodbye(self.agent, words)

    def close(self) -> None:
        """Close the agent's line, if it is open, and stop all that waits for it."""
        self.answer.settle()
        self._belt.close()
        self._keypad.close()
        self.turns.agent_silent(is_cut=False)
        agent, self.agent = self.agent, None
        if agent is not None:
            agent.close()

    def say(self, text: str) -> bool:
        """Have the agent say this now; C{False}: there is no agent."""
        if self.agent is None or self._farewell.is_goodbye:
            return False
        self._interrupted()
        self.agent.say(_VERBATIM + text)
        self.answer.expect()
        return True

    def instruct(self, text: str, *, respond: bool) -> bool:
        """Give the agent an instruction; C{False}: there is no agent."""
        if self.agent is None or self._farewell.is_goodbye:
            return False
        self.agent.tell(text, is_order=True)
        if respond:
            self._respond()
        return True

    def transfer_failed(self, why: str) -> None:
        """Tell the agent that a transfer it did not request has failed."""
        self.instruct(_STILL_HERE.format(why=why), respond=True)

    def tick(self, now: float) -> None:
        """Called at least ten times a second."""
        if self.agent is not None:
            self.agent.tick(now)
        if self._keypad.is_waiting:
            self._keypad.tick(now, not self._pump.is_drained(now))
        if self._belt.is_running:
            self._belt.tick(now)
        if self._farewell.is_hang_up:
            self._farewell.tick(now)

    def check(self, now: float) -> None:
        """Called twice a second."""
        self._pump.report_heard(now)
        self.turns.settle()
        if self.agent is not None and self._farewell.is_due_again(now):
            self._silence_agent()
            self._farewell.ask_again(self.agent)
        if self.agent is not None and self.answer.take_silence(now):
            self.agent.say(_STILL_THERE)

    # -- reports of the pump -------------------------------------------------------

    def item_began(self, item_id: str, heard_at: float) -> None:
        self._spoke_at = self._clock()
        self.turns.agent_began(item_id, heard_at)

    def item_heard(
        self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool
    ) -> None:
        self.turns.agent_heard(item_id, heard_ms, spoken_ms, is_cut)
        if self.agent is not None:
            self.agent.heard(item_id, heard_ms, spoken_ms, is_cut)

    # -- reports of the leg ----------------------------------------------------------

    def digit_pressed(self, digit: str) -> None:
        self._record.digits += 1
        now = self._clock()
        if self._can_interrupt and not self._pump.is_drained(now):
            self._interrupted()
            self.answer.settle()
            if self.agent is not None:
                self.agent.cancel()
        self._keypad.press(digit, now)

    def _typed(self, digits: str) -> None:
        """The caller has pressed keys unprompted."""
        text = f"[The caller pressed {digits} on the keypad]"
        self._owner.happened(events.KeysPressed(len(digits)))
        self.turns.note(Speaker.KEYPAD, digits)
        if self.agent is not None and not self._farewell.is_goodbye:
            self.agent.tell(text)
            self._respond()

    # -- LineEvents ------------------------------------------------------------------

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None:
        if self._farewell.is_goodbye and not self._farewell.admits(response_id):
            self._pump.refuse(response_id)
        if self._sessions.silent_since is not None:
            self._sessions.audio_came()
        self._pump.agent_audio(response_id, item_id, content_index, audio)
        if self._has_result:
            # Audio that arrives in real time may still be of words before the result.
            self._has_result = self.agent is not None and not self.agent.traits.is_ahead
        self.answer.audio_came(response_id)

    def agent_audio_done(self, item_id: str) -> None:
        self._pump.agent_audio_done(item_id)
        self.turns.agent_audio_done(item_id)

    def agent_fell_short(self, item_id: str) -> None:
        self.turns.agent_fell_short(item_id)

    def speech_started(self, item_id: str) -> None:
        self.answer.caller_began()
        self._sessions.caller_began()
        if self._can_interrupt:
            self._owner.interrupted()
            self._interrupted()
        self.turns.caller_began(item_id)

    def speech_stopped(self, item_id: str) -> None:
        self._record.turns += 1
        self._turn_ended_at = self._clock()
        self.turns.caller_stopped(item_id)
        self._pump.turn_ended()
        self.answer.caller_stopped()

    def last_words_start(self, response_id: str) -> None:
        if self._farewell.started(response_id):
            self._silence_agent()

    def response_started(self, response_id: str) -> None:
        self._record.responses += 1
        self._responses.add(response_id)
        self._has_result = False
        self._pump.response_started(response_id)
        self.answer.response_started(response_id)

    def response_done(
        self, response_id: str, status: str, detail: str, tokens: Mapping[str, int]
    ) -> None:
        self.answer.response_done(response_id, status)
        self._responses.discard(response_id)
        self._record.tokens.update(tokens)
        if status in ("failed", "incomplete", "empty"):
            self._failures.response_failed(status, detail)
        self._pump.response_done(response_id)
        if not self._responses:
            self.turns.agent_silent(is_cut=status == "cancelled")
        self._belt.response_done(response_id)
        has_spoken = self._spoke_at >= self._turn_ended_at
        self._farewell.response_done(response_id, status, has_spoken)
        self._go_on_with_results()

    def caller_said(self, item_id: str, text: str) -> None:
        self.turns.caller_said(item_id, text)

    def transcription_failed(self, item_id: str, form: str, reason: str) -> None:
        self.turns.caller_text_failed(item_id, form, reason)

    def tokens_used(self, tokens: Mapping[str, int]) -> None:
        self._record.tokens.update(tokens)

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        self.turns.agent_said(item_id, text, is_final)

    def tool_called(
        self, response_id: str, call_id: str, name: str, arguments: str
    ) -> None:
        self.answer.tool_called()
        self._belt.called(response_id, call_id, name, arguments)

    def mcp_called(self, name: str, fault: str) -> None:
        self.answer.tool_called()
        logged = "the service reported a failure"
        self.tool_used(
            ToolUse(name=name, arguments="", fault=fault, logged_fault=logged)
        )
        if "." in name:
            self._has_result = True
            self._go_on_with_results()

    def agent_active(self) -> None:
        self.answer.sign_of_life()

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        self._pump.drop(reason, byte_count)

    def oddity_seen(self, kind: str) -> None:
        self._record.note_oddity(kind)

    def agent_waits(self, is_caller_silent: bool) -> None:
        is_silent = is_caller_silent or not self.answer.is_caller_speaking
        if is_silent and self._pump.is_drained(self._clock()):
            self._pump.play_sound(self._profile.filler_sound)

    def agent_expires(self, reason: str) -> None:
        self._owner.part(Ending(Outcome.TIME_LIMIT, reason), "")

    def agent_lost(self, reason: str) -> None:
        self.agent = None
        if not self._farewell.agent_lost():
            self._owner.agent_gone(reason)

    # -- ToolUser ----------------------------------------------------------------------

    def end_when_said(self, response_id: str) -> None:
        self._farewell.hang_up(response_id)

    def transfer_when_said(self, name: str, address: str) -> Deferred[None]:
        return self._owner.transfer_when_said(name, address)

    def send_digits(self, digits: str) -> bool:
        return self._owner.send_digits(digits)

    def collect_digits(
        self, max_digits: int, terminator: str, timeout_seconds: float
    ) -> Deferred[Collected]:
        now = self._clock()
        return self._keypad.collect(max_digits, terminator, timeout_seconds, now)

    def tool_done(self, call_id: str, output: str) -> None:
        if self.agent is not None:
            self.agent.tool_result(call_id, output)

    def tools_done(self) -> None:
        # If the caller is speaking, the agent answers afterwards, with the results.
        if not self._farewell.is_hang_up:
            self._respond()

    def tool_used(self, use: ToolUse) -> None:
        self._record.tool_calls += 1
        if use.fault:
            self._failures.tool_failed(use.name, use.logged_fault)
        facts = use.facts()
        self.turns.note(Speaker.TOOL, use.name, facts)
        self._owner.happened(events.ToolCalled(facts))

    def fill(self, filler: str) -> bool:
        is_quiet = self._pump.is_drained(self._clock())
        is_busy = self._responses or self.answer.is_caller_speaking
        if self.agent is None or is_busy or not is_quiet:
            return False
        if filler == TONE or self._profile.filler_sound is not None:
            self._pump.play_sound(self._profile.filler_sound)
        else:
            self.agent.interject(_VERBATIM + filler)
        return True

    def context(self) -> Mapping[str, Any]:
        return self._record.context()

    # -- inside ------------------------------------------------------------------------

    def _text_missed(self, form: str) -> None:
        self.oddity_seen(f"transcription_{form}")
        self._owner.text_missed(form)

    def _silence_agent(self) -> None:
        """Drop the agent's audio that the caller has not heard yet."""
        self._pump.interrupt()
        self.turns.agent_silent(is_cut=True)

    def _go_on_with_results(self) -> None:
        """Answer with the result of a service's tool: the service itself does not."""
        if self._has_result and not self._responses:
            self._has_result = False
            self._respond()

    def _respond(self) -> None:
        if self.agent is not None and not self._farewell.is_goodbye:
            self.agent.respond()
            self.answer.expect()

    @property
    def _can_interrupt(self) -> bool:
        """Whether the caller may interrupt the agent now."""
        is_heard = self.agent is not None and not self._farewell.is_goodbye
        return self._profile.interruptible and is_heard

    def _interrupted(self) -> None:
        """The caller or an operator interrupts the agent."""
        self._farewell.stay(self.agent)
        self._silence_agent()
