"""
A second socket for the settled source: on the same port, connected to its address.

The kernel gives it what comes from that address, and sending needs no address.
Whatever comes from elsewhere goes to the first socket, as before.  So a source that
moves is received there, and gets a socket of its own once it is accepted.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from twisted.python.failure import Failure

from chime_gateway.net.system.descriptors import is_in_reserve

Address: TypeAlias = tuple[str, int]

#: What a place is to whoever receives from there.
_Place = TypeVar("_Place")

MAX_DATAGRAM: Final = 2048


def _beside(one: socket.socket, address: Address) -> socket.socket:
    """
    Another socket on a port, for what comes from one address.

    @raise OSError: there is none to be had.
    """
    other = socket.socket(one.family, one.type)
    try:
        if is_in_reserve(other.fileno()):
            raise OSError("no descriptor to spare")
        other.setblocking(False)
        if one.family == socket.AF_INET6:
            only = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        # For this moment only: nobody else can have the port while one of its sockets
        # does not share it.
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
    """Drop what came before the socket was connected, as it may be from anywhere."""
    try:
        while True:
            one.recv(MAX_DATAGRAM)
    except OSError:
        return


class SettledSocket(Generic[_Place]):
    """
    As the batch reads it.

    @param one: the socket of the port.
    @param raw: C{place} as the system has it.
    @ivar place: where the voice is, as it is told.
    @ivar received: takes what comes, with that place.
    @ivar failures: sends that did not go out.
    @ivar broken: called when whoever receives has failed and it is closed.
    @raise OSError: there is none to be had.
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
        """One datagram: whoever polls comes back for the next."""
        try:
            data = self._receive(MAX_DATAGRAM)
        except OSError:
            return  # nothing there, or an ICMP error of an earlier send
        self.received(data, self.place)

    def send(self, data: bytes) -> None:
        """Send a datagram; never raises."""
        try:
            self._send(data)
        except Exception:
            self._send_again(data)

    def send_to(self, data: bytes, address: Address) -> bool:
        """
        The same, for whoever knows of addresses: this is there.

        @return: whether it went out.
        """
        try:
            self._send(data)
        except Exception:
            return self._send_again(data)
        return True

    def _send_again(self, data: bytes) -> bool:
        """
        It may have been what ICMP says of an earlier one, that nobody listened there
        or that a firewall was in between: that is told once, and took the turn of
        this one.
        """
        try:
            self._send(data)
        except Exception:
            self.failures += 1
            return False
        return True

    def connectionLost(self, reason: Failure) -> None:
        """The batch stops reading it, as its receiver has failed."""
        self.close()
        self.broken()

    def close(self) -> None:
        self.connected = False
        self._socket.close()
