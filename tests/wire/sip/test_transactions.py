"""The state machines of received requests (RFC 3261 section 17.2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.sip.parser import parse
from chime_gateway.wire.sip.transactions import (
    InviteServer,
    NonInviteServer,
    Outputs,
    Send,
    StartTimer,
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

    def test_over_a_stream_nothing_is_retransmitted(self) -> None:
        tx = InviteServer(TIMERS, True)
        self.assertEqual(timers(tx.respond(486, b"486")), {"H": 32.0})
        self.assertIn(Terminated(), tx.request_received(ACK))

    def test_a_missing_ack_is_reported(self) -> None:
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

    def test_after_the_final_answer_others_are_ignored(self) -> None:
        tx = InviteServer(TIMERS, False)
        tx.respond(486, b"486")
        self.assertEqual(tx.respond(200, b"200"), [])
        self.assertEqual(tx.transport_failed(), [])


class NonInviteServerTests(SynchronousTestCase):
    def test_an_unanswered_request_is_forgotten(self) -> None:
        for machine, name, seconds in (
            (InviteServer(TIMERS, False), "C", 240.0),
            (NonInviteServer(TIMERS, False), "J", 32.0),
        ):
            self.assertEqual(timers(machine.start()), {name: seconds})
            self.assertEqual(machine.timer_fired(name), [Terminated()])
            self.assertEqual(machine.respond(200, b"late"), [])

    def test_the_answer_is_repeated_for_a_retransmission(self) -> None:
        tx = NonInviteServer(TIMERS, False)
        self.assertEqual(tx.request_received(request("BYE")), [])
        self.assertEqual(sent(tx.respond(100, b"100")), [b"100"])
        self.assertEqual(timers(tx.respond(200, b"200")), {"J": 32.0})
        self.assertEqual(sent(tx.request_received(request("BYE"))), [b"200"])
        self.assertEqual(tx.respond(500, b"500"), [])
        self.assertEqual(tx.timer_fired("J"), [Terminated()])

    def test_over_a_stream_it_ends_at_once(self) -> None:
        tx = NonInviteServer(TIMERS, True)
        self.assertIn(Terminated(), tx.respond(200, b"200"))


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

    def test_without_the_cookie_the_rules_of_rfc_2543_apply(self) -> None:
        old = request("INVITE", "1")
        self.assertEqual(server_key(old), server_key(request("INVITE", "1")))
        self.assertNotEqual(server_key(old), server_key(request("BYE", "1")))

    def test_a_response_is_matched_by_branch_and_method(self) -> None:
        self.assertEqual(client_key(response(200)), ("z9hG4bKx", "INVITE"))
        self.assertNotEqual(client_key(response(200, "BYE")), client_key(response(200)))
