"""
Reads and writes many media sockets as one.

The reactor handles every readable socket separately: a look-up, a log context, a
call.  Media sockets share an epoll set of their own instead, and the reactor's set is
one more descriptor in it: a turn that brings only frames is one system call, and runs
nothing of the reactor's.  What is written while the set is read is sent afterwards, all
at once: a peer that wakes up for every single frame costs both sides more than the
frames do.

A reactor without such a set, or with another batch before it, sees the whole batch as
one descriptor of its own.

An exception of one socket's owner stays with that socket: otherwise the reactor would
drop the batch, and with it every socket.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chime_gateway.net.path.inside_twisted import epoll_of

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
        # What the reactor has of it where it is looked at behind the batch: never
        # readable; it is there to be told that the reactor ends.
        self._mark: int | None = None
        self._by_fd: dict[int, MediaSocket] = {}
        self._fds: dict[MediaSocket, int] = {}
        self.out = Outgoing()
        # Readable ones for which a turn had no time.
        self._waiting: list[MediaSocket] = []
        # Something else than media sockets is ready, or may be.
        self._has_others = False

    def adopt(self, connection: MediaSocket) -> None:
        """
        Read this one from now on; the reactor must not.

        @raise OSError: there is no descriptor for the set, or no room in it.
        """
        if connection in self._fds:
            return
        if self._epoll is None:
            self._start()
            assert self._epoll is not None
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
        if self._mark is not None:
            return self._mark
        return -1 if self._epoll is None else self._epoll.fileno()

    def logPrefix(self) -> str:
        return "media"

    def doRead(self) -> None:
        self._look(0.0)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and with it all connections."""
        for connection in list(self._fds):
            self._lose(connection, reason.value or CONNECTION_LOST)
        self._by_fd.clear()
        self._fds.clear()
        if self._epoll is not None:
            self._stop()

    # -- inside ----------------------------------------------------------------

    def _turn(self, timeout: float | None) -> None:
        """
        In place of the reactor's C{doIteration}.

        @param timeout: seconds until something is due; none: nothing is.
        """
        self._look(-1.0 if timeout is None else timeout)
        if self._has_others:
            self._has_others = False
            # The class': this one stands before it.
            type(self._reactor).doIteration(self._reactor, 0)

    def _look(self, wait: float) -> None:
        """
        Read whatever is readable.

        @param wait: seconds until something is; less than none: as long as it takes.
        """
        # While this was read more has come: looking again costs less than a
        # round through the reactor, which must get its turn all the same.
        seconds = self._reactor.seconds
        try:
            ready = self._ready(wait)
            if not ready:
                return
            until = seconds() + _MAX_SECONDS
            for _ in range(_MAX_PASSES):
                self._read(ready, until)
                if len(ready) < _LOOK_AGAIN or seconds() > until:
                    break
                ready = self._ready(0.0)
        except MemoryError:
            # The reactor would drop everybody.  What is readable is so the next time.
            self._has_others = True

    def _ready(self, wait: float) -> list[MediaSocket]:
        if self._epoll is None:
            return []
        if self._waiting:
            ready, self._waiting = self._waiting, []
            self._has_others = True  # it was not looked
            return ready
        by_fd = self._by_fd
        found = self._epoll.poll(wait, len(by_fd) + 1)
        ready = [by_fd[fd] for fd, _ in found if fd in by_fd]
        if len(ready) < len(found):
            self._has_others = True
        return ready

    def _read(self, ready: list[MediaSocket], until: float) -> None:
        """One pass over these."""
        fds, out = self._fds, self.out
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

    def _start(self) -> None:
        """
        Before the reactor's set, where it has one.

        @raise OSError: there is no descriptor for it.
        """
        others = epoll_of(self._reactor)
        try:
            self._epoll = select.epoll()
            if others is not None:
                self._epoll.register(others, select.EPOLLIN)
                self._mark = os.eventfd(0)
            self._reactor.addReader(self)
        except BaseException:
            self._close()
            raise
        if others is not None:
            self._reactor.doIteration = self._turn

    def _stop(self) -> None:
        self._reactor.removeReader(self)
        if self._mark is not None:
            del self._reactor.doIteration
        self._close()

    def _close(self) -> None:
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
