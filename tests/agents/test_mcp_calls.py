"""The results of tools that the service calls, in any order of events."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.mcp_calls import McpCalls
from chime_gateway.agents.responses.active_responses import ActiveResponses
from chime_gateway.wire.realtime.events import McpBegan
from tests.support.fakes import Log, RecordingCall
from tests.support.realtime_session import SessionTestCase

_CALLS = ("a", "b")


class McpSessionTests(SessionTestCase):
    """A response that calls two tools."""

    def item(self, kind: str, name: str, **members: object) -> None:
        item = {"type": "mcp_call", "id": name, "server_label": "s", "name": name}
        self.receive(f"response.output_item.{kind}", item={**item, **members})

    def act(self, what: str) -> None:
        kind, _, name = what.partition(" ")
        if kind == "done":
            self.item("done", name, output=None, error=None)
        elif kind == "over":
            self.receive("response.mcp_call.completed", item_id=name)
        else:
            response = {"id": "r", "status": "completed"}
            self.receive("response.done", response=response)

    def results(self) -> list[str]:
        return [entry[1] for entry in self.log if entry[0] == "mcp_called"]

    @settings(max_examples=100, deadline=None)
    @example(["over a", "over b", "done a", "done b", "response"])
    @example(["done a", "done b", "response", "over b", "over a"])
    @given(
        st.permutations(
            ["response", *(f"{k} {n}" for k in ("done", "over") for n in _CALLS)]
        )
    )
    def test_results_are_reported_once_when_all_calls_are_over(
        self, order: Sequence[str]
    ) -> None:
        self.setUp()
        self.open()
        self.receive("response.created", response={"id": "r"})
        for name in _CALLS:
            self.item("added", name)
            self.receive("response.mcp_call.in_progress", item_id=name)
        done: set[str] = set()
        for what in order:
            self.act(what)
            done.add(what)
            if not {f"over {name}" for name in _CALLS} <= done:
                self.assertEqual(self.results(), [])
            if "response" in done and {f"over {name}" for name in _CALLS} <= done:
                self.assertEqual(sorted(set(self.results())), ["s.a", "s.b"])
        self.assertEqual(sorted(self.results()), ["s.a", "s.b"])

    def test_the_reason_of_a_failure_is_reported_if_known(self) -> None:
        self.open()
        self.receive("response.created", response={"id": "r"})
        for name in _CALLS:
            self.item("added", name)
            self.receive("response.mcp_call.failed", item_id=name)
        self.item("done", "a", error={"type": "http_error"})
        self.act("response")
        told = [entry for entry in self.log if entry[0] == "mcp_called"]
        self.assertIn("http_error", told[0][2])
        self.assertEqual(told[1][1:], ("s.b", "the service gave no reason"))

    def test_an_item_alone_counts_as_a_result(self) -> None:
        self.open()
        self.item("done", "a")
        self.assertEqual(self.results(), ["s.a"])


class McpCallsTests(SynchronousTestCase):
    def test_calls_that_never_end_cost_no_memory(self) -> None:
        log: Log = []
        calls = McpCalls(ActiveResponses(), RecordingCall(log))
        for number in range(1000):
            calls.began(McpBegan(f"m{number}", "s.t"))
        self.assertLessEqual(len(calls._calls), 64)
        calls.report_results()
        self.assertEqual(log, [])
