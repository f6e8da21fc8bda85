"""The next session: opened while it is wanted, one at a time, and never left open."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.succession.successor import Successor
from chime_gateway.errors import AgentUnavailable

LOOK = 0.1


class _Session:
    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


class SuccessorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.opening: list[Deferred[Any]] = []
        self.reports: list[Any] = []
        self.avoided: list[str] = []
        self.tried_at: list[float] = []
        self.sessions: list[_Session] = []
        self.came = 0
        self.successor = Successor(
            self._open, lambda: cast(Any, object()), self._came, lambda: self.now
        )

    def _open(self, reports: Any, avoid: str) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.opening.append(waiting)
        self.reports.append(reports)
        self.avoided.append(avoid)
        self.tried_at.append(self.now)
        return waiting

    def _came(self) -> None:
        self.came += 1

    @property
    def is_open(self) -> bool:
        return any(not waiting.called for waiting in self.opening)

    def answer(self) -> None:
        session = _Session()
        self.sessions.append(session)
        self.opening[-1].callback(session)

    def refuse(self) -> None:
        self.opening[-1].errback(AgentUnavailable("away"))

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            self.successor.tick(self.now)


class SuccessorTests(SuccessorTestCase):
    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(("want", "answer", "refuse", "take", "lost", "drop")),
                st.floats(0.1, 6.0),
            ),
            max_size=25,
        )
    )
    def test_each_session_is_taken_or_closed_and_one_is_opened_at_a_time(
        self, steps: list[str | float]
    ) -> None:
        self.setUp()
        taken: list[Any] = []
        lost: list[Any] = []
        for step in steps:
            if isinstance(step, float):
                self.wait(step)
            elif step == "want":
                self.successor.want()
            elif step in ("answer", "refuse"):
                if self.is_open:
                    getattr(self, step)()
            elif step == "take":
                found = self.successor.take()
                if found is not None:
                    taken.append(found[1])
            elif step == "lost":
                ready = self.successor.ready
                if ready is not None:
                    lost.append(ready[1])
                    self.successor.lost(ready[0], "gone")
            else:
                self.successor.drop()
            waiting = [x for x in self.opening if not x.called]
            self.assertLessEqual(len(waiting), 1)
            self.assertFalse(waiting and self.successor.ready)
            self.assertFalse(waiting and not self.successor.is_wanted)
        self.successor.drop()
        self.assertFalse(self.is_open)
        left = [one for one in self.sessions if one not in taken + lost]
        self.assertFalse([one for one in left if one.is_open])
        self.assertTrue(all(one.is_open for one in taken))

    def test_failed_attempts_are_repeated_after_growing_pauses(self) -> None:
        self.successor.want("first")
        for _ in range(6):
            self.refuse()
            self.assertEqual(self.successor.why, "away")
            self.wait(5.0)
        self.assertEqual(len(self.tried_at), 7)
        self.assertEqual(set(self.avoided), {"first"})
        self.setUp()
        self.successor.want()
        pauses = []
        for _ in range(6):
            self.refuse()
            failed, count = self.now, len(self.opening)
            while len(self.opening) == count:
                self.wait(LOOK)
            pauses.append(round(self.now - failed, 1))
        for pause, least in zip(pauses, (0.5, 1.0, 2.0, 4.0, 4.0, 4.0), strict=True):
            self.assertTrue(least <= pause <= least + 2 * LOOK, pauses)

    def test_it_may_be_opened_after_a_pause(self) -> None:
        self.successor.want("", 1.0)
        self.wait(0.8)
        self.assertEqual(self.opening, [])
        self.wait(0.4)
        self.assertEqual(len(self.opening), 1)

    def test_a_session_lost_while_it_waits_is_replaced(self) -> None:
        self.successor.want()
        self.answer()
        self.assertEqual(self.came, 1)
        self.successor.lost(cast(Any, object()), "another one's")
        self.assertIsNotNone(self.successor.ready)
        self.successor.lost(self.reports[-1], "it closed")
        self.assertEqual(self.successor.why, "it closed")
        self.wait(1.0)
        self.assertEqual(len(self.opening), 2)

    def test_a_session_that_opens_when_no_longer_wanted_is_closed(self) -> None:
        """Its opening may be cancelled too late."""
        self.successor.want()
        self.successor.is_wanted = False
        self.answer()
        self.assertFalse(self.sessions[0].is_open)
        self.assertEqual(self.came, 0)

    def test_a_bug_is_logged_and_another_attempt_follows(self) -> None:
        self.successor.want()
        self.opening[-1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.wait(1.0)
        self.assertEqual(len(self.opening), 2)
