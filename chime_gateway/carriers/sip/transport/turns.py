"""
Limits the time that SIP takes in one turn of the reactor.

Media is read and sent once a turn, so turns must be short, however much comes over
one socket or over many connections.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.timer import Timer

#: For datagrams, and once more for all connections: a tick of media is due every 20 ms.
TURN_SECONDS: Final = 0.002

#: How much of a connection is read between two checks of the clock: some requests.
PIECE_BYTES: Final = 4096


class Turns:
    """
    The time in a turn for all connections.  A connection that finds none left waits in
    a queue, and reads one piece each time it is first.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until = 0.0
        self._waiting: deque[Callable[[], bool]] = deque()
        self._next = Timer(clock)

    def has_time(self) -> bool:
        """@return: whether a piece may be read now.  If not, call L{wait}."""
        if self._waiting:
            return False
        if self._next.is_running:
            return self._clock.seconds() < self._until
        self._begin()
        return True

    def wait(self, read: Callable[[], bool]) -> None:
        """
        Wait for time.

        @param read: reads a piece, and returns whether there is more.  Never raises.
        """
        self._waiting.append(read)
        if not self._next.is_running:
            self._begin()

    def _begin(self) -> None:
        self._next.start(0, self._turn)
        self._until = self._clock.seconds() + TURN_SECONDS

    def _turn(self) -> None:
        waiting = self._waiting
        if not waiting:
            return
        try:
            self._begin()
        except MemoryError:
            self._until = inf  # no next turn is scheduled, so read everything now
        while waiting:
            read = waiting.popleft()
            if read():
                waiting.append(read)
            if self._clock.seconds() >= self._until:
                return


class DatagramReading:
    """
    Reads a UDP port of Twisted, for a limited time in a turn.

    Twisted itself reads up to 256 KB of datagrams, which takes 0.1 s, and any number of
    empty ones.
    """

    _log = Logger()

    def __init__(self, port: Any, clock: IReactorTime) -> None:
        self._port = port
        self._seconds = clock.seconds

    def __call__(self) -> None:
        port = self._port
        seconds = self._seconds
        until = seconds() + TURN_SECONDS
        while True:
            try:
                data, address = port.socket.recvfrom(port.maxPacketSize)
            except OSError:
                return  # no datagram, or an ICMP error of an earlier one
            try:
                # IPv6 addresses have a flow label and a scope as well.
                port.protocol.datagramReceived(data, address[:2])
            except Exception:
                self._log.failure("a bug in reading a SIP datagram")
            if seconds() >= until:
                return  # the rest is read in the next turn
