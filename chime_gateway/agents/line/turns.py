"""
The entries of a memory: one for each thing that was said, told or done.

L{chime_gateway.speaking_rate} estimates how much of a text was heard.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from attrs import define, field

from chime_gateway.history import (
    AgentText,
    CallerText,
    HistoryItem,
    Note,
    ToolCall,
    ToolOutput,
    whole_words,
)
from chime_gateway.speaking_rate import SpeakingRate

#: Characters of one turn that are kept; four minutes of speech have as many.
MOST_TURN_CHARS: Final = 4000

#: Arguments are some words.
_MOST_ARGUMENT_CHARS: Final = 1000

NOT_WRITTEN_DOWN: Final = "[The caller said something here that was not written down.]"


def kept(text: str, most: int = MOST_TURN_CHARS) -> str:
    """A text that is not too long, or its beginning."""
    return text if len(text) <= most else f"{text[:most]} …"


@define(eq=False)
class CallerTurn:
    """
    @ivar text: C{None}: it is not known yet, or never will be.
    """

    number: int
    text: str | None = field(default=None, repr=False)

    is_foldable = True

    @property
    def size(self) -> int:
        return len(self.text or "")

    def items(self) -> tuple[HistoryItem, ...]:
        return (CallerText(NOT_WRITTEN_DOWN if self.text is None else self.text),)


@define(eq=False)
class AgentTurn:
    """
    @ivar rate: of the agent.
    @ivar is_kept_whole: its text is not longer than what is kept of one.
    @ivar is_whole: all of its sound came, and nothing of it was cut before that.
    @ivar came_ms: so much came of one that is not whole, and no more will.
    @ivar is_broken_off: as its session was over.
    @ivar heard_ms: of C{spoken_ms}, as far as that was told.
    @ivar is_cut: the caller, or somebody else, cut it short.
    """

    number: int
    rate: SpeakingRate = field(repr=False)
    text: str = field(default="", repr=False)
    is_kept_whole: bool = True
    has_all_text: bool = False
    has_sound: bool = False
    is_whole: bool = False
    came_ms: int = 0
    is_broken_off: bool = False
    heard_ms: int = 0
    spoken_ms: int = 0
    is_cut: bool = False
    _is_learned_from: bool = False

    is_foldable = True

    @property
    def size(self) -> int:
        return len(self.text)

    def said(self, text: str, is_final: bool) -> None:
        if not is_final:
            if not self.has_all_text:
                self._keep(self.text + text)
            return
        self.has_all_text = True
        if text:  # a service forgets the text of what was truncated
            self._keep(text)
        self._learn()

    def _keep(self, text: str) -> None:
        self.is_kept_whole &= len(text) <= MOST_TURN_CHARS
        self.text = text[:MOST_TURN_CHARS]

    def sound_done(self) -> None:
        """No more of it comes."""
        if not self.is_cut and not self.came_ms:
            self.is_whole = True

    def fell_short(self, came_ms: int) -> None:
        """No more of it comes, and there should have been more."""
        self.is_whole = False
        self.came_ms = came_ms
        self.has_sound |= came_ms > 0

    def heard(self, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        self.has_sound = True
        self.heard_ms += heard_ms
        self.spoken_ms += spoken_ms
        self.is_cut |= is_cut
        self._learn()

    def _learn(self) -> None:
        is_said = self.is_whole and not self.is_cut and self.spoken_ms > 0
        if is_said and self.has_all_text and self.is_kept_whole:
            if not self._is_learned_from:
                self.rate.learn(self.text, self.spoken_ms)
            self._is_learned_from = True

    @property
    def heard_text(self) -> str:
        """As far as the caller has heard it, or will."""
        if not self.has_sound:
            return ""
        if self.is_whole and not self.is_cut:
            return self._all()
        sound = max(self.came_ms, self.spoken_ms)
        # What was not told of yet will be heard, unless it was cut.
        heard = self.heard_ms if self.is_cut else sound
        if self.is_whole and heard >= sound:
            return self._all()
        is_whole = self.is_whole and self.is_kept_whole
        return self.rate.heard(self.text, heard, sound, is_whole=is_whole)

    def _all(self) -> str:
        if not self.has_all_text:
            # The next piece may begin within a word.
            return whole_words(self.text, len(self.text) - 1)
        return self.text if self.is_kept_whole else f"{self.text} …"

    @property
    def is_unfinished(self) -> bool:
        """The caller has heard a part of it, and did not interrupt."""
        return self.is_broken_off and not self.is_cut

    def items(self) -> tuple[HistoryItem, ...]:
        text = self.heard_text
        return (AgentText(text),) if text else ()


@define(eq=False)
class Told:
    """A text that the agent was given."""

    number: int
    text: str = field(repr=False)
    is_order: bool

    is_foldable = True

    @property
    def size(self) -> int:
        return len(self.text)

    def items(self) -> tuple[HistoryItem, ...]:
        return (Note(self.text) if self.is_order else CallerText(self.text),)


@define(eq=False)
class ToolUse:
    """
    @ivar given_id: what it is called in every session but the one that called it.
    @ivar output: C{None}: it is awaited.
    """

    number: int
    name: str
    arguments: str = field(repr=False)
    output: str | None = field(default=None, repr=False)

    @property
    def given_id(self) -> str:
        return f"call_past_{self.number}"

    @property
    def is_foldable(self) -> bool:
        """A result has to find its call."""
        return self.output is not None

    @property
    def size(self) -> int:
        return len(self.arguments) + len(self.output or "")

    def items(self) -> tuple[HistoryItem, ...]:
        # A part of a JSON text is none.
        is_short = len(self.arguments) <= _MOST_ARGUMENT_CHARS
        arguments = self.arguments if is_short else "{}"
        call = ToolCall(self.given_id, self.name, arguments)
        if self.output is None:
            return (call,)
        return (call, ToolOutput(self.given_id, self.output))


Entry: TypeAlias = CallerTurn | AgentTurn | Told | ToolUse
