"""
The sockets of RTP: pairs of UDP ports, each lent to one call at a time.

A returned port rests for a while before it is lent again: packets that the last call's
peer still sends must not reach the next call.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.errors import GatewayError
from chime_gateway.net.batch import MediaSocket
from chime_gateway.rtp.settled import MAX_DATAGRAM, SettledSocket
from chime_gateway.wire.address import canonical, mapped

Address: TypeAlias = tuple[str, int]
Received: TypeAlias = Callable[[bytes, Address], None]

#: How long a port rests after a call.
REST_SECONDS: Final = 10.0

#: Ports may be in use by other programs.  At most this many are tried.
_MAX_TRIES: Final = 50

#: All addresses of IPv6 and, on a dual-stack socket, of IPv4.
DUAL_STACK: Final = "::"


def _ignore() -> None:
    """The default of callbacks that are not set."""


class NoPortFree(GatewayError):
    """All media ports are in use or resting."""


class Batch(Protocol):
    """Reads the sockets; see L{chime_gateway.net.batch}."""

    def adopt(self, connection: MediaSocket) -> None: ...
    def release(self, connection: MediaSocket) -> None: ...


def bound(host: str, port: int) -> socket.socket:
    """
    Return a non-blocking UDP socket.

    @raise OSError: the port is in use, or the address is not local.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        if host == DUAL_STACK:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind((host, port))
    except BaseException:
        one.close()
        raise
    return one


