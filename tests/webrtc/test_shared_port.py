"""The owner of an address at a shared port, if two peers claim it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.shared_port import SharedPort
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.stun import Message, MessageClass
from tests.support.rtc_network import RtcUser, give_peer

#: An address that two callers use, one after the other.
PLACE: Address = ("127.0.0.1", 9)

#: How long the first must have been silent.
LEFT_SECONDS = 7.0

ACTS = ("own check", "media", "hello", "check", "forged", "nobody's", "noise")


class NoBatch:
    """A batch that reads nothing."""

    def adopt(self, connection: Any) -> None: ...
    def release(self, connection: Any) -> None: ...


class OneAddressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.draw = random.Random(1)
        self.port = SharedPort("127.0.0.1", 0, NoBatch(), ["127.0.0.1"])
        self.addCleanup(self.port.close)
        self.remotes: dict[int, str] = {}

    def user(self) -> RtcUser:
        """Make a peer with an offer."""
        caller, ours = RtcUser(), RtcUser()
        give_peer(caller, [], self.clock, self.draw, is_offerer=True)
        give_peer(
            ours, [self.port], self.clock, self.draw, is_offerer=False, is_lite=True
        )
        ours.peer.set_remote(caller.peer.description)
        self.remotes[id(ours)] = caller.peer.local.ufrag
        return ours

    def check(self, user: RtcUser, password: str = "") -> None:
        local = user.peer.local
        message = Message(
            message_class=MessageClass.REQUEST,
            transaction=self.draw.randbytes(12),
            username=f"{local.ufrag}:{self.remotes[id(user)]}",
            priority=1,
            controlling=1,
            use_candidate=True,
        )
        data = stun.encode(message, password or local.password)
        self.port._received(data, PLACE)

    def owner(self) -> object:
        return self.port._flows[PLACE][2]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ACTS), st.floats(0, 5)), max_size=30))
    def test_an_address_is_taken_over_after_its_owner_was_silent(
        self, acts: list[tuple[str, float]]
    ) -> None:
        first, second = self.user(), self.user()
        self.check(first)
        self.assertIs(self.owner(), first.peer)
        wanted_since: float | None = None
        is_second = False
        for act, seconds in acts:
            # Not so long that consent for one of them expires.
            self.clock.advance(seconds)
            now = self.clock.seconds()
            if first.told or second.told:
                break
            if act == "own check":
                self.check(first)
                if not is_second:
                    wanted_since = None
                else:
                    break  # the first claims it back: the same with reversed roles
            elif act == "media":
                self.port._received(b"\x80\0" + bytes(170), PLACE)
                wanted_since = None
            elif act == "hello":
                self.port._received(b"\x16\xfe\xfd" + bytes(60), PLACE)
            elif act == "check":
                self.check(second)
                if wanted_since is None:
                    wanted_since = now
                elif now - wanted_since >= LEFT_SECONDS:
                    is_second = True
            elif act == "forged":
                self.check(second, "x" * 22)
                self.check(first, "x" * 22)
            elif act == "nobody's":
                self.port._received(b"\0\1\0\0" + bytes(16), PLACE)
            else:
                self.port._received(b"\1" + self.draw.randbytes(30), PLACE)
            wanted = second if is_second else first
            self.assertIs(self.owner(), wanted.peer)
            self.assertEqual(len(self.port), 1)
        for user in (first, second):
            user.peer.close()
        self.assertEqual(len(self.port), 0)
        self.assertEqual((self.port._claims, self.port._addresses), ({}, {}))

    def test_the_new_owner_is_answered_there(self) -> None:
        first, second = self.user(), self.user()
        self.check(first)
        for _ in range(8):
            self.check(second)
            self.clock.advance(1.0)
        self.assertFalse(second.peer.is_closed)
        self.check(second)
        self.assertIsNotNone(second.peer.path)
        # The first ends later, and does not take the address away.
        for _ in range(5):
            self.clock.advance(4.5)
            self.check(second)
        self.assertTrue(first.peer.is_closed)
        self.assertIs(self.owner(), second.peer)
