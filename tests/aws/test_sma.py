"""The Lambda function, event by event."""

from __future__ import annotations

from typing import Any

from chime_gateway.aws import sma
from chime_gateway.wire.sip.call_proof import CallProofs
from tests.aws.decisions import (
    BOTH,
    BRIDGE,
    SmaTestCase,
    kinds,
    only,
)
from tests.support.lambda_events import (
    CALLER,
    DIALLED,
    LEG_A,
    LEG_B,
    OTHER_VC,
    TRANSACTION,
    VC,
    event,
    failed,
    hangup,
    leg_a,
    leg_b,
    succeeded,
    update,
)

#: The errors of CallAndBridge (Developer Guide, "CallAndBridge").
BRIDGE_ERRORS = (
    ("InvalidActionParameter", "Invalid number of endpoints provided."),
    ("InvalidActionParameter", "Endpoint parameter is invalid."),
    ("InvalidActionParameter", "The MaxCallTimeout parameter is invalid."),
    ("InvalidActionParameter", "Invalid SIP header(s) provided: X-Vine-A"),
    ("InvalidAudioSource", "Invalid audio source"),
    ("CallNotAnswered", "Call not answered"),
    ("SystemException", "System error while running action"),
)
CALLER_ID_ERRORS = (
    "Invalid caller ID.",
    "Caller ID not defined.",
    "Provided caller ID number is invalid. Number must be owned by this AWS account,"
    " or be the From number of LEG-A.",
)
RESPONSE_ERRORS = (
    "AWS Lambda client operation timed out.",
    "Access denied while invoking the function",
    "Error while reading actions list.",
    "Unsupported action type specified",
    "Actions list is empty.",
    "Too many actions specified in a response.",
    "Response is blank or empty",
)


