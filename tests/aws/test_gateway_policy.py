"""The permissions that the set-up command grants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.setup.function import function_environment
from chime_gateway.aws.setup.installation import gateway_statements
from chime_gateway.aws.setup.request import InstallationRequest
from chime_gateway.aws.sma import read_settings
from chime_gateway.cli.aws.commands import ApplyOptions
from tests.support.lambda_events import VC

MODES = st.sampled_from(("bridge", "kinesis"))


class GatewayPolicyTests(SynchronousTestCase):
    @given(MODES, st.booleans())
    def test_outbound_calls_are_permitted_only_on_request(
        self, mode: str, is_outbound: bool
    ) -> None:
        installation = InstallationRequest(
            region="us-east-1", mode=mode, is_outbound=is_outbound
        )
        allowed: set[str] = set()
        for statement in gateway_statements(installation):
            actions = statement["Action"]
            allowed.update([actions] if isinstance(actions, str) else actions)
            self.assertNotIn("*", allowed)
        self.assertIn("chime:UpdateSipMediaApplicationCall", allowed)
        create = "chime:CreateSipMediaApplicationCall"
        self.assertEqual(create in allowed, is_outbound)

    def test_the_command_has_an_option_for_outbound_calls(self) -> None:
        for words, is_outbound in ((["--outbound"], True), ([], False)):
            options = ApplyOptions()
            options.parseOptions(["--region", "us-east-1", *words])
            self.assertEqual(options.installation().is_outbound, is_outbound)

    def test_the_lambda_gets_transfer_limits_and_the_reports_queue(
        self,
    ) -> None:
        options = ApplyOptions()
        words = ["--region", "us-east-1", "--mode", "kinesis"]
        options.parseOptions([*words, "--transfer-allow", "+49,sip:"])
        environ = function_environment(options.installation())
        for name, value in environ.items():
            for key, known in (("VOICE_CONNECTOR_ARN", VC), ("ACCOUNT_ID", "1234")):
                value = value.replace(f"${{{key}}}", known)
            environ[name] = value
        settings = read_settings({k: v for k, v in environ.items() if "${" not in v})
        self.assertEqual(settings.allowed, ["+49", "sip:"])
        queues = "https://sqs.us-east-1.amazonaws.com/1234/chimegw-events-"
        self.assertTrue(settings.is_our_queue(f"{queues}gw-1"))
        self.assertFalse(settings.is_our_queue(queues.replace("1234", "9999") + "gw"))
