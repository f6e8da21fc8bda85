from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.events import CallEvent
from chime_gateway.settings import WebhookSettings
from chime_gateway.store.book import CallBook
from chime_gateway.store.database import CLOSED, DELIVERY, OPENED, TURN, Entry
from chime_gateway.store.numbers import NumberGuard

NUMBER = "+4930123456"
RECORD: dict[str, Any] = {
    "call_id": "c",
    "carrier": "sip",
    "direction": "inbound",
    "agent_profile": "default",
    "caller": NUMBER,
    "called": "+15550002",
    "started_at": 100.0,
    "answered_seconds": 0.5,
    "duration_seconds": 9.0,
    "outcome": "completed",
    "reason": "bye",
    "recording": "",
    "recording_fault": "",
    "parameters": {"P-Asserted-Identity": f"<sip:{NUMBER}@carrier>", "x": "y"},
    "transfers": [{"target": "+15559999", "outcome": "failed"}],
}


class NumberTests(SynchronousTestCase):
    def test_a_masked_number_keeps_its_ends(self) -> None:
        guard = NumberGuard("masked")
        self.assertEqual(guard.guard(NUMBER), "+49******56")
        self.assertEqual(guard.guard(""), "")
        self.assertEqual(len(guard.guard("anonymous")), 9)

    def test_a_hashed_number_is_always_the_same_with_the_same_key(self) -> None:
        one, two = NumberGuard("hashed", "key one"), NumberGuard("hashed", "key two")
        self.assertEqual(one.guard(NUMBER), one.guard(NUMBER))
        self.assertNotEqual(one.guard(NUMBER), two.guard(NUMBER))
        self.assertNotIn("30123456", one.guard(NUMBER))

    def test_nothing_of_a_guarded_number_is_left_in_a_record(self) -> None:
        for how in ("masked", "hashed"):
            guarded = json.dumps(NumberGuard(how, "key").guard_record(RECORD))
            self.assertNotIn("123456", guarded)
            self.assertNotIn("15559999", guarded)
        self.assertEqual(NumberGuard().guard_record(RECORD), RECORD)


class BookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entries: list[Entry] = []
        hook = WebhookSettings(
            name="crm", url="https://x", events=("call.ended", "tool.called")
        )
        guard = NumberGuard("masked")
        self.book = CallBook("me", guard, [hook], self.entries.append)

    def happened(self, kind: str, number: int, data: dict[str, Any]) -> None:
        self.book.happened(CallEvent(kind, "c", number, 100.0 + number, data))

    def test_a_call_becomes_rows_and_deliveries_without_its_numbers(self) -> None:
        self.happened("call.started", 1, RECORD)
        turn = {"number": 1, "speaker": "caller", "started": 1.0, "text": "Hi"}
        self.happened("turn.completed", 2, turn)
        tool = {"name": "order", "arguments": json.dumps({"phone": NUMBER})}
        self.happened("tool.called", 3, tool)
        self.happened("call.ended", 4, {**RECORD, "transcript": [turn]})
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
        self.assertEqual(body["data"]["transcript"], [turn])
        self.assertEqual(self.book._numbers, {})
