"""Calls of several processes on one port: which process gets which request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.webrtc.generations import Generations
from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, NotAnswered
from chime_gateway.rtp.ports import Address

OLD, NEW = "bcdfgh", "jkmnpq"


class FakePort:
    def __init__(self) -> None:
        self.strayed: Callable[[str, bytes, Address], bool] = lambda *_: False
        self.handed_on: list[tuple[bytes, Address]] = []
        self.is_parted = False

    def part(self) -> None:
        self.is_parted = True

    def unite(self) -> None:
        self.is_parted = False

    def handed(self, data: bytes, address: Address) -> None:
        self.handed_on.append((data, address))


class Process:
    """
    @ivar calls: the calls that it has.
    """

    def __init__(self, generation: str) -> None:
        self.kin = Kin(generation, Clock())
        self.calls: set[str] = set()
        self.generations = Generations(self.kin, self)
        self.port = FakePort()
        port: Any = self.port
        self.generations.start(port)

    def deleted(self, call_id: str) -> bool:
        was_here = call_id in self.calls
        self.calls.discard(call_id)
        return was_here

    def told(self, kind: str, head: Mapping[str, Any], body: bytes) -> Any:
        peer: Any = None
        told = self.kin._told[kind]
        return told(peer, Message(kind, head, body))


class Line:
    """The channel to another process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_gone = False

    def send(self, kind: str, head: Mapping[str, Any], body: bytes = b"") -> bool:
        if not self.is_gone:
            self.process.told(kind, head, body)
        return not self.is_gone

    def ask(
        self, kind: str, head: Mapping[str, Any], body: bytes = b""
    ) -> Deferred[Message]:
        if self.is_gone:
            return fail(NotAnswered("gone"))
        return succeed(self.process.told(kind, head, body))


class GenerationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.old, self.new = Process(OLD), Process(NEW)
        self.line = Line(self.old)
        older: Any = self.line
        self.new.kin.older[OLD] = older

    def test_a_call_is_ended_in_whichever_process_it_is(self) -> None:
        mine = OLD + "1"
        self.old.calls.add(mine)
        self.assertIs(self.successResultOf(self.new.generations.delete(mine)), True)
        self.assertIs(self.successResultOf(self.new.generations.delete(mine)), False)
        for unknown in (OLD, NEW + "1", "", "x"):
            deleted = self.successResultOf(self.new.generations.delete(unknown))
            self.assertIs(deleted, False)
        self.line.is_gone = True
        self.assertIs(self.successResultOf(self.new.generations.delete(mine)), False)

    def test_a_check_for_an_older_process_is_passed_to_it(self) -> None:
        address = ("192.0.2.9", 4000)
        self.assertTrue(self.new.port.strayed(f"{OLD}abcd", b"check", address))
        self.assertEqual(self.old.port.handed_on, [(b"check", address)])
        for ufrag in (f"{NEW}abcd", "", "bcd"):
            self.assertFalse(self.new.port.strayed(ufrag, b"check", address))
        self.line.is_gone = True
        self.assertFalse(self.new.port.strayed(f"{OLD}abcd", b"check", address))

    def test_calls_are_separated_before_a_successor_reads(self) -> None:
        kin = self.old.kin
        kin.call(kin.handing_over, None)
        self.assertTrue(self.old.port.is_parted)
        kin.call(kin.taken_back)
        self.assertFalse(self.old.port.is_parted)
