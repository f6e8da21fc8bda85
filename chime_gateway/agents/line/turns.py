"""
What a memory is made of: one entry for each thing that was said, told or done.

Nobody says which word is when, so what was heard of a text is told by its share of the
sound; of a sentence that was not finished, whose text is ahead of its sound, by how
fast this agent speaks.
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

#: Characters of one turn that are kept; four minutes of speech have as many.
MOST_TURN_CHARS: Final = 4000

#: Arguments are some words.
_MOST_ARGUMENT_CHARS: Final = 1000

NOT_WRITTEN_DOWN: Final = "[The caller said something here that was not written down.]"


def kept(text: str, most: int = MOST_TURN_CHARS) -> str:
    """A text that is not too long, or its beginning."""
    return text if len(text) <= most else f"{text[:most]} …"


class Pace:
    """How fast an agent speaks, learned from what it has said."""

    def __init__(self) -> None:
        # English, until it is known: 15 characters a second.
        self._chars = 15.0
        self._ms = 1000.0

    def learn(self, chars: int, ms: float) -> None:
        self._chars += chars
        self._ms += ms

    def chars(self, ms: float) -> int:
        """Of a text, spoken within this time."""
        return round(ms * self._chars / self._ms)


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
    @ivar chars: of its text, of which not all are kept.
    @ivar has_sound: there is audio of it.
    @ivar is_whole: all of that came, and nothing of it was cut before that.
    @ivar broke_off_ms: its session was over after so much of it.
    @ivar heard_ms: of C{spoken_ms}, as far as that was told.
    @ivar is_cut: the caller, or somebody else, cut it short.
    """

    number: int
    pace: Pace = field(repr=False)
    text: str = field(default="", repr=False)
    chars: int = 0
    has_all_text: bool = False
    has_sound: bool = False
    is_whole: bool = False
    broke_off_ms: int | None = None
    heard_ms: int = 0
    spoken_ms: int = 0
    is_cut: bool = False

    is_foldable = True

    @property
    def size(self) -> int:
        return len(self.text)

    def said(self, text: str, is_final: bool) -> None:
        if not is_final:
            if not self.has_all_text:
                self.chars += len(text)
                self.text += text[: max(0, MOST_TURN_CHARS - len(self.text))]
            return
        self.has_all_text = True
        if text:  # a service forgets the text of what was truncated
            self.chars = len(text)
            self.text = text[:MOST_TURN_CHARS]

    def heard(self, heard_ms: int, spoken_ms: int, is_cut: bool) -> None:
        self.has_sound = True
        self.heard_ms += heard_ms
        self.spoken_ms += spoken_ms
        self.is_cut |= is_cut
        if self.is_whole and not self.is_cut and self.has_all_text:
            self.pace.learn(self.chars, spoken_ms)

    def _heard_chars(self) -> int:
        if not self.has_sound:
            return 0
        if not self.is_cut and self.broke_off_ms is None:
            return self.chars  # it was, or will be, heard to its end
        sound = max(self.broke_off_ms or 0, self.spoken_ms)
        # What was not told of yet will be heard, unless it was cut.
        heard = self.heard_ms if self.is_cut else sound
        if heard <= 0:
            return 0
        if self.is_whole:
            return self.chars * heard // sound
        # Something of it is missing, if only the end of its last word.
        share = min(self.chars * heard // sound, self.chars - 1)
        return min(share, self.pace.chars(heard))

    @property
    def heard_text(self) -> str:
        """As far as the caller has heard it, or will."""
        count = self._heard_chars()
        if count < len(self.text):
            return whole_words(self.text, count)
        if not self.has_all_text:
            # The next piece may begin within a word.
            return whole_words(self.text, len(self.text) - 1)
        return self.text if self.chars <= len(self.text) else f"{self.text} …"

    @property
    def is_unfinished(self) -> bool:
        """The caller has heard a part of it, and did not interrupt."""
        return self.broke_off_ms is not None and not self.is_cut

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