class NewCallTests(SmaTestCase):
    def test_a_call_is_bridged_to_the_voice_connector_by_its_arn(self) -> None:
        decision = self.decide(event("NEW_INBOUND_CALL"))
        self.assertEqual(kinds(decision), ["CallAndBridge"])
        parameters = only(decision)
        self.assertEqual(parameters["CallerIdNumber"], CALLER)
        self.assertEqual(
            parameters["Endpoints"],
            [{"BridgeEndpointType": "AWS", "Arn": VC, "Uri": DIALLED}],
        )
        headers = parameters["SipHeaders"]
        self.assertEqual(headers["X-Transaction-Id"], TRANSACTION)
        self.assertEqual(headers["X-Leg-A-Call-Id"], LEG_A)
        self.assertEqual(headers["X-Dialed-Number"], DIALLED)
        self.assertEqual(headers["X-Gw-Hop"], "1")
        self.assertEqual(headers["User-to-User"], "0123abcd;encoding=hex")
        self.assertIn("reason=unconditional", headers["Diversion"])
        self.assertEqual(decision.attributes["state"], "bridging")

    def test_headers_obey_the_rules_for_sip_headers(self) -> None:
        hostile = leg_a(
            To="+1206" + "5" * 40,
            SipHeaders={"user-to-user": "a\r\nX-Evil: 1" + "b" * 3000},
        )
        parameters = only(self.decide(event("NEW_INBOUND_CALL", legs=[hostile])))
        headers = parameters["SipHeaders"]
        self.assertLessEqual(len(headers), 20)
        for name, value in headers.items():
            self.assertRegex(name, r"(?i)\A(x-|user-to-user\Z|diversion\Z)")
            self.assertNotRegex(name, r"(?i)\Ax-(vine|amzn|vc|canary|voice)")
            self.assertTrue(0 < len(value) <= 2048)
            self.assertTrue(value.isprintable())
        self.assertRegex(
            parameters["Endpoints"][0]["Uri"], r"\A[a-zA-Z0-9&=+$/%\-_!~*().]{1,36}\Z"
        )

    def test_with_a_secret_every_bridge_has_a_proof(self) -> None:
        settings = BRIDGE._replace(call_secret="0123456789abcdef")
        proofs = CallProofs(["0123456789abcdef"], 300.0)
        happened = [
            event("NEW_INBOUND_CALL"),
            failed("CallAndBridge", "CallNotAnswered", "x"),
            event("CALL_ANSWERED", attributes={"agent": " sales\r\n", "context": "c"}),
            event("NEW_INBOUND_CALL", legs=[leg_a(SipHeaders={"X-Agent": "boss"})]),
        ]
        for number, one in enumerate(happened):
            now = 1_764_000_000.0 + number / 1000
            headers = only(self.decide(one, settings, now=now))["SipHeaders"]
            self.assertLessEqual(len(headers), 20)
            signed = headers["X-Transaction-Id"], headers.get("X-Agent", "")
            proof = headers["X-Gw-Auth"]
            # Each proof is used once, even if a call is sent twice within a moment.
            self.assertEqual(proofs.fault(proof, *signed, f"c{number}", now), "")
            proofs.use(proof, *signed, f"c{number}", now)
        self.assertNotIn("X-Agent", headers)
        without = only(self.decide(happened[0], now=now))["SipHeaders"]
        self.assertNotIn("X-Gw-Auth", without)

    def test_an_anonymous_caller_is_shown_with_an_own_number(self) -> None:
        for shown in ("anonymous", "Restricted", "", "+266696687", "sip:x@y"):
            legs = [leg_a(From=shown)]
            expected = shown if shown.startswith("+2") else "+12065550100"
            parameters = only(self.decide(event("NEW_INBOUND_CALL", legs=legs)))
            self.assertEqual(parameters["CallerIdNumber"], expected)

    def test_without_an_own_number_the_dialled_one_is_shown(self) -> None:
        settings = BRIDGE._replace(caller_id_number="")
        happened = event("NEW_INBOUND_CALL", legs=[leg_a(From="anonymous")])
        parameters = only(self.decide(happened, settings))
        self.assertEqual(parameters["CallerIdNumber"], DIALLED)

    def test_a_call_in_a_loop_is_refused(self) -> None:
        circles = (
            leg_a(SipHeaders={"x-gw-hop": "1"}),
            leg_a(From=DIALLED),
        )
        for leg in circles:
            decision = self.decide(event("NEW_INBOUND_CALL", legs=[leg]))
            self.assertEqual(kinds(decision), ["Hangup"])
            self.assertEqual(only(decision)["SipResponseCode"], "480")

    def test_a_greeting_is_spoken_first_or_played_from_s3(self) -> None:
        spoken = self.decide(
            event("NEW_INBOUND_CALL"), BRIDGE._replace(greeting_text="Hello" * 500)
        )
        self.assertEqual(kinds(spoken), ["Speak", "CallAndBridge"])
        assert spoken.actions is not None
        self.assertEqual(len(spoken.actions[0]["Parameters"]["Text"]), 1000)
        self.assertEqual(spoken.actions[0]["Parameters"]["CallId"], LEG_A)
        played = self.decide(
            event("NEW_INBOUND_CALL"),
            BRIDGE._replace(greeting_text="s3://bucket/folder/hello.wav"),
        )
        assert played.actions is not None
        self.assertEqual(
            played.actions[0]["Parameters"]["AudioSource"],
            {"Type": "S3", "BucketName": "bucket", "Key": "folder/hello.wav"},
        )

    def test_it_rings_until_the_gateway_is_ready(self) -> None:
        settings = BRIDGE._replace(ready_url="https://gw.example.com/ready")
        asked: list[str] = []

        def not_ready(url: str) -> bool:
            asked.append(url)
            return False

        decision = self.decide(event("NEW_INBOUND_CALL"), settings, is_ready=not_ready)
        self.assertEqual(kinds(decision), ["Pause"])
        self.assertEqual(set(asked), {"https://gw.example.com/ready"})
        rings = 1
        while kinds(decision) == ["Pause"]:
            self.assertLess(rings, 20)
            rings += 1
            decision = self.decide(
                succeeded("Pause", attributes=decision.attributes),
                settings,
                is_ready=not_ready,
            )
        # After 28 s of ringing it is bridged anyway.
        self.assertEqual(kinds(decision), ["CallAndBridge"])
        self.assertEqual(rings, 15)
        self.assertNotIn("rung", decision.attributes)

    def test_it_is_bridged_as_soon_as_the_gateway_is_ready(self) -> None:
        settings = BRIDGE._replace(ready_url="https://gw.example.com/ready")
        happened = succeeded("Pause", attributes={"state": "ringing", "rung": "4000"})
        decision = self.decide(happened, settings, is_ready=lambda url: True)
        self.assertEqual(kinds(decision), ["CallAndBridge"])


