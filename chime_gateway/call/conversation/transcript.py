"""
The transcript of a call: who said what, when, and how much of it was heard.

Times are seconds since the start of the call.  Texts arrive late and in pieces; a turn
is settled when its audio and its text are complete, or are no longer expected.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import Factory, define, field

from chime_gateway.call.reports.events import HeardFacts, ToolFacts, TurnFacts
from chime_gateway.speaking_rate import SpeakingRate

#: How long to wait for a text after its audio was heard or cut.
_TEXT_SECONDS: Final = 3.0

#: The same for the caller's texts, which another model produces, perhaps slowly.
_CALLER_TEXT_SECONDS: Final = 15.0

#: Number of settled turns whose late texts are recognised.
_REMEMBERED: Final = 64

#: Maximum number of turns that are kept; a call of hours has a few hundred.
MAX_TURNS: Final = 5000

#: Maximum characters of one turn, and of all; an hour of speech has about 60,000.
MAX_TURN_CHARS: Final = 50_000
MAX_CHARS: Final = 500_000


class Speaker(Enum):
    CALLER = "caller"
    AGENT = "agent"
    KEYPAD = "keypad"
    TOOL = "tool"
    NOTE = "note"


@define(eq=False)
class Turn:
    """
    One turn.

    @ivar number: in the order in which turns began, from 1.
    @ivar text: as far as it is known.
    @ivar is_interrupted: the caller cut it short.
    @ivar heard_ms: how much of C{spoken_ms} the caller heard (agent only).
    @ivar has_sound: some of its audio has begun to be heard (agent only).
    @ivar is_whole: all its audio arrived before it was cut, if it was (agent only).
    @ivar rate: the agent's speaking rate.
    @ivar settled_text: the text that was heard, as reported when the turn was settled.
    @ivar is_text_lost: it is known that no text will arrive.
    @ivar settled_by: when it is settled even without a text.
    @ivar tool: the tool call, if the turn is one.
    """

    number: int
    speaker: Speaker
    started: float
    ended: float | None = None
    text: str = field(default="", repr=lambda text: f"<{len(text)} characters>")
    is_interrupted: bool = False
    heard_ms: int | None = None
    spoken_ms: int | None = None
    has_sound: bool = False
    is_whole: bool = False
    rate: SpeakingRate = field(factory=SpeakingRate, repr=False)
    settled_text: str | None = field(default=None, repr=False)
    has_text: bool = False
    is_text_lost: bool = False
    settled_by: float | None = None
    is_settled: bool = False
    tool: ToolFacts | None = field(default=None, repr=False)

    def is_overdue(self, at: float) -> bool:
        """Return whether it is over, and its text is no longer waited for."""
        return self.settled_by is not None and at >= self.settled_by

    def is_known(self, at: float) -> bool:
        """Return whether it is complete, as far as it ever will be."""
        has_all = self.has_text or self.is_text_lost
        return self.ended is not None and (has_all or self.is_overdue(at))

    @property
    def heard_text(self) -> str:
        """The part of the text that was heard; it is final once the turn is settled."""
        if self.settled_text is not None:
            return self.settled_text
        if self.heard_ms == 0:
            return ""
        if not self.spoken_ms or (self.is_whole and not self.is_interrupted):
            return self.text
        heard_ms = self.heard_ms or 0
        return self.rate.heard(
            self.text, heard_ms, self.spoken_ms, is_whole=self.is_whole
        )

    def facts(self) -> TurnFacts:
        heard = None
        if self.speaker is Speaker.AGENT:
            heard = HeardFacts(
                interrupted=self.is_interrupted,
                heard_ms=self.heard_ms,
                spoken_ms=self.spoken_ms,
                heard_text=self.heard_text,
            )
        return TurnFacts(
            number=self.number,
            speaker=self.speaker.value,
            started=round(self.started, 3),
            ended=None if self.ended is None else round(self.ended, 3),
            text=self.text,
            heard=heard,
            tool=self.tool,
        )


@define(eq=False)
class Transcript:
    """
    The transcript of one call.

    @ivar turns: in the order in which they began.
    @ivar has_caller_text: whether the service transcribes the caller, so that turns
        wait for their text.
    """

    has_caller_text: bool = True
    _rate: SpeakingRate = Factory(SpeakingRate)
    turns: list[Turn] = Factory(list)
    _open: dict[str, Turn] = Factory(dict)
    _settled: dict[str, None] = Factory(dict)
    _done: dict[str, bool] = Factory(dict)
    _count: int = 0
    _chars: int = 0

    def _begin(self, speaker: Speaker, started: float) -> Turn:
        self._count += 1
        turn = Turn(self._count, speaker, started, rate=self._rate)
        if len(self.turns) < MAX_TURNS:
            self.turns.append(turn)
        return turn

    def note(
        self, speaker: Speaker, at: float, text: str, tool: ToolFacts | None = None
    ) -> Turn:
        """Add a turn that is complete at once."""
        turn = self._begin(speaker, at)
        turn.ended = at
        turn.text = text
        turn.tool = tool
        turn.is_settled = True
        return turn

    def facts(self) -> tuple[TurnFacts, ...]:
        """Return all turns, as far as they are known."""
        return tuple(turn.facts() for turn in self.turns)

    def _write(self, turn: Turn, text: str) -> None:
        others = self._chars - len(turn.text)
        turn.text = text[: min(MAX_TURN_CHARS, max(0, MAX_CHARS - others))]
        self._chars = others + len(turn.text)

    # -- the caller ------------------------------------------------------------

    def caller_began(self, item_id: str, at: float) -> None:
        if item_id not in self._open:
            self._open[item_id] = self._begin(Speaker.CALLER, at)

    def caller_stopped(self, item_id: str, at: float) -> None:
        turn = self._open.get(item_id)
        if turn is None:
            turn = self._open[item_id] = self._begin(Speaker.CALLER, at)
        turn.ended = at
        wait = _CALLER_TEXT_SECONDS if self.has_caller_text else 0.0
        turn.settled_by = at + wait

    def caller_said(self, item_id: str, text: str) -> None:
        turn = self._open.get(item_id)
        if turn is not None:
            self._write(turn, text)
            turn.has_text = True

    def caller_text_lost(self, item_id: str) -> None:
        """The text of this turn will not arrive."""
        turn = self._open.get(item_id)
        if turn is not None:
            turn.is_text_lost = True

    # -- the agent ---------------------------------------------------------------

    def agent_began(self, item_id: str, at: float) -> None:
        """The caller begins to hear this item."""
        turn = self._open.get(item_id)
        if turn is None:
            if item_id in self._settled:
                return
            turn = self._agent_turn(item_id, at)
        elif not turn.has_sound:
            turn.started = at
        turn.has_sound = True

    def _agent_turn(self, item_id: str, at: float) -> Turn:
        turn = self._open[item_id] = self._begin(Speaker.AGENT, at)
        turn.is_whole = self._done.pop(item_id, False)
        return turn

    def agent_said(self, item_id: str, text: str, is_final: bool, at: float) -> None:
        """The agent's text, or a piece of it; it may be ahead of the audio."""
        turn = self._open.get(item_id)
        if turn is None:
            if item_id in self._settled:
                return
            turn = self._agent_turn(item_id, at)
        if is_final:
            # A service drops the text of an item that was truncated.
            self._write(turn, text or turn.text)
            turn.has_text = True
        elif not turn.has_text and len(turn.text) < MAX_TURN_CHARS:
            self._write(turn, turn.text + text)

    def agent_heard(
        self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool, at: float
    ) -> None:
        """The audio of an item, or a part of it, was heard to the end, or was cut."""
        turn = self._open.get(item_id)
        if turn is None:
            return
        turn.ended = at
        # It may have been cut before it began to be heard.
        turn.started = min(turn.started, at)
        turn.heard_ms = (turn.heard_ms or 0) + heard_ms
        turn.spoken_ms = (turn.spoken_ms or 0) + spoken_ms
        turn.is_interrupted = turn.is_interrupted or is_cut
        turn.settled_by = at + _TEXT_SECONDS

    def agent_audio_done(self, item_id: str, *, is_whole: bool) -> None:
        """
        No more audio of this item will arrive.

        @param is_whole: the audio is complete; otherwise the rest is missing.
        """
        turn = self._open.get(item_id)
        if turn is not None:
            # Audio that arrives after a cut does not complete the item.
            turn.is_whole = is_whole and not turn.is_interrupted
        elif item_id not in self._settled:
            # It has no text yet, and has not begun to be heard.
            self._done[item_id] = is_whole
            if len(self._done) > _REMEMBERED:
                del self._done[next(iter(self._done))]

    def agent_silent(self, at: float, *, is_cut: bool) -> None:
        """End the agent's turns that have no audio yet: they will not get any."""
        for turn in self._open.values():
            if turn.speaker is Speaker.AGENT and turn.ended is None:
                self._end_unheard(turn, at, is_cut)

    @staticmethod
    def _end_unheard(turn: Turn, at: float, is_cut: bool) -> None:
        if not turn.has_sound:
            turn.ended = at
            turn.heard_ms = turn.spoken_ms = 0
            turn.is_interrupted = is_cut
            turn.settled_by = at + _TEXT_SECONDS

    # -- time ------------------------------------------------------------------

    def settle(self, at: float, *, is_over: bool = False) -> list[Turn]:
        """
        Settle the turns that are complete, and return them.

        The agent's turns are settled in order.  A turn waits for those before it, but
        not longer than for its own text.

        @param is_over: the call is over; nothing more will arrive.
        """
        if not self._open:
            return []
        if is_over:
            self._end_all(at)
        settled = []
        of_agent: list[tuple[str, Turn]] = []
        for item_id, turn in list(self._open.items()):
            if turn.speaker is not Speaker.AGENT:
                if is_over or turn.is_known(at):
                    settled.append(self._settle(item_id, turn))
                continue
            of_agent.append((item_id, turn))
            if is_over or (turn.has_sound and turn.is_overdue(at)):
                settled += self._settle_agent(of_agent, at)
                of_agent = []
        for item_id, turn in of_agent:
            if not turn.is_known(at):
                break
            settled.append(self._settle(item_id, turn))
        return sorted(settled, key=lambda turn: turn.number)

    def _settle_agent(self, turns: list[tuple[str, Turn]], at: float) -> list[Turn]:
        """Settle these turns: the last of them is overdue."""
        settled = []
        for item_id, turn in turns:
            if turn.ended is None:
                # A later turn was heard first.
                self._end_unheard(turn, at, is_cut=False)
            if turn.ended is not None:
                settled.append(self._settle(item_id, turn))
        return settled

    def _settle(self, item_id: str, turn: Turn) -> Turn:
        turn.settled_text = turn.heard_text
        if turn.is_whole and turn.has_text and turn.heard_ms == turn.spoken_ms:
            self._rate.learn(turn.text, turn.spoken_ms or 0)
        del self._open[item_id]
        self._settled[item_id] = None
        if len(self._settled) > _REMEMBERED:
            del self._settled[next(iter(self._settled))]
        turn.is_settled = True
        return turn

    def _end_all(self, at: float) -> None:
        self.agent_silent(at, is_cut=False)
        for turn in self._open.values():
            if turn.ended is None:
                turn.ended = at
