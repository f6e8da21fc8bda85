"""WebRTC peers over TCP, when UDP is blocked, and strangers that connect."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.protocol import ClientCreator, Protocol
from twisted.internet.task import Clock, deferLater

from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.strangers.summary import Summary
from chime_gateway.webrtc import tcp
from chime_gateway.webrtc.peer import PeerFailure
from chime_gateway.webrtc.shared_port import SharedPort
from chime_gateway.webrtc.tcp import ActiveTcp, PassiveTcp, TcpConnection
from chime_gateway.webrtc.udp import OwnPort
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.framing import frame
from chime_gateway.wire.webrtc.stun import Message, MessageClass
from tests.integration.webrtc_harness import SocketsTestCase


class Stranger(Protocol):
    """A connection that sends some data, and waits."""

    def __init__(self) -> None:
        self.is_lost = False

    def connectionLost(self, reason: object = None) -> None:
        self.is_lost = True


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TcpTests(SocketsTestCase):
    def listen(self) -> PassiveTcp:
        # The clock of the log summary stands still.
        self.strangers = Connections(self.reactor, 1000, Summary(Clock()))
        factory = PassiveTcp(self.reactor, (), self.strangers)
        self.port: Any = self.reactor.listenTCP(0, factory, interface=self.host)
        self.addCleanup(self.port.stopListening)
        number = self.port.getHost().port
        listener = PassiveTcp(self.reactor, [(self.host, number)], self.strangers)
        factory.candidates = listener.candidates
        return factory

    async def test_many_peers_use_connections_and_leave_none(self) -> None:
        passive = self.listen()
        await deferLater(self.reactor, 0.01)
        before = _descriptors()
        callers = [self.new_user(ActiveTcp(self.reactor, 0.0)) for _ in range(20)]
        ours = [self.new_user(passive, is_offerer=False) for _ in range(20)]
        pairs = await self.introduce(callers, ours)
        self.assertEqual((len(passive), len(self.strangers)), (20, 0))
        await self.talk(pairs)
        for caller, our in pairs[::2]:
            caller.peer.close()
            await self.until(lambda our=our: our.peer.is_closed)  # type: ignore[misc]
            self.assertEqual(our.told, ["connected", PeerFailure.CLOSED_BY_PEER])
        await self.talk(pairs[1::2])
        ways = [our.peer.path for _, our in pairs[1::2]]
        for _, our in pairs:
            our.peer.close()
        self.assertEqual(len(passive), 0)
        for way in ways:
            assert way is not None and isinstance(way.local, TcpConnection)
            self.assertTrue(way.local.transport.disconnecting)
        await self.until(lambda: all(caller.peer.is_closed for caller in callers))
        await self.until(lambda: _descriptors() == before)

    async def test_a_connection_that_is_lost_ends_its_peers(self) -> None:
        passive = self.listen()
        caller = self.new_user(ActiveTcp(self.reactor, 0.0))
        ours = self.new_user(passive, is_offerer=False)
        await self.introduce([caller], [ours])
        assert caller.peer.path is not None
        caller.peer.path.local.transport.abortConnection()  # type: ignore[attr-defined]
        await self.until(lambda: caller.peer.is_closed)
        self.assertEqual(caller.told, ["connected", PeerFailure.CONSENT_LOST])
        self.assertEqual(len(passive), 0)

    async def test_with_working_udp_no_peer_connects(self) -> None:
        passive = self.listen()
        shared = SharedPort(self.host, 0, self.batch, [self.host])
        self.addCleanup(shared.close)
        active = ActiveTcp(self.reactor, 0.3)
        own = OwnPort(self.host, self.batch, [self.host])
        caller = self.new_user(own, active)
        ours = self.new_user(shared, passive, is_offerer=False)
        await self.introduce([caller], [ours])
        await deferLater(self.reactor, 0.4)
        self.assertEqual((len(passive), len(shared)), (0, 1))
        self.assertEqual(active._dials, {})

    async def test_with_blocked_udp_a_connection_is_used(self) -> None:
        passive = self.listen()
        shared = SharedPort(self.host, 0, self.batch, [self.host])
        shared.close()
        own = OwnPort(self.host, self.batch, [self.host])
        caller = self.new_user(own, ActiveTcp(self.reactor, 0.1))
        ours = self.new_user(shared, passive, is_offerer=False)
        pairs = await self.introduce([caller], [ours])
        self.assertEqual(len(passive), 1)
        await self.talk(pairs)

    async def test_strangers_have_limited_bytes_and_time_and_leave_nothing(
        self,
    ) -> None:
        self.patch(tcp, "_STRANGER_SECONDS", 0.2)
        passive = self.listen()
        ours = self.new_user(passive, is_offerer=False).peer.local
        creator = ClientCreator(self.reactor, Stranger)

        def check(username: str) -> bytes:
            message = Message(
                message_class=MessageClass.REQUEST,
                transaction=os.urandom(12),
                username=username,
                priority=1,
                controlling=1,
            )
            return frame(stun.encode(message, "x" * 24))

        said = {
            "stun": [b"\0\4GET ", frame(b"\x80\0" + bytes(170)), frame(b"\x16" * 40)],
            "ufrag": [check("nobody:x"), check("")],
            "bytes": [b"\xff\xff" + bytes(5000)],
            "slow": [b"", b"\0", check(f"{ours.ufrag}:x")],
        }
        strangers = []
        for datas in said.values():
            for data in datas * 5:
                one = await creator.connectTCP(self.host, self.port.getHost().port)
                one.transport.write(data)
                strangers.append(one)
        await self.until(lambda: all(one.is_lost for one in strangers))
        wanted = {why: 5 * len(datas) for why, datas in said.items()}
        self.assertEqual(passive.dropped, wanted)
        self.assertEqual(
            (len(self.strangers), passive._unknown, len(passive)), (0, set(), 0)
        )

    async def test_the_oldest_of_too_many_strangers_are_closed(self) -> None:
        passive = self.listen()
        creator = ClientCreator(self.reactor, Stranger)
        self.strangers.most = 20
        strangers = [
            await creator.connectTCP(self.host, self.port.getHost().port)
            for _ in range(60)
        ]
        await self.until(lambda: sum(one.is_lost for one in strangers) >= 44)
        self.assertLessEqual(len(passive._unknown), 20)
        await self.port.stopListening()
        await self.until(lambda: all(one.is_lost for one in strangers))
        self.assertEqual((len(self.strangers), passive._unknown), (0, set()))
