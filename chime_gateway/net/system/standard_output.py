"""
Standard output of a command.

Its reader may leave, as C{head} does when it has seen enough: that ends the command
without an error.  On a terminal, control characters in data from others are escaped.
"""

from __future__ import annotations

import os
import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: They move where a terminal writes, and no more; a command has them of its own.
_LINES: Final = "\n\r\t"

#: Persian, Hindi and emoji are written with them, and they do nothing else.
_JOINERS: Final = "\u200c\u200d"

#: As shells have it for a program that was ended by that signal.
UNREAD_STATUS: Final = 128 + signal.SIGPIPE


def printable(text: str) -> str:
    """
    What somebody else has written, in one line that does nothing to a terminal:
    control characters (ESC, BEL, C1), other line breaks (U+2028), marks that turn
    the direction, and halves of characters become escapes.  Spaces of all scripts
    stay, as do the joiners within words.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """The same of a text of our own, with its lines."""
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
    """A stream to which nothing but L{printable_lines} is written."""

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
    Whatever a command prints, an error that ends it included.

    @raise SystemExit: as it was raised.
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
    Write what is to be written, to its end.

    @raise SystemExit: as it was raised; L{UNREAD_STATUS} if nobody reads any more; a
        line if it cannot be written.
    """
    try:
        try:
            yield
        finally:
            # At the end of the process it would be too late to say anything of it.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except BrokenPipeError as exc:
        _write_no_more()
        raise SystemExit(UNREAD_STATUS) from exc
    except OSError as exc:
        _write_no_more()
        raise SystemExit(f"standard output: {exc.strerror or exc}") from exc


def _write_no_more() -> None:
    """What is left in buffers goes nowhere, without a word."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _to_nowhere(stream)


def _to_nowhere(stream: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
