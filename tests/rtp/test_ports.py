from __future__ import annotations

import socket
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.batch import MediaSocket
from chime_gateway.rtp import ports as rtp_port
from chime_gateway.rtp.ports import NoPortFree, PortPool


class FakeSocket:
    """Stands for the sockets that the pool opens."""

    taken: set[int] = set()  # noqa: RUF012

    def __init__(self, family: Any, kind: Any) -> None:
        self.closed = False

    def setblocking(self, _: bool) -> None: ...

    def bind(self, address: tuple[str, int]) -> None:
        if address[1] in self.taken:
            raise OSError("in use")

    def close(self) -> None:
        self.closed = True

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        raise BlockingIOError

    fault: Exception = OSError("full")

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        raise self.fault

    def fileno(self) -> int:
        return 99


class FaultyBatch:
    fault = ""

    def adopt(self, connection: MediaSocket) -> None:
        self._fail("adopt")

    def release(self, connection: MediaSocket) -> None:
        self._fail("release")

    def _fail(self, where: str) -> None:
        if self.fault == where:
            raise ZeroDivisionError(where)


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        FakeSocket.taken = set()

        class Module:
            AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
            SOCK_DGRAM = socket.SOCK_DGRAM
            socket = FakeSocket

        self.patch(rtp_port, "socket", Module)
        self.pool = PortPool(5001, 5005, "127.0.0.1", None, lambda: self.now, 10.0)

    def lend(self) -> rtp_port.RtpPort:
        return self.pool.lend(lambda d, a: None, lambda d, a: None)

    def test_pairs_begin_even_and_rest_after_a_call(self) -> None:
        self.assertEqual(self.pool.size, 2)
        first, second = self.lend(), self.lend()
        self.assertEqual((first.number, second.number), (5002, 5004))
        with self.assertRaises(NoPortFree):
            self.lend()
        self.pool.take_back(first)
        self.assertEqual(self.pool.in_use, 1)
        with self.assertRaises(NoPortFree):
            self.lend()
        self.now = 10.0
        self.assertEqual(self.lend().number, 5002)

    def test_a_port_of_another_program_is_skipped(self) -> None:
        FakeSocket.taken = {5003}
        self.assertEqual(self.lend().number, 5004)
        FakeSocket.taken = {5002}
        with self.assertRaises(NoPortFree):
            self.lend()
        FakeSocket.taken = set()
        self.assertEqual(self.lend().number, 5002)

    def test_ports_of_another_process_are_not_lent(self) -> None:
        other = PortPool(5001, 5005, "127.0.0.1", None, lambda: self.now, 10.0)
        used, resting = (other.lend(lambda *_: None, lambda *_: None) for _ in "ab")
        other.take_back(resting)
        self.pool.reserve_for("older", other.not_free())
        with self.assertRaises(NoPortFree):
            self.lend()
        self.now = 10.0
        self.pool.reserve_for("older", other.not_free())
        self.assertEqual(self.lend().number, resting.number)
        other.take_back(used)
        self.pool.reserve_for("older", ())
        self.assertEqual(self.lend().number, used.number)

    @given(
        st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)), st.integers(60, 100)
    )
    def test_all_free_ports_are_found_whatever_other_processes_use(
        self, some: set[int], more: set[int], pairs: int
    ) -> None:
        """Other processes have far more ports than may be tried in vain."""
        pool = PortPool(5000, 4999 + 2 * pairs, "127.0.0.1", None, lambda: 0.0)
        theirs = {5000 + 2 * one for one in some | more}
        FakeSocket.taken = set(theirs)
        pool.reserve_for("one", [5000 + 2 * one for one in some])
        pool.reserve_for("other", [5000 + 2 * one for one in more])
        lent = [
            pool.lend(lambda *_: None, lambda *_: None)
            for _ in range(pairs - len(theirs))
        ]
        self.assertFalse(theirs & {port.number for port in lent})
        with self.assertRaises(NoPortFree):
            pool.lend(lambda *_: None, lambda *_: None)
        for port in lent:
            port.close()
        FakeSocket.taken = set()

    def test_datagrams_that_cannot_be_sent_are_counted(self) -> None:
        port = self.lend()
        faults = OSError(), OverflowError(), ValueError(), TypeError(), struct.error()
        for fault in faults:
            self.patch(FakeSocket, "fault", fault)
            port.send_rtp(b"x", ("127.0.0.1", 1))
            port.send_rtcp(b"x", ("127.0.0.1", 1))
        self.assertEqual(port.failures, 2 * len(faults))
        port._rtp.doRead()  # no datagram is not an error
        self.assertTrue(port._rtp.connected)

    def test_a_port_comes_back_whatever_fails_in_the_batch(self) -> None:
        batch = FaultyBatch()
        pool = PortPool(5002, 5005, "127.0.0.1", batch, lambda: self.now, 0.0)
        for fault in ("adopt", "", "release"):
            batch.fault = fault
            try:
                port = pool.lend(lambda d, a: None, lambda d, a: None)
            except ZeroDivisionError:
                continue
            pool.take_back(port)
            self.assertFalse(port._rtp.connected or port._rtcp.connected)
        self.assertEqual((pool.in_use, pool.size), (0, 2))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_the_owner_is_notified_of_a_broken_port(self) -> None:
        port = self.lend()
        told: list[bool] = []
        port.call_if_broken(lambda: told.append(True))
        port._rtp.connectionLost(Failure(ZeroDivisionError()))
        self.assertEqual(told, [True])
        self.pool.take_back(port)
        self.assertEqual(told, [True])

    def test_address_families_that_a_pool_reaches(self) -> None:
        for host, reached in (
            ("127.0.0.1", ["192.0.2.1"]),
            ("::1", ["2001:db8::1"]),
            ("::", ["192.0.2.1", "2001:db8::1"]),
        ):
            pool = PortPool(5002, 5005, host, None, lambda: 0.0)
            found = [h for h in ("192.0.2.1", "2001:db8::1") if pool.reaches(h)]
            self.assertEqual(found, reached)
