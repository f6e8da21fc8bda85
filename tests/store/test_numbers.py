from __future__ import annotations

import json
import random
import re
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.reports.event_json import (
    call_json,
    event_json,
    live_call_json,
    payload_json,
    turn_json,
)
from chime_gateway.call.reports.events import (
    CallAnswered,
    CallEnded,
    CallEvent,
    CallFacts,
    CallStarted,
    CallTransferFailed,
    CallTransferring,
    HeardFacts,
    LiveCall,
    Payload,
    ToolCalled,
    ToolFacts,
    TransferFacts,
    TurnCompleted,
    TurnFacts,
)
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.call.transfer import TransferNote
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.call_book import CallBook
from chime_gateway.store.numbers import CallNumbers, NumberGuard
from chime_gateway.store.rows import Whose

NUMBER = "+4930123456"


def facts(**more: Any) -> CallFacts:
    """The facts of a call that has ended."""
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

    def test_a_number_in_another_notation_is_masked_as_well(self) -> None:
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

    def test_a_caller_whose_name_is_a_word_of_the_gateway(self) -> None:
        turn = TurnFacts(number=1, speaker="agent", started=0.0, ended=1.0, text="Hi.")
        for name in ("caller", "agent", "default", "inbound", "completed", "folder"):
            call = facts(
                caller=name,
                called="sales",
                agent_profile="sales",
                recording="/folder/c.wav",
                reason="the caller hung up",
            )
            guarded: Any = NumberGuard("masked").guard_payload(CallEnded(call, (turn,)))
            self.assertEqual(guarded.transcript, (turn,))
            shown: CallFacts = guarded.call
            self.assertEqual(shown.caller, "*" * (len(name) - 2) + name[-2:])
            for field in ("agent_profile", "direction", "outcome", "recording"):
                self.assertEqual(getattr(shown, field), getattr(call, field))
            self.assertEqual(shown.reason, "the caller hung up")


#: All numbers drawn here have a country code of two digits.
NUMBERS = st.integers(10**9, 10**10 - 1).map(lambda rest: f"+49{rest}")


def written(chance: random.Random, number: str) -> str:
    """A number in some notation."""
    digits = number[1:]
    spaced = "".join(
        d + chance.choice(("", "", " ", "-", ".", "\u2011")) for d in digits
    )
    return chance.choice(
        (
            number,
            f"+{spaced}",
            digits,
            f"00{digits}",
            f"0{digits[2:]}",
            f"%2B{digits}",
            f"tel:{number};phone-context=x",
            f"<sip:{number}@carrier.example>;tag=7",
            f"2B{digits.encode().hex()};encoding=hex",
        )
    )


def scene(chance: random.Random, caller: str, called: str, other: str) -> list[Payload]:
    """A call in which its numbers, and a third one, appear wherever possible."""

    def one() -> str:
        return written(chance, chance.choice((caller, called)))

    document = {
        "phone": one(),
        "n": [int(caller[1:]), {one(): other}],
        "at": 7,
    }
    text = json.dumps(document).replace("+", "\\u002b")
    tool = ToolFacts(
        name="order",
        arguments=chance.choice((text, f"broken {{ {one()} {other}")),
        result=chance.choice((text, one(), other)),
        fault=f"no {one()} and no {other}",
        seconds=1.0,
    )
    heard = HeardFacts(
        interrupted=True, heard_ms=1, spoken_ms=2, heard_text=f"You are {one()}"
    )
    transfers = tuple(
        TransferFacts(
            target=target, at=3.0, outcome="failed", reason=f"{one()} is busy"
        )
        for target in (other, f"sip:{other}@pbx", other[1:], one())
    )
    call = facts(
        caller=caller,
        called=called,
        carrier_call_id=f"{one()}@10.0.0.1",
        stream_id=one(),
        reason=f"{one()} hung up on {other}",
        recording_fault=f"no room for {one()}",
        parameters={
            "P-Asserted-Identity": f'"A" <sip:{other}@x>, {one()}',
            "Diversion": one(),
            "User-to-User": f"2B{caller[1:].encode().hex()};encoding=hex",
            f"X-{one()}": other,
        },
        protocol_notes={f"odd {one()}": 1},
        transfers=transfers,
    )
    turns = (
        TurnFacts(
            number=1,
            speaker="agent",
            started=1.0,
            ended=2.0,
            text=f"{one()}, {other}",
            heard=heard,
        ),
        TurnFacts(number=2, speaker="tool", started=1.0, ended=2.0, text="", tool=tool),
    )
    middle: list[Payload] = [TurnCompleted(turn) for turn in turns]
    middle += [ToolCalled(tool), CallAnswered(call)]
    for transfer in transfers:
        middle += [CallTransferring(transfer), CallTransferFailed(transfer)]
    chance.shuffle(middle)
    return [CallStarted(call), *middle, CallEnded(call, turns)]


class LeakTests(SynchronousTestCase):
    @settings(max_examples=80, deadline=None)
    @given(
        st.sampled_from(("masked", "hashed")),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.integers(0, 2**32).map(random.Random),
    )
    def test_no_output_contains_a_number(
        self, how: str, caller: str, called: str, other: str, chance: random.Random
    ) -> None:
        guard = NumberGuard(how, "key")
        out: list[Any] = []
        hooks = [WebhookSettings(name="crm", url="https://x", events=())]
        payloads = scene(chance, caller, called, other)
        hooks[0] = evolve(hooks[0], events=tuple({p.kind for p in payloads}))
        book, live = CallBook(Whose("me"), guard, hooks, out.append), CallNumbers(guard)
        for number, payload in enumerate(payloads):
            event = CallEvent("c", number, 100.0 + number, payload)
            book.happened(event)
            out.append(event_json(event, payload_json(live.shown(event))))
        last = payloads[-1]
        assert isinstance(last, CallEnded)
        shown = guard.guard_live(
            LiveCall(
                call=last.call, transcript=last.transcript, is_recording_paused=False
            )
        )
        out.append(live_call_json(shown))
        out += [turn_json(turn) for turn in shown.transcript]
        fields = call_json(guard.guard_record(last.call))
        out.append({n: v for n, v in fields.items() if n != "caller"})
        text = re.sub(r"hash:[0-9a-f]{24}", "#", json.dumps(out, ensure_ascii=False))
        text = re.sub(r"\\u2011|\\u002b|[\s().\-/\u2011]", "", text)
        for marked in (caller, called, other):
            for trace in (marked[3:], marked[3:].encode().hex()):
                where = text.find(trace)
                self.assertEqual(where, -1, text[max(0, where - 90) : where + 20])
        # The same number still has the same replacement everywhere.
        self.assertIn(guard.guard(caller), json.dumps(out))
        self.assertEqual(len(live), 0)

    def test_texts_without_numbers_stay_unchanged(self) -> None:
        text = "on 2026-11-27 at 10:15, order 4711 0815 22, 1 000 000 in all"
        turn = TurnFacts(number=1, speaker="agent", started=0.0, ended=1.0, text=text)
        guard = NumberGuard("masked")
        guarded = guard.guard_payload(TurnCompleted(turn), frozenset({NUMBER}))
        self.assertEqual(guarded, TurnCompleted(turn))
        plain = CallNumbers(NumberGuard())
        event = CallEvent("c", 1, 1.0, CallStarted(facts()))
        self.assertIs(plain.shown(event), event.payload)
