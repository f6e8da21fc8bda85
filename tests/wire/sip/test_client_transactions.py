"""The state machines of sent requests (RFC 3261 section 17.1)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.client_transactions import InviteClient, NonInviteClient
from chime_gateway.wire.sip.transactions import (
    Cancel,
    Deliver,
    Send,
    State,
    StopTimer,
    Terminated,
    TimedOut,
)
from tests.wire.sip.test_transactions import TIMERS, response, sent, timers


class InviteClientTests(SynchronousTestCase):
    def new(self, is_reliable: bool = False) -> InviteClient:
        return InviteClient(TIMERS, is_reliable, b"INVITE", lambda _: b"ACK")

    def test_it_is_retransmitted_at_growing_intervals_until_an_answer(self) -> None:
        tx = self.new()
        self.assertEqual(timers(tx.start()), {"B": 32.0, "A": 0.5})
        gaps = [timers(tx.timer_fired("A"))["A"] for _ in range(5)]
        self.assertEqual(gaps, [1.0, 2.0, 4.0, 8.0, 16.0])
        outputs = tx.response_received(response(180))
        self.assertIn(StopTimer("A"), outputs)
        self.assertEqual(tx.timer_fired("A"), [])
        self.assertEqual(tx.timer_fired("B"), [])

    def test_without_a_final_answer_it_is_cancelled_and_ends(self) -> None:
        tx = self.new()
        tx.start()
        for status in (100, 180):
            outputs = tx.response_received(response(status))
            self.assertEqual(timers(outputs), {"C": 180.0})
        outputs = tx.timer_fired("C")
        self.assertIn(Cancel(), outputs)
        self.assertEqual(timers(outputs), {"X": 32.0})
        self.assertNotIn("C", timers(tx.response_received(response(180))))
        self.assertEqual(tx.cancel(), [])
        self.assertEqual(tx.timer_fired("X")[-2:], [TimedOut(), Terminated()])

    def test_a_cancel_waits_for_a_provisional_answer_and_is_sent_once(self) -> None:
        tx = self.new()
        tx.start()
        self.assertEqual(tx.cancel(), [])
        self.assertIn(Cancel(), tx.response_received(response(100)))
        self.assertNotIn(Cancel(), tx.response_received(response(180)))
        tx = self.new()
        tx.start()
        tx.response_received(response(100))
        self.assertIn(Cancel(), tx.cancel())
        self.assertIn(StopTimer("X"), tx.response_received(response(487)))
        self.assertEqual(tx.timer_fired("X"), [])

    def test_without_an_answer_it_times_out(self) -> None:
        tx = self.new()
        tx.start()
        self.assertEqual(tx.timer_fired("B")[-2:], [TimedOut(), Terminated()])

    def test_a_refusal_is_acknowledged_each_time_it_comes(self) -> None:
        tx = self.new()
        tx.start()
        outputs = tx.response_received(response(486))
        self.assertEqual(sent(outputs), [b"ACK"])
        self.assertEqual(timers(outputs), {"D": 32.0})
        self.assertEqual(tx.response_received(response(486)), [Send(b"ACK")])
        self.assertEqual(tx.timer_fired("D"), [Terminated()])
        self.assertEqual(self.new(True).state, State.CALLING)

    def test_every_2xx_is_delivered(self) -> None:
        tx = self.new()
        tx.start()
        outputs = tx.response_received(response(200))
        self.assertEqual((sent(outputs), timers(outputs)), ([], {"M": 32.0}))
        again: Any = tx.response_received(response(200))[0]
        self.assertIsInstance(again, Deliver)
        self.assertEqual(tx.response_received(response(180)), [])
        self.assertEqual(tx.timer_fired("M"), [Terminated()])

    def test_over_a_stream_it_neither_retransmits_nor_lingers(self) -> None:
        tx = self.new(True)
        self.assertEqual(timers(tx.start()), {"B": 32.0})
        self.assertIn(Terminated(), tx.response_received(response(486)))
        broken = self.new(True)
        broken.start()
        self.assertIn(TimedOut(), broken.transport_failed())


class NonInviteClientTests(SynchronousTestCase):
    def test_the_interval_grows_to_t2_and_stays_there_while_it_proceeds(self) -> None:
        tx = NonInviteClient(TIMERS, False, b"BYE")
        self.assertEqual(timers(tx.start()), {"F": 32.0, "E": 0.5})
        gaps = [timers(tx.timer_fired("E"))["E"] for _ in range(4)]
        self.assertEqual(gaps, [1.0, 2.0, 4.0, 4.0])
        tx.response_received(response(100, "BYE"))
        self.assertEqual(timers(tx.timer_fired("E")), {"E": 4.0})
        outputs = tx.response_received(response(200, "BYE"))
        self.assertEqual(timers(outputs), {"K": 5.0})
        self.assertEqual(tx.response_received(response(200, "BYE")), [])
        self.assertEqual(tx.timer_fired("K"), [Terminated()])

    def test_without_an_answer_or_a_connection_it_fails(self) -> None:
        for event in ("F", ""):
            tx = NonInviteClient(TIMERS, False, b"BYE")
            tx.start()
            outputs = tx.timer_fired(event) if event else tx.transport_failed()
            self.assertEqual(outputs[-2:], [TimedOut(), Terminated()])
            self.assertEqual(tx.timer_fired("E"), [])
