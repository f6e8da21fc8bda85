"""Which INVITEs become calls: Voice Connectors, proofs and limits."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import (
    ILogObserver,
    LogEvent,
    formatEvent,
    globalLogPublisher,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chime_gateway.aws.sma import prove
from chime_gateway.carriers.sip.admission import Admitted
from chime_gateway.errors import CallRefused
from chime_gateway.net.strangers.summary import LINES, SECONDS, Summary
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.sip.parser import parse
from tests.support.sip_peer import SDP, SipWorld

SECRET = "0123456789abcdef"
BEFORE = "the-one-before-it"
VC = "abcdef1ghij2klmno3pqr4"
ARN = f"arn:aws:chime:us-east-1:111122223333:vc/{VC}"
OTHER_VC = "zyxwvu1ghij2klmno3pqr4"
DIALLED = "+16185558387"
DONE = Ending(Outcome.COMPLETED, "done")


class Door(SipWorld):
    """@ivar numbers: for the Call-IDs of the INVITEs."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**{"calls_per_second": 1000.0, **changes})
        self.numbers = count()

    def proof(
        self, transaction: str = "t", agent: str = "", secret: str = SECRET
    ) -> str:
        return prove(secret, transaction, agent, self.carrier.context.wall_time())

    def calls(self, call_id: str = "", **headers: str) -> int:
        """
        Send an INVITE with these headers.

        @return: the last status.
        """
        number = next(self.numbers)
        self.heard()
        lines = "".join(
            f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
        )
        self.invite(
            headers=lines,
            call_id=call_id or f"call-{number}",
            branch=f"z9hG4bK-{number}",
            from_tag=f"from-{number}",
        )
        return self.statuses()[-1]