class DatagramSocket:
    """
    One UDP socket that is read by the batch.

    @ivar received: called with each datagram.
    @ivar failures: the number of datagrams that could not be sent.
    @ivar broken: called when C{received} has failed and the socket is closed.
    """

    __slots__ = (
        *("_receive", "_send", "_socket", "broken", "connected", "failures"),
        "received",
    )
    disconnecting = False

    def __init__(self, host: str, port: int, received: Received) -> None:
        self._socket = bound(host, port)
        self.connected = True
        self.received = received
        self.failures = 0
        self.broken: Callable[[], None] = _ignore
        self._receive = self._socket.recvfrom
        self._send = self._socket.sendto

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        """Read one datagram: the batch calls again for the next."""
        try:
            data, address = self._receive(MAX_DATAGRAM)
        except OSError:
            return  # no datagram, or an ICMP error of an earlier one
        self.received(data, address)

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram.  Never raises, so that no packet stops a tick or an end."""
        try:
            self._send(data, address)
        except Exception:
            # Buffer full, unreachable, not an address: lost, as on the network.
            self.failures += 1

    def settled(self, address: Address) -> SettledSocket[Address]:
        """
        Return a socket on this port that is connected to the peer's address.

        @raise OSError: the system has none.
        """
        return SettledSocket(
            self._socket, address, self._raw(address), self.received, self.broken
        )

    def _raw(self, address: Address) -> Address:
        """Return an address as the socket takes it."""
        return address

    def connectionLost(self, reason: Failure) -> None:
        """The batch has stopped reading this socket, because C{received} failed."""
        self.close()
        self.broken()

    def close(self) -> None:
        self.connected = False
        self._socket.close()


class Ipv6Socket(DatagramSocket):
    """An IPv6 socket, perhaps dual-stack."""

    __slots__ = ()

    def doRead(self) -> None:
        try:
            data, address = self._receive(MAX_DATAGRAM)
        except OSError:
            return
        self.received(data, (canonical(address[0]), address[1]))

    def send(self, data: bytes, address: Address) -> None:
        try:
            self._send(data, (mapped(address[0]), address[1]))
        except Exception:
            self.failures += 1

    def _raw(self, address: Address) -> Address:
        return mapped(address[0]), address[1]


class RtpPort:
    """
    A pair of sockets: RTP on an even port, RTCP on the next.

    @ivar number: the RTP port.
    """

    _log = Logger()

    def __init__(
        self,
        number: int,
        host: str,
        batch: Batch | None,
        rtp_received: Received,
        rtcp_received: Received,
    ) -> None:
        self.number = number
        self._batch = batch
        self._settled: SettledSocket[Address] | None = None
        self._failures = 0
        kind = Ipv6Socket if ":" in host else DatagramSocket
        self._rtp = kind(host, number, rtp_received)
        try:
            self._rtcp = kind(host, number + 1, rtcp_received)
        except BaseException:
            self._rtp.close()
            raise
        self.send_rtp = self._rtp.send
        self.send_rtcp = self._rtcp.send
        if batch is None:
            return
        try:
            batch.adopt(self._rtp)
            batch.adopt(self._rtcp)
        except BaseException:
            self.close()
            raise

    def listen(self, rtp_received: Received, rtcp_received: Received) -> None:
        """Set what receives RTP and RTCP."""
        self._rtp.received, self._rtcp.received = rtp_received, rtcp_received
        if self._settled is not None:
            self._settled.received = rtp_received

    def call_if_broken(self, broken: Callable[[], None]) -> None:
        """Set what is called when a receiver has failed and its socket is closed."""
        self._rtp.broken = self._rtcp.broken = broken
        if self._settled is not None:
            self._settled.broken = broken

    def settle(self, address: Address | None) -> Callable[[bytes], None] | None:
        """
        The peer's RTP comes from this address from now on.  C{None}: the address is
        no longer known.

        @return: a function that sends to it.  C{None}: use L{send_rtp}.
        """
        before = self._settled
        if before is not None and before.place == address and before.connected:
            return before.send
        self._settled = None
        if before is not None:
            self._failures += before.failures
            self._close(before)
        if address is None or not self._rtp.connected:
            return None
        try:
            one = self._rtp.settled(address)
        except Exception:
            # No descriptor is left, or it is not an address: no connected socket then.
            return None
        try:
            if self._batch is not None:
                self._batch.adopt(one)
        except Exception:
            one.close()
            return None
        self._settled = one
        return one.send

    @property
    def failures(self) -> int:
        settled = 0 if self._settled is None else self._settled.failures
        return self._failures + self._rtp.failures + self._rtcp.failures + settled

    def close(self) -> None:
        self.settle(None)
        for one in (self._rtp, self._rtcp):
            self._close(one)

    def _close(self, one: DatagramSocket | SettledSocket[Address]) -> None:
        one.broken = _ignore
        with self._log.failuresHandled("a media port was not released"):
            if self._batch is not None and one.connected:
                self._batch.release(one)
        with self._log.failuresHandled("a media port was not closed"):
            one.close()


class PortPool:
    """
    The media ports of the process.

    @param first: the lowest port.  RTP uses the even ports.
    @param last: the highest port.
    @param host: the address to bind.
    @param clock: seconds, monotonic.
    """

    def __init__(
        self,
        first: int,
        last: int,
        host: str,
        batch: Batch | None,
        clock: Callable[[], float],
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._host = host
        self._batch = batch
        self._clock = clock
        self._rest_seconds = rest_seconds
        start = first + first % 2
        # Longest unused first, so that every port rests as long as possible.
        self._free = deque(range(start, last, 2))
        self._resting: deque[tuple[float, int]] = deque()
        self._lent: set[RtpPort] = set()
        self._others: dict[str, frozenset[int]] = {}

    def reaches(self, host: str) -> bool:
        """Return whether the ports can send to the address family of C{host}."""
        return self._host == DUAL_STACK or (":" in host) == (":" in self._host)

    @property
    def in_use(self) -> int:
        return len(self._lent)

    @property
    def size(self) -> int:
        return len(self._free) + len(self._resting) + self.in_use

    def not_free(self) -> frozenset[int]:
        """Return the numbers of the ports that are lent or resting."""
        now = self._clock()
        lent = (port.number for port in self._lent)
        resting = (number for until, number in self._resting if until > now)
        return frozenset((*lent, *resting))

    def reserve_for(self, other: str, numbers: Iterable[int]) -> None:
        """
        Set the ports that another process of this gateway uses or has just used.  Ports
        that it used before and that are not listed may be lent again.
        """
        self._others[other] = frozenset(numbers)
        if not self._others[other]:
            del self._others[other]

    def clear_reserved(self) -> None:
        """Forget the ports of other processes."""
        self._others.clear()

    def lend(self, rtp_received: Received, rtcp_received: Received) -> RtpPort:
        """
        Lend a port to a call.

        @raise NoPortFree: none is left.
        """
        now = self._clock()
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        tries = 0
        for _ in range(len(self._free)):
            number = self._free.popleft()
            if any(number in theirs for theirs in self._others.values()):
                self._free.append(number)
                continue
            if (tries := tries + 1) > _MAX_TRIES:
                self._free.appendleft(number)
                break
            try:
                port = RtpPort(
                    number, self._host, self._batch, rtp_received, rtcp_received
                )
            except OSError:
                self._free.append(number)
                continue
            except BaseException:
                self._free.append(number)
                raise
            self._lent.add(port)
            return port
        raise NoPortFree("no media port is free")

    def take_back(self, port: RtpPort) -> None:
        """Return a port; may be repeated after a failure."""
        port.close()
        rests = self._clock() + self._rest_seconds, port.number
        if port in self._lent:
            self._resting.append(rests)
            self._lent.remove(port)
