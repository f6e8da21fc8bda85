"""
Ports that no other process of tests takes at the same time.

A port that was only looked at, with port 0, may be somebody else's before its
user binds it, and two runners at once would meet on any fixed range.  So each
process that runs tests has a block of ports of its own.  All blocks lie below the
ports that the system gives to whoever asks for any, and below the benchmarks'.
"""

from __future__ import annotations

import atexit
import socket
from collections.abc import Iterator
from typing import Final

_FIRST: Final = 10_000
_LAST: Final = 19_999

#: In each block: one port that says that it is taken, these for single users, and
#: the rest for media.
_BLOCK: Final = 500
_SINGLE: Final = 100


def _block() -> tuple[int, socket.socket]:
    """The lowest block that is free, and the socket that keeps it ours."""
    for first in range(_FIRST, _LAST - _BLOCK + 2, _BLOCK):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
            guard.listen()
        except OSError:
            guard.close()
            continue
        return first, guard
    raise RuntimeError("every block of ports is taken: are older tests still running?")


_first, _guard = _block()
atexit.register(_guard.close)


def _singles() -> Iterator[int]:
    while True:
        yield from range(_first + 1, _first + _SINGLE)


_numbers = _singles()

#: The lowest and the highest port for RTP.
MEDIA: Final = (_first + _SINGLE, _first + _BLOCK - 1)


def free_port() -> int:
    """
    Free now, for UDP and TCP, as SIP has both under one number; it is not given away
    a second time soon.
    """
    for number in _numbers:
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return number
    raise AssertionError("the numbers do not end")


def has_ipv6() -> bool:
    """Whether this machine has it on loopback."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True
