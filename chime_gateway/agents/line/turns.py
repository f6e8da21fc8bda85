"""
The entries of a memory: turns of both sides, texts given to the agent, and tool calls.

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

#: Number of characters that are kept of one turn: about four minutes of speech.
MOST_TURN_CHARS: Final = 4000

#: Arguments are usually a few words.
_MOST_ARGUMENT_CHARS: Final = 1000

NOT_TRANSCRIBED: Final = "[The caller said something here that was not written down.]"


def kept(text: str, most: int = MOST_TURN_CHARS) -> str:
    """Return a text, or its beginning if it is too long."""
    return text if len(text) <= most else f"{text[:most]} …"


@define(eq=False)
class CallerTurn:
    """
    A turn of the caller.

    @ivar text: C{None}: it is not known yet, or never will be.
    """

    number: int
    text: str | None = field(default=None, repr=False)

    is_foldable = True

    @property
    def size(self) -> int:
        return len(self.text or "")

    def items(self) -> tuple[HistoryItem, ...]:
        return (CallerText(NOT_TRANSCRIBED if self.text is None else self.text),)


@define(eq=False)
class AgentTurn:
    """
    A turn of the agent.

    @ivar rate: the agent's speaking rate.
    @ivar is_kept_whole: whether its text fits into what is kept of a turn.
    @ivar is_whole: all of its audio arrived before any of it was cut.
    @ivar received_ms: the audio that arrived of an incomplete turn; no more will.
    @ivar is_broken_off: it is incomplete because its session ended.
    @ivar heard_ms: how much of C{spoken_ms} was heard, as far as reported.
    @ivar is_cut: the caller or the gateway cut it short.
    """

    number: int
    rate: SpeakingRate = field(repr=False)
    text: str = field(default="", repr=False)
    is_kept_whole: bool = True
    has_all_text: bool = False
    has_sound: bool = False
    is_whole: bool = False
    received_ms: int = 0
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
        if text:  # a service drops the text of a truncated item
            self._keep(text)
        self._learn()

    def _keep(self, text: str) -> None:
        self.is_kept_whole &= len(text) <= MOST_TURN_CHARS
        self.text = text[:MOST_TURN_CHARS]

    def sound_done(self) -> None:
        """No more audio of it will arrive."""
        if not self.is_cut and not self.received_ms:
            self.is_whole = True

    def fell_short(self, received_ms: int) -> None:
        """No more audio of it will arrive, although it is incomplete."""
        self.is_whole = False
        self.received_ms = received_ms
        self.has_sound |= received_ms > 0

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
        """The part of the text that the caller has heard, or will hear."""
        if not self.has_sound:
            return ""
        if self.is_whole and not self.is_cut:
            return self._all()
        sound = max(self.received_ms, self.spoken_ms)
        # What was not reported yet will be heard, unless it was cut.
        heard = self.heard_ms if self.is_cut else sound
        if self.is_whole and heard >= sound:
            return self._all()
        is_whole = self.is_whole and self.is_kept_whole
        return self.rate.heard(self.text, heard, sound, is_whole=is_whole)

    def _all(self) -> str:
        if not self.has_all_text:
            # The last word may continue in the next piece.
            return whole_words(self.text, len(self.text) - 1)
        return self.text if self.is_kept_whole else f"{self.text} …"

    @property
    def is_unfinished(self) -> bool:
        """Whether the caller heard only a part of it, without interrupting."""
        return self.is_broken_off and not self.is_cut

    def items(self) -> tuple[HistoryItem, ...]:
        text = self.heard_text
        return (AgentText(text),) if text else ()


@define(eq=False)
class GivenText:
    """A text that was given to the agent."""

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
    A tool call.

    @ivar given_id: its id in every session but the one that made it.
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
        """Whether it may be folded: a call that awaits its result must be kept."""
        return self.output is not None

    @property
    def size(self) -> int:
        return len(self.arguments) + len(self.output or "")

    def items(self) -> tuple[HistoryItem, ...]:
        # A truncated JSON text would be invalid.
        is_short = len(self.arguments) <= _MOST_ARGUMENT_CHARS
        arguments = self.arguments if is_short else "{}"
        call = ToolCall(self.given_id, self.name, arguments)
        if self.output is None:
            return (call,)
        return (call, ToolOutput(self.given_id, self.output))


Entry: TypeAlias = CallerTurn | AgentTurn | GivenText | ToolUse
