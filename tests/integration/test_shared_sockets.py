"""A socket that two processes read in turn, simulated in one process."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater

from chime_gateway.net.generations.inheritance import Listening
from chime_gateway.net.generations.sockets import SharedSockets
from tests.support.base import ReactorTestCase
from tests.support.files import temporary_folder

HERE = "127.0.0.1"


class Who(Factory):
    """Notes which listener accepted a connection."""

    noisy = False

    def __init__(self, name: str, met: list[str]) -> None:
        self.name, self.met = name, met

    def buildProtocol(self, addr: Any) -> Protocol:
        self.met.append(self.name)
        return Protocol()


class Heard(DatagramProtocol):
    noisy = False

    def __init__(self, name: str, met: list[str]) -> None:
        self.name, self.met = name, met

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.met.append(self.name + datagram.decode())


class SharedSocketTests(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.met: list[str] = []
        self.old = self.sockets()

    def sockets(self, inherited: Any = ()) -> SharedSockets:
        made = SharedSockets(self.reactor, inherited)
        self.addCleanup(made.close)
        self.addCleanup(lambda: [port.stopListening() for port in made._ports()])
        return made

    def passed_on(self) -> list[Listening]:
        """Return the sockets as a successor inherits them, with other descriptors."""
        return [
            Listening(one.kind, one.interface, one.port, os.dup(one.descriptor))
            for one in self.old.to_pass_on()
        ]

    async def until(self, count: int) -> None:
        while len(self.met) < count:
            await deferLater(self.reactor, 0.01)

    def connect(self, port: int) -> Deferred[Any]:
        endpoint = TCP4ClientEndpoint(self.reactor, HERE, port)
        coming: Deferred[Any] = endpoint.connect(Factory.forProtocol(Protocol))
        coming.addCallback(
            lambda client: self.addCleanup(client.transport.abortConnection)
        )
        return coming

    async def test_waiting_connections_go_to_the_next_reader(self) -> None:
        port = self.old.listenTCP(0, Who("old", self.met), interface=HERE)
        number = port.getHost().port
        await self.connect(number)
        await self.until(1)
        new = self.sockets(self.passed_on())
        again = new.listenTCP(0, Who("new", self.met), interface=HERE)
        self.assertEqual(again.getHost().port, number)
        await self.connect(number)
        await self.until(2)
        self.old.hold()
        # No process reads: the connection waits.
        await self.connect(number)
        self.assertEqual(self.met, ["old", "old"])
        new.release()
        await self.until(3)
        # Closing the old port does not affect the socket.
        await port.stopListening()
        self.old.close()
        await self.connect(number)
        await self.until(4)
        self.assertEqual(self.met, ["old", "old", "new", "new"])

    async def test_a_datagram_is_read_once_and_a_lost_port_comes_back(self) -> None:
        udp = self.old.listenUDP(0, Heard("old", self.met), interface=HERE)
        number = udp.getHost().port
        new = self.sockets(self.passed_on())
        newer = new.listenUDP(0, Heard("new", self.met), interface=HERE)
        self.old.hold()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"1", (HERE, number))
            new.release()
            await self.until(1)
            # As after a lack of memory: the socket still exists and can be read.
            await newer.stopListening()
            sender.sendto(b"2", (HERE, number))
            new.listenUDP(number, Heard("again", self.met), interface=HERE)
            await self.until(2)
        self.assertEqual(self.met, ["new1", "again2"])

    async def test_two_equal_requests_get_two_sockets(self) -> None:
        """Two equal requests get two sockets; an address in use is refused."""
        first = self.old.listenTCP(0, Who("a", self.met), interface=HERE)
        second = self.old.listenTCP(0, Who("b", self.met), interface=HERE)
        numbers = [port.getHost().port for port in (first, second)]
        self.assertRaises(
            CannotListenError,
            self.old.listenTCP,
            numbers[0],
            Who("c", self.met),
            interface=HERE,
        )
        new = self.sockets(self.passed_on())
        again = [new.listenTCP(0, Who(name, self.met), interface=HERE) for name in "ab"]
        self.assertEqual([port.getHost().port for port in again], numbers)

    async def test_the_lock_of_a_socket_belongs_to_its_reader_and_ends_with_it(
        self,
    ) -> None:
        folder = temporary_folder(self)
        path, lock = str(folder / "gateway"), folder / "gateway.lock"
        before = self.old.listenUNIX(path, Who("old", self.met), wantPID=1)
        new = self.sockets(self.passed_on())
        port = new.listenUNIX(path, Who("new", self.met), wantPID=1)
        # The lock file of another process, removed before this one ends.
        lock.unlink()
        lock.symlink_to("1")
        self.old.hold()
        before.connected = False
        before.socket.close()
        self.assertEqual(os.readlink(lock), "1")
        new.release()
        self.assertEqual(os.readlink(lock), str(os.getpid()))
        await port.stopListening()
        self.assertEqual(list(folder.iterdir()), [])

    async def test_sockets_that_are_no_longer_needed_are_closed(self) -> None:
        port = self.old.listenTCP(0, Who("old", self.met), interface=HERE)
        number = port.getHost().port
        inherited = self.passed_on()
        new = self.sockets(inherited)
        new.release()
        self.assertEqual(list(new.to_pass_on()), [])
        self.assertRaises(OSError, os.fstat, inherited[0].descriptor)
        await port.stopListening()
        self.old.close()
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex((HERE, number)), 0)
