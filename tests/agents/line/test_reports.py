"""Reports have unique ids, and are passed on only while their session is current."""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.reports import Reports
from chime_gateway.interfaces import AgentEvents

#: Reports that are passed on even after the session is over: tokens that were billed,
#: and its end.
STILL_HEARD = {"tokens_used", "agent_lost"}

#: The parameters that are ids.
IDS = {"response_id", "item_id", "call_id"}

REPORTS = sorted(
    name
    for name, value in inspect.getmembers(AgentEvents, inspect.isfunction)
    if not name.startswith("_")
)


class _Anything:
    """
    Accepts every call of itself and of its attributes.

    @ivar told: (name, its arguments), in order.
    """

    def __init__(self, told: list[tuple[str, tuple[Any, ...]]]) -> None:
        self.told = told
        self.heard_by = self.byte_seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        if name in ("owed", "memory", "events"):
            return self
        if name == "now":
            return lambda: 1.0
        return lambda *arguments, **_: self.told.append((name, arguments))


class ReportsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        self.line: Any = _Anything(self.told)

    def report(self, reports: Reports, name: str, identity: str = "id") -> None:
        """Make a report with plausible arguments."""
        values: dict[str, Any] = {
            "tokens": {},
            "audio": b"\xff",
            "is_final": True,
            **dict.fromkeys(("content_index", "seconds", "byte_count"), 1),
        }
        parameters = list(inspect.signature(getattr(AgentEvents, name)).parameters)[1:]
        getattr(reports, name)(
            *(identity if p in IDS else values.get(p, p) for p in parameters)
        )

    def test_only_token_counts_of_a_past_session_are_passed_on(self) -> None:
        past = Reports(self.line, 1)
        self.line.current = Reports(self.line, 2)
        for name in REPORTS:
            self.told.clear()
            self.report(past, name)
            self.assertEqual(bool(self.told), name in STILL_HEARD, name)

    def test_everything_from_the_current_session_is_passed_on(self) -> None:
        for number in (1, 2):
            reports = self.line.current = Reports(self.line, number)
            for name in REPORTS:
                self.told.clear()
                self.report(reports, name)
                self.assertTrue(self.told, name)

    @given(st.text(min_size=1, max_size=20), st.integers(2, 200), st.integers(1, 200))
    def test_no_two_sessions_share_an_id_and_ids_convert_back(
        self, identity: str, number: int, other: int
    ) -> None:
        reports = self.line.current = Reports(self.line, number)
        for name in REPORTS:
            parameters = inspect.signature(getattr(AgentEvents, name)).parameters
            if not IDS & set(parameters) or name == "agent_lost":
                continue
            self.told.clear()
            self.report(reports, name, identity)
            said = [x for _, arguments in self.told for x in arguments]
            shown = {x for x in said if isinstance(x, str) and identity in x}
            for known in shown - set(parameters) - {identity}:
                self.assertEqual(reports.own(known), identity, name)
                if other != number and other > 1:
                    self.assertIsNone(Reports(self.line, other).own(known))

    def test_an_omitted_id_stays_empty(self) -> None:
        reports = self.line.current = Reports(self.line, 2)
        reports.agent_audio("", "", 0, b"\xff")
        self.assertIn(("agent_audio", ("", "", 0, b"\xff")), self.told)

    def test_a_turn_that_is_heard_again_keeps_its_id(self) -> None:
        reports = self.line.current = Reports(self.line, 2)
        reports.aliases["own"] = "turn of before"
        for name in ("speech_stopped", "caller_said", "transcription_failed"):
            self.told.clear()
            self.report(reports, name, "own")
            self.assertEqual(
                {arguments[0] for _, arguments in self.told}, {"turn of before"}, name
            )
