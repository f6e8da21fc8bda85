"""
The memory of an answered call, in bytes: counted, so it is the same in each run.

The bounds are tight: they show whatever is kept longer than needed, and whatever each
call makes for itself although all calls could share it.
"""

from __future__ import annotations

from collections.abc import Callable

from sipmessage import Headers
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.succession.caller_audio import CallerAudio
from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.wire.sip.message import Message
from tests.support.held import by_type, held_bytes, reachable
from tests.support.virtual import STEP_SECONDS, VirtualCall
from tests.whole_calls.test_sip import VirtualSipCall

#: What a call may hold, apart from its sockets, audio that waits to be heard, and the
#: caller's audio that another session may have to hear.
MOST_SIP_BYTES = 30_000
MOST_STREAM_BYTES = 18_250

#: (holder, held object)
Held = tuple[object, list[object]]


def sip_call() -> Held:
    """After a second, when the transaction of its INVITE still exists."""
    call = VirtualSipCall()
    carrier, table = call.world.carrier, call.table
    # The next beat and the spare one are shared by all calls.
    call.world.metronome.add(lambda *_: None, lambda *_: None)
    before = reachable([carrier, table])
    call.call.invite()
    while call.clock.seconds() < 1.0:
        call.step()
    transactions = carrier.transactions._servers.values()
    return call, reachable([*table.calls(), *transactions], before)


def stream_call() -> Held:
    call = VirtualCall(CallPlan(utterances=(PCMU.silence(16_000),)))
    before = reachable([call.table])
    call.caller.start()
    while call.clock.seconds() < 1.0:
        call.clock.advance(STEP_SECONDS)
    return call, reachable(call.table.calls(), before)


class HeldMemoryTests(SynchronousTestCase):
    def of_one(self, make: Callable[[], Held]) -> list[object]:
        """What two independent calls both hold belongs to the program."""
        (_other, theirs), (_, held) = make(), make()
        shared = {id(thing) for thing in theirs}
        for thing in held:
            if isinstance(thing, CallerAudio):
                shared.add(id(thing.audio))
        return [thing for thing in held if id(thing) not in shared]

    def assert_small(self, make: Callable[[], Held], most_bytes: int) -> None:
        held = self.of_one(make)
        self.assertLessEqual(held_bytes(held), most_bytes, by_type(held).most_common())
        # Otherwise what a call holds would no longer be found.
        self.assertGreater(held_bytes(held), 0.8 * most_bytes)

    def test_a_call_over_sip_uses_little_memory(self) -> None:
        self.assert_small(sip_call, MOST_SIP_BYTES)

    def test_a_call_over_a_media_stream_uses_little_memory(self) -> None:
        self.assert_small(stream_call, MOST_STREAM_BYTES)

    def test_no_message_of_sip_outlives_the_ack_of_its_answer(self) -> None:
        held = self.of_one(sip_call)
        messages = [thing for thing in held if isinstance(thing, Message | Headers)]
        self.assertEqual(messages, [])
