from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.reports.event_json import call_json
from chime_gateway.call.reports.events import CallFacts, TurnCompleted, TurnFacts
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.call.transfer import TransferNote
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.store.numbers import NumberGuard

NUMBER = "+4930123456"


def facts(**more: Any) -> CallFacts:
    """Of a call that is over."""
    record = CallRecord(
        call_id="c",
        carrier="sip",
        agent_profile="default",
        codec="PCMU",
        info=CallerInfo(
            caller=NUMBER,
            called="+15550002",
            parameters={"P-Asserted-Identity": f"<sip:{NUMBER}@carrier>", "x": "y"},
        ),
        started_at=100.0,
        answered_seconds=0.5,
        duration_seconds=9.0,
        ending=Ending(Outcome.COMPLETED, "bye"),
        transfers=[TransferNote(target="+15559999", at=3.0, outcome="failed")],
    )
    return evolve(record.facts(), **more)


RECORD: dict[str, Any] = call_json(facts())


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
            call = NumberGuard(how, "key").guard_record(facts())
            guarded = json.dumps(call_json(call))
            self.assertNotIn("123456", guarded)
            self.assertNotIn("15559999", guarded)
        self.assertEqual(NumberGuard().guard_record(facts()), facts())

    def test_a_number_in_another_writing_is_masked_as_well(self) -> None:
        guard = NumberGuard("masked")
        for written in ("+49 (30) 123-456", "+49.30.123456", "%2B4930123456"):
            header = {"P-Asserted-Identity": f"<tel:{written}>"}
            record = guard.guard_record(facts(parameters=header))
            self.assertNotRegex(json.dumps(call_json(record)), r"12\D?3\D?4\D?56")
            turn = TurnFacts(
                number=1,
                speaker="caller",
                started=0.0,
                ended=1.0,
                text=f"I am at {written}, call me",
            )
            said = TurnCompleted(turn)
            guarded: Any = guard.guard_payload(said, frozenset({NUMBER}))
            self.assertEqual(guarded.turn.text, "I am at +49******56, call me")