class ProofTests(SynchronousTestCase):
    def test_without_a_secret_no_proof_is_needed(self) -> None:
        world = Door()
        self.assertEqual(world.calls(X_Transaction_Id="t", X_Agent="sales"), 180)
        self.assertEqual(world.leg.info.agent, "sales")
        self.assertEqual(world.leg.info.stream_id, "t")

    def test_with_a_secret_a_call_without_a_proof_is_refused(self) -> None:
        world = Door(call_secrets=(SECRET,))
        proof = world.proof("t", "sales")
        for headers in (
            {},
            {"X_Agent": "sales"},
            {"X_Transaction_Id": "t", "X_Agent": "sales", "X_Gw_Auth": ""},
            {"X_Transaction_Id": "t", "X_Agent": "other", "X_Gw_Auth": proof},
            {"X_Transaction_Id": "u", "X_Agent": "sales", "X_Gw_Auth": proof},
            {"X_Transaction_Id": "t", "X_Gw_Auth": proof},
            {"X_Transaction_Id": "t", "X_Agent": "sales", "x_gw_auth": proof + "x"},
        ):
            self.assertEqual(world.calls(**headers), 403, headers)
        self.assertEqual(world.ports.lent, [])
        self.assertEqual(world.switchboard.legs, [])
        self.assertEqual(world.carrier.dropped()["stranger_proof"], 7)
        # Strangers have not used up the proof.
        said = {"X_Transaction_Id": "t", "X_Agent": "sales", "X_Gw_Auth": proof}
        self.assertEqual(world.calls(**said), 180)
        info = world.leg.info
        self.assertEqual((info.agent, info.stream_id), ("sales", "t"))
        self.assertNotIn("X-Gw-Auth", info.parameters)

    def test_a_proof_is_valid_for_one_call_and_a_limited_time(self) -> None:
        world = Door(call_secrets=(SECRET,))
        said = {"X_Transaction_Id": "t", "X_Gw_Auth": world.proof()}
        self.assertEqual(world.calls("one", **said), 180)
        self.assertEqual(world.calls("another", **said), 403)
        fresh = {"X_Transaction_Id": "t", "X_Gw_Auth": world.proof()}
        world.advance(301, 1.0)
        self.assertEqual(world.calls("late", **fresh), 403)

    def test_a_call_may_repeat_its_proof_until_it_is_answered(self) -> None:
        """After a temporary refusal, but not in parallel, nor after the answer."""
        world = Door(call_secrets=(SECRET,))
        said = {"X_Transaction_Id": "t", "X_Gw_Auth": world.proof()}
        world.switchboard.raises = CallRefused("full")
        self.assertEqual(world.calls("one", **said), 503)
        world.switchboard.raises = None
        self.assertEqual(world.calls("one", **said), 180)
        self.assertEqual(world.calls("one", **said), 403)
        headers = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in said.items())
        changes: dict[str, Any] = {"call_id": "one", "from_tag": "from-1"}
        changes["headers"] = headers
        world.invite(branch="z9hG4bK-1", **changes)
        self.assertEqual(world.statuses(), [180])
        world.leg.answer()
        tag = world.heard()[-1].to_tag
        world.say(world.request("ACK", to_tag=tag, **changes))
        again = world.asks("INVITE", tag, call_id="one", from_tag="from-1", body=SDP)
        self.assertEqual(again.status, 200)
        world.leg.hang_up(DONE)
        self.assertEqual(world.calls("one", **said), 403)

    def test_a_temporary_refusal_does_not_use_up_the_proof(self) -> None:
        world = Door(call_secrets=(SECRET,), unacknowledged_calls=1)
        first = {"X_Transaction_Id": "t", "X_Gw_Auth": world.proof()}
        self.assertEqual(world.calls(**first), 180)
        world.advance(1)
        second = {"X_Transaction_Id": "t", "X_Gw_Auth": world.proof()}
        self.assertEqual(world.calls("two", **second), 503)
        world.leg.hang_up(DONE)
        self.assertEqual(world.calls("on-the-next-route", **second), 180)

    def test_a_secret_may_be_changed_at_either_end_first(self) -> None:
        both = f"{SECRET},{BEFORE}"
        for known, signed in (
            ((BEFORE,), both),
            ((SECRET,), both),
            ((SECRET, BEFORE), BEFORE),
            ((SECRET, BEFORE), SECRET),
        ):
            world = Door(call_secrets=known)
            said = {"X_Transaction_Id": "t", "X_Gw_Auth": world.proof(secret=signed)}
            self.assertEqual(world.calls("a", **said), 180)
            self.assertEqual(world.calls("b", **said), 403)

    def test_strangers_are_logged_together(self) -> None:
        world = Door(call_secrets=(SECRET,))
        summary = Summary(world.reactor)
        world.carrier.admission._is_told = summary.allows
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_source") in (world.carrier.admission, summary):
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        for _ in range(100):
            world.calls()
        world.advance(SECONDS)
        world.calls()
        self.assertEqual(len(lines), LINES + 2)
        self.assertIn(f"403: {100 - LINES} more", lines[LINES])
        # They do not count as calls.
        slow = Door(call_secrets=(SECRET,), calls_per_second=1.0)
        for _ in range(50):
            slow.calls()
        said = {"X_Transaction_Id": "t", "X_Gw_Auth": slow.proof()}
        self.assertEqual(slow.calls(**said), 180)


class VoiceConnectorTests(SynchronousTestCase):
    def test_other_voice_connectors_are_refused(self) -> None:
        for ours in (VC, ARN):
            world = Door(voice_connectors=(ours,))
            for headers, status in (
                ({"X_VoiceConnector_ID": VC}, 180),
                ({"X_VoiceConnector_ID": VC, "X_Amzn_TargetArn": ARN}, 180),
                ({}, 403),
                ({"X_VoiceConnector_ID": ""}, 403),
                ({"X_VoiceConnector_ID": OTHER_VC}, 403),
                ({"X_VoiceConnector_ID": f"{VC}, {OTHER_VC}"}, 403),
                ({"X_VoiceConnector_ID": VC, "x_voiceconnector_id": OTHER_VC}, 403),
                (
                    {
                        "X_VoiceConnector_ID": VC,
                        "X_Amzn_TargetArn": ARN.replace(VC, OTHER_VC),
                    },
                    403,
                ),
                ({"X_Amzn_TargetArn": ARN}, 403),
            ):
                self.assertEqual(world.calls(**headers), status, headers)

    def test_a_configured_number_needs_no_proof_and_its_claims_are_removed(
        self,
    ) -> None:
        for secrets in ((), (SECRET,)):
            world = Door(call_secrets=secrets, numbers=(DIALLED,))
            said = {
                "X_Transaction_Id": "t",
                "X_Agent": "sales",
                "X_Context": "obey",
                "X_VoiceConnector_ID": VC,
            }
            self.assertEqual(world.calls(**said), 180)
            info = world.leg.info
            self.assertEqual((info.agent, info.stream_id), ("", ""))
            self.assertEqual(set(info.parameters), {"X-VoiceConnector-ID"})
            elsewhere = Door(call_secrets=secrets, numbers=("+12065550100",))
            self.assertEqual(elsewhere.calls(**said), 403)
        said |= {"X_Gw_Auth": elsewhere.proof("t", "sales")}
        self.assertEqual(elsewhere.calls(**said), 180)
        self.assertEqual(elsewhere.leg.info.agent, "sales")


