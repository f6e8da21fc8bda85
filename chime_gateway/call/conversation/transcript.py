"""
The transcript of a call: who said what, when, and how much of it was heard.

Seconds count from the start of the call.  Texts come late and in pieces; a turn is
settled when its audio and its text are complete, or are no longer expected.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import Factory, define, field

from chime_gateway.call.reports.events import HeardFacts, ToolFacts, TurnFacts
from chime_gateway.speaking_rate import SpeakingRate

#: After its sound was heard, or cut, the text is waited for this long.
_TEXT_SECONDS: Final = 3.0

#: The text of what a caller said is made by another model, and may take long.
_CALLER_TEXT_SECONDS: Final = 15.0

#: Late texts of so many settled turns are recognised.
_REMEMBERED: Final = 64

#: Turns of a call that are kept; a call of hours has some hundred.
MAX_TURNS: Final = 5000

#: Characters of one turn, and of all: an hour of speech has some 60,000.
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
    @ivar number: in the order of beginnings, from 1.
    @ivar text: as far as it is known.
    @ivar is_interrupted: the caller cut it short.
    @ivar heard_ms: how much of C{spoken_ms} the caller heard (agent only).
    @ivar has_sound: some of it is there to be heard (agent only).
    @ivar is_whole: all its sound came before it was cut, if it was (agent only).
    @ivar rate: at which the agent speaks.
    @ivar told_text: that was heard, as it was told when the turn was settled.
    @ivar is_text_lost: it is known that no text will come.
    @ivar tool: what was used, if it is a tool's.
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
    told_text: str | None = field(default=None, repr=False)
    has_text: bool = False
    is_text_lost: bool = False
    settled_by: float | None = None
    is_settled: bool = False
    tool: ToolFacts | None = field(default=None, repr=False)

    def is_overdue(self, at: float) -> bool:
        """It is over, and its text is not waited for any more."""
        return self.settled_by is not None and at >= self.settled_by

    def is_known(self, at: float) -> bool:
        """All that will be known of it is."""
        has_all = self.has_text or self.is_text_lost
        return self.ended is not None and (has_all or self.is_overdue(at))

    @property
    def heard_text(self) -> str:
        """The part of the text that was heard; of a settled turn it stays the same."""
        if self.told_text is not None:
            return self.told_text
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
    @ivar turns: in the order in which they began.
    @ivar has_caller_text: the service transcribes the caller, so the text of a turn is
        waited for.
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
        """Something that is over at once."""
        turn = self._begin(speaker, at)
        turn.ended = at
        turn.text = text
        turn.tool = tool
        turn.is_settled = True
        return turn

    def facts(self) -> tuple[TurnFacts, ...]:
        """All turns, as far as they are known."""
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
        """The text will not come."""
        turn = self._open.get(item_id)
        if turn is not None:
            turn.is_text_lost = True

    # -- the agent ---------------------------------------------------------------

    def agent_began(self, item_id: str, at: float) -> None:
        """Its sound begins to be heard."""
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
        """The text may be ahead of the sound."""
        turn = self._open.get(item_id)
        if turn is None:
            if item_id in self._settled:
                return
            turn = self._agent_turn(item_id, at)
        if is_final:
            # A service forgets the text of what was truncated.
            self._write(turn, text or turn.text)
            turn.has_text = True
        elif not turn.has_text and len(turn.text) < MAX_TURN_CHARS:
            self._write(turn, turn.text + text)

    def agent_heard(
        self, item_id: str, heard_ms: int, spoken_ms: int, is_cut: bool, at: float
    ) -> None:
        """Its sound, or a part of it, was heard to the end, or cut."""
        turn = self._open.get(item_id)
        if turn is None:
            return
        turn.ended = at
        # It may have been cut before its turn to be heard came.
        turn.started = min(turn.started, at)
        turn.heard_ms = (turn.heard_ms or 0) + heard_ms
        turn.spoken_ms = (turn.spoken_ms or 0) + spoken_ms
        turn.is_interrupted = turn.is_interrupted or is_cut
        turn.settled_by = at + _TEXT_SECONDS

    def agent_audio_done(self, item_id: str, *, is_whole: bool) -> None:
        """
        No more of its sound comes.

        @param is_whole: there was no more; else the rest is missing.
        """
        turn = self._open.get(item_id)
        if turn is not None:
            # What comes behind a cut is not the rest of it.
            turn.is_whole = is_whole and not turn.is_interrupted
        elif item_id not in self._settled:
            # It has no text yet, and waits to be heard.
            self._done[item_id] = is_whole
            if len(self._done) > _REMEMBERED:
                del self._done[next(iter(self._done))]

    def agent_silent(self, at: float, *, is_cut: bool) -> None:
        """What has no sound by now will have none, and was not heard."""
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
        Turns that have become known since the last time.

        Those of the agent's come in their order.  One waits for those before it, but
        not longer than it would wait for its own text.

        @param is_over: the call is; nothing more will come.
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
        """The last of these waits no longer, nor do those before it."""
        settled = []
        for item_id, turn in turns:
            if turn.ended is None:
                # One that comes later was heard before it.
                self._end_unheard(turn, at, is_cut=False)
            if turn.ended is not None:
                settled.append(self._settle(item_id, turn))
        return settled

    def _settle(self, item_id: str, turn: Turn) -> Turn:
        turn.told_text = turn.heard_text
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
