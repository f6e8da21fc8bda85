"""
Reads and writes many media sockets as one batch.

The reactor handles every readable socket separately: a look-up, a log context, a
call.  Media sockets share one epoll set instead, which the reactor sees as a single
descriptor.  Data written while the set is read is collected and sent afterwards in
one go: waking a peer for every single frame costs both sides more than the frames do.

An exception raised for one socket closes that socket only.  Otherwise the reactor
would drop the batch, and with it every socket.
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

#: Maximum number of passes over the set in one turn of the reactor, and the time limit
#: for all of them.  Sockets not read by then come first in the next turn.
_MAX_PASSES: Final = 16
_MAX_SECONDS: Final = 0.005

#: After a pass over fewer sockets than this, control returns to the reactor, which
#: polls again soon enough.
_LOOK_AGAIN: Final = 8


class MediaSocket(Protocol):
    """
    A socket that can be read in a batch: a Twisted connection, or a UDP socket.

    @ivar connected: true while the descriptor is open.
    @ivar disconnecting: true if nothing more is to be read.
    """

    disconnecting: Any

    @property
    def connected(self) -> Any: ...
    def fileno(self) -> int: ...
    def doRead(self) -> Exception | None:
        """Read once.  Return the reason if the socket is lost, otherwise C{None}."""

    def connectionLost(self, reason: Failure) -> None: ...


class Outgoing:
    """
    The write state that all paths of a batch share.

    @ivar is_reading: true during a pass; writes are then deferred to its end.
    @ivar paths: the paths (L{chime_gateway.net.path}) with deferred data, each once.
    """

    __slots__ = ("is_reading", "paths")

    def __init__(self) -> None:
        self.is_reading = False
        self.paths: list[Any] = []


@implementer(IReadDescriptor)
class BatchReader:
    """
    Reads all media sockets of one reactor.

    @ivar out: the write state that their paths share.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._by_fd: dict[int, MediaSocket] = {}
        self._fds: dict[MediaSocket, int] = {}
        self.out = Outgoing()
        # Readable sockets that the last pass had no time for.
        self._waiting: list[MediaSocket] = []

    def adopt(self, connection: MediaSocket) -> None:
        """
        Start reading a socket; the reactor must not read it.

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
        # The kernel has already removed a closed socket from the set, and another
        # socket may have its number by now.
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
        # More data may have arrived meanwhile.  Polling again costs less than a round
        # through the reactor, but the reactor must get its turn as well.
        try:
            until = self._reactor.seconds() + _MAX_SECONDS
            for _ in range(_MAX_PASSES):
                if self._read(until) < _LOOK_AGAIN or self._reactor.seconds() > until:
                    break
        except MemoryError:
            # The reactor would drop all sockets.  What is readable now will still be
            # readable in the next turn.
            return

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops: all connections are lost."""
        for connection in list(self._fds):
            self._lose(connection, reason.value or CONNECTION_LOST)
        self._by_fd.clear()
        self._fds.clear()
        if self._epoll is not None:
            self._stop()

    # -- inside ----------------------------------------------------------------

    def _read(self, until: float) -> int:
        """Make one pass over the readable sockets; return how many there were."""
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
                    continue  # closed while an earlier socket was read
                try:
                    if connection.disconnecting:
                        self.release(connection)  # the reactor would stop reading too
                        continue
                    why = connection.doRead()
                except Exception:
                    # A bug in the reading code.  Like the reactor, drop the connection.
                    why = CONNECTION_LOST
                    self._tell("a connection failed while reading")
                if why is not None:
                    self._lose(connection, why)
                if seconds() > until:
                    self._waiting = ready[at:]
                    break
        finally:
            # Otherwise nothing would ever be written again.
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
        """Notify a socket that it is lost, and stop reading it."""
        try:
            connection.connectionLost(Failure(why))
        except MemoryError:
            # The notification may be incomplete: keep the socket, which is lost when
            # it is read next.
            return
        except Exception:
            self._tell("a connection failed while it was being closed")
        self.release(connection)

    def _tell(self, what: str) -> None:
        """Log the current failure, if there is memory for it."""
        with contextlib.suppress(MemoryError):
            self._log.failure(what)

    def _stop(self) -> None:
        assert self._epoll is not None
        self._reactor.removeReader(self)
        self._epoll.close()
        self._epoll = None
