"""The simulated SIP media application refuses what the real one refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.aws.sma.rules import InvalidAction, check_action, fault_of
from tests.sim.aws.sma.answers import CALLER, OWNED, VC, action, answer, bridge, pause


class ActionRuleTests(SynchronousTestCase):
    def refused(self, wrong: Mapping[str, Any], words: str) -> None:
        with self.assertRaisesRegex(InvalidAction, words):
            check_action(wrong, owned=frozenset({OWNED}), caller=CALLER)

    def test_valid_actions_pass(self) -> None:
        source = {"Type": "S3", "BucketName": "b", "Key": "k"}
        for good in (
            bridge(),
            bridge(CallerIdNumber=OWNED, SipHeaders={"X-A": "1", "Diversion": "x"}),
            bridge(Endpoints=[{"BridgeEndpointType": "PSTN", "Uri": "+4930123456"}]),
            pause(),
            action("Hangup", ParticipantTag="LEG-B", SipResponseCode="480"),
            action("Speak", CallId="a", Text="Hello"),
            action("PlayAudio", CallId="a", AudioSource=source),
        ):
            check_action(good, owned=frozenset({OWNED}), caller=CALLER)

    def test_invalid_bridges_are_refused(self) -> None:
        host = {"BridgeEndpointType": "AWS", "Arn": "x.voiceconnector.chime.aws"}
        self.refused(bridge(Endpoints=[]), "number of endpoints")
        self.refused(bridge(Endpoints=[{**host, "Uri": "a"}]), "Endpoint parameter")
        nested = {"BridgeEndpointType": "AWS", "Arn": VC, "Uri": "a", "SipHeaders": {}}
        self.refused(bridge(Endpoints=[nested]), "Endpoint parameter")
        self.refused(bridge(CallerIdNumber=""), "Caller ID not defined")
        self.refused(bridge(CallerIdNumber="anonymous"), "Invalid caller ID")
        self.refused(bridge(CallerIdNumber="+12065559999"), "must be owned")
        self.refused(bridge(CallTimeoutSeconds=121), "MaxCallTimeout")
        for name in ("X-Vine-A", "x-amzn-b", "X-VoiceConnector-ID", "From"):
            self.refused(bridge(SipHeaders={name: "1"}), f"provided: {name}")
        self.refused(bridge(SipHeaders={"X-A": "x" * 2049}), "Invalid SIP header")
        many = {f"X-{n}": "1" for n in range(21)}
        self.refused(bridge(SipHeaders=many), "too many")

    def test_other_invalid_actions_are_refused(self) -> None:
        self.refused(pause(99), "DurationInMilliseconds")
        self.refused(pause(30_001), "DurationInMilliseconds")
        self.refused(action("Pause", DurationInMilliseconds=100), "ParticipantTag")
        self.refused(action("Speak", CallId="a", Text="x" * 1001), "Text")
        self.refused(action("Speak", Text="x"), "CallId")
        self.refused(
            action("Hangup", CallId="a", SipResponseCode="503"), "ResponseCode"
        )
        self.refused(action("PlayAudio", CallId="a"), "Invalid audio source")

    def test_invalid_responses_are_refused(self) -> None:
        for wrong, words in (
            (None, "blank"),
            ({}, "blank"),
            (answer(*[pause()] * 11), "Too many actions"),
            (answer(action("Dance")), "Unsupported action"),
            ({"SchemaVersion": "1.0", "Actions": "x"}, "reading actions"),
            (answer(), "Actions list is empty"),
            (answer(pause(), TransactionAttributes={"a": 1}), "attributes"),
            (answer(pause(), TransactionAttributes={"a": "x" * 20_001}), "too large"),
        ):
            self.assertIn(words, str(fault_of(wrong, "NEW_INBOUND_CALL")))
        self.assertIsNone(fault_of(answer(), "HANGUP"))
        self.assertIsNone(fault_of({"SchemaVersion": "1.0"}, "CALL_UPDATE_REQUESTED"))
