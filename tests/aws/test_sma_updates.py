"""The Lambda function: updates by the gateway, and outbound calls."""

from __future__ import annotations

from chime_gateway.aws.sma import Decision
from tests.aws.decisions import (
    BOTH,
    UNBRIDGED,
    SmaTestCase,
    kinds,
    only,
)
from tests.support.lambda_events import (
    CALLER,
    DIALLED,
    LEG_A,
    LEG_B,
    VC,
    event,
    failed,
    hangup,
    leg_a,
    leg_b,
    succeeded,
    update,
)


class TransferTests(SmaTestCase):
    def ask(self, target: str = "+12065550177") -> Decision:
        return self.decide(
            update(
                {"Action": "transfer", "Target": target},
                legs=BOTH,
                attributes={"state": "bridged"},
            )
        )

    def test_the_agents_leg_ends_before_the_target_is_called(self) -> None:
        decision = self.ask()
        self.assertEqual(only(decision), {"CallId": LEG_B, "SipResponseCode": "0"})
        happened = hangup(
            "LEG-B",
            LEG_B,
            attributes=decision.attributes,
            legs=[leg_a(), leg_b(Status="Disconnected")],
        )
        decision = self.decide(happened)
        parameters = only(decision)
        self.assertEqual(
            parameters["Endpoints"],
            [{"BridgeEndpointType": "PSTN", "Uri": "+12065550177"}],
        )
        self.assertNotIn("SipHeaders", parameters)
        self.assertEqual(parameters["CallerIdNumber"], CALLER)
        done = succeeded("CallAndBridge", legs=BOTH, attributes=decision.attributes)
        self.assertEqual(self.decide(done).attributes["state"], "transferred")

    def test_either_event_may_report_the_end_of_the_agents_leg_first(self) -> None:
        attributes = self.ask().attributes
        decision = self.decide(succeeded("Hangup", attributes=attributes))
        self.assertEqual(kinds(decision), ["CallAndBridge"])
        late = hangup("LEG-B", LEG_B, attributes=decision.attributes)
        # The present actions continue.
        self.assertIsNone(self.decide(late).actions)

    def test_hanging_up_the_person_transferred_to_ends_the_caller_too(self) -> None:
        attributes = {"state": "transferred", "left": LEG_B, "target": "+1206"}
        human = leg_b(CallId="human", Status="Disconnected")
        happened = hangup(
            "LEG-B", "human", attributes=attributes, legs=[leg_a(), human]
        )
        self.assertEqual(only(self.decide(happened))["CallId"], LEG_A)

    def test_a_target_that_does_not_answer_returns_the_caller_to_the_agent(
        self,
    ) -> None:
        attributes = {"state": "transferring", "target": "+12065550177", "left": LEG_B}
        happened = failed(
            "CallAndBridge",
            "CallNotAnswered",
            "Call not answered",
            attributes=attributes,
        )
        decision = self.decide(happened)
        parameters = only(decision)
        self.assertEqual(parameters["Endpoints"][0]["Arn"], VC)
        self.assertIn("CallNotAnswered", parameters["SipHeaders"]["X-Transfer-Failed"])

    def test_a_sip_target_goes_through_the_voice_connector(self) -> None:
        attributes = self.ask("sip:desk7").attributes
        parameters = only(self.decide(succeeded("Hangup", attributes=attributes)))
        self.assertEqual(
            parameters["Endpoints"],
            [{"BridgeEndpointType": "AWS", "Arn": VC, "Uri": "desk7"}],
        )

    def test_an_invalid_target_changes_nothing(self) -> None:
        for target in (
            "",
            "911",
            "+1 206 555",
            "0049301234",
            "+1;Arn=x",
            "javascript:",
        ):
            self.assertIsNone(self.ask(target).actions)

    def test_without_an_agents_leg_the_target_is_called_at_once(self) -> None:
        happened = update(
            {"Action": "transfer", "Target": "+12065550177"},
            attributes={"state": "talking"},
        )
        decision = self.decide(happened, UNBRIDGED)
        self.assertEqual(kinds(decision), ["CallAndBridge"])
        back = failed(
            "CallAndBridge",
            "CallNotAnswered",
            "Call not answered",
            attributes=decision.attributes,
        )
        decision = self.decide(back, UNBRIDGED)
        self.assertEqual(kinds(decision), ["Pause"] * 10)
        self.assertEqual(decision.attributes["state"], "talking")


class UpdateTests(SmaTestCase):
    def test_say_speaks_to_the_caller(self) -> None:
        parameters = only(
            self.decide(update({"Action": "say", "Text": "One moment"}, legs=BOTH))
        )
        self.assertEqual(parameters["Text"], "One moment")
        self.assertEqual(parameters["CallId"], LEG_A)

    def test_hangup_ends_every_leg(self) -> None:
        decision = self.decide(update({"Action": "hangup"}, legs=BOTH))
        self.assertEqual(kinds(decision), ["Hangup", "Hangup"])

    def test_an_unknown_update_changes_nothing(self) -> None:
        for arguments in (
            {},
            {"Action": "dance"},
            {"Action": "say"},
            {"Action": "play"},
        ):
            self.assertIsNone(self.decide(update(arguments)).actions)

    def test_every_event_keeps_all_attributes(self) -> None:
        kept = {"state": "bridged", "mine": "1"}
        for happened in (
            update({"Action": "dance"}, attributes=kept),
            event("RINGING", attributes=kept),
            event("NO_SUCH_EVENT", attributes=kept),
            succeeded("CallAndBridge", attributes=kept, legs=BOTH),
        ):
            self.assertEqual(self.decide(happened).attributes, kept)


class OutboundTests(SmaTestCase):
    def test_an_answered_outbound_call_is_bridged_to_the_agent(self) -> None:
        legs = [leg_a(From=DIALLED, To=CALLER, Direction="Outbound")]
        arguments = {"agent": "sales", "context": "order 17"}
        data = {"Type": "Call", "Parameters": {"Arguments": arguments}}
        first = self.decide(event("NEW_OUTBOUND_CALL", data=data, legs=legs))
        ringing = self.decide(event("RINGING", legs=legs, attributes=first.attributes))
        self.assertEqual(ringing.actions, [])
        decision = self.decide(
            event("CALL_ANSWERED", legs=legs, attributes=ringing.attributes)
        )
        parameters = only(decision)
        self.assertEqual(parameters["CallerIdNumber"], DIALLED)
        headers = parameters["SipHeaders"]
        self.assertEqual(headers["X-Agent"], "sales")
        self.assertEqual(headers["X-Context"], "order 17")
        self.assertEqual(headers["X-Direction"], "outbound")

    def test_an_unanswered_outbound_call_ends(self) -> None:
        legs = [leg_a(Direction="Outbound", Status="Disconnected")]
        for code in (480, 486):
            decision = self.decide(hangup("LEG-A", LEG_A, code, legs=legs))
            self.assertEqual(decision.actions, [])
