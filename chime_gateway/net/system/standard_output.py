"""
Standard output of a command.

If its reader exits early, as C{head} does, the command ends without an error message.
On a terminal, control characters in external data are escaped.
"""

from __future__ import annotations

import os
import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: Control characters that commands print themselves; they only move the cursor.
_LINES: Final = "\n\r\t"

#: Joiners are needed for Persian, Hindi and emoji, and are harmless.
_JOINERS: Final = "\u200c\u200d"

#: The exit status that shells report for a program ended by that signal.
UNREAD_STATUS: Final = 128 + signal.SIGPIPE


def printable(text: str) -> str:
    """
    Make external text safe for a terminal, in one line: control characters (ESC, BEL,
    C1), other line breaks (U+2028), bidirectional marks and surrogates are escaped.
    Spaces of all scripts and joiners are kept.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """Do the same with a text of several lines, and keep the line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) or c in _LINES else _escaped(c) for c in text)


def _is_harmless(character: str) -> bool:
    return (
        character.isprintable()
        or character in _JOINERS
        or unicodedata.category(character) == "Zs"
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class PrintableOutput:
    """A stream that passes all text through L{printable_lines}."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._stream.write(printable_lines(text))
        return len(text)


@contextmanager
def printable_output() -> Iterator[None]:
    """
    Make all output of a command printable, and an error that ends it as well.

    @raise SystemExit: as raised within, with a printable text.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and PrintableOutput(stream) for stream in streams)
    try:
        yield
    except SystemExit as exc:
        if isinstance(exc.code, str):
            raise SystemExit(printable_lines(exc.code)) from exc
        raise
    finally:
        sys.stdout, sys.stderr = streams


@contextmanager
def read_or_not() -> Iterator[None]:
    """
    Run a command, and flush its output.

    @raise SystemExit: as raised within; L{UNREAD_STATUS} if the reader has closed the
        output; an error line if it cannot be written.
    """
    try:
        try:
            yield
        finally:
            # At the end of the process it is too late to report an error.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except BrokenPipeError as exc:
        _discard_output()
        raise SystemExit(UNREAD_STATUS) from exc
    except OSError as exc:
        _discard_output()
        # Writing to a stream names no file.
        what = exc.filename or "standard output"
        raise SystemExit(f"{what}: {exc.strerror or exc}") from exc


def _discard_output() -> None:
    """Discard what is left in the buffers, silently."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _redirect_to_null(stream)


def _redirect_to_null(stream: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
