"""The four machines of RFC 3261 section 17, by their tables."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.sip.parser import parse
from chime_gateway.wire.sip.transactions import (
    Deliver,
    InviteClient,
    InviteServer,
    NonInviteClient,
    NonInviteServer,
    Outputs,
    Send,
    StartTimer,
    State,
    StopTimer,
    Terminated,
    TimedOut,
    Timers,
    cancelled_key,
    client_key,
    server_key,
)

TIMERS = Timers()


def request(method: str, branch: str = "z9hG4bKx") -> Request:
    message = parse(
        f"{method} sip:a@b SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP h:5060;branch={branch}\r\n"
        "From: <sip:c@d>;tag=f\r\nTo: <sip:a@b>\r\nCall-ID: i\r\n"
        f"CSeq: 1 {method}\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


def response(status: int, method: str = "INVITE") -> Response:
    message = parse(
        f"SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n"
        "From: <sip:c@d>;tag=f\r\n"
        f"To: <sip:a@b>;tag=t\r\nCall-ID: i\r\nCSeq: 1 {method}\r\n\r\n".encode()
    )
    assert isinstance(message, Response)
    return message


INVITE, ACK = request("INVITE"), request("ACK")


def sent(outputs: Outputs) -> list[bytes]:
    return [output.data for output in outputs if isinstance(output, Send)]


def timers(outputs: Outputs) -> dict[str, float]:
    return {o.name: o.seconds for o in outputs if isinstance(o, StartTimer)}


class InviteServerTests(SynchronousTestCase):
    def test_a_refusal_is_repeated_until_its_ack_over_udp(self) -> None:
        tx = InviteServer(TIMERS, False)
        self.assertEqual(sent(tx.respond(180, b"180")), [b"180"])
        self.assertEqual(sent(tx.request_received(INVITE)), [b"180"])
        self.assertEqual(timers(tx.respond(486, b"486")), {"H": 32.0, "G": 0.5})
        gaps = [timers(tx.timer_fired("G"))["G"] for _ in range(5)]
        self.assertEqual(gaps, [1.0, 2.0, 4.0, 4.0, 4.0])
        self.assertEqual(sent(tx.request_received(INVITE)), [b"486"])
        outputs = tx.request_received(ACK)
        self.assertEqual(timers(outputs), {"I": 5.0})
        self.assertIn(StopTimer("H"), outputs)
        self.assertEqual(tx.request_received(INVITE), [])
        self.assertEqual(tx.timer_fired("I"), [Terminated()])

    def test_a_stream_repeats_nothing(self) -> None:
        tx = InviteServer(TIMERS, True)
        self.assertEqual(timers(tx.respond(486, b"486")), {"H": 32.0})
        self.assertIn(Terminated(), tx.request_received(ACK))

    def test_no_ack_is_told(self) -> None:
        tx = InviteServer(TIMERS, False)
        tx.respond(486, b"486")
        self.assertEqual(tx.timer_fired("H"), [TimedOut(), Terminated()])

    def test_an_accepted_one_absorbs_retransmissions(self) -> None:
        tx = InviteServer(TIMERS, False)
        self.assertEqual(timers(tx.respond(200, b"200")), {"L": 32.0})
        self.assertEqual(tx.request_received(INVITE), [])
        self.assertEqual(sent(tx.respond(200, b"200")), [b"200"])
        self.assertEqual(tx.respond(486, b"486"), [])
        self.assertEqual(tx.timer_fired("L"), [Terminated()])

    def test_after_the_final_answer_there_is_no_other(self) -> None:
        tx = InviteServer(TIMERS, False)
        tx.respond(486, b"486")
        self.assertEqual(tx.respond(200, b"200"), [])
        self.assertEqual(tx.transport_failed(), [])


class NonInviteServerTests(SynchronousTestCase):
    def test_the_answer_is_repeated_when_asked_again(self) -> None:
        tx = NonInviteServer(TIMERS, False)
        self.assertEqual(tx.request_received(request("BYE")), [])
        self.assertEqual(sent(tx.respond(100, b"100")), [b"100"])
        self.assertEqual(timers(tx.respond(200, b"200")), {"J": 32.0})
        self.assertEqual(sent(tx.request_received(request("BYE"))), [b"200"])
        self.assertEqual(tx.respond(500, b"500"), [])
        self.assertEqual(tx.timer_fired("J"), [Terminated()])

    def test_over_a_stream_it_is_over_at_once(self) -> None:
        tx = NonInviteServer(TIMERS, True)
        self.assertIn(Terminated(), tx.respond(200, b"200"))


class InviteClientTests(SynchronousTestCase):
    def new(self, is_reliable: bool = False) -> InviteClient:
        return InviteClient(TIMERS, is_reliable, b"INVITE", lambda _: b"ACK")

    def test_it_is_sent_again_ever_more_rarely_until_somebody_answers(self) -> None:
        tx = self.new()
        self.assertEqual(timers(tx.start()), {"B": 32.0, "A": 0.5})
        gaps = [timers(tx.timer_fired("A"))["A"] for _ in range(5)]
        self.assertEqual(gaps, [1.0, 2.0, 4.0, 8.0, 16.0])
        outputs = tx.response_received(response(180))
        self.assertIn(StopTimer("A"), outputs)
        self.assertEqual(tx.timer_fired("A"), [])
        self.assertEqual(tx.timer_fired("B"), [])

    def test_nobody_answers(self) -> None:
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

    def test_every_2xx_is_the_users(self) -> None:
        tx = self.new()
        tx.start()
        outputs = tx.response_received(response(200))
        self.assertEqual((sent(outputs), timers(outputs)), ([], {"M": 32.0}))
        again: Any = tx.response_received(response(200))[0]
        self.assertIsInstance(again, Deliver)
        self.assertEqual(tx.response_received(response(180)), [])
        self.assertEqual(tx.timer_fired("M"), [Terminated()])

    def test_a_stream_neither_repeats_nor_lingers(self) -> None:
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

    def test_nobody_answers_or_the_connection_breaks(self) -> None:
        for event in ("F", ""):
            tx = NonInviteClient(TIMERS, False, b"BYE")
            tx.start()
            outputs = tx.timer_fired(event) if event else tx.transport_failed()
            self.assertEqual(outputs[-2:], [TimedOut(), Terminated()])
            self.assertEqual(tx.timer_fired("E"), [])


class MatchingTests(SynchronousTestCase):
    def test_an_ack_and_a_cancel_belong_to_their_invite(self) -> None:
        self.assertEqual(server_key(ACK), server_key(INVITE))
        cancel = request("CANCEL")
        self.assertEqual(cancelled_key(cancel), server_key(INVITE))
        self.assertNotEqual(server_key(cancel), server_key(INVITE))

    def test_another_branch_or_sender_is_another_transaction(self) -> None:
        self.assertNotEqual(
            server_key(request("BYE", "z9hG4bKy")), server_key(request("BYE"))
        )

    def test_without_the_cookie_the_old_rules_hold(self) -> None:
        old = request("INVITE", "1")
        self.assertEqual(server_key(old), server_key(request("INVITE", "1")))
        self.assertNotEqual(server_key(old), server_key(request("BYE", "1")))

    def test_a_response_is_found_by_branch_and_method(self) -> None:
        self.assertEqual(client_key(response(200)), ("z9hG4bKx", "INVITE"))
        self.assertNotEqual(client_key(response(200, "BYE")), client_key(response(200)))
