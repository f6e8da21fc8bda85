"""Setting up AWS, over HTTP, against an account made from botocore's models."""

from __future__ import annotations

import json
import logging
import os
from typing import Any
from unittest import mock

from chime_gateway.aws.inspection.inventory import plan
from chime_gateway.aws.removal.destroy import destroy
from chime_gateway.aws.setup.cloud import Refused
from chime_gateway.aws.setup.commands import script
from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.provision import apply
from chime_gateway.aws.setup.request import InstallationRequest
from chime_gateway.errors import ConfigError
from chime_gateway.sim.aws.protocol import Fault, Operation
from tests.integration.aws_harness import (
    NUMBER,
    AccountTestCase,
    actions,
    installation,
    states,
)

#: Checks no audio and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 34

READS = ("Get", "List", "Describe", "Head", "Search")


class EachOnce:
    """Refuses the first attempt of every operation that changes something."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.refused: list[str] = []

    def __call__(self, operation: Operation) -> Fault | None:
        what = f"{operation.name} {sorted(operation.parameters.items(), key=str)}"
        if operation.name.startswith(READS) or what in self.refused:
            return None
        self.refused.append(what)
        return self.fault


class SetupTests(AccountTestCase):
    async def apply(self, wanted: InstallationRequest | None = None) -> list[Any]:
        found: list[Any] = await self.run_in_thread(
            lambda: list(apply(self.cloud, resources(wanted or installation())))
        )
        return found

    async def plan(self, wanted: InstallationRequest | None = None) -> list[Any]:
        found: list[Any] = await self.run_in_thread(
            lambda: list(
                plan(
                    self.cloud,
                    wanted or installation(),
                    resources(wanted or installation()),
                )
            )
        )
        return found

    async def destroy(self, wanted: InstallationRequest | None = None) -> list[Any]:
        asked = wanted or installation()
        found: list[Any] = await self.run_in_thread(
            lambda: list(destroy(self.cloud, asked, is_real=True, with_buckets=True))
        )
        return found

    async def test_apply_and_destroy_leave_nothing_and_may_be_repeated(self) -> None:
        before = self.account.left()
        for _ in range(2):
            planned = await self.plan()
            missing = [c.what for c in planned if c.state == "missing"]
            self.assertEqual(self.account.left(), before)
            applied = await self.apply()
            made = [c.what for c in applied if c.action == "create"]
            self.assertEqual(made, missing)
            self.assertGreater(len(made), 8)
            self.assertEqual(states(await self.plan()), {"ok"})
            self.assertEqual(actions(await self.apply()), {"keep"})
            # A file of a call that just ended does not prevent the bucket's removal.
            (bucket,) = self.account.files.buckets.values()
            bucket["replies/x.wav"] = b"RIFF"
            # The queue of a gateway that died is removed as well.
            self.account.queues._create(
                {"QueueName": "chimegw-events-1", "tags": {"chime-gateway": "events"}}
            )
            removed = await self.destroy()
            kept = [c.what for c in removed if c.action != "delete"]
            self.assertEqual(kept, [f"telephone number {NUMBER}"])
            self.assertEqual(self.account.left(), before)
            self.assertEqual(await self.destroy(), [])

    async def test_a_run_that_is_refused_anywhere_is_just_begun_again(self) -> None:
        fault = Fault("AccessDeniedException", "not authorized", 403)
        trouble = self.account.aws.fault_plan = EachOnce(fault)
        runs = 0
        while True:
            runs += 1
            self.assertLess(runs, 100)
            try:
                await self.apply()
            except Refused as exc:
                self.assertIn("\n  allow ", str(exc))
            else:
                break
        self.assertEqual(runs, len(trouble.refused) + 1)
        self.assertGreater(runs, 25)
        self.assertEqual(states(await self.plan()), {"ok"})
        # To remove goes on with what does not need what was refused.
        trouble = self.account.aws.fault_plan = EachOnce(fault)
        runs = 0
        while True:
            runs += 1
            self.assertLess(runs, 20)
            blocked = [c for c in await self.destroy() if c.action == "blocked"]
            if not blocked:
                break
            for change in blocked:
                self.assertRegex(change.detail, r"\n  allow \w+:|needed by ")
        self.assertGreater(len(trouble.refused), 15)
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_a_refusal_names_the_permission_that_is_missing(self) -> None:
        def denied(operation: Operation) -> Fault | None:
            if operation.name == "CreateVoiceConnector":
                return Fault("AccessDeniedException", "no", 403)
            return None

        self.account.aws.fault_plan = denied
        with self.assertRaises(Refused) as caught:
            await self.apply()
        self.assertIn("allow chime:CreateVoiceConnector", str(caught.exception))

    async def test_expired_credentials_are_reported(self) -> None:
        expired = Fault("ExpiredTokenException", "The token has expired", 403)
        self.account.aws.fault_plan = lambda operation: expired
        with self.assertRaises(Refused) as caught:
            await self.apply()
        self.assertIn("log in again", str(caught.exception))

    async def test_throttling_and_a_new_role_are_waited_for(self) -> None:
        seen: list[str] = []
        faults = {
            "CreateVoiceConnector": Fault("ThrottledClientException", "slow", 429),
            "CreateFunction": Fault(
                "InvalidParameterValueException",
                "The role defined for the function cannot be assumed by Lambda.",
            ),
            "UpdateFunctionCode": Fault(
                "ResourceConflictException",
                "The operation cannot be performed at this time. An update is in"
                " progress for resource",
                409,
            ),
        }

        def once(operation: Operation) -> Fault | None:
            if operation.name in seen:
                return None
            seen.append(operation.name)
            return faults.get(operation.name)

        self.account.aws.fault_plan = once
        await self.apply()
        configuration = self.account.functions.functions["chimegw-sma"]["configuration"]
        configuration["CodeSha256"] = "old"
        changes = await self.apply()
        self.assertEqual([c.detail for c in changes if c.action == "set"], ["code"])
        self.assertTrue(set(faults) <= set(seen))

    async def test_manual_changes_are_corrected(self) -> None:
        await self.apply()
        chime = self.account.chime
        (connector_id,) = chime.connectors
        route = {"Host": "203.0.113.9", "Port": 5060, "Protocol": "UDP"}
        chime._of_connector[connector_id, "Origination"] = {"Routes": [route]}
        (rule,) = chime.rules.values()
        rule["Disabled"] = True
        policy = next(iter(self.account.iam.policies.values()))
        policy["versions"]["v1"] = '{"Statement":[{"Effect":"Allow","Action":"*"}]}'
        for _ in range(7):  # more often than a policy can have versions
            changes = await self.apply()
            self.assertIn("set", actions(changes))
            policy["versions"][policy["default"]] = '{"Statement":[]}'
        await self.apply()
        self.assertEqual(states(await self.plan()), {"ok"})
        self.assertFalse(rule["Disabled"])

    async def test_an_existing_connector_is_configured_and_never_removed(self) -> None:
        made = self.account.chime._create_connector(
            {"Name": "theirs", "RequireEncryption": False}
        )
        connector_id = made["VoiceConnector"]["VoiceConnectorId"]
        wanted = installation(voice_connector_id=connector_id)
        await self.apply(wanted)
        self.assertEqual(list(self.account.chime.connectors), [connector_id])
        variables = self.account.functions.functions["chimegw-sma"]["configuration"]
        arn = variables["Environment"]["Variables"]["VOICE_CONNECTOR_ARN"]
        self.assertEqual(arn, made["VoiceConnector"]["VoiceConnectorArn"])
        kept = [c for c in await self.destroy(wanted) if c.action == "keep"]
        self.assertEqual(
            [c.what for c in kept],
            [f"Voice Connector {connector_id}", f"telephone number {NUMBER}"],
        )
        self.assertEqual(list(self.account.chime.connectors), [connector_id])

    async def test_an_unknown_connector_is_not_created(self) -> None:
        wanted = installation(voice_connector_id="abcdef1ghij2klmno3pqr4")
        with self.assertRaisesRegex(ConfigError, "--voice-connector-id abcdef"):
            await self.apply(wanted)

    async def test_a_resource_without_the_tag_is_left_alone(self) -> None:
        await self.apply()
        self.account.functions.functions["chimegw-sma"]["tags"].clear()
        (found,) = [item for item in await self.plan() if item.what == "Lambda"]
        self.assertEqual(found.state, "foreign")
        changes = await self.destroy()
        kept = [c.what for c in changes if c.action == "keep"]
        self.assertIn("Lambda chimegw-sma", kept)
        self.assertEqual(list(self.account.functions.functions), ["chimegw-sma"])
        # What it needs to answer is there as well.
        self.assertIn("role chimegw-sma-us-east-1", self.account.left())

    async def test_two_installations_live_side_by_side(self) -> None:
        other = installation(name="second", numbers=(), order=(), termination_user="")
        await self.apply()
        await self.apply(other)
        self.assertEqual(len(self.account.chime.connectors), 2)
        await self.destroy(other)
        self.assertEqual(states(await self.plan()), {"ok"})

    async def test_numbers_are_bought_only_with_a_confirmation(self) -> None:
        wanted = installation(confirms_order=False, numbers=())
        changes = await self.apply(wanted)
        (asked,) = [c for c in changes if c.action == "confirm"]
        self.assertIn("--confirm-order", asked.detail)
        self.assertEqual(self.account.chime.numbers, {})

    async def test_a_number_that_is_not_confirmed_has_no_rule(self) -> None:
        second = "+12065550101"
        wanted = installation(
            mode="bridge",
            confirms_order=False,
            order=(NUMBER, second),
            numbers=(NUMBER, second),
        )
        changes = await self.apply(wanted)
        asked = [c.what for c in changes if c.action == "confirm"]
        self.assertEqual(len(asked), 2)
        self.assertEqual(self.account.chime.rules, {})

    async def test_numbers_may_belong_to_the_voice_connector_itself(self) -> None:
        wanted = installation(mode="bridge", is_direct=True, gateway_role="")
        with self.assertRaisesRegex(ConfigError, "--order"):
            await self.apply(installation(mode="bridge", is_direct=True, order=()))
        self.assertTrue({"create", "set"} <= actions(await self.apply(wanted)))
        self.assertEqual(states(await self.plan(wanted)), {"ok"})
        self.assertEqual(self.account.functions.functions, {})
        number = self.account.chime.numbers[NUMBER]
        (connector_id,) = self.account.chime.connectors
        self.assertEqual(number["Associations"][0]["Value"], connector_id)
        await self.destroy(wanted)
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_secrets_are_not_shown(self) -> None:
        changes = await self.apply()
        text = "\n".join(map(str, changes)) + "\n".join(
            script(installation(), resources(installation()))
        )
        self.assertNotIn("secret-of-the-trunk", text + repr(installation()))

    async def test_the_call_secret_is_made_once_and_shown_nowhere(self) -> None:
        wanted = installation(mode="bridge")
        told = [*await self.plan(wanted), *await self.apply(wanted)]
        functions = self.account.functions.functions
        variables = functions["chimegw-sma"]["configuration"]["Environment"]
        secret = variables["Variables"]["CALL_SECRET"]
        self.assertRegex(secret, "[0-9a-f]{64}")
        self.assertEqual(actions(await self.apply(wanted)), {"keep"})
        self.assertEqual(self.cloud.references["CALL_SECRET"], secret)
        # A Lambda without a secret gets one, and keeps its other variables.
        del variables["Variables"]["CALL_SECRET"]
        changed = await self.plan(wanted)
        self.assertEqual([c.what for c in changed if c.state == "differs"], ["Lambda"])
        told += [*changed, *await self.apply(wanted)]
        again = functions["chimegw-sma"]["configuration"]["Environment"]["Variables"]
        self.assertNotIn(again["CALL_SECRET"], ("", secret))
        for one in (secret, again["CALL_SECRET"]):
            self.assertNotIn(one, "".join(map(str, told)))

    async def test_the_policies_allow_what_is_needed_and_no_more(self) -> None:
        await self.apply()
        policy = next(iter(self.account.iam.policies.values()))
        statements = json.loads(policy["versions"]["v1"])["Statement"]
        for statement in statements:
            self.assertNotEqual(statement["Resource"], "*")
            for action in statement["Action"]:
                self.assertNotIn("*", action)

    async def test_the_simulated_account_agrees_with_moto(self) -> None:
        """Use moto for all operations that it has, the simulated account for others."""
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self.addCleanup(server.stop)
        _, port = server.get_host_and_port()
        here = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ENDPOINT_URL_CHIME_SDK_VOICE": f"http://127.0.0.1:{self.port}",
            # moto does not speak its newest protocol.
            "AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API": (
                f"http://127.0.0.1:{self.port}"
            ),
        }
        self.account.functions.has = lambda arn: True  # type: ignore[method-assign]
        with mock.patch.dict(os.environ, here):
            self.cloud = self.new_cloud()
            wanted = installation(gateway_role="")
            self.assertTrue({"create", "set"} <= actions(await self.apply(wanted)))
            self.assertEqual(states(await self.plan(wanted)), {"ok"})
            removed = await self.destroy(wanted)
            kept = [c.what for c in removed if c.action != "delete"]
            self.assertEqual(kept, [f"telephone number {NUMBER}"])
            self.assertEqual(states(await self.plan(wanted)), {"ok", "missing"})
            self.assertEqual(await self.destroy(wanted), [])
