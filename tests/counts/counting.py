"""
Counts the work of a piece of the program in reproducible numbers: calls of Python
functions, and system calls.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from attrs import Factory, define
from twisted.internet.base import DelayedCall

#: C functions that make one system call each, by C{__qualname__}.  Reading the clock is
#: not a system call (vdso(7)).
SYSTEM_CALLS: Final = frozenset(
    (
        *("socket.recv", "socket.recv_into", "socket.recvfrom", "socket.recvmsg"),
        *("socket.recvfrom_into", "socket.send", "socket.sendto", "socket.sendmsg"),
        *("socket.connect", "socket.getsockopt", "socket.setsockopt"),
        *("socket.getpeername", "socket.getsockname", "socket.shutdown"),
        *("epoll.poll", "epoll.register", "epoll.modify", "epoll.unregister"),
        *("read", "write", "urandom", "getrandom"),
    )
)

#: Not reproducible: since Python 3.12 a comprehension is not a call (PEP 709), and the
#: number of comparisons in the heap of timers depends on all timers.
_NOT_REPRODUCIBLE: Final = frozenset(
    ("<listcomp>", "<dictcomp>", "<setcomp>", DelayedCall.__lt__.__name__)
)

#: Files whose calls are not counted: tests, and the end of the counting itself.
_NOT_COUNTED: Final = (str(Path(__file__).parent.parent), contextlib.__file__)


@define
class Counts:
    """
    The counted calls.

    @ivar calls: calls of Python functions.
    @ivar system: system calls, by the function that makes them.
    """

    calls: Counter[CodeType] = Factory(Counter)
    system: Counter[str] = Factory(Counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """
        Count the calls of this thread within the context, except those of tests.

        The garbage collector, which may call any code at any time, is disabled.
        """

        def seen(frame: FrameType, event: str, function: Any) -> None:
            if event == "call":
                code = frame.f_code
                is_ours = code.co_filename.startswith(_NOT_COUNTED)
                if not is_ours and code.co_name not in _NOT_REPRODUCIBLE:
                    calls[code] += 1
            elif event == "c_call":
                name = function.__qualname__
                if name in SYSTEM_CALLS:
                    system[name] += 1

        calls, system = self.calls, self.system
        was_on = gc.isenabled()
        gc.disable()
        before = sys.getprofile()
        sys.setprofile(seen)
        try:
            yield
        finally:
            sys.setprofile(before)
            if was_on:
                gc.enable()

    def a_frame(self, frames: int) -> tuple[float, float]:
        """Return the function calls and the system calls for each frame."""
        return self.calls.total() / frames, self.system.total() / frames

    def listed(self, times: int) -> str:
        """
        List the called functions, the most frequent first.

        @param times: number of repetitions of what was counted.
        """
        lines = [
            f"{count / times:8.2f}  {_place(code)}"
            for code, count in self.calls.most_common()
        ]
        lines += [
            f"{count / times:8.2f}  system call {name}"
            for name, count in self.system.most_common()
        ]
        return "\n".join(lines)


def _place(code: CodeType) -> str:
    path = Path(code.co_filename)
    return f"{'/'.join(path.parts[-2:])}:{code.co_firstlineno} {code.co_qualname}"
