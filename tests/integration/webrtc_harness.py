"""WebRTC peers on real sockets."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.task import deferLater

from chime_gateway.net.batch import BatchReader
from tests.support.base import ReactorTestCase
from tests.support.rtc_network import RtcUser, give_peer


class SocketsTestCase(ReactorTestCase):
    host = "127.0.0.1"

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.batch = BatchReader(reactor)
        self.draw = random.Random(os.urandom(8))
        self.users: list[RtcUser] = []
        self.addCleanup(self._close_all)

    def _close_all(self) -> None:
        for user in self.users:
            user.peer.close()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(self.reactor, 0.01)

    def new_user(self, *sockets: Any, is_offerer: bool = True) -> RtcUser:
        """Make a peer: an offerer uses full ICE, an answerer is ICE-lite."""
        user = RtcUser()
        self.users.append(user)
        give_peer(
            user,
            sockets,
            self.reactor,
            self.draw,
            is_offerer=is_offerer,
            is_lite=not is_offerer,
        )
        return user

    async def introduce(
        self, callers: Sequence[RtcUser], ours: Sequence[RtcUser]
    ) -> list[tuple[RtcUser, RtcUser]]:
        """Connect each caller with one of the gateway's peers."""
        pairs = list(zip(callers, ours, strict=True))
        for caller, our in pairs:
            our.peer.set_remote(caller.peer.description)
            caller.peer.set_remote(our.peer.description)
        await self.until(lambda: all(u.told for pair in pairs for u in pair))
        told = [user.told for pair in pairs for user in pair]
        self.assertEqual(told, [["connected"]] * len(told))
        return pairs

    async def talk(self, pairs: Sequence[tuple[RtcUser, RtcUser]]) -> None:
        """Expect that each peer hears what its counterpart says."""
        users = [user for pair in pairs for user in pair]
        for user in users:
            user.heard.clear()
        # A peer that was heard stops, so that many do not use up the processor.
        speaking = dict(enumerate(users))
        until = self.reactor.seconds() + 60.0
        while speaking:
            self.assertLess(
                self.reactor.seconds(), until, "they do not hear each other"
            )
            for at, user in speaking.items():
                user.stream.play(bytes([at % 251]) * 160)
                user.stream.tick(self.reactor.seconds(), 1)
            await deferLater(self.reactor, 0.02)
            speaking = {
                at: user
                for at, user in speaking.items()
                if users[at ^ 1].heard.count(at % 251) <= 480
            }
