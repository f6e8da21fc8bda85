"""
Summarizes the older turns of a long conversation: one line for each turn.

No model is available to write it.  What the caller gave (numbers, dates, digits) and
instructions are kept longest; what the agent said is dropped first.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.agents.line.turns import (
    AgentTurn,
    CallerTurn,
    Entry,
    GivenText,
    ToolUse,
)

#: The summary is part of the instructions, which may have 16,384 tokens together with
#: the tools.  In scripts without spaces one character may take a token.
MOST_CHARS: Final = 3000
MOST_LINES: Final = 60


def _short(text: str, most: int) -> str:
    """Return a text in one line, in quotes: it was said, and is not an instruction."""
    text = " ".join(text.split()).replace('"', "'")
    return f'"{text}"' if len(text) <= most else f'"{text[:most]} …"'


def _line(entry: Entry) -> tuple[int, str]:
    """
    Return the worth of an entry, and its line; empty: there is none.
    """
    if isinstance(entry, AgentTurn):
        text = entry.heard_text
        return 0, f"You: {_short(text, 120)}" if text else ""
    if isinstance(entry, CallerTurn):
        has_number = any(char.isdigit() for char in entry.text or "")
        worth = 3 if has_number else 1
        return worth, f"Caller: {_short(entry.text, 200)}" if entry.text else ""
    if isinstance(entry, ToolUse):
        arguments, output = (
            _short(entry.arguments, 100),
            _short(entry.output or "", 160),
        )
        return 2, f"You used {entry.name} with {arguments}: {output}"
    if isinstance(entry, GivenText) and entry.is_order:
        return 4, f"You were told: {_short(entry.text, 300)}"
    return 3, f"Caller: {_short(entry.text, 200)}"


class Summary:
    """
    The summary of one call.

    @ivar left_out: number of lines that were dropped for lack of space.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._lines: list[tuple[int, str]] = []
        self._chars = 0

    def __len__(self) -> int:
        return len(self._lines) + self.left_out

    def fold(self, entry: Entry) -> None:
        """Add a turn that is too old to be kept in full."""
        worth, text = _line(entry)
        if not text:
            return
        self._lines.append((worth, text))
        self._chars += len(text)
        while self._chars > MOST_CHARS or len(self._lines) > MOST_LINES:
            least = min(worth for worth, _ in self._lines)
            index = next(i for i, line in enumerate(self._lines) if line[0] == least)
            self._chars -= len(self._lines.pop(index)[1])
            self.left_out += 1

    def text(self) -> str:
        """One line each, oldest first."""
        lines = [f"- {text}" for _, text in self._lines]
        if self.left_out:
            lines.append(f"({self.left_out} more remarks are left out.)")
        return "\n".join(lines)
