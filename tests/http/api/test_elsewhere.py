"""Calls of older processes that answer quickly or slowly, vanish or hang."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import NoSuchCall
from chime_gateway.http.api.elsewhere import ASK_SECONDS, DO_SECONDS, Elsewhere
from chime_gateway.http.api.problem import Problem
from chime_gateway.net.generations.channel import pair
from chime_gateway.net.generations.kin import Kin
from tests.net.generations.test_kin import ClockTurns


class Calls:
    """The API of one process."""

    def __init__(self, *call_ids: str) -> None:
        self.call_ids = set(call_ids)
        self.did: list[tuple[str, str, Any]] = []
        self.problem: Exception | None = None
        self.later: Deferred[None] | None = None

    def has(self, call_id: str) -> bool:
        return call_id in self.call_ids

    def live(self) -> list[dict[str, Any]]:
        return [{"call_id": call_id} for call_id in sorted(self.call_ids)]

    async def do(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        self.did.append((method, path, body))
        if self.later is not None:
            await self.later
        if self.problem is not None:
            raise self.problem
        return {"done": path}


class ElsewhereTests(SynchronousTestCase):
    def begin(self, *of: Calls) -> None:
        self.turns: Any = ClockTurns()
        self.newest = Kin("newest", self.turns)
        self.elsewhere = Elsewhere(self.newest)
        self.hanging: set[str] = set()
        self.closing: list[Any] = []
        self.ends: dict[str, Any] = {}
        for number, calls in enumerate(of):
            name = f"old{number}"
            older = Kin(name, self.turns)
            Elsewhere(older).answer_by(calls)
            ends = pair()
            to_older = self.newest.peer(name, 1, ends[0], lambda p: self.lost(p))
            to_newest = older.peer("newest", 2, ends[1], lambda _: None)
            self.newest.older[name] = to_older
            to_older.channel.start()
            to_newest.channel.start()
            self.ends[name] = to_newest
            self.closing += [to_older.channel, to_newest.channel]

    def lost(self, peer: Any) -> None:
        self.newest.older.pop(peer.generation, None)

    def end(self) -> None:
        for channel in self.closing:
            channel.close()

    def run_turns(self) -> None:
        for _ in range(4):
            self.turns.take()

    def hang(self, name: str) -> None:
        self.ends[name].channel.hold()

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.sampled_from(["well", "hangs", "gone"]), min_size=1, max_size=3),
        st.integers(0, 2),
        st.booleans(),
    )
    def test_processes_that_do_not_answer_are_named_in_time(
        self, states: list[str], owner: int, is_found_gone: bool
    ) -> None:
        of = [Calls(f"c{number}") for number in range(len(states))]
        self.begin(*of)
        for number, state in enumerate(states):
            if state == "hangs":
                self.hang(f"old{number}")
            elif state == "gone":
                self.ends[f"old{number}"].channel.close()
        if is_found_gone:
            self.run_turns()
        live = Deferred.fromCoroutine(self.elsewhere.live())
        owning = Deferred.fromCoroutine(self.elsewhere.owner(f"c{owner}"))
        self.run_turns()
        if "hangs" in states:
            self.assertNoResult(live)
            self.turns.advance(ASK_SECONDS)
        theirs = self.successResultOf(live)
        well = [n for n, state in enumerate(states) if state == "well"]
        self.assertEqual([r["call_id"] for r in theirs.rows], [f"c{n}" for n in well])
        unanswered = {
            f"old{n}"
            for n, state in enumerate(states)
            if state == "hangs" or (state == "gone" and not is_found_gone)
        }
        self.assertEqual(set(theirs.unanswered), unanswered)
        peer, not_said = self.successResultOf(owning)
        self.assertEqual(set(not_said), unanswered)
        found = None if peer is None else peer.generation
        self.assertEqual(found, f"old{owner}" if owner in well else None)
        self.end()

    def do(self, calls: Calls) -> Deferred[Any]:
        self.begin(calls)
        peer = self.newest.older["old0"]
        doing = Deferred.fromCoroutine(
            self.elsewhere.do(peer, "POST", "calls/c0/hangup", {"reason": "so"})
        )
        self.run_turns()
        return doing

    def test_a_request_is_done_once_where_the_call_is(self) -> None:
        calls = Calls("c0")
        doing = self.do(calls)
        self.assertEqual(self.successResultOf(doing), {"done": "calls/c0/hangup"})
        self.assertEqual(calls.did, [("POST", "calls/c0/hangup", {"reason": "so"})])
        self.end()

    def test_a_refusal_by_the_other_process_is_passed_on(self) -> None:
        for problem, status in (
            (Problem(404, "no such target", Retry_After="3"), 404),
            (NoSuchCall("c0"), 409),
        ):
            calls = Calls("c0")
            calls.problem = problem
            failure = self.failureResultOf(self.do(calls), Problem)
            self.assertEqual(failure.value.status, status)
            if status == 404:
                self.assertEqual(failure.value.headers, {"Retry_After": "3"})
            self.end()

    def test_a_process_lost_in_between_may_have_done_the_request(self) -> None:
        for is_gone in (True, False):
            calls = Calls("c0")
            calls.later = Deferred()
            doing = self.do(calls)
            self.assertNoResult(doing)
            if is_gone:
                self.ends["old0"].channel.close()
                self.run_turns()
            else:
                self.turns.advance(DO_SECONDS)
            failure = self.failureResultOf(doing, Problem)
            self.assertEqual(failure.value.status, 503)
            self.assertIn("may have been carried out", str(failure.value))
            calls.later.callback(None)
            self.end()

    def test_a_process_that_is_alone_asks_no_other(self) -> None:
        for elsewhere in (Elsewhere(), Elsewhere(Kin("one", ClockTurns()))):
            self.assertFalse(elsewhere.has_older)
            live = self.successResultOf(Deferred.fromCoroutine(elsewhere.live()))
            self.assertEqual((live.rows, live.unanswered), ([], []))
