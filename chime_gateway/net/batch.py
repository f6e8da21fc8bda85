"""
Reads and writes many media sockets as one.

The reactor handles every readable socket separately: a look-up, a log context, a
call.  Media sockets share an epoll set of their own instead, which the reactor sees
as one descriptor.  What is written while the set is read is sent afterwards, all at
once: a peer that wakes up for every single frame costs both sides more than the
frames do.

An exception of one socket's owner stays with that socket: otherwise the reactor would
drop the batch, and with it every socket.
"""

from __future__ import annotations

import contextlib
import select
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Passes over the set before the reactor gets its turn, and the time that all of them
#: may take: whoever is not read in it is the first in the next turn.
_MAX_PASSES: Final = 16
_MAX_SECONDS: Final = 0.005


#: A pass over fewer is followed by no other at once: the reactor looks soon enough.
_LOOK_AGAIN: Final = 8


class MediaSocket(Protocol):
    """
    What can be read in a batch: a connection of Twisted's, a UDP socket.

    @ivar connected: the descriptor is open.
    @ivar disconnecting: nothing is to be read any more.
    """

    disconnecting: Any

    @property
    def connected(self) -> Any: ...
    def fileno(self) -> int: ...
    def doRead(self) -> Exception | None:
        """Read once; returns why the socket is lost, if it is."""

    def connectionLost(self, reason: Failure) -> None: ...


class Outgoing:
    """
    The state that all paths of a batch share.

    @ivar is_reading: what is written now can wait until all have been read.
    @ivar paths: those that have something to write then: of
        L{chime_gateway.net.path}, each once.
    """

    __slots__ = ("is_reading", "paths")

    def __init__(self) -> None:
        self.is_reading = False
        self.paths: list[Any] = []


@implementer(IReadDescriptor)
class BatchReader:
    """
    Reads all media sockets of one reactor.

    @ivar out: what is written to them.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._by_fd: dict[int, MediaSocket] = {}
        self._fds: dict[MediaSocket, int] = {}
        self.out = Outgoing()
        # Readable ones for which a turn had no time.
        self._waiting: list[MediaSocket] = []

    def adopt(self, connection: MediaSocket) -> None:
        """
        Read this one from now on; the reactor must not.

        @raise OSError: there is no descriptor for the set, or no room in it.
        """
        if connection in self._fds:
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        fd = connection.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        self._by_fd[fd] = connection
        self._fds[connection] = fd

    def release(self, connection: MediaSocket) -> None:
        """Stop reading a socket that closes; an unknown one is ignored."""
        fd = self._fds.pop(connection, None)
        if fd is None or self._epoll is None:
            return
        # One that was closed unseen has left the set by itself, and its number may
        # be another's by now.
        if self._by_fd.get(fd) is connection:
            del self._by_fd[fd]
            if connection.connected:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(fd)
        if not self._fds:
            self._stop()

    # -- IReadDescriptor -----------------------------------------------------

    def fileno(self) -> int:
        return -1 if self._epoll is None else self._epoll.fileno()

    def logPrefix(self) -> str:
        return "media"

    def doRead(self) -> None:
        # While this was read more has come: looking again costs less than a
        # round through the reactor, which must get its turn all the same.
        try:
            until = self._reactor.seconds() + _MAX_SECONDS
            for _ in range(_MAX_PASSES):
                if self._read(until) < _LOOK_AGAIN or self._reactor.seconds() > until:
                    break
        except MemoryError:
            # The reactor would drop everybody.  What is readable is so the next time.
            return

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and with it all connections."""
        for connection in list(self._fds):
            self._lose(connection, reason.value or CONNECTION_LOST)
        self._by_fd.clear()
        self._fds.clear()
        if self._epoll is not None:
            self._stop()

    # -- inside ----------------------------------------------------------------

    def _read(self, until: float) -> int:
        """One pass over all that is readable: how many there were."""
        if self._epoll is None:
            return 0
        by_fd, fds, out = self._by_fd, self._fds, self.out
        ready = self._waiting
        if ready:
            self._waiting = []
        else:
            found = self._epoll.poll(0, len(by_fd))
            ready = [by_fd[fd] for fd, _ in found if fd in by_fd]
        seconds = self._reactor.seconds
        out.is_reading = True
        try:
            for at, connection in enumerate(ready, 1):
                if connection not in fds:
                    continue  # closed by what was read before it
                try:
                    if connection.disconnecting:
                        self.release(connection)  # as the reactor, which reads no more
                        continue
                    why = connection.doRead()
                except Exception:
                    # A bug in what reads it; the reactor, too, drops that connection.
                    why = CONNECTION_LOST
                    self._tell("a connection failed while reading")
                if why is not None:
                    self._lose(connection, why)
                if seconds() > until:
                    self._waiting = ready[at:]
                    break
        finally:
            # Left as it was, nothing would ever be written again.
            out.is_reading = False
        if out.paths:
            paths, out.paths = out.paths, []
            for path in paths:
                try:
                    path.flush()
                except Exception:
                    self._tell("a connection failed while writing")
                    self._lose(path, CONNECTION_LOST)
        return len(ready)

    def _lose(self, connection: Any, why: BaseException) -> None:
        """Tell a socket that it is lost, and stop reading it."""
        try:
            connection.connectionLost(Failure(why))
        except MemoryError:
            # Not told, or not of all: it stays, and is lost when it is read next.
            return
        except Exception:
            self._tell("a connection failed as it was lost")
        self.release(connection)

    def _tell(self, what: str) -> None:
        """Of a failure, if there is memory to: it stays the one connection's."""
        with contextlib.suppress(MemoryError):
            self._log.failure(what)

    def _stop(self) -> None:
        assert self._epoll is not None
        self._reactor.removeReader(self)
        self._epoll.close()
        self._epoll = None
