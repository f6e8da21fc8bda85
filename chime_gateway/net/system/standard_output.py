"""
Standard output of a command whose reader may leave, as C{head} does when it has seen
enough: that is the end of the command, and no fault of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: As shells have it for a program that was ended by that signal.
UNREAD_STATUS: Final = 128 + signal.SIGPIPE


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
