"""
Sockets for a SIP carrier in memory: they check addresses like the system, and fail when
told to.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.error import InvalidAddressError
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.batch import MediaSocket
from chime_gateway.rtp import ports as rtp_ports
from chime_gateway.rtp import settled as rtp_settled
from chime_gateway.rtp.ports import Address, PortPool
from tests.support.sip_peer import SipWorld


def check(family: int, address: tuple[Any, ...]) -> None:
    """Raise what C{sendto()} raises."""
    host, port = address[:2]
    if not 0 <= port <= 65535:
        raise OverflowError("sendto(): port must be 0-65535.")
    try:
        version = ip_address(host).version
    except ValueError:
        raise socket.gaierror(-2, "Name or service not known") from None
    if version != (6 if family == socket.AF_INET6 else 4):
        raise socket.gaierror(-9, "Address family for hostname not supported")


class FaultySockets:
    """
    Replaces the module C{socket} in L{chime_gateway.rtp.ports}.

    @ivar fault: called with the port for each send; may raise.
    @ivar misused: sends to invalid addresses, by the exception raised.
    @ivar open: open sockets by port; C{settled}: connected ones, by port and address.
    """

    AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
    SOCK_DGRAM = socket.SOCK_DGRAM
    SOL_SOCKET, SO_REUSEADDR = socket.SOL_SOCKET, socket.SO_REUSEADDR
    IPPROTO_IPV6, IPV6_V6ONLY = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY

    def __init__(self) -> None:
        self.fault: Callable[[int], None] = lambda port: None
        self.misused: Counter[str] = Counter()
        self.sent: Counter[int] = Counter()
        self.open: dict[int, Any] = {}
        self.settled: dict[tuple[int, Address], Any] = {}
        self.adopted: dict[MediaSocket, None] = {}

    # -- the batch -------------------------------------------------------------------

    def adopt(self, connection: MediaSocket) -> None:
        self.adopted[connection] = None

    def release(self, connection: MediaSocket) -> None:
        self.adopted.pop(connection, None)

    def deliver(self, data: bytes, source: Address) -> None:
        """Deliver one datagram to every open socket."""
        for media in list(self.adopted):
            one: Any = media
            if one.connected and one._socket.takes(source):
                one._socket.inbox.append((data, source))
                one.doRead()

    # -- the module ------------------------------------------------------------------

    def socket(self, family: int, kind: int) -> Any:
        sockets = self

        class Socket:
            port = 0
            type = kind
            inbox: list[tuple[bytes, Address]]

            def __init__(self) -> None:
                self.inbox = []
                self.family = family
                self.peer: Address | None = None

            def setblocking(self, _: bool) -> None: ...
            def setsockopt(self, *_: int) -> None: ...
            def getsockopt(self, *_: int) -> int:
                return 0

            def getsockname(self) -> Address:
                return "", self.port

            def takes(self, source: Address) -> bool:
                if self.peer is None:
                    return (self.port, source) not in sockets.settled
                return source == self.peer

            def fileno(self) -> int:
                return self.port

            def bind(self, address: tuple[Any, ...]) -> None:
                self.port = address[1]
                if self.port not in sockets.open:
                    sockets.open[self.port] = self

            def connect(self, address: Address) -> None:
                sockets.fault(self.port)
                check(family, address)
                self.peer = address
                sockets.settled[self.port, address] = self

            def close(self) -> None:
                if self.peer is not None:
                    sockets.settled.pop((self.port, self.peer), None)
                elif sockets.open.get(self.port) is self:
                    del sockets.open[self.port]

            def recv(self, size: int) -> bytes:
                return self.recvfrom(size)[0]

            def send(self, data: bytes) -> None:
                assert self.peer is not None
                self.sendto(data, self.peer)

            def recvfrom(self, size: int) -> tuple[bytes, Address]:
                if not self.inbox:
                    raise BlockingIOError
                return self.inbox.pop()

            def sendto(self, data: bytes, address: tuple[Any, ...]) -> None:
                sockets.fault(self.port)
                try:
                    check(family, address)
                except (OSError, OverflowError) as exc:
                    sockets.misused[f"{type(exc).__name__} {address}"] += 1
                    raise
                sockets.sent[self.port] += 1

        return Socket()


class SocketWorld(SipWorld):
    """
    The carrier with the real pool of ports.

    @ivar sip_fault: called for each datagram that is sent over SIP; may raise.
    """

    media_host = "0.0.0.0"

    def __init__(self, test: SynchronousTestCase, **changes: Any) -> None:
        super().__init__(**changes)
        self.sockets = sockets = FaultySockets()
        test.patch(rtp_ports, "socket", sockets)
        test.patch(rtp_settled, "socket", sockets)
        pool = PortPool(
            40000, 40200, self.media_host, sockets, self.reactor.seconds, 0.0
        )
        self.carrier.ports = self.carrier.context.ports = pool
        self.sip_fault: Callable[[], None] = lambda: None
        write = self.reactor.write

        def checked(data: bytes, address: Address) -> None:
            self.sip_fault()
            try:
                check(socket.AF_INET, address)
            except OverflowError:
                sockets.misused[f"OverflowError {address}"] += 1
                raise
            except OSError as exc:
                sockets.misused[f"InvalidAddressError {address}"] += 1
                raise InvalidAddressError(address[0], str(exc)) from exc
            write(data, address)

        self.reactor.write = checked  # type: ignore[method-assign]

    def held(self) -> dict[str, int]:
        """Return what should have been released at the end; empty if all was."""
        counts = {
            **self.carrier.counts(),
            "sockets": len(self.sockets.open),
            "adopted": len(self.sockets.adopted),
            "ticks": len(self.metronome),
            "timers": len(self.reactor.getDelayedCalls()),
            "merged": len(self.carrier.transactions._merged),
        }
        return {name: count for name, count in counts.items() if count}


def any_of(rng: random.Random, kinds: tuple[type[Exception], ...]) -> Exception:
    return rng.choice(kinds)("a fault")
