"""
Listening sockets that are shared with the previous process and the next one.

A successor inherits the sockets themselves, instead of opening others at the same
address.  A connection or datagram that waits in one goes to the process that reads
next.  So the gateway listens without a gap, and nothing is lost between processes.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from attrs import evolve, field, mutable
from twisted.internet.abstract import isIPv6Address
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.lockfile import FilesystemLock
from zope.interface import directlyProvides, providedBy

from chime_gateway.net.generations.inheritance import Listening

_ANY: Final = "0.0.0.0"


@mutable(eq=False)
class _Shared:
    """
    One shared socket.

    @ivar what: the socket as requested.  Its descriptor is a copy that is never read,
        so the socket stays open whatever happens to a port.
    @ivar is_mine: whether this process has opened or adopted it.
    @ivar ports: the ports that read it in this process.
    """

    what: Listening
    is_mine: bool = False
    ports: list[Any] = field(factory=list)


class SharedSockets:
    """
    A reactor whose C{listen} methods use inherited sockets where they fit, and open the
    others.

    @param inherited: the sockets of the previous process, if there is one.
    """

    _log = Logger()

    def __init__(self, reactor: Any, inherited: Iterable[Listening] = ()) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))
        for one in (inherited := tuple(inherited)):
            os.set_inheritable(one.descriptor, False)
        self._shared = [_Shared(one) for one in inherited]
        #: Another process reads: this one is not ready yet, or is an older one.
        self._is_held = bool(self._shared)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # -- listening -----------------------------------------------------------------

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        def adopted(descriptor: int, family: int) -> Any:
            return self._reactor.adoptStreamPort(descriptor, family, factory)

        found = self._find("tcp", interface, port)
        if found is None:
            mine = self._reactor.listenTCP(port, factory, backlog, interface)
            return self._opened(Listening("tcp", interface, port), mine)
        return self._adopt(found, Listening("tcp", interface, port), adopted)

    def listenSSL(
        self,
        port: int,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> Any:
        over_tls = TLSMemoryBIOFactory(
            contextFactory, False, factory, clock=self._reactor
        )
        return self.listenTCP(port, over_tls, backlog, interface)

    def listenUDP(
        self,
        port: int,
        protocol: object,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> Any:
        def adopted(descriptor: int, family: int) -> Any:
            return self._reactor.adoptDatagramPort(
                descriptor, family, protocol, maxPacketSize
            )

        found = self._find("udp", interface, port)
        if found is None:
            mine = self._reactor.listenUDP(port, protocol, interface, maxPacketSize)
            return self._opened(Listening("udp", interface, port), mine)
        return self._adopt(found, Listening("udp", interface, port), adopted)

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> Any:
        def adopted(descriptor: int, _: int) -> Any:
            port = self._reactor.adoptStreamPort(descriptor, socket.AF_UNIX, factory)
            # Twisted has made it accessible to everybody.
            os.chmod(address, mode)
            if wantPID:
                # The other process holds the lock until this one reads.
                port.lockFile = FilesystemLock(f"{address}.lock")
            return port

        found = self._find("unix", address, 0)
        if found is None:
            mine = self._reactor.listenUNIX(address, factory, backlog, mode, wantPID)
            return self._opened(Listening("unix", address, 0), mine)
        return self._adopt(found, Listening("unix", address, 0), adopted)

    def share(self, what: Listening, opened: Callable[[int | None], object]) -> Any:
        """
        Share a port that the reactor does not provide.

        @param opened: makes the port, from a descriptor that it takes over, or from
            none.  The port has the methods of the reactor's own ports.
        """
        found = self._find(what.kind, what.interface, what.port)
        if found is None:
            return self._opened(what, opened(None))
        return self._adopt(found, what, lambda one, _: opened(os.dup(one)))

    def _find(self, kind: str, interface: str, port: int) -> _Shared | None:
        """
        Find the socket that was requested with the same arguments, or else one bound to
        this address.  Sockets for any port (0) are assigned in their order.
        """
        fitting = [
            one
            for one in self._shared
            if one.what.kind == kind
            and _address(one.what.interface) == _address(interface)
            # A second request with the same arguments does not get the same socket.
            and not any(reader.connected for reader in one.ports)
        ]
        for one in fitting:
            if one.what.port == port:
                return one
        for one in fitting:
            if port and _bound_port(one.what.descriptor) == port:
                return one
        return None

    def _adopt(self, found: _Shared, what: Listening, adopted: Any) -> Any:
        family = socket.AF_INET6 if isIPv6Address(what.interface) else socket.AF_INET
        port = adopted(found.what.descriptor, family)
        found.what = evolve(what, descriptor=found.what.descriptor)
        self._keep(found, port)
        return port

    def _opened(self, what: Listening, port: Any) -> Any:
        copy = os.dup(port.fileno())
        self._shared.append(one := _Shared(evolve(what, descriptor=copy)))
        self._keep(one, port)
        return port

    def _keep(self, found: _Shared, port: Any) -> None:
        found.is_mine = True
        # Stopping the port must not shut the socket down: other processes have it, too.
        port._shouldShutdown = False
        found.ports = [one for one in found.ports if one.connected] + [port]
        if self._is_held:
            port.stopReading()

    # -- who reads -----------------------------------------------------------------

    def hold(self) -> None:
        """Stop reading, as another process reads."""
        self._is_held = True
        for port in self._ports():
            port.stopReading()

    def release(self) -> None:
        """
        Start reading.  Inherited sockets that this process does not use are closed; the
        previous process may still have them open.
        """
        self._is_held = False
        for one in list(self._shared):
            if not one.is_mine:
                self._log.info(
                    "no longer listened on: {kind} {interface}:{port}",
                    kind=one.what.kind,
                    interface=one.what.interface,
                    port=one.what.port,
                )
                self._forget(one)
        for port in self._ports():
            _own_lock(port)
            port.startReading()

    def to_pass_on(self) -> Sequence[Listening]:
        """The sockets for the successor, with this process's descriptors."""
        return [one.what for one in self._shared if one.is_mine]

    def close(self) -> None:
        """Close the sockets, which frees their addresses; call after all ports stop."""
        for one in list(self._shared):
            self._forget(one)

    def _ports(self) -> list[Any]:
        return [port for one in self._shared for port in one.ports if port.connected]

    def _forget(self, one: _Shared) -> None:
        self._shared.remove(one)
        with contextlib.suppress(OSError):
            os.close(one.what.descriptor)


def _own_lock(port: Any) -> None:
    """Make this process the owner of a Unix socket's lock file."""
    lock: FilesystemLock | None = getattr(port, "lockFile", None)
    if lock is None:
        return
    new = f"{os.fsdecode(lock.name)}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(str(os.getpid()), new)
    os.replace(new, lock.name)
    lock.locked = True


def _address(interface: str) -> str:
    if interface == "localhost":
        return "127.0.0.1"
    try:
        return str(ip_address(interface or _ANY))
    except ValueError:
        return interface


def _bound_port(descriptor: int) -> int:
    # The socket object closes its descriptor, so give it a copy.
    with socket.socket(fileno=os.dup(descriptor)) as found:
        name = found.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0
