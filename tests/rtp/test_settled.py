from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.rtp import settled as rtp_settled
from chime_gateway.rtp.settled import SettledSocket

PLACE = ("192.0.2.1", 4000)


class FakeSocket:
    """
    @ivar faults: by function name, what each call in turn raises; C{None}: nothing.
    """

    def __init__(self, family: int = socket.AF_INET, kind: int = 0) -> None:
        self.family, self.type = family, kind
        self.log: list[tuple[Any, ...]] = []
        self.faults: dict[str, list[Exception | None]] = {}

    def fileno(self) -> int:
        return 9

    def getsockname(self) -> tuple[Any, ...]:
        return ("0.0.0.0", 5000, 0, 0)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.log.append((name, *arguments))
            faults = self.faults.get(name)
            if faults and (fault := faults.pop(0)) is not None:
                raise fault
            if name == "recv":
                raise BlockingIOError
            return None

        return call

    def calls(self, name: str) -> list[tuple[Any, ...]]:
        return [entry[1:] for entry in self.log if entry[0] == name]


class SettledSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.made: list[FakeSocket] = []
        self.fault = ""
        self.came: list[tuple[bytes, Any]] = []
        self.port = FakeSocket()

        def new_socket(family: int, kind: int) -> FakeSocket:
            one = FakeSocket(family, kind)
            if self.fault:
                one.faults[self.fault] = [OSError()]
            self.made.append(one)
            return one

        class Module:
            def __getattr__(self, name: str) -> Any:
                return getattr(socket, name)

        module: Any = Module()
        module.socket = new_socket
        self.patch(rtp_settled, "socket", module)

    def new(self) -> SettledSocket[Any]:
        return SettledSocket(
            self.port,  # type: ignore[arg-type]
            PLACE,
            PLACE,
            lambda data, address: self.came.append((data, address)),
            lambda: self.came.append((b"broken", None)),
        )

    def test_it_is_on_the_port_and_connected_to_the_address(self) -> None:
        one = self.new()
        (made,) = self.made
        self.assertEqual(made.calls("bind"), [(("0.0.0.0", 5000),)])
        self.assertEqual(made.calls("connect"), [(PLACE,)])
        self.patch(one, "_receive", lambda _: b"audio")
        one.doRead()
        self.assertEqual(self.came, [(b"audio", PLACE)])
        one.connectionLost(Failure(ZeroDivisionError()))
        self.assertFalse(one.connected)
        self.assertEqual(len(made.calls("close")), 1)
        self.assertEqual(self.came[1:], [(b"broken", None)])

    def test_after_any_failure_nothing_is_left_and_the_port_is_not_shared(self) -> None:
        for fault in ("setblocking", "setsockopt", "bind", "connect"):
            self.fault = fault
            self.assertRaises(OSError, self.new)
            self.assertEqual(len(self.made[-1].calls("close")), 1, fault)
            shares = [value for *_, value in self.port.calls("setsockopt")]
            self.assertEqual(shares[-1:], [0] if shares else [], fault)

    def test_the_reserved_descriptors_are_not_used(self) -> None:
        self.patch(rtp_settled, "is_in_reserve", lambda _: True)
        self.assertRaises(OSError, self.new)
        self.assertEqual(len(self.made[-1].calls("close")), 1)
        self.assertEqual(self.port.calls("setsockopt"), [])

    def test_an_icmp_error_does_not_cost_the_next_datagram(self) -> None:
        """The system reports an ICMP error in place of the next send."""
        one = self.new()
        (made,) = self.made
        refused = ConnectionRefusedError()
        for faults, sent, failures in (
            ([None], 1, 0),
            ([refused], 2, 0),
            ([refused, refused], 2, 1),
            ([OSError(errno.EHOSTUNREACH, "")], 2, 1),
            ([OSError(errno.ENETUNREACH, ""), BlockingIOError()], 2, 2),
            ([ValueError(), ValueError()], 2, 3),
        ):
            made.log.clear()
            made.faults["send"] = list(faults)
            one.send(b"audio")
            self.assertEqual(made.calls("send"), [(b"audio",)] * sent)
            self.assertEqual(one.failures, failures)
            self.assertTrue(one.connected)
        made.faults["recv"] = [refused]
        one.doRead()
        self.assertEqual(self.came, [])
