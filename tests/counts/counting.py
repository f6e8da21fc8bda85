"""
Counts what a piece of the program does, as numbers that are the same each time: calls
of Python functions, and system calls.
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

#: Functions of C that are one system call each, by C{__qualname__}.  What the clock
#: says is none: the kernel's page for it is read (vdso(7)).
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

#: From 3.12 on a comprehension is no call (PEP 709); how often the heap of timers
#: compares two of them depends on all that are in it.
_NOT_ALIKE: Final = frozenset(
    ("<listcomp>", "<dictcomp>", "<setcomp>", DelayedCall.__lt__.__name__)
)

#: The end of counting is seen as well.
_NOT_COUNTED: Final = (str(Path(__file__).parent.parent), contextlib.__file__)


@define
class Counts:
    """
    @ivar calls: of functions of Python.
    @ivar system: of the system, by what makes them.
    """

    calls: Counter[CodeType] = Factory(Counter)
    system: Counter[str] = Factory(Counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """
        Count what this thread does within, but for what tests do.

        What collects garbage may call anybody, at any time: it waits.
        """

        def seen(frame: FrameType, event: str, function: Any) -> None:
            if event == "call":
                code = frame.f_code
                is_ours = code.co_filename.startswith(_NOT_COUNTED)
                if not is_ours and code.co_name not in _NOT_ALIKE:
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
        """Calls of functions, and of the system, for each of so many frames."""
        return self.calls.total() / frames, self.system.total() / frames

    def listed(self, times: int) -> str:
        """
        Who was called, most often first.

        @param times: so often was done what was counted.
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