class BridgeTests(SmaTestCase):
    def test_a_bridged_call_needs_nothing_to_stay_alive(self) -> None:
        happened = succeeded(
            "CallAndBridge",
            {"CallId": LEG_A},
            legs=BOTH,
            attributes={"state": "bridging"},
        )
        decision = self.decide(happened)
        self.assertEqual(decision.actions, [])
        self.assertEqual(decision.attributes["state"], "bridged")

    def test_failures_lead_to_the_next_destination_and_then_an_apology(
        self,
    ) -> None:
        settings = BRIDGE._replace(
            fallback_voice_connector_arn=OTHER_VC, fallback_number="+12065550123"
        )
        for error, message in BRIDGE_ERRORS:
            tried = []
            attributes = self.decide(event("NEW_INBOUND_CALL"), settings).attributes
            while True:
                happened = failed(
                    "CallAndBridge", error, message, attributes=attributes
                )
                decision = self.decide(happened, settings)
                attributes = decision.attributes
                if kinds(decision) != ["CallAndBridge"]:
                    break
                endpoint = only(decision)["Endpoints"][0]
                tried.append(endpoint.get("Arn") or endpoint["Uri"])
                self.assertLess(len(tried), 5)
            self.assertEqual(tried, [OTHER_VC, "+12065550123"], message)
            self.assertEqual(kinds(decision), ["Speak", "Hangup"], message)
            self.assertIn(error, self.printed.getvalue())

    def test_without_a_second_voice_connector_the_first_is_retried(
        self,
    ) -> None:
        attributes = {"state": "bridging"}
        happened = failed(
            "CallAndBridge",
            "CallNotAnswered",
            "Call not answered",
            attributes=attributes,
        )
        decision = self.decide(happened)
        self.assertEqual(only(decision)["Endpoints"][0]["Arn"], VC)
        happened = failed(
            "CallAndBridge",
            "CallNotAnswered",
            "Call not answered",
            attributes=decision.attributes,
        )
        self.assertEqual(kinds(self.decide(happened)), ["Speak", "Hangup"])

    def test_a_refused_caller_id_is_replaced_by_an_own_number(
        self,
    ) -> None:
        for message in CALLER_ID_ERRORS:
            happened = failed(
                "CallAndBridge",
                "InvalidActionParameter",
                message,
                attributes={"state": "bridging"},
            )
            decision = self.decide(happened)
            parameters = only(decision)
            self.assertEqual(parameters["CallerIdNumber"], "+12065550100")
            # It was not the Voice Connector's fault.
            self.assertNotIn("attempt", decision.attributes)
            again = failed(
                "CallAndBridge",
                "InvalidActionParameter",
                message,
                attributes=decision.attributes,
            )
            self.assertEqual(self.decide(again).attributes["attempt"], "1")

    def test_a_failed_greeting_does_not_end_the_call(self) -> None:
        settings = BRIDGE._replace(greeting_text="Hello")
        attributes = self.decide(event("NEW_INBOUND_CALL"), settings).attributes
        happened = failed("Speak", "SystemException", "Polly", attributes=attributes)
        decision = self.decide(happened, settings)
        self.assertEqual(kinds(decision), ["CallAndBridge"])

    def test_a_failed_apology_ends_the_call(self) -> None:
        happened = failed(
            "PlayAudio",
            "InvalidAudioSource",
            "no such key",
            attributes={"state": "apologising"},
        )
        self.assertEqual(kinds(self.decide(happened)), ["Hangup"])


class HangupTests(SmaTestCase):
    def test_the_remaining_leg_of_a_bridge_is_hung_up(self) -> None:
        for tag, gone, left in (("LEG-A", LEG_A, LEG_B), ("LEG-B", LEG_B, LEG_A)):
            for code in (0, 480, 486):
                legs = [
                    leg_a(Status="Disconnected" if gone == LEG_A else "Connected"),
                    leg_b(Status="Disconnected" if gone == LEG_B else "Connected"),
                ]
                happened = hangup(
                    tag, gone, code, legs=legs, attributes={"state": "bridged"}
                )
                decision = self.decide(happened)
                self.assertEqual(
                    only(decision), {"CallId": left, "SipResponseCode": "0"}
                )

    def test_the_end_of_a_single_leg_needs_no_hangup(self) -> None:
        happened = hangup("LEG-A", LEG_A, legs=[leg_a(Status="Disconnected")])
        self.assertEqual(self.decide(happened).actions, [])

    def test_an_ended_leg_still_shown_as_connected_is_not_hung_up(
        self,
    ) -> None:
        happened = hangup("LEG-A", LEG_A, legs=[leg_a()])
        self.assertEqual(self.decide(happened).actions, [])


class OddEventTests(SmaTestCase):
    def test_an_invalid_response_ends_the_call(self) -> None:
        for message in RESPONSE_ERRORS:
            happened = event(
                "INVALID_LAMBDA_RESPONSE",
                legs=BOTH,
                ErrorType="InvalidLambdaResponse",
                ErrorMessage=message,
            )
            decision = self.decide(happened)
            self.assertEqual(kinds(decision), ["Hangup", "Hangup"])
            self.assertIn(message, self.printed.getvalue())

    def test_the_error_may_be_in_the_action_data(self) -> None:
        data = {"ErrorType": "X", "ErrorMessage": "Actions list is empty."}
        self.decide(event("INVALID_LAMBDA_RESPONSE", data=data))
        self.assertIn("Actions list is empty.", self.printed.getvalue())

    def test_events_whose_actions_are_ignored_do_nothing(self) -> None:
        for kind in ("RINGING", "ACTION_INTERRUPTED", "NEW_OUTBOUND_CALL"):
            self.assertFalse(self.decide(event(kind)).actions)
        digits = {"ReceivedDigits": "11#", "Type": "ReceiveDigits", "Parameters": {}}
        self.assertEqual(self.decide(event("DIGITS_RECEIVED", data=digits)).actions, [])

    def test_an_almost_empty_event_gets_a_response(self) -> None:
        every = (*sma._ANSWERS, "NO_SUCH_EVENT", None)
        for kind in every:
            odd: list[dict[str, Any]] = [{}, {"CallDetails": {}}, {"CallDetails": None}]
            for rest in odd:
                self.decide({"InvocationEventType": kind, **rest})
        self.decide({})

    def test_leg_tags_may_be_in_lower_case(self) -> None:
        legs = [leg_a(ParticipantTag="Leg-A"), leg_b(ParticipantTag="Leg-B")]
        happened = update({"Action": "transfer", "Target": "+12065550177"}, legs=legs)
        self.assertEqual(only(self.decide(happened))["CallId"], LEG_B)
