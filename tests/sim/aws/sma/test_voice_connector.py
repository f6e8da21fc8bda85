"""The headers that AWS adds to a bridge."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.aws.sma.rules import InvalidAction, check_action
from chime_gateway.sim.aws.sma.voice_connector import invite_headers
from tests.support.lambda_events import CALLER, DIALLED, VC


class InviteHeaderTests(SynchronousTestCase):
    def test_headers_are_unchanged_and_aws_adds_its_own(self) -> None:
        found = invite_headers(VC, {"X-Gw-Auth": "v1.1.x"})
        self.assertEqual(found.pop("X-Gw-Auth"), "v1.1.x")
        self.assertEqual(found["X-Amzn-TargetArn"], VC)
        self.assertEqual(found["X-VoiceConnector-ID"], "abcdef1ghij2klmno3pqr4")

    def test_headers_that_aws_adds_cannot_be_set(self) -> None:
        """Except the loop guard, whose prefix is not reserved."""
        endpoint = {"BridgeEndpointType": "AWS", "Arn": VC, "Uri": DIALLED}
        for name, value in invite_headers(VC, {}).items():
            parameters = {
                "CallerIdNumber": CALLER,
                "Endpoints": [endpoint],
                "SipHeaders": {name: value},
            }
            action = {"Type": "CallAndBridge", "Parameters": parameters}
            if name != "X-SMA-Max-Forwards":
                with self.assertRaises(InvalidAction):
                    check_action(action, owned=frozenset(), caller=CALLER)