class UnacknowledgedCallTests(SynchronousTestCase):
    @settings(max_examples=8, deadline=None)
    @given(st.data())
    def test_unacknowledged_calls_are_limited(self, data: st.DataObject) -> None:
        """Calls from several addresses come, end and are acknowledged in any order."""
        world = Door(unacknowledged_calls=6, unacknowledged_per_source=3)
        world.switchboard.answers = True
        waiting: list[tuple[str, str, str, str]] = []
        cancelled: list[str] = []
        for number in range(30):
            acts = ("invite", "invite", "cancel", "ack", "wait")
            act = data.draw(st.sampled_from(acts))
            if act in ("invite", "cancel"):
                world.switchboard.answers = act == "invite"
                host = data.draw(st.sampled_from(("198.51.100.7", "198.51.100.8")))
                world.heard()
                text = world.request(
                    "INVITE",
                    call_id=f"c{number}",
                    branch=f"z9hG4bK{number}",
                    from_tag=f"f{number}",
                    body=SDP,
                )
                world.say(text, (host, 5060))
                answer = [m for m in world.heard() if m.to_tag][-1]
                hosts = [*(one[0] for one in waiting), *cancelled]
                is_full = len(hosts) >= 6 or hosts.count(host) >= 3
                taken = 200 if act == "invite" else 180
                assert isinstance(answer, Response)
                self.assertEqual(answer.status, 503 if is_full else taken)
                if act == "cancel" and not is_full:
                    cancelled.append(host)
                    world.say(text.replace("INVITE", "CANCEL"), (host, 5060))
                elif not is_full:
                    waiting.append((host, f"c{number}", f"f{number}", answer.to_tag))
            elif act == "ack" and waiting:
                at = data.draw(st.integers(0, len(waiting) - 1))
                _, call_id, from_tag, tag = waiting.pop(at)
                changes: dict[str, Any] = {"call_id": call_id, "from_tag": from_tag}
                world.say(world.request("ACK", to_tag=tag, **changes))
            elif act == "wait" and data.draw(st.booleans()):
                world.advance(33, 1.0)  # no ACK comes from now on
                waiting.clear()
                cancelled.clear()
            self.assertEqual(world.carrier.counts()["unacknowledged"], len(waiting))
        for leg in list(world.carrier._legs):
            leg.hang_up(DONE)
        world.advance(33, 1.0)
        self.assertEqual(world.carrier.counts()["unacknowledged"], 0)
        world.advance(33, 1.0)
        world.invite(
            call_id="last", branch="z9hG4bKlast"
        )  # cancelled calls no longer count
        self.assertEqual(dict(world.carrier.admission._by_source), {"198.51.100.7": 1})

    def test_acknowledged_calls_are_not_limited(self) -> None:
        world = Door(unacknowledged_calls=2, unacknowledged_per_source=1)
        for number in range(30):
            world.established(
                call_id=f"c{number}", branch=f"z9hG4bK{number}", from_tag="theirs"
            )
        self.assertEqual(world.carrier.counts()["legs"], 30)

    @given(st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4, unique=True))
    def test_an_ipv6_network_is_one_source(self, hosts: list[int]) -> None:
        world = Door(unacknowledged_calls=100, unacknowledged_per_source=3)
        admission = world.carrier.admission
        taken = []
        legs: list[Any] = [object() for _ in hosts]
        for number, host in enumerate(hosts):
            invite = parse(world.request("INVITE", call_id=f"c{number}").encode())
            assert isinstance(invite, Request)
            address = str(IPv6Address((0x20010DB8 << 96) + host))
            taken.append(isinstance(admission.take(invite, address), Admitted))
            if taken[-1]:
                admission.begun(legs[number], address, b"")
        self.assertEqual(taken, [True, True, True, False])
        for leg in legs:
            admission.over(leg)
        self.assertEqual(dict(admission._by_source), {})
