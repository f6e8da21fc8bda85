"""
Random dialogs of callers that follow no rules, and sockets that fail: in any case
nothing is left, no bug is logged, and other calls are not affected.
"""

from __future__ import annotations

import random
import struct
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.counted_calls import CountingSwitchboard
from tests.support.sip_peer import HOST, MEDIA, PEER
from tests.support.sip_sockets import SocketWorld, any_of
from tests.support.unruly_caller import UnrulyCaller

#: What a write to a socket may raise, and a bug of the gateway.
WRITE_FAULTS = (OSError, OverflowError, ValueError, TypeError, struct.error)

#: The caller's network, and addresses outside it.
ALLOW = (
    *(ip_network("198.51.100.0/24"), ip_network("127.0.0.0/8")),
    *(ip_network("224.0.0.0/4"), ip_network("2001:db8::/32"), ip_network("::1/128")),
)


class RandomDialogTests(SynchronousTestCase):
    def world(self) -> SocketWorld:
        world = SocketWorld(self, allow=ALLOW, media_timeout_seconds=5.0)
        world.switchboard = switchboard = CountingSwitchboard(world.log)
        world.carrier.context.switchboard = switchboard
        # Muting is tested elsewhere.
        self.patch(world.carrier.access, "offended", lambda *_: None)
        return world

    def caller(self, rng: random.Random, name: str) -> UnrulyCaller:
        return UnrulyCaller(rng, here=PEER, media=MEDIA, there=HOST, name=name)

    def act(self, world: SocketWorld, rng: random.Random) -> None:
        """Let the gateway do something."""
        switchboard: Any = world.switchboard
        for call in switchboard.counted:
            chance = rng.random()
            if chance < 0.4:
                call.leg.answer()
            elif chance < 0.5:
                call.hang_up()
            elif chance < 0.6:
                call.leg.transfer("+15550100").addErrback(lambda _: None)
            elif chance < 0.7:
                call.leg.send_digits("5")
            else:
                call.leg.play(b"\xff" * 160)
        world.sockets.deliver(rng.randbytes(rng.randrange(60)), MEDIA)
        packet = struct.pack("!BBHII", 0x80, 0, rng.randrange(65536), 0, 7)
        world.sockets.deliver(packet + bytes(160), MEDIA)

    def converse(
        self, world: SocketWorld, rng: random.Random, callers: list[UnrulyCaller]
    ) -> None:
        for _ in range(rng.randrange(2, 14)):
            caller = rng.choice(callers)
            world.say(caller.next())
            self.listen(world, callers)
            self.act(world, rng)
            world.advance(rng.choice((0.0, 0.02, 0.6, 3.0)), 0.1)
            self.listen(world, callers)

    def listen(self, world: SocketWorld, callers: list[UnrulyCaller]) -> None:
        for data, _ in world.reactor.sent[world.seen :]:
            world.seen += 1
            for caller in callers:
                for answer in caller.heard(data):
                    world.say(answer)

    def run_out(self, world: SocketWorld) -> None:
        """All callers hang up, and send nothing more."""
        switchboard: Any = world.switchboard
        for call in switchboard.counted:
            call.hang_up()
        world.advance(140, 0.5)

    @settings(max_examples=120, deadline=None)
    @given(st.integers(0, 2**32))
    def test_after_any_messages_nothing_is_left(self, seed: int) -> None:
        rng = random.Random(seed)
        world = self.world()
        callers = [self.caller(rng, name) for name in ("a", "b")]
        for caller in callers:
            world.say(caller.opening())
        self.converse(world, rng, callers)
        self.run_out(world)
        self.assertEqual(world.held(), {})
        self.assertEqual(self.flushLoggedErrors(), [])
        # An invalid address is rejected when it is read, not when it is used.
        self.assertEqual(dict(world.sockets.misused), {})
        switchboard: Any = world.switchboard
        for call in switchboard.counted:
            self.assertLessEqual(call.ends, 1)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32))
    def test_a_caller_that_vanishes_is_not_waited_for_for_ever(self, seed: int) -> None:
        rng = random.Random(seed)
        world = self.world()
        world.switchboard.answers = True
        callers = [self.caller(rng, name) for name in ("a", "b")]
        for caller in callers:
            world.say(caller.opening())
        self.converse(world, rng, callers)
        world.advance(200, 0.5)
        self.assertEqual(world.held(), {})
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32))
    def test_a_failed_write_affects_only_its_own_call(self, seed: int) -> None:
        rng = random.Random(seed)
        world = self.world()
        world.switchboard.answers = True
        tag = world.established(call_id="whole", branch="z9hG4bKwhole")
        port = min(world.sockets.open)
        callers = [self.caller(rng, "a")]
        world.say(callers[0].opening())
        rate = rng.choice((0.1, 0.5, 1.0))

        def fault(number: int) -> None:
            if number not in (port, port + 1) and rng.random() < rate:
                raise any_of(rng, WRITE_FAULTS)

        world.sockets.fault = fault
        for _ in range(10):
            world.sip_fault = lambda: fault(0)
            world.say(callers[0].next())
            self.act_on_all_but_the_first(world, rng)
            world.sip_fault = lambda: None
            before = world.sockets.sent[port]
            world.advance(0.2)
            self.assertEqual(world.sockets.sent[port] - before, 10)
        world.sip_fault = lambda: fault(0)
        switchboard: Any = world.switchboard
        self.assertEqual(switchboard.counted[0].ends, 0)
        for call in switchboard.counted[1:]:
            call.hang_up()
        world.sip_fault = lambda: None
        world.cseq += 1
        before = len(world.reactor.sent)
        world.say(world.request("BYE", to_tag=tag, call_id="whole"))
        ((answer, _),) = world.reactor.sent[before:]
        self.assertTrue(answer.startswith(b"SIP/2.0 200"), answer)
        world.seen = len(world.reactor.sent)
        self.run_out(world)
        self.assertEqual(world.held(), {})
        self.assertEqual(self.flushLoggedErrors(), [])

    def act_on_all_but_the_first(self, world: SocketWorld, rng: random.Random) -> None:
        switchboard: Any = world.switchboard
        first, *others = switchboard.counted
        switchboard.counted[:] = others
        self.act(world, rng)
        switchboard.counted.insert(0, first)
