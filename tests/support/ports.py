"""
Ports that no other test process uses at the same time.

A port found by binding port 0 may be taken before its user binds it, and two runners
at once would collide in any fixed range.  So each process that runs tests has its own
block of ports.  All blocks are below the system's ephemeral ports, and below the ports
of the benchmarks.
"""

from __future__ import annotations

import atexit
import socket
from collections.abc import Iterator
from typing import Final

_FIRST: Final = 10_000
_LAST: Final = 19_999

#: In each block: one port that marks it as taken, some single ports, and the rest for
#: media.
_BLOCK: Final = 500
_SINGLE: Final = 100


def _block() -> tuple[int, socket.socket]:
    """Reserve the lowest free block; return it and the socket that reserves it."""
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
    Return a port that is free for UDP and TCP, because SIP uses both under one number.
    It is not returned again soon.
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
    """Whether this machine has IPv6 on loopback."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True
