"""WebRTC peers on UDP sockets: a shared port, a port for each, and strangers."""

from __future__ import annotations

import os
import select
import socket
from functools import partial

from attrs import evolve
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from chime_gateway.rtp.ports import Address, Received
from chime_gateway.webrtc.peer import PeerFailure
from chime_gateway.webrtc.shared_port import SharedPort
from chime_gateway.webrtc.udp import OwnPort, UdpSocket
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.stun import Message, MessageClass
from tests.integration.webrtc_harness import SocketsTestCase
from tests.support.rtc_network import RtcUser


class Nat:
    """A NAT between a caller and the gateway's port; its outside port may change."""

    def __init__(self, case: SocketsTestCase, target: int) -> None:
        self.listen = partial(case.reactor.listenUDP, 0, interface=case.host)
        self.target = case.host, target
        self.inside = self.listen(Side(self.outwards))
        self.number: int = self.inside.getHost().port
        self.outside = self.listen(Side(self.inwards))
        self.caller: Address | None = None
        case.addCleanup(lambda: self.inside.stopListening())
        case.addCleanup(lambda: self.outside.stopListening())

    def forget(self) -> None:
        self.outside.stopListening()
        self.outside = self.listen(Side(self.inwards))

    def outwards(self, data: bytes, address: Address) -> None:
        self.caller = address
        self.outside.write(data, self.target)

    def inwards(self, data: bytes, address: Address) -> None:
        if self.caller is not None:
            self.inside.write(data, self.caller)


class Side(DatagramProtocol):
    """One side of a NAT."""

    def __init__(self, received: Received) -> None:
        self.datagramReceived = received  # type: ignore[assignment]


def _has_answer(one: socket.socket) -> bool:
    return bool(select.select([one], [], [], 0)[0])


class PortsTestCase(SocketsTestCase):
    def new_shared(self, host: str | None = None) -> SharedPort:
        host = host or self.host
        shared = SharedPort(host, 0, self.batch, [self.host])
        self.addCleanup(shared.close)
        return shared

    def new_port(self) -> OwnPort:
        return OwnPort(self.host, self.batch, [self.host])

    async def connect(
        self, shared: SharedPort | OwnPort, count: int = 1
    ) -> list[tuple[RtcUser, RtcUser]]:
        """Connect callers, each with its own port, to one port of the gateway."""
        callers = [self.new_user(self.new_port()) for _ in range(count)]
        ours = [self.new_user(shared, is_offerer=False) for _ in range(count)]
        return await self.introduce(callers, ours)


class SharedPortTests(PortsTestCase):
    async def test_two_hundred_peers_share_a_socket(self) -> None:
        await deferLater(self.reactor, 0.01)  # the reactor opens its own descriptors
        before = len(os.listdir("/proc/self/fd"))
        shared = self.new_shared()
        pairs = await self.connect(shared, 200)
        # The batch's, the shared one, and for each caller its own and one for its path.
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 2 + 400)
        self.assertEqual(len(shared), 200)
        await self.talk(pairs)
        for caller, _ in pairs[::2]:
            caller.peer.close()
        await self.until(lambda: all(ours.peer.is_closed for _, ours in pairs[::2]))
        self.assertEqual(len(shared), 100)
        self.assertEqual(
            {tuple(ours.told) for _, ours in pairs[::2]},
            {("connected", PeerFailure.CLOSED_BY_PEER)},
        )
        await self.talk(pairs[1::2])
        for _, ours in pairs:
            ours.peer.close()
        self.assertEqual(len(shared), 0)
        self.assertEqual((shared._by_ufrag, shared._addresses), ({}, {}))
        await self.until(lambda: all(caller.peer.is_closed for caller, _ in pairs))
        shared.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(self.batch._fds, {})

    async def test_strangers_are_counted_and_leave_nothing(self) -> None:
        shared = self.new_shared()
        pairs = await self.connect(shared)
        ours = pairs[0][1].peer.local
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(stranger.close)
        stranger.setblocking(False)

        def check(username: str, password: str | None) -> bytes:
            message = Message(
                message_class=MessageClass.REQUEST,
                transaction=os.urandom(12),
                username=username,
                priority=1,
                controlling=1,
                use_candidate=True,
            )
            return stun.encode(message, password)

        sent = {
            "stranger": [b"\x80\0" + bytes(160), b"\x16\xfe\xfd" + bytes(60), b""],
            "stun": [b"\0\1" + bytes(30), b"\0"],
            "ufrag": [check("nobody:x", ours.password), check("", None)],
            "integrity": [
                check(f"{ours.ufrag}:{pairs[0][0].peer.local.ufrag}", "x" * 24),
                check(f"{ours.ufrag}:{pairs[0][0].peer.local.ufrag}", None),
                check(f"{ours.ufrag}:wrong", ours.password),
            ],
        }
        for datagrams in sent.values():
            for data in datagrams * 20:
                stranger.sendto(data, (self.host, shared.number))
        wanted = {why: 20 * len(datagrams) for why, datagrams in sent.items()}
        await self.until(lambda: sum(shared.dropped.values()) >= sum(wanted.values()))
        self.assertEqual(shared.dropped, wanted)
        self.assertEqual(len(shared), 1)
        await self.talk(pairs)

    async def test_the_addresses_of_one_peer_are_limited(self) -> None:
        shared = self.new_shared()
        pairs = await self.connect(shared, 2)
        caller, ours = (user.peer for user in pairs[0])
        username = f"{ours.local.ufrag}:{caller.local.ufrag}"
        for _ in range(20):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(one.close)
            message = Message(
                message_class=MessageClass.REQUEST,
                transaction=os.urandom(12),
                username=username,
                priority=1,
                controlling=1,
            )
            data = stun.encode(message, ours.local.password)
            one.sendto(data, (self.host, shared.number))
            await self.until(partial(_has_answer, one))
        await self.talk(pairs)
        self.assertEqual(len(shared), 8 + 1)

    async def test_a_nat_that_forgets_is_followed(self) -> None:
        shared = self.new_shared()
        nat = Nat(self, shared.number)
        caller = self.new_user(self.new_port())
        ours = self.new_user(shared, is_offerer=False)
        ours.peer.set_remote(evolve(caller.peer.description, candidates=()))
        (candidate,) = ours.peer.description.candidates
        seen = evolve(candidate, port=nat.number)
        caller.peer.set_remote(evolve(ours.peer.description, candidates=(seen,)))
        await self.until(lambda: caller.told and ours.told)
        pairs = [(caller, ours)]
        await self.talk(pairs)
        before = nat.outside.getHost().port
        nat.forget()
        # The next check comes from another port.
        await self.talk(pairs)
        assert ours.peer.path is not None
        self.assertNotEqual(ours.peer.path.port, before)
        self.assertEqual(ours.told, ["connected"])

    async def test_a_fault_in_one_peer_ends_no_other(self) -> None:
        shared = self.new_shared()
        pairs = await self.connect(shared, 3)
        empty: dict[str, None] = {}
        pairs[0][1].peer._rtp_received = lambda data, address: empty["bug"]
        pairs[0][0].stream.tick(self.reactor.seconds(), 1)
        await self.until(lambda: pairs[0][1].peer.is_closed)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(pairs[0][1].told[-1], PeerFailure.BROKEN)
        await self.talk(pairs[1:])

    async def test_ipv6_and_dual_stack_on_one_socket(self) -> None:
        for host, family in (("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")):
            self.host = family
            shared = self.new_shared(host)
            pairs = await self.connect(shared)
            await self.talk(pairs)
            for user in pairs[0]:
                user.peer.close()
            self.assertEqual(len(shared), 0)

    test_two_hundred_peers_share_a_socket.timeout = 120  # type: ignore[attr-defined]


