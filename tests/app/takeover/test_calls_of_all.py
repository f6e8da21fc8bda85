from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.takeover.calls_of_all import TELL_SECONDS, CallsOfAll
from chime_gateway.net.generations.channel import Message, pair
from chime_gateway.net.generations.kin import Kin
from tests.net.generations.test_kin import ClockTurns


class CallsOfAllTests(SynchronousTestCase):
    def test_the_newest_process_knows_all_counts_without_asking(self) -> None:
        turns: Any = ClockTurns()
        older, newest = Kin("old", turns), Kin("new", turns)
        ends = pair()
        to_newest = older.peer("new", 2, ends[0], lambda _: None)
        to_older = newest.peer("old", 1, ends[1], lambda _: None)
        for peer in (to_newest, to_older):
            peer.channel.start()
            self.addCleanup(peer.channel.close)
        has = 3
        theirs = CallsOfAll(lambda: has, older, turns)
        ours = CallsOfAll(lambda: 2, newest, turns)
        self.assertEqual((ours.count(), ours.older()), (2, {}))
        far = pair()
        # Counts are passed on before it begins, including those of older processes.
        older.older["oldest"] = older.peer("oldest", 0, far[0], lambda _: None)
        for end in far:
            self.addCleanup(end.close)
        theirs._count(older.older["oldest"], Message("calls.count", {"calls": 4}))
        older.call(older.handing_over, to_newest)
        turns.take()
        self.assertEqual(ours.elsewhere(), 0)
        newest.older["old"] = to_older
        newest.older["oldest"] = to_older
        self.assertEqual((ours.elsewhere(), ours.count()), (7, 9))
        del newest.older["oldest"]
        older.newest = to_newest
        theirs.retire()
        older.call(older.newest_changed, to_newest)
        turns.take()
        self.assertEqual((ours.count(), ours.older()), (5, {"old": 3}))
        has = 1
        turns.advance(TELL_SECONDS)
        turns.take()
        self.assertEqual(ours.count(), 3)
        # The newest process gets a successor, which uses the same channel.
        again = CallsOfAll(lambda: 2, newest, turns)
        older.call(older.newest_changed, to_newest)
        turns.take()
        self.assertEqual(again.count(), 3)
        # The old process is gone, and so are its calls.
        del newest.older["old"]
        self.assertEqual((ours.count(), ours.older()), (2, {}))
        theirs.resume()
        self.assertEqual(turns.getDelayedCalls(), [])
