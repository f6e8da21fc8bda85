from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.reports.event_json import turn_json
from chime_gateway.call.reports.events import (
    CallAnswered,
    CallEnded,
    CallEvent,
    CallStarted,
    Payload,
    ToolCalled,
    TurnCompleted,
    TurnFacts,
)
from chime_gateway.call.tools.belt import ToolUse
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.call_book import CallBook
from chime_gateway.store.entries import CLOSED, DELIVERY, OPENED, TURN, Entry
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.store.rows import Whose
from chime_gateway.store.tables import CALLS, DELIVERIES, TURNS
from tests.store.test_numbers import NUMBER, facts

TURN_FACTS = TurnFacts(number=1, speaker="caller", started=1.0, ended=2.0, text="Hi")


class BookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entries: list[Entry] = []
        hook = WebhookSettings(
            name="crm", url="https://x", events=("call.ended", "tool.called")
        )
        guard = NumberGuard("masked")
        self.book = CallBook(Whose("me"), guard, [hook], self.entries.append)

    def happened(self, number: int, payload: Payload) -> None:
        self.book.happened(CallEvent("c", number, 100.0 + number, payload))

    def test_a_call_becomes_rows_and_deliveries_without_its_numbers(self) -> None:
        self.happened(1, CallStarted(facts()))
        self.happened(2, TurnCompleted(TURN_FACTS))
        arguments = json.dumps({"phone": NUMBER})
        use = ToolUse(name="order", arguments=arguments, result=NUMBER)
        self.happened(3, ToolCalled(use.facts()))
        self.happened(4, CallEnded(facts(), (TURN_FACTS,)))
        kinds = [kind for kind, _ in self.entries]
        self.assertEqual(kinds, [OPENED, TURN, DELIVERY, CLOSED, DELIVERY])
        everything = json.dumps(self.entries)
        self.assertNotIn(NUMBER, everything)
        self.assertNotIn("+15559999", everything)
        self.assertIn("+49******56", everything)
        closed = self.entries[3][1]
        self.assertEqual(closed["answered_at"], 100.5)
        self.assertEqual(len(closed["turns"]), 1)
        delivery = self.entries[4][1]
        self.assertEqual(delivery["delivery_id"], "c.4.crm")
        body = json.loads(delivery["body"])
        self.assertEqual(body["data"]["transcript"], [turn_json(TURN_FACTS)])
        self.assertEqual(len(self.book._numbers), 0)

    def test_a_row_has_a_value_for_each_column(self) -> None:
        self.happened(1, CallStarted(facts()))
        self.happened(2, CallAnswered(facts()))
        self.happened(3, CallEnded(facts(), (TURN_FACTS,)))
        for table, row in (
            (CALLS, self.entries[0][1]),
            (CALLS, {k: v for k, v in self.entries[2][1].items() if k != "turns"}),
            (TURNS, self.entries[2][1]["turns"][0]),
            (DELIVERIES, self.entries[3][1]),
        ):
            self.assertEqual(list(row), [column.name for column in table.columns])

    def test_an_extension_with_the_digits_of_a_time_does_not_change_it(self) -> None:
        call = facts(caller="12345", started_at=1712345.678, reason="12345 left")
        self.happened(1, CallStarted(call))
        row = self.entries[0][1]
        self.assertEqual((row["caller"], row["started_at"]), ("***45", 1712345.678))
        self.assertEqual(row["record"]["reason"], "***45 left")