class OwnPortTests(PortsTestCase):
    async def test_ports_in_use_are_skipped(self) -> None:
        taken = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        numbers = []
        for one in taken:
            self.addCleanup(one.close)
            one.bind((self.host, 0))
            numbers.append(one.getsockname()[1])
        own = OwnPort(self.host, self.batch, [self.host], numbers)
        with self.assertRaises(OSError):
            self.new_user(own)
        self.assertEqual((own.number, own.candidates), (0, ()))
        taken[1].close()
        self.users.clear()
        user = self.new_user(own)
        self.assertEqual(own.number, numbers[1])
        self.assertEqual([one.port for one in own.candidates], [numbers[1]])
        user.peer.close()
        self.assertEqual(own.number, 0)

    async def test_both_peers_may_have_their_own_port(self) -> None:
        pairs = await self.connect(self.new_port())
        await self.talk(pairs)

    async def test_the_socket_of_a_path_follows_the_path(self) -> None:
        own = self.new_port()
        ours = self.new_user(own, is_offerer=False)
        nat = Nat(self, own.number)
        caller = self.new_user(self.new_port())
        ours.peer.set_remote(evolve(caller.peer.description, candidates=()))
        (candidate,) = ours.peer.description.candidates
        seen = evolve(candidate, port=nat.number)
        caller.peer.set_remote(evolve(ours.peer.description, candidates=(seen,)))
        await self.until(lambda: caller.told and ours.told)
        pairs = [(caller, ours)]
        await self.talk(pairs)
        before = own._settled
        assert before is not None and ours.peer.path is not None
        place = before._socket.getpeername()
        self.assertEqual(place, (self.host, nat.outside.getHost().port))
        nat.forget()
        await self.talk(pairs)
        assert own._settled is not None
        self.assertFalse(before.connected)
        self.assertEqual(own._settled._socket.getpeername()[1], ours.peer.path.port)
        self.assertNotEqual(own._settled._socket.getpeername(), place)
        for user in pairs[0]:
            user.peer.close()
        self.assertIsNone(own._settled)
        self.assertEqual(self.batch._fds, {})

    async def test_it_works_without_a_socket_for_its_path(self) -> None:
        def fail(*_: object) -> None:
            raise OSError("out of descriptors")

        self.patch(UdpSocket, "open_settled", fail)
        await self.talk(await self.connect(self.new_port()))

    async def test_a_socket_reports_what_cannot_be_sent(self) -> None:
        """An address of another family, no address, too much for a datagram."""
        heard: list[bytes] = []
        one = UdpSocket(self.host, 0, lambda data, _: heard.append(data), self.fail)
        self.batch.adopt(one)
        self.addCleanup(one.close)
        there = self.host, one.number
        self.assertTrue(one.send(b"said", there))
        for data, address in (
            (b"lost", ("2001:db8::1", 9)),
            (b"lost", ("nowhere", 9)),
            (b"lost", (self.host, 70_000)),
            (bytes(70_000), there),
        ):
            self.assertFalse(one.send(data, address))
        await self.until(lambda: heard)
        self.batch.release(one)
        one.close()
        self.assertFalse(one.send(b"late", there))
        self.assertEqual(heard, [b"said"])
