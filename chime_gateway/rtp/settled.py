"""
A second socket on a media port, connected to the address of the accepted source.

The kernel gives it the datagrams from that address, and sending needs no address.
Datagrams from other addresses go to the first socket.  So a source that moves is
received there, and gets a new connected socket once it is accepted.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from twisted.python.failure import Failure

from chime_gateway.net.system.descriptors import is_in_reserve

Address: TypeAlias = tuple[str, int]

#: The receiver's form of the peer's address.
_Place = TypeVar("_Place")

MAX_DATAGRAM: Final = 2048


def _beside(one: socket.socket, address: Address) -> socket.socket:
    """
    Return another socket on a port, for datagrams from one address.

    @raise OSError: the system has none.
    """
    other = socket.socket(one.family, one.type)
    try:
        if is_in_reserve(other.fileno()):
            raise OSError("no descriptor to spare")
        other.setblocking(False)
        if one.family == socket.AF_INET6:
            only = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        # For this moment only, so that no other program can bind the port.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(one.getsockname()[:2])
            other.connect(address)
        finally:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        _empty(other)
    except BaseException:
        other.close()
        raise
    return other


def _empty(one: socket.socket) -> None:
    """Drop datagrams from before the socket was connected: they may be anyone's."""
    try:
        while True:
            one.recv(MAX_DATAGRAM)
    except OSError:
        return


class SettledSocket(Generic[_Place]):
    """
    A connected socket that is read by the batch.

    @param one: the socket of the port.
    @param raw: C{place} as the socket takes it.
    @ivar place: the peer's address, as C{received} gets it.
    @ivar received: called with each datagram and C{place}.
    @ivar failures: the number of datagrams that could not be sent.
    @ivar broken: called when C{received} has failed and the socket is closed.
    @raise OSError: the system has none.
    """

    __slots__ = (
        *("_receive", "_send", "_socket", "broken", "connected", "failures"),
        *("place", "received"),
    )
    disconnecting = False

    def __init__(
        self,
        one: socket.socket,
        place: _Place,
        raw: Address,
        received: Callable[[bytes, _Place], None],
        broken: Callable[[], None],
    ) -> None:
        self._socket = other = _beside(one, raw)
        self.place = place
        self._receive = other.recv
        self._send = other.send
        self.received = received
        self.failures = 0
        self.broken = broken
        self.connected = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        """Read one datagram: the batch calls again for the next."""
        try:
            data = self._receive(MAX_DATAGRAM)
        except OSError:
            return  # no datagram, or an ICMP error of an earlier one
        self.received(data, self.place)

    def send(self, data: bytes) -> None:
        """Send a datagram.  Never raises."""
        try:
            self._send(data)
        except Exception:
            self._send_again(data)

    def send_to(self, data: bytes, address: Address) -> bool:
        """
        As L{send}, for callers that pass an address.  It is C{place}.

        @return: whether it was sent.
        """
        try:
            self._send(data)
        except Exception:
            return self._send_again(data)
        return True

    def _send_again(self, data: bytes) -> bool:
        """
        Try a second time: the error may be an ICMP error of an earlier datagram, which
        the system reports once, in place of sending.
        """
        try:
            self._send(data)
        except Exception:
            self.failures += 1
            return False
        return True

    def connectionLost(self, reason: Failure) -> None:
        """The batch has stopped reading this socket, because C{received} failed."""
        self.close()
        self.broken()

    def close(self) -> None:
        self.connected = False
        self._socket.close()
