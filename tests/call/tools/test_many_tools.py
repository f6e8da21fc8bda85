"""An agent that calls any number of tools, some of them twice."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from chime_gateway.call.tools.belt import MAX_REQUESTS
from chime_gateway.settings.tools import HttpTool
from tests.support.conversation import ConversationTestCase


class ManyToolsTests(ConversationTestCase):
    def results(self) -> list[str]:
        return [entry[1] for entry in self.called("agent.tool_result")]

    @settings(max_examples=15, deadline=None)
    @given(
        st.lists(
            st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 60)),
            min_size=1,
            max_size=6,
        )
    )
    def test_each_call_has_one_result_and_the_number_at_a_time_is_limited(
        self, steps: list[tuple[bool, int, int]]
    ) -> None:
        self.setUp()
        self.talk.response_started("r")
        waiting: list[tuple[str, Deferred[str]]] = []
        run = self.tools.run

        def asked(tool: HttpTool, name: str, body: bytes) -> Deferred[str]:
            waiting.append((name, run(tool, name, body)))
            return waiting[-1][1]

        self.patch(self.tools, "run", asked)
        called: set[str] = set()
        for again, calls, answers in steps:
            for number in range(calls):
                is_again = again and waiting
                name = waiting[0][0] if is_again else f"c{len(called)}.{number}"
                called.add(name)
                self.talk.tool_called("r", name, "order", '{"number": 7}')
            self.assertLessEqual(len(waiting), MAX_REQUESTS)
            for _ in range(min(answers, len(waiting))):
                waiting.pop(0)[1].callback('"good"')
        for _, result in waiting:
            result.callback('"good"')
        self.done()
        self.assertEqual(sorted(self.results()), sorted(called))
        self.assertEqual(len(self.called("agent.respond")), 1)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.measures.records, [])

    def test_as_many_tools_as_a_model_may_call_run_at_a_time(self) -> None:
        self.response(*[("order", {"number": n}) for n in range(24)])
        self.assertEqual(len(self.called("tool.run")), 24)

    def test_one_too_many_is_refused_and_another_may_follow(self) -> None:
        self.response(*[("order", {"number": n}) for n in range(MAX_REQUESTS + 1)])
        (refused,) = self.results()
        self.assertIn("only 32 tools may run", json.dumps(self.result(refused)))
        self.tools.asked["c1"].callback('"good"')
        self.talk.tool_called("r", "later", "order", '{"number": 7}')
        self.assertIn("later", self.tools.asked)
