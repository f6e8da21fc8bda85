from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.transport.turns import (
    TURN_SECONDS,
    DatagramReading,
    Turns,
)
from tests.support.http_peers import TurningClock

#: The time of a piece or datagram.  Even an empty read takes time.
COSTS = st.floats(1e-6, TURN_SECONDS / 2)


class Sender:
    """A sender with a number of pieces to read."""

    def __init__(self, clock: TurningClock, costs: list[float]) -> None:
        self._clock = clock
        self._costs = deque(costs)
        self.read_in: list[int] = []
        self.turn = 0

    def read(self) -> bool:
        self._clock.rightNow += self._costs.popleft()
        self.read_in.append(self.turn)
        return bool(self._costs)


class TurnsTests(SynchronousTestCase):
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.lists(COSTS, min_size=1, max_size=30), max_size=6))
    def test_no_turn_is_long_and_connections_take_turns(
        self, costs: list[list[float]]
    ) -> None:
        clock = TurningClock()
        turns = Turns(clock)
        senders = [Sender(clock, each) for each in costs]
        clock.turn()
        for sender in senders:
            if not turns.has_time() or sender.read():
                turns.wait(sender.read)
        for turn in range(1, 400):
            began = clock.seconds()
            for sender in senders:
                sender.turn = turn
            clock.turn()
            self.assertLess(clock.seconds() - began, 2 * TURN_SECONDS)
        self.assertEqual([len(s.read_in) for s in senders], [len(c) for c in costs])
        for round_ in range(max(map(len, costs), default=0)):
            there = [s.read_in[round_] for s in senders if len(s.read_in) > round_]
            self.assertLessEqual(max(there) - min(there), len(senders))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_without_memory_for_the_next_turn_all_are_read_in_this_one(self) -> None:
        clock = TurningClock()
        turns = Turns(clock)
        senders = [Sender(clock, [TURN_SECONDS] * 3) for _ in range(3)]
        self.assertTrue(turns.has_time())
        for sender in senders:
            turns.wait(sender.read)

        def refuse(*_: object) -> None:
            raise MemoryError

        self.patch(clock, "callLater", refuse)
        clock.turn()
        self.assertEqual([len(sender.read_in) for sender in senders], [3, 3, 3])
        self.assertRaises(MemoryError, turns.has_time)


class Socket:
    """
    @ivar waiting: datagrams, or exceptions to raise.
    """

    def __init__(self, waiting: list[Any]) -> None:
        self.waiting = deque(waiting)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[Any, ...]]:
        if not self.waiting:
            raise BlockingIOError
        if isinstance(self.waiting[0], Exception):
            raise self.waiting.popleft()
        return self.waiting.popleft()[:size], ("2001:db8::1", 5060, 0, 0)


class Port:
    maxPacketSize = 65535

    def __init__(self, clock: TurningClock, waiting: list[Any]) -> None:
        self.socket = Socket(waiting)
        self.protocol = self
        self.taken: list[bytes] = []
        self._clock = clock

    def datagramReceived(self, data: bytes, address: Any) -> None:
        assert address == ("2001:db8::1", 5060)
        self.taken.append(data)
        self._clock.rightNow += 1e-6 if len(data) < 2 else TURN_SECONDS / 20
        if data == b"bug":
            raise ZeroDivisionError


class DatagramReadingTests(SynchronousTestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    (b"", b"x", b"bug", b"OPTIONS", ConnectionRefusedError())
                ),
                st.sampled_from((1, 30, 1000)),
            ),
            max_size=4,
        )
    )
    def test_no_turn_is_long_and_no_datagram_is_lost(
        self, runs: list[tuple[Any, int]]
    ) -> None:
        clock = TurningClock()
        sent = [what for what, count in runs for _ in range(count)]
        port = Port(clock, sent)
        read = DatagramReading(port, clock)
        while port.socket.waiting:
            began = clock.seconds()
            read()
            self.assertLess(clock.seconds() - began, 1.1 * TURN_SECONDS)
        self.assertEqual(port.taken, [data for data in sent if type(data) is bytes])
        self.flushLoggedErrors(ZeroDivisionError)
