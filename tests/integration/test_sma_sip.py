"""The production path with its Lambda: bridged by SIP, transferred by an update."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from unittest import mock

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread

from chime_gateway.audio import PCMU
from chime_gateway.aws import sma
from chime_gateway.call.call import Call
from chime_gateway.cli.demo import prepare_call
from chime_gateway.errors import TransferFailed
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.aws import AwsSettings
from chime_gateway.settings.values import GatewaySettings
from chime_gateway.sim.aws.server import FakeAws
from chime_gateway.sim.aws.sma.application import SmaSimulator
from chime_gateway.sim.aws.sma.call import SmaCall
from chime_gateway.sim.aws.sma.rules import InvalidAction
from chime_gateway.sim.aws.sma.voice_connector import invite_headers
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.softphone import place_sip_call
from tests.integration.sip_harness import SipTestCase
from tests.sim.aws.sma.test_call import RecordingPhone

#: The approximate duration; see tests/run.py.
seconds = 12

OWNED = "+12065550100"
HUMAN = "+12065550177"
SECRET = "0123456789abcdef"
VC = "arn:aws:chime:us-east-1:111122223333:vc/abcdef1ghij2klmno3pqr4"


class SipLegOfBridge:
    def __init__(self, calling: Deferred[CallReport]) -> None:
        self.calling = calling

    def hang_up(self) -> None:
        self.calling.cancel()


class Person:
    def hang_up(self) -> None:
        """Hang up."""


class SmaSipTests(SipTestCase):
    """Both ends have the secret, as after C{chimegw aws apply}."""

    sip_changes: ClassVar = {
        "call_secrets": (SECRET,),
        "voice_connectors": (VC,),
    }

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        self.environment: dict[str, str] = {}
        self.invocations = 0
        self.phone = RecordingPhone()
        self.reports: list[CallReport] = []
        self.application = SmaSimulator(
            self.invoke,
            self.reactor,
            fetch=lambda bucket, key: None,
            bridge=self.bridge,
            owned=frozenset({OWNED}),
        )
        operations = self.application.operations()
        self.aws = FakeAws({"chime-sdk-voice": operations}, self.reactor)
        self.aws_port = self.reactor.listenTCP(
            0, self.aws.site(), interface="127.0.0.1"
        )
        amazon = self.aws.environment(self.aws_port.getHost().port)
        self.environment.update(amazon, VOICE_CONNECTOR_ARN=VC, CALLER_ID_NUMBER=OWNED)
        self.environment.update(CALL_SECRET=SECRET)
        patched = mock.patch.dict(os.environ, amazon)
        patched.start()
        self.addCleanup(patched.stop)
        aws = AwsSettings(
            region="us-east-1",
            sip_media_application_id=self.application.application_id,
        )
        return evolve(super().gateway_settings(endpoint), aws=aws)

    def invoke(self, event: dict[str, Any]) -> Deferred[Any]:
        def over(result: Any) -> Any:
            self.invocations -= 1
            return result

        self.invocations += 1
        return deferToThread(sma.answer, event, self.environment).addBoth(over)

    def is_busy(self) -> bool:
        """The application is notified a moment after the end."""
        return bool(self.invocations) or super().is_busy()

    async def _tear_down(self) -> None:
        await super()._tear_down()
        await self.aws_port.stopListening()

    def bridge(
        self, call: SmaCall, endpoint: Mapping[str, str], headers: Mapping[str, str]
    ) -> Deferred[Any]:
        if endpoint["BridgeEndpointType"] == "PSTN":
            if endpoint["Uri"] != HUMAN:
                return fail(InvalidAction("Call not answered", "CallNotAnswered"))
            return succeed(Person())
        return Deferred.fromCoroutine(self.bridge_by_sip(endpoint["Uri"], headers))

    async def bridge_by_sip(self, user: str, headers: Mapping[str, str]) -> Any:
        """Bridge like a Voice Connector, with all of the Lambda's headers."""
        said = prepare_call((), PCMU, interrupt_after=None).utterances
        headers = invite_headers(VC, headers)
        plan = CallPlan(utterances=said * 9, answer_seconds=60, parameters=headers)
        before = len(self.gateway.calls.calls())
        calling = place_sip_call(
            f"sip:{user}@127.0.0.1:{self.sip_ports['udp']}",
            plan,
            PCMU,
            reactor=self.reactor,
        )
        calling.addCallbacks(self.reports.append, lambda _: None)
        await self.until(
            lambda: (
                len(self.gateway.calls.calls()) > before
                and self.gateway.calls.calls()[-1].record.answered_seconds is not None
            )
        )
        return SipLegOfBridge(calling)

    def outcome(self, call: Call) -> Outcome:
        assert call.record.ending is not None
        return call.record.ending.outcome

    async def called(self) -> SmaCall:
        """Make a call that is bridged to the agent."""
        call = self.application.incoming("+15105550101", OWNED, self.phone, {})
        await self.until(lambda: call.attributes.get("state") == "bridged")
        return call

    async def test_the_lambda_connects_caller_and_agent(self) -> None:
        call = await self.called()
        self.assertEqual(self.phone.log, ["answered"])
        (running,) = self.gateway.calls.calls()
        info = running.record.info
        self.assertEqual(info.stream_id, call.transaction_id)
        self.assertEqual(info.called, OWNED)
        self.assertEqual(info.parameters["X-Dialed-Number"], OWNED)
        # The caller hangs up; the Lambda ends the agent's leg.
        call.hang_up()
        await self.until(lambda: not self.gateway.calls.calls())
        self.assertEqual(self.outcome(running), Outcome.COMPLETED)
        await self.until(lambda: call.is_over)

    async def test_a_transfer_goes_through_the_application(self) -> None:
        call = await self.called()
        (running,) = self.gateway.calls.calls()
        await running.transfer(HUMAN)
        self.assertEqual(self.outcome(running), Outcome.TRANSFERRED)
        await self.until(lambda: call.attributes.get("state") == "transferred")
        # The caller was on the line all the time.
        self.assertEqual(self.phone.log, ["answered"])
        self.assertFalse(call.is_over)
        call.leg_b_left()
        await self.until(lambda: call.is_over)
        self.assertEqual(self.phone.log, ["answered", "hung up 0"])

    async def test_a_caller_whose_transfer_fails_is_back_with_an_agent(self) -> None:
        call = await self.called()
        (running,) = self.gateway.calls.calls()
        await running.transfer("+12065550178")
        await self.until(lambda: len(self.gateway.calls.calls()) == 1)
        (again,) = self.gateway.calls.calls()
        told = again.record.info.parameters["X-Transfer-Failed"]
        self.assertIn("CallNotAnswered", told)
        self.assertEqual(again.record.info.stream_id, call.transaction_id)
        await self.until(lambda: call.attributes.get("state") == "bridged")
        call.hang_up()
        await self.until(lambda: call.is_over and not self.gateway.calls.calls())

    def proof(self) -> dict[str, str]:
        """Return the proof of a call without a transaction."""
        return {"X-Gw-Auth": sma.prove(SECRET, "", "", time.time())}

    async def test_a_stranger_is_forbidden_and_a_bridge_is_good_once(self) -> None:
        call = await self.called()
        (running,) = self.gateway.calls.calls()
        kept = running.record.info.parameters
        self.assertNotIn("X-Gw-Auth", kept)
        decision = sma.decide(
            {"InvocationEventType": "CALL_ANSWERED", "CallDetails": {}},
            sma.read_settings(self.environment),
            now=time.time(),
        )
        assert decision.actions is not None
        used = decision.actions[0]["Parameters"]["SipHeaders"]
        url = f"sip:agent@127.0.0.1:{self.sip_ports['tcp']};transport=tcp"
        for headers, status in (({}, 403), (kept, 403), (used, 200), (used, 403)):
            plan = prepare_call((), PCMU, interrupt_after=None)
            plan = evolve(plan, parameters=invite_headers(VC, headers))
            report = await place_sip_call(url, plan, PCMU, reactor=self.reactor)
            self.assertEqual(report.close_code, status, headers)
        call.hang_up()
        await self.until(lambda: call.is_over and not self.gateway.calls.calls())

    async def test_a_softphone_that_cancels_leaves_no_call(self) -> None:
        """Whether the answer is still to come, in transit, or received."""
        sip = self.gateway.sip
        assert sip is not None
        for pause in (0.0, 0.02, 0.05, 0.1, 0.3):
            plan = prepare_call((), PCMU, interrupt_after=None)
            plan = evolve(plan, parameters=invite_headers(VC, self.proof()))
            url = f"sip:agent@127.0.0.1:{self.sip_ports['udp']}"
            calling = place_sip_call(url, plan, PCMU, reactor=self.reactor)
            calling.addErrback(lambda _: None)
            await self.pause(pause)
            calling.cancel()
            await self.until(lambda: not self.gateway.calls.calls())
            await self.until(lambda: not sip.counts()["legs"])

    async def test_an_agent_who_hangs_up_ends_the_callers_leg_too(self) -> None:
        call = await self.called()
        (running,) = self.gateway.calls.calls()
        self.gateway.calls.hang_up_all()
        # The Voice Connector passes the BYE on to the application.
        await self.until(lambda: bool(self.reports))
        call.leg_b_left()
        await self.until(lambda: call.is_over)
        self.assertEqual(self.phone.log, ["answered", "hung up 0"])
        self.assertEqual(self.outcome(running), Outcome.DRAINED)

    async def test_a_call_without_a_transaction_cannot_be_transferred(self) -> None:
        calling = Deferred.fromCoroutine(self.bridge_by_sip("agent", self.proof()))
        leg = await calling
        (running,) = self.gateway.calls.calls()
        with self.assertRaises(TransferFailed) as caught:
            await running.transfer(HUMAN)
        self.assertIn("X-Transaction-Id", str(caught.exception))
        leg.hang_up()
        await self.until(lambda: not self.gateway.calls.calls())
