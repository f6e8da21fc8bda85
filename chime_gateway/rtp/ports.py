"""
The sockets of RTP: pairs of UDP ports, lent to one call at a time.

A port goes back for a while before it is lent again: what the last call's peer
still sends must not reach the next call.  Nothing is known of what is in a
datagram.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.errors import GatewayError
from chime_gateway.wire.address import canonical, mapped

Address: TypeAlias = tuple[str, int]
Received: TypeAlias = Callable[[bytes, Address], None]

#: A port rests so long after a call.
REST_SECONDS: Final = 10.0

_MAX_DATAGRAM: Final = 2048

#: Ports that another program has may be met; so many are passed over.
_MAX_TRIES: Final = 50

#: All addresses of IPv6, and on a socket that takes both those of IPv4 as well.
DUAL_STACK: Final = "::"


def _ignore() -> None:
    """There is nobody to tell."""


class NoPortFree(GatewayError):
    """All media ports are in use or resting."""


class Batch(Protocol):
    """Who reads the sockets; see L{chime_gateway.net.batch}."""

    def adopt(self, connection: DatagramSocket) -> None: ...
    def release(self, connection: DatagramSocket) -> None: ...


def bound(host: str, port: int) -> socket.socket:
    """
    A UDP socket that does not block.

    @raise OSError: the port is somebody else's, the address is not ours.
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
    One UDP socket, as the batch reads it.

    @ivar received: takes what comes.
    @ivar failures: sends that did not go out.
    @ivar broken: called when whoever receives has failed and it is closed.
    """

    connected = True
    disconnecting = False

    def __init__(self, host: str, port: int, received: Received) -> None:
        self._socket = bound(host, port)
        self.received = received
        self.failures = 0
        self.broken: Callable[[], None] = _ignore
        self._receive = self._socket.recvfrom
        self._send = self._socket.sendto
        if ":" in host:
            self.doRead = self._read_ipv6  # type: ignore[method-assign]
            self.send = self._send_ipv6  # type: ignore[method-assign]

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        """One datagram: whoever polls comes back for the next."""
        try:
            data, address = self._receive(_MAX_DATAGRAM)
        except OSError:
            return  # nothing there, or an ICMP error of an earlier send
        self.received(data, address)

    def send(self, data: bytes, address: Address) -> None:
        """It never raises: neither a tick nor the end of a call stops at a packet."""
        try:
            self._send(data, address)
        except Exception:
            # Full, unreachable or no address: lost, as on the network.
            self.failures += 1

    def _read_ipv6(self) -> None:
        try:
            data, address = self._receive(_MAX_DATAGRAM)
        except OSError:
            return
        self.received(data, (canonical(address[0]), address[1]))

    def _send_ipv6(self, data: bytes, address: Address) -> None:
        try:
            self._send(data, (mapped(address[0]), address[1]))
        except Exception:
            self.failures += 1

    def connectionLost(self, reason: Failure) -> None:
        """The batch reads it no more, for what was received has met a bug."""
        self.close()
        self.broken()

    def close(self) -> None:
        self.connected = False
        self._socket.close()


class RtpPort:
    """
    A pair of sockets: RTP on an even port, RTCP on the next.

    @ivar number: of the RTP port.
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
        self._rtp = DatagramSocket(host, number, rtp_received)
        try:
            self._rtcp = DatagramSocket(host, number + 1, rtcp_received)
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
        """Who receives what from now on."""
        self._rtp.received, self._rtcp.received = rtp_received, rtcp_received

    def tell_if_broken(self, broken: Callable[[], None]) -> None:
        """Whoever receives has failed: nothing comes any more."""
        self._rtp.broken = self._rtcp.broken = broken

    @property
    def failures(self) -> int:
        return self._rtp.failures + self._rtcp.failures

    def close(self) -> None:
        for one in (self._rtp, self._rtcp):
            one.broken = _ignore
            with self._log.failuresHandled("a media port was not released"):
                if self._batch is not None and one.connected:
                    self._batch.release(one)
            with self._log.failuresHandled("a media port was not closed"):
                one.close()


class PortPool:
    """
    @param first: lowest port, C{last}: highest; RTP takes the even ones.
    @param host: address to bind.
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
        # Longest unused first: every port rests as long as it can.
        self._free = deque(range(start, last, 2))
        self._resting: deque[tuple[float, int]] = deque()
        self._lent: set[RtpPort] = set()
        self._others: dict[str, frozenset[int]] = {}

    def reaches(self, host: str) -> bool:
        """Whether an address is of a family that the ports can send to."""
        return self._host == DUAL_STACK or (":" in host) == (":" in self._host)

    @property
    def in_use(self) -> int:
        return len(self._lent)

    @property
    def size(self) -> int:
        return len(self._free) + len(self._resting) + self.in_use

    def not_free(self) -> frozenset[int]:
        """Ports that are lent, or rest."""
        now = self._clock()
        lent = (port.number for port in self._lent)
        resting = (number for until, number in self._resting if until > now)
        return frozenset((*lent, *resting))

    def leave_to(self, other: str, numbers: Iterable[int]) -> None:
        """
        Another process of this gateway has them, or had them just now; what it has
        not any more is ours again.
        """
        self._others[other] = frozenset(numbers)
        if not self._others[other]:
            del self._others[other]

    def leave_to_nobody(self) -> None:
        """The others are not told of any more."""
        self._others.clear()

    def lend(self, rtp_received: Received, rtcp_received: Received) -> RtpPort:
        """
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
        """May be done again, should it have failed."""
        port.close()
        rests = self._clock() + self._rest_seconds, port.number
        if port in self._lent:
            self._resting.append(rests)
            self._lent.remove(port)
