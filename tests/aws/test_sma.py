"""The Lambda function, event by event."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws import sma
from chime_gateway.aws.sma import Decision, Settings, decide, read_settings, source_uri
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
    playing,
    succeeded,
    update,
)

BRIDGE = Settings(voice_connector_arn=VC, caller_id_number="+12065550100")
KINESIS = BRIDGE._replace(mode="kinesis")
UNBRIDGED = Settings(mode="kinesis")
BOTH = [leg_a(), leg_b()]

#: CallAndBridge fails with these (Developer Guide, "CallAndBridge").
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


def kinds(decision: Decision) -> list[str]:
    return [action["Type"] for action in decision.actions or ()]


def only(decision: Decision) -> dict[str, Any]:
    assert decision.actions is not None and len(decision.actions) == 1, decision
    parameters: dict[str, Any] = decision.actions[0]["Parameters"]
    return parameters


class SmaTestCase(SynchronousTestCase):
    def decide(
        self, happened: dict[str, Any], settings: Settings = BRIDGE, **more: Any
    ) -> Decision:
        self.printed = io.StringIO()
        with contextlib.redirect_stdout(self.printed):
            first = decide(happened, settings, **more)
            # It is invoked again when it takes too long.
            again = decide(happened, settings, **more)
        self.assertEqual(first, again)
        self.assertLessEqual(len(first.actions or ()), 10)
        for value in first.attributes.values():
            self.assertIsInstance(value, str)
        for number in (CALLER, DIALLED):
            self.assertNotIn(number, self.printed.getvalue())
        return first


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

    def test_an_anonymous_caller_is_shown_as_a_number_of_ours(self) -> None:
        for shown in ("anonymous", "Restricted", "", "+266696687", "sip:x@y"):
            legs = [leg_a(From=shown)]
            expected = shown if shown.startswith("+2") else "+12065550100"
            parameters = only(self.decide(event("NEW_INBOUND_CALL", legs=legs)))
            self.assertEqual(parameters["CallerIdNumber"], expected)

    def test_without_a_number_of_ours_the_dialled_one_is_shown(self) -> None:
        settings = BRIDGE._replace(caller_id_number="")
        happened = event("NEW_INBOUND_CALL", legs=[leg_a(From="anonymous")])
        parameters = only(self.decide(happened, settings))
        self.assertEqual(parameters["CallerIdNumber"], DIALLED)

    def test_a_call_that_was_here_before_is_refused(self) -> None:
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
        # 28 s of ringing are used up: bridged all the same.
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

    def test_every_failure_goes_to_the_next_way_and_at_last_to_an_apology(
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

    def test_without_another_voice_connector_the_same_is_tried_once_more(
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

    def test_a_caller_id_that_is_refused_is_replaced_by_a_number_of_ours(
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

    def test_a_greeting_that_fails_does_not_cost_the_call(self) -> None:
        settings = BRIDGE._replace(greeting_text="Hello")
        attributes = self.decide(event("NEW_INBOUND_CALL"), settings).attributes
        happened = failed("Speak", "SystemException", "Polly", attributes=attributes)
        decision = self.decide(happened, settings)
        self.assertEqual(kinds(decision), ["CallAndBridge"])

    def test_an_apology_that_fails_ends_the_call(self) -> None:
        happened = failed(
            "PlayAudio",
            "InvalidAudioSource",
            "no such key",
            attributes={"state": "apologising"},
        )
        self.assertEqual(kinds(self.decide(happened)), ["Hangup"])


class HangupTests(SmaTestCase):
    def test_who_is_left_of_a_bridge_is_hung_up(self) -> None:
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

    def test_a_single_leg_leaves_nobody_to_hang_up(self) -> None:
        happened = hangup("LEG-A", LEG_A, legs=[leg_a(Status="Disconnected")])
        self.assertEqual(self.decide(happened).actions, [])

    def test_a_leg_that_is_still_said_to_be_connected_is_not_hung_up_again(
        self,
    ) -> None:
        happened = hangup("LEG-A", LEG_A, legs=[leg_a()])
        self.assertEqual(self.decide(happened).actions, [])


class TransferTests(SmaTestCase):
    def ask(self, target: str = "+12065550177") -> Decision:
        return self.decide(
            update(
                {"Action": "transfer", "Target": target},
                legs=BOTH,
                attributes={"state": "bridged"},
            )
        )

    def test_the_agents_leg_goes_first_and_then_the_target_is_called(self) -> None:
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

    def test_either_event_may_tell_first_that_the_agents_leg_is_down(self) -> None:
        attributes = self.ask().attributes
        decision = self.decide(succeeded("Hangup", attributes=attributes))
        self.assertEqual(kinds(decision), ["CallAndBridge"])
        late = hangup("LEG-B", LEG_B, attributes=decision.attributes)
        # What is going on is kept.
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

    def test_a_target_that_is_no_number_changes_nothing(self) -> None:
        for target in (
            "",
            "911",
            "+1 206 555",
            "0049301234",
            "+1;Arn=x",
            "javascript:",
        ):
            self.assertIsNone(self.ask(target).actions)

    def test_a_call_without_an_agents_leg_goes_straight_to_the_target(self) -> None:
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

    def test_what_is_not_understood_changes_nothing(self) -> None:
        for arguments in (
            {},
            {"Action": "dance"},
            {"Action": "say"},
            {"Action": "play"},
        ):
            self.assertIsNone(self.decide(update(arguments)).actions)

    def test_attributes_are_kept_whole_by_every_event(self) -> None:
        kept = {"state": "bridged", "mine": "1"}
        for happened in (
            update({"Action": "dance"}, attributes=kept),
            event("RINGING", attributes=kept),
            event("NO_SUCH_EVENT", attributes=kept),
            succeeded("CallAndBridge", attributes=kept, legs=BOTH),
        ):
            self.assertEqual(self.decide(happened).attributes, kept)


class OutboundTests(SmaTestCase):
    def test_an_answered_call_of_ours_is_bridged_to_the_agent(self) -> None:
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

    def test_a_call_of_ours_that_nobody_takes_ends(self) -> None:
        legs = [leg_a(Direction="Outbound", Status="Disconnected")]
        for code in (480, 486):
            decision = self.decide(hangup("LEG-A", LEG_A, code, legs=legs))
            self.assertEqual(decision.actions, [])


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

    def test_the_error_may_stand_in_the_action_data(self) -> None:
        data = {"ErrorType": "X", "ErrorMessage": "Actions list is empty."}
        self.decide(event("INVALID_LAMBDA_RESPONSE", data=data))
        self.assertIn("Actions list is empty.", self.printed.getvalue())

    def test_events_whose_actions_are_ignored_do_nothing(self) -> None:
        for kind in ("RINGING", "ACTION_INTERRUPTED", "NEW_OUTBOUND_CALL"):
            self.assertFalse(self.decide(event(kind)).actions)
        digits = {"ReceivedDigits": "11#", "Type": "ReceiveDigits", "Parameters": {}}
        self.assertEqual(self.decide(event("DIGITS_RECEIVED", data=digits)).actions, [])

    def test_an_event_with_almost_nothing_in_it_is_survived(self) -> None:
        every = (*sma._ANSWERS, "NO_SUCH_EVENT", None)
        for kind in every:
            odd: list[dict[str, Any]] = [{}, {"CallDetails": {}}, {"CallDetails": None}]
            for rest in odd:
                self.decide({"InvocationEventType": kind, **rest})
        self.decide({})

    def test_legs_may_be_tagged_in_small_letters(self) -> None:
        legs = [leg_a(ParticipantTag="Leg-A"), leg_b(ParticipantTag="Leg-B")]
        happened = update({"Action": "transfer", "Target": "+12065550177"}, legs=legs)
        self.assertEqual(only(self.decide(happened))["CallId"], LEG_B)


class KinesisModeTests(SmaTestCase):
    def test_a_call_from_a_streaming_voice_connector_is_kept_alive(self) -> None:
        decision = self.decide(event("NEW_INBOUND_CALL"), UNBRIDGED)
        # The first sound answers; pauses alone would let it ring.
        self.assertEqual(kinds(decision), ["Speak"] + ["Pause"] * 9)
        decision = self.decide(
            succeeded("Pause", attributes=decision.attributes), UNBRIDGED
        )
        self.assertEqual(kinds(decision), ["Pause"] * 10)

    def test_otherwise_a_voice_connector_is_called_for_its_audio(self) -> None:
        parameters = only(self.decide(event("NEW_INBOUND_CALL"), KINESIS))
        uri = parameters["Endpoints"][0]["Uri"]
        self.assertEqual(uri, source_uri(TRANSACTION, DIALLED))
        self.assertRegex(uri, r"\A[a-zA-Z0-9&=+$/%\-_!~*().]{1,36}\Z")
        padded = uri[:22] + "=="
        raw = base64.urlsafe_b64decode(padded)
        self.assertEqual(raw.hex(), TRANSACTION.replace("-", ""))
        self.assertEqual(uri[22:], DIALLED[1:])

    def test_numbers_that_do_not_fit_are_left_out(self) -> None:
        self.assertEqual(len(source_uri(TRANSACTION, "+123456789012345")), 22)
        self.assertEqual(len(source_uri(TRANSACTION, "+12345678901234")), 36)
        self.assertEqual(source_uri("no uuid", "+1206"), "+1206")

    def play(
        self, keys: str, attributes: dict[str, str], epoch: int = 1, **more: Any
    ) -> Decision:
        arguments = {
            "Action": "play",
            "Bucket": "b",
            "Keys": keys,
            "Epoch": str(epoch),
            "Events": "https://sqs.us-east-1.amazonaws.com/111122223333/events",
        }
        return self.decide(update(arguments, attributes=attributes, **more), UNBRIDGED)

    def test_utterances_are_played_one_after_the_other(self) -> None:
        talking = {"state": "talking"}
        decision = self.play("k1", talking)
        self.assertEqual(only(decision)["AudioSource"]["Key"], "k1")
        # The next comes while the first plays: nothing may cut that short.
        decision = self.play("k2 k3", decision.attributes)
        self.assertIsNone(decision.actions)
        for done, following in (("k1", "k2"), ("k2", "k3")):
            happened = succeeded(
                "PlayAudio", playing(done), attributes=decision.attributes
            )
            decision = self.decide(happened, UNBRIDGED)
            self.assertEqual(only(decision)["AudioSource"]["Key"], following)
            self.assertEqual(
                [(r["Event"], r["Key"]) for r in decision.reports],
                [("played", done), ("playing", following)],
            )
        happened = succeeded("PlayAudio", playing("k3"), attributes=decision.attributes)
        decision = self.decide(happened, UNBRIDGED)
        self.assertEqual(kinds(decision), ["Pause"] * 10)

    def test_a_caller_who_is_sent_on_hears_no_agent(self) -> None:
        for state in ("handing_over", "transferring", "transferred"):
            decision = self.play("k1", {"state": state})
            # Actions would run behind the bridge, and its success be lost.
            self.assertIsNone(decision.actions)
            self.assertNotIn("queue", decision.attributes)

    def test_words_that_come_before_the_bridge_wait_for_it(self) -> None:
        decision = self.play("k1 k2", {"state": "bridging"})
        self.assertIsNone(decision.actions)
        bridged = succeeded("CallAndBridge", attributes=decision.attributes, legs=BOTH)
        decision = self.decide(bridged, KINESIS)
        self.assertEqual(only(decision)["AudioSource"]["Key"], "k1")
        self.assertEqual(decision.attributes["state"], "talking")

    def test_the_same_utterance_is_played_once(self) -> None:
        decision = self.play("k1", {"state": "talking"})
        decision = self.play("k1 k2", decision.attributes)
        decision = self.play("k2", decision.attributes)
        self.assertEqual(decision.attributes["queue"], "k2")

    def test_a_cleared_queue_is_silent_at_once(self) -> None:
        attributes = self.play("k1 k2", {"state": "talking"}).attributes
        cleared = self.decide(
            update({"Action": "clear", "Epoch": "2"}, attributes=attributes), UNBRIDGED
        )
        self.assertEqual(kinds(cleared), ["Pause"] * 10)
        cut = {"Type": "PlayAudio", "Parameters": playing("k1")}
        told = self.decide(
            event("ACTION_INTERRUPTED", data=cut, attributes=cleared.attributes),
            UNBRIDGED,
        )
        self.assertEqual(told.reports[0]["Event"], "interrupted")
        # Said before the interruption, delivered after it.
        late = self.play("k2", cleared.attributes, epoch=1)
        self.assertIsNone(late.actions)
        self.assertEqual(late.attributes["queue"], "")
        after = self.play("k9", cleared.attributes, epoch=2)
        self.assertEqual(only(after)["AudioSource"]["Key"], "k9")

    def test_a_clear_that_is_overtaken_by_new_words_does_not_silence_them(
        self,
    ) -> None:
        attributes = self.play("k1 k2", {"state": "talking"}).attributes
        overtaking = self.play("k9", attributes, epoch=2)
        self.assertEqual(only(overtaking)["AudioSource"]["Key"], "k9")
        late = self.decide(
            update({"Action": "clear", "Epoch": "2"}, attributes=overtaking.attributes),
            UNBRIDGED,
        )
        self.assertIsNone(late.actions)

    def test_bridged_calls_are_interrupted_by_a_short_pause(self) -> None:
        attributes = self.play("k1", {"state": "talking"}, legs=BOTH).attributes
        cleared = self.decide(
            update({"Action": "clear", "Epoch": "2"}, attributes=attributes, legs=BOTH),
            KINESIS,
        )
        self.assertEqual(only(cleared)["DurationInMilliseconds"], 100)
        after = succeeded("Pause", attributes=cleared.attributes, legs=BOTH)
        self.assertEqual(self.decide(after, KINESIS).actions, [])

    def test_an_utterance_that_cannot_be_played_is_passed_over(self) -> None:
        attributes = self.play("k1 k2", {"state": "talking"}).attributes
        happened = failed(
            "PlayAudio",
            "InvalidAudioSource",
            "The specified key does not exist",
            attributes=attributes,
        )
        decision = self.decide(happened, UNBRIDGED)
        self.assertEqual(only(decision)["AudioSource"]["Key"], "k2")
        self.assertEqual(decision.reports[0]["Event"], "failed")
        self.assertEqual(decision.reports[0]["Key"], "k1")

    def test_the_gateway_is_told_when_the_caller_hangs_up(self) -> None:
        attributes = self.play("k1", {"state": "talking"}).attributes
        decision = self.decide(hangup("LEG-A", LEG_A, attributes=attributes), UNBRIDGED)
        self.assertEqual(decision.reports[0]["Event"], "hangup")

    def test_attributes_stay_within_their_limits(self) -> None:
        keys = " ".join(f"replies/{n:0100d}.wav" for n in range(500))
        decision = self.play(keys, {"state": "talking"})
        size = sum(len(k) + len(v) for k, v in decision.attributes.items())
        self.assertLess(size, 20_000)


class SettingsTests(SynchronousTestCase):
    def test_the_environment_is_read_by_its_documented_names(self) -> None:
        environ = {
            "VOICE_CONNECTOR_ARN": VC,
            "FALLBACK_VOICE_CONNECTOR_ARN": OTHER_VC,
            "FALLBACK_NUMBER": "+12065550123",
            "CALLER_ID_NUMBER": "+12065550100",
            "GREETING_TEXT": "Hello",
            "APOLOGY_TEXT": "Sorry",
            "READY_URL": "https://gw.example.com/ready",
            "MODE": "bridge",
        }
        self.assertEqual(list(read_settings(environ)), list(environ.values()))

    def test_what_cannot_work_names_its_variable(self) -> None:
        wrong: list[tuple[dict[str, str], str]] = [
            ({}, "VOICE_CONNECTOR_ARN"),
            ({"MODE": "loud"}, "MODE"),
            ({"VOICE_CONNECTOR_ARN": "x.voiceconnector.chime.aws"}, "ARN"),
            ({"VOICE_CONNECTOR_ARN": VC, "FALLBACK_NUMBER": "911"}, "FALLBACK_NUMBER"),
        ]
        for environ, name in wrong:
            with self.assertRaisesRegex(ValueError, name):
                read_settings(environ)
        self.assertEqual(read_settings({"MODE": "kinesis"}).voice_connector_arn, "")


class HandlerTests(SynchronousTestCase):
    """The function as AWS calls it, and nothing but it in a process."""

    def test_it_needs_the_standard_library_only_and_loads_little(self) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import sma;"
            "heavy = {'botocore', 'twisted', 'attrs', 'urllib.request', 'ssl'};"
            "print(sorted(heavy & set(sys.modules)))"
        )
        folder = str(sma.__file__).rpartition("/")[0]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, folder],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout.strip(), "[]")

    def test_an_answer_is_json_with_version_actions_and_all_attributes(self) -> None:
        with mock.patch.dict("os.environ", {"VOICE_CONNECTOR_ARN": VC}):
            answer = sma.handler(event("NEW_INBOUND_CALL"), None)
        self.assertEqual(json.loads(json.dumps(answer)), answer)
        self.assertEqual(answer["SchemaVersion"], "1.0")
        self.assertEqual(answer["Actions"][0]["Type"], "CallAndBridge")
        self.assertEqual(answer["TransactionAttributes"]["state"], "bridging")

    def test_kept_actions_are_left_out_of_the_answer(self) -> None:
        with (
            mock.patch.dict("os.environ", {"VOICE_CONNECTOR_ARN": VC}),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            answer = sma.handler(update({"Action": "dance"}), None)
        self.assertNotIn("Actions", answer)

    def test_a_queue_that_cannot_be_reached_does_not_hurt_the_call(self) -> None:
        attributes = {
            "state": "talking",
            "playing": "k1",
            "events": "http://127.0.0.1:9/queue",
        }
        environ = {"MODE": "kinesis", "AWS_REGION": "us-east-1"}
        printed = io.StringIO()
        with (
            mock.patch.dict("os.environ", environ),
            contextlib.redirect_stdout(printed),
        ):
            answer = sma.handler(
                succeeded("PlayAudio", playing("k1"), attributes=attributes)
            )
        self.assertEqual(answer["Actions"][0]["Type"], "Pause")
        self.assertIn("was not sent", printed.getvalue())

    def test_reports_go_to_queues_only(self) -> None:
        for url in (
            "http://example.com/q",
            "https://example.com/q",
            "https://example.com/.amazonaws.com/",
            "https://amazonaws.com.example.com/q",
            "file:///etc/passwd",
            "x",
        ):
            with self.assertRaises(OSError):
                sma.send_report(url, {}, {})

    def test_the_signature_is_the_one_that_botocore_makes(self) -> None:
        environ = {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AWS_SESSION_TOKEN": "token/with+signs=",
            "AWS_REGION": "eu-central-1",
        }
        body = b'{"QueueUrl":"https://sqs.eu-central-1.amazonaws.com/1/q"}'
        host = "sqs.eu-central-1.amazonaws.com"
        now = time.gmtime(1_790_000_000)
        ours = sma.sign(host, body, now, environ, "sqs")
        request = AWSRequest(
            "POST",
            f"https://{host}/",
            data=body,
            headers={k: ours[k] for k in ("content-type", "x-amz-target")},
        )
        request.context["timestamp"] = ours["x-amz-date"]
        credentials = Credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ["AWS_SESSION_TOKEN"],
        )
        signer = SigV4Auth(credentials, "sqs", "eu-central-1")
        with mock.patch("botocore.auth.get_current_datetime", create=True) as clock:
            clock.return_value = datetime(*now[:6], tzinfo=UTC)
            signer.add_auth(request)
        found = re.search(r"Signature=(\w+)", request.headers["Authorization"])
        assert found is not None
        self.assertIn(found[1], ours["authorization"])
