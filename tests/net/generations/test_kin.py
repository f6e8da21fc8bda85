from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.generations.channel import Message, pair
from chime_gateway.net.generations.kin import (
    MOST_QUESTIONS,
    Kin,
    NotAnswered,
    Peer,
)
from tests.net.generations.test_channel import Turns


class ClockTurns(Turns, Clock):
    def __init__(self) -> None:
        Turns.__init__(self)
        Clock.__init__(self)


class KinTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns: Any = ClockTurns()
        self.older, self.newer = Kin("older2", self.turns), Kin("newer2", self.turns)
        ends = pair()
        self.lost: list[str] = []
        self.to_newer = self.older.peer("newer2", 2, ends[0], self.is_lost)
        self.to_older = self.newer.peer("older2", 1, ends[1], self.is_lost)
        for peer in (self.to_newer, self.to_older):
            peer.channel.start()
            self.addCleanup(peer.channel.close)

    def is_lost(self, peer: Peer) -> None:
        self.lost.append(peer.generation)

    def test_messages_reach_the_part_that_they_are_for(self) -> None:
        told: list[tuple[str, str, Any]] = []

        def on(peer: Peer, message: Message) -> None:
            told.append((peer.generation, message.kind, dict(message.head)))

        self.newer.on("sip.", on)
        self.to_newer.send("sip.calls", {"a": 1})
        self.to_newer.send("other.thing")
        self.turns.take()
        self.assertEqual(told, [("older2", "sip.calls", {"a": 1})])

    def test_a_request_is_answered_now_or_later(self) -> None:
        later: Deferred[Message] = Deferred()
        self.older.on("api.now", lambda _, asked: Message("api.now", {}, asked.body))
        self.older.on("api.later", lambda *_: later)
        now = self.to_older.ask("api.now", {}, b"page")
        asked = self.to_older.ask("api.later")
        self.turns.take(2)
        self.assertEqual(self.successResultOf(now).body, b"page")
        self.assertNoResult(asked)
        later.callback(Message("api.later", {"status": 200}))
        self.turns.take(2)
        self.assertEqual(self.successResultOf(asked).head, {"status": 200})

    def test_a_request_is_answered_within_its_time_limit_or_fails(self) -> None:
        self.older.on("api.never", lambda *_: Deferred())
        asked = self.to_older.ask("api.never", seconds=5)
        self.turns.take(2)
        self.turns.advance(4.9)
        self.assertNoResult(asked)
        self.turns.advance(0.2)
        self.failureResultOf(asked, NotAnswered)

    def test_unknown_and_failing_requests_are_reported(self) -> None:
        def wrong(*_: Any) -> None:
            raise KeyError("x")

        self.older.on("api.wrong", wrong)
        unknown, failed = self.to_older.ask("new.kind"), self.to_older.ask("api.wrong")
        self.turns.take(2)
        self.failureResultOf(unknown, NotAnswered)
        self.failureResultOf(failed, NotAnswered)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_requests_to_a_lost_process_fail(self) -> None:
        self.older.on("api.never", lambda *_: Deferred())
        asked = self.to_older.ask("api.never")
        self.turns.take()
        self.to_newer.channel.close()
        self.turns.take()
        self.failureResultOf(asked, NotAnswered)
        self.assertEqual(self.lost, ["older2"])
        self.failureResultOf(self.to_older.ask("api.never"), NotAnswered)

    def test_the_number_of_requests_is_limited(self) -> None:
        asked = [self.to_older.ask("api.never") for _ in range(MOST_QUESTIONS + 1)]
        self.failureResultOf(asked[-1], NotAnswered)
        for one in asked[:-1]:
            one.addErrback(lambda _: None)
        self.to_older.gone()
