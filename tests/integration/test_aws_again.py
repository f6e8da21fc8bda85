"""The set-up command is repeated, with fewer options than before."""

from __future__ import annotations

import copy
import random
from typing import Any

from attrs import evolve

from chime_gateway.aws.removal.destroy import destroy
from chime_gateway.aws.setup.gateway_settings import gateway_settings
from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.provision import apply
from chime_gateway.aws.setup.request import InstallationRequest
from chime_gateway.errors import ConfigError
from tests.integration.aws_harness import NUMBER, AccountTestCase, installation

#: Checks no audio and starts programs, so it may be slow; see tests/run.py.
gives_way = True


class AgainTests(AccountTestCase):
    async def apply(self, wanted: InstallationRequest) -> None:
        await self.run_in_thread(lambda: list(apply(self.cloud, resources(wanted))))

    async def destroy(self, wanted: InstallationRequest) -> None:
        await self.run_in_thread(
            lambda: list(destroy(self.cloud, wanted, is_real=True))
        )

    async def test_changing_the_call_secret_changes_nothing_else(self) -> None:
        """For any installation, even if only its name is given."""
        arn = "arn:aws:chime:us-east-1:111122223333:vc"
        theirs = self.account.chime._create_connector(
            {"Name": "theirs", "RequireEncryption": True}
        )["VoiceConnector"]
        options: dict[str, Any] = {
            "is_encrypted": True,
            "is_outbound": True,
            "voice_connector_id": theirs["VoiceConnectorId"],
            "gateway_role": "gateway-machine",
            "function": {
                "TRANSFER_ALLOW": "+1,sip:",
                "FALLBACK_VOICE_CONNECTOR_ARN": f"{arn}/second",
                "FALLBACK_NUMBER": "+12065550177",
            },
        }
        chooser = random.Random(45)
        for turn in range(4):
            chosen = {
                n: v for n, v in options.items() if turn and chooser.random() < 0.6
            }
            name = f"made-{turn}"
            self.account.chime.numbers[NUMBER] = {"PhoneNumberId": NUMBER}
            made = InstallationRequest(
                **{"region": "us-east-1", "name": name, **chosen}
            )
            made = evolve(made, gateways=installation().gateways, numbers=(NUMBER,))
            await self.apply(made)
            self.environment_of(name)["APOLOGY_TEXT"] = "By hand: ${NOTHING}"
            before = self.state()
            secrets = []
            for what in ("rotate", "rotate", "retire", "retire"):
                bare = InstallationRequest(
                    region="us-east-1", name=name, call_secret=what
                )
                await self.apply(bare)
                told = gateway_settings(bare, self.cloud.references)
                self.assertEqual(list(told), ["CHIMEGW_CALL_SECRET"])
                secrets.append(told["CHIMEGW_CALL_SECRET"])
                environment = self.environment_of(name)
                self.assertEqual(environment["CALL_SECRET"].split(",")[0], secrets[-1])
                self.assertEqual(self.state(), before, chosen)
            self.assertEqual(len(set(secrets)), 1)
            # Repeated with fewer options, lists and the fallback stay.
            less = evolve(made, function={"GREETING_TEXT": "Yes"}, numbers=(NUMBER,))
            await self.apply(less)
            found = self.environment_of(name)
            for variable, value in made.function.items():
                self.assertEqual(found[variable], value)
            told = gateway_settings(less, self.cloud.references)
            self.assertEqual(
                "second" in told["CHIMEGW_VOICE_CONNECTORS"], bool(made.function)
            )
            await self.destroy(made)

    async def test_a_list_that_conflicts_with_a_variable_is_not_written(
        self,
    ) -> None:
        """A Lambda with conflicting settings would answer no call."""
        await self.apply(
            installation(mode="bridge", function={"FALLBACK_NUMBER": "+12065550177"})
        )
        before = self.environment_of("chimegw")
        with self.assertRaisesRegex(ConfigError, "FALLBACK_NUMBER.*TRANSFER_ALLOW"):
            await self.apply(
                installation(mode="bridge", function={"TRANSFER_ALLOW": "+49"})
            )
        self.assertEqual(self.environment_of("chimegw"), before)

    async def test_changing_a_missing_call_secret_is_refused(self) -> None:
        for what in ("rotate", "retire"):
            with self.assertRaisesRegex(ConfigError, "aws apply"):
                await self.apply(installation(call_secret=what))
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    def environment_of(self, name: str) -> dict[str, str]:
        configuration = self.account.functions.functions[f"{name}-sma"]["configuration"]
        variables: dict[str, str] = configuration["Environment"]["Variables"]
        return variables

    def state(self) -> str:
        """Return the whole state of the account, without the secret."""
        account = self.account
        functions = copy.deepcopy(account.functions.functions)
        for function in functions.values():
            function["configuration"]["Environment"]["Variables"].pop("CALL_SECRET", "")
            del function["configuration"]["LastModified"]
        chime = account.chime
        parts = (functions, chime.connectors, chime._of_connector, chime.rules)
        return repr((*parts, account.iam.policies, account.iam.roles, account.left()))
