"""Records the turns of a call, and reports each one when it is complete."""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.call.conversation.caller_texts import CallerTexts
from chime_gateway.call.conversation.transcript import Speaker, Transcript
from chime_gateway.call.reports import events
from chime_gateway.call.reports.events import ToolFacts, TurnFacts


class Turns:
    """
    The turns of one call.

    @param clock: seconds, monotonic; the call began at C{began}.
    @param has_caller_text: whether the service transcribes the caller.
    @param happened: called with an event for each complete turn.
    @param text_missed: called with the reason why a turn of the caller has no text.
    """

    def __init__(
        self,
        call_id: str,
        clock: Callable[[], float],
        began: float,
        *,
        has_caller_text: bool,
        happened: Callable[[events.Payload], None],
        text_missed: Callable[[str], None],
    ) -> None:
        self.transcript = Transcript(has_caller_text=has_caller_text)
        self._clock = clock
        self._began = began
        self._happened = happened
        self._texts = CallerTexts(self.transcript, call_id, text_missed)

    def at(self) -> float:
        """Return the time since the start of the call, in seconds."""
        return self._clock() - self._began

    def facts(self) -> tuple[TurnFacts, ...]:
        """Return all turns, as far as they are known."""
        return self.transcript.facts()

    def note(self, speaker: Speaker, text: str, tool: ToolFacts | None = None) -> None:
        """Add a turn that is complete at once."""
        began = self.at() - (tool.seconds if tool is not None else 0.0)
        turn = self.transcript.note(speaker, began, text, tool)
        if tool is None:
            self._happened(events.TurnCompleted(turn.facts()))

    # -- the caller ----------------------------------------------------------------

    def caller_began(self, item_id: str) -> None:
        self.transcript.caller_began(item_id, self.at())

    def caller_stopped(self, item_id: str) -> None:
        self.transcript.caller_stopped(item_id, self.at())

    def caller_said(self, item_id: str, text: str) -> None:
        self._texts.came(item_id, text)

    def caller_text_failed(self, item_id: str, form: str, reason: str) -> None:
        self._texts.failed(item_id, form, reason)

    # -- the agent -----------------------------------------------------------------

    def agent_said(self, item_id: str, text: str, is_final: bool) -> None:
        self.transcript.agent_said(item_id, text, is_final, self.at())

    def agent_began(self, item_id: str, heard_at: float) -> None:
        self.transcript.agent_began(item_id, heard_at - self._began)

    def agent_audio_done(self, item_id: str) -> None:
        self.transcript.agent_audio_done(item_id, is_whole=True)

    def agent_fell_short(self, item_id: str) -> None:
        self.transcript.agent_audio_done(item_id, is_whole=False)

    def agent_heard(
        self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool
    ) -> None:
        at = self.at()
        self.transcript.agent_heard(item_id, heard_ms, spoken_ms, is_cut, at)

    def agent_silent(self, *, is_cut: bool) -> None:
        """Turns of the agent without audio so far will not get any."""
        self.transcript.agent_silent(self.at(), is_cut=is_cut)

    # -- time ----------------------------------------------------------------------

    def settle(self, *, is_over: bool = False) -> None:
        """Report the turns that have become complete."""
        for turn in self.transcript.settle(self.at(), is_over=is_over):
            if not is_over:
                self._texts.settled(turn)
            self._happened(events.TurnCompleted(turn.facts()))
