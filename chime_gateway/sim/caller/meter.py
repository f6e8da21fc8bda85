"""Live level meters of a call, for a terminal or a file."""

from __future__ import annotations

from typing import Final, TextIO

_BAR_CELLS: Final = 16
_LOWEST_DBFS: Final = -54.0

#: If the output is not a terminal, a line is written this often.
_LINE_SECONDS: Final = 0.5


def bar(dbfs: float, cells: int = _BAR_CELLS) -> str:
    """Draw a level as a bar, empty at -54 dBFS and full at 0."""
    share = (dbfs - _LOWEST_DBFS) / -_LOWEST_DBFS
    full = round(max(0.0, min(1.0, share)) * cells)
    return "#" * full + "." * (cells - full)


class TerminalMeter:
    """A line that is redrawn in place; without a terminal, a line each half second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_live = out.isatty()
        self._is_read = True
        self._line_at = 0.0
        self._peaks = (_LOWEST_DBFS, _LOWEST_DBFS)

    def show(
        self, seconds: float, state: str, caller_dbfs: float, agent_dbfs: float
    ) -> None:
        """@param state: what the caller does."""
        caller, agent = self._peaks
        self._peaks = (max(caller, caller_dbfs), max(agent, agent_dbfs))
        if not self._is_live and seconds < self._line_at:
            return
        caller, agent = self._peaks
        self._peaks = (_LOWEST_DBFS, _LOWEST_DBFS)
        self._line_at = seconds + _LINE_SECONDS
        line = (
            f"{seconds:6.1f} s  caller [{bar(caller)}] {state:14}  agent [{bar(agent)}]"
        )
        self._write(f"\r{line:<78}" if self._is_live else f"{line}\n")

    def say(self, text: str) -> None:
        """Write a separate line between the meter's lines."""
        self._write(f"\r{text:<78}\n" if self._is_live else f"{text}\n")

    def _write(self, text: str) -> None:
        # The call continues even if the output's reader has gone.
        if self._is_read:
            try:
                self._out.write(text)
                self._out.flush()
            except BrokenPipeError:
                self._is_read = False
