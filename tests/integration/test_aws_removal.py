"""
An installation is taken away by its tag, whatever it was made with and wherever a run
broke off.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chime_gateway.aws.inspection.inventory import plan
from chime_gateway.aws.removal.destroy import destroy
from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.provision import Change, apply
from chime_gateway.aws.setup.request import InstallationRequest
from chime_gateway.aws.setup.resource import Request
from chime_gateway.sim.aws.protocol import Fault, Operation
from tests.integration.aws_harness import NUMBER, AccountTestCase, installation, states

#: Programs are not started here, but a thread and the reactor take turns.
seconds = 60

OTHER_NUMBER = "+12065550101"

#: AWS would have said that something else has to go first.
_ORDER = ("Conflict", "NotEmpty", "it has targets")


class Interrupted(Exception):
    """The operator's machine has lost its power."""


class BreakingCloud(Cloud):
    """
    @ivar left: requests until it breaks.
    @ivar is_answer_lost: what it breaks at was done, and nobody heard of it.
    """

    left = 10**9
    is_answer_lost = False

    def _ask_once(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        self.left -= 1
        if self.left < 0 and not self.is_answer_lost:
            raise Interrupted
        answer = super()._ask_once(request, more)
        if self.left < 0:
            raise Interrupted
        return answer


def some_installation(chooser: random.Random) -> InstallationRequest:
    """An operator's wishes."""
    is_direct = chooser.random() < 0.3
    mode = "bridge" if is_direct or chooser.random() < 0.4 else "kinesis"
    numbers = (NUMBER, OTHER_NUMBER)[: chooser.randint(0, 2)]
    return installation(
        region=REGION,
        mode=mode,
        is_direct=is_direct,
        numbers=numbers,
        order=numbers,
        gateway_role="gateway-machine" if chooser.random() < 0.5 else "",
        termination_user="gateway" if chooser.random() < 0.5 else "",
    )


REGION = "eu-central-1"


class RemovalTests(AccountTestCase):
    """A region of which nothing is the default."""

    region = REGION

    def new_cloud(self) -> BreakingCloud:
        cloud = BreakingCloud(REGION, sleep=lambda seconds: None)
        self.clouds.append(cloud)
        return cloud

    async def apply(self, wanted: InstallationRequest) -> list[Change]:
        found: list[Change] = await self.run_in_thread(
            lambda: list(apply(self.cloud, resources(wanted)))
        )
        return found

    async def plan(self, wanted: InstallationRequest) -> list[Any]:
        found: list[Any] = await self.run_in_thread(
            lambda: list(plan(self.cloud, wanted, resources(wanted)))
        )
        return found

    async def destroy(
        self, wanted: InstallationRequest | None = None, **how: Any
    ) -> list[Change]:
        """@param wanted: C{None}: nothing but its name and region are known."""
        asked = wanted or InstallationRequest(region=REGION)
        how = {"is_real": True, "with_buckets": True, **how}
        found: list[Change] = await self.run_in_thread(
            lambda: list(destroy(self.cloud, asked, **how))
        )
        return found

    @contextmanager
    def breaking(self, chooser: random.Random, most: int) -> Iterator[None]:
        """Somewhere in the requests of a run."""
        assert isinstance(self.cloud, BreakingCloud)
        self.cloud.left = chooser.randint(0, most)
        self.cloud.is_answer_lost = chooser.random() < 0.5
        try:
            yield
        except Interrupted:
            pass
        finally:
            self.cloud.left = 10**9

    def changed_by_hand(self, chooser: random.Random) -> None:
        """What is renamed in the console stays ours."""
        chime = self.account.chime
        for one in (*chime.connectors.values(), *chime.applications.values()):
            if one["Name"] != "theirs" and chooser.random() < 0.5:
                one["Name"] = "renamed"
        for name, bucket in self.account.files.buckets.items():
            if (name, "tags") not in self.account.buckets.settings:
                continue  # made a moment ago
            for n in range(chooser.randint(0, 4)):
                bucket[f"replies/{n}.wav"] = b"RIFF"
        self.account.buckets.page = 2
        if self.account.functions.functions and chooser.random() < 0.5:
            queue = {"QueueName": "chimegw-events-0123456789abcdef"}
            tags = {"chime-gateway": "events"}
            self.account.queues._create({**queue, "tags": tags})

    def strangers(self) -> None:
        """Things of others, with names and tags as near ours as may be."""
        account = self.account
        account.queues._create(
            {"QueueName": "second-events-0a", "tags": {"chime-gateway": "events"}}
        )
        account.queues._create(
            {"QueueName": "chimegw-x", "tags": {"chime-gateway": "second"}}
        )
        account.logs._create({"logGroupName": "/aws/lambda/chimegw-sma-old"})
        trust = {"AssumeRolePolicyDocument": '{"Statement":[]}'}
        tags = [{"Key": "chime-gateway", "Value": "chimegw"}]
        name = {"RoleName": "chimegw-sma-us-east-1"}
        account.iam._create_role({**name, **trust, "Tags": tags})
        account.chime._create_connector(
            {"Name": "theirs", "RequireEncryption": True, "AwsRegion": REGION}
        )

    def state(self) -> str:
        """All that there is."""
        account = self.account
        chime, iam = account.chime, account.iam
        parts = (chime.connectors, chime.applications, chime.rules, chime.groups)
        more = (iam.roles, iam.policies, account.functions.functions)
        rest = (account.events.rules, account.logs.groups, account.files.buckets)
        numbers = {n: v.get("Associations") for n, v in chime.numbers.items()}
        queues = {name: queue.tags for name, queue in account.queues.queues.items()}
        return repr(copy.deepcopy((*parts, *more, *rest, queues, numbers)))

    async def test_nothing_of_ours_is_left_and_nothing_of_others_is_touched(
        self,
    ) -> None:
        self.strangers()
        account = self.account
        before = self.state()
        refused = self.watch_refusals()
        for seed in range(8):
            chooser = random.Random(seed)
            wanted = some_installation(chooser)
            with self.subTest(seed=seed):
                if chooser.random() < 0.5:
                    with self.breaking(chooser, 60):
                        await self.apply(wanted)
                else:
                    await self.apply(wanted)
                    self.assertEqual(states(await self.plan(wanted)), {"ok"})
                self.changed_by_hand(chooser)
                stale = dict(account._tagged()) if chooser.random() < 0.5 else {}
                account.tagging.stale = stale if chooser.random() < 0.5 else None
                now = self.state()
                told = await self.destroy(is_real=False)
                self.assertEqual(self.state(), now)
                with self.breaking(chooser, 80):
                    await self.destroy()
                await self.destroy()
                left = {
                    number: dict(one) for number, one in account.chime.numbers.items()
                }
                self.assertEqual(
                    [one for one in left.values() if one.get("Associations")], []
                )
                account.chime.numbers.clear()
                account.chime.for_sale = [NUMBER, OTHER_NUMBER]
                self.assertEqual(self.state(), before, list(map(str, told)))
                self.assertEqual(refused, [])
                account.tagging.stale = None
                again = await self.destroy()
                self.assertEqual([str(change) for change in again], [])

    def watch_refusals(self) -> list[str]:
        """@return: refusals for the order in which things were asked to go."""
        found: list[str] = []

        def watched(name: str, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def answered(parameters: Any) -> Any:
                try:
                    return answer(parameters)
                except Fault as fault:
                    text = f"{fault.code} {fault.message}"
                    if any(one in text for one in _ORDER):
                        found.append(f"{name}: {text}")
                    raise

            return answered

        for service, operations in self.account.services.items():
            self.account.services[service] = {
                name: watched(name, answer) for name, answer in operations.items()
            }
        return found

    async def test_what_is_told_in_the_rehearsal_is_what_is_done(self) -> None:
        for seed in range(3):
            await self.apply(some_installation(random.Random(100 + seed)))
            told = await self.destroy(is_real=False)
            done = await self.destroy()
            self.assertEqual(list(map(str, told)), list(map(str, done)))
            self.account.chime.numbers.clear()
            self.account.chime.for_sale = [NUMBER, OTHER_NUMBER]

    async def test_the_dependent_goes_before_what_it_depends_on(self) -> None:
        await self.apply(installation(region=REGION))
        self.account.aws.asked.clear()
        await self.destroy()
        order = [
            *("DeleteSipRule", "DeleteSipMediaApplication", "DeleteRule"),
            "DeleteVoiceConnectorTerminationCredentials",
            "DeleteVoiceConnectorStreamingConfiguration",
            "DeleteVoiceConnectorTermination",
            *("DeleteVoiceConnectorOrigination", "DeleteVoiceConnector"),
            *("DeleteFunction", "DeleteLogGroup", "DeleteRole", "DeleteQueue"),
            *("DeleteQueue", "DeleteBucket", "DetachRolePolicy", "DeletePolicy"),
        ]
        asked = [one.name for one in self.account.aws.asked if one.name in order]
        self.assertEqual(asked, order)

    async def test_what_others_need_stays_and_says_so(self) -> None:
        wanted = installation(region=REGION)
        await self.apply(wanted)
        chime = self.account.chime
        (application_id,) = chime.applications
        target = {"SipMediaApplicationId": application_id, "Priority": 1}
        chime.numbers[OTHER_NUMBER] = {"PhoneNumberId": OTHER_NUMBER}
        rule = chime._create_rule(
            {
                "Name": "by hand",
                "TriggerType": "ToPhoneNumber",
                "TriggerValue": OTHER_NUMBER,
                "TargetApplications": [{**target, "AwsRegion": REGION}],
            }
        )["SipRule"]
        told = {change.what: change for change in await self.destroy()}
        self.assertEqual(told["SIP rule by hand"].action, "keep")
        stays = "needed by SIP media application chimegw-sma"
        application = told["SIP media application chimegw-sma"]
        self.assertEqual(application.action, "blocked")
        self.assertEqual(application.detail, "needed by SIP rule by hand")
        self.assertEqual(told["Lambda chimegw-sma"].detail, stays)
        self.assertEqual(list(chime.rules), [rule["SipRuleId"]])
        (connector_id,) = chime.connectors
        self.assertTrue(self.account.functions.functions)
        # When nobody needs it any more, the next run goes on; but for a group.
        chime.rules.clear()
        items = [{"VoiceConnectorId": connector_id, "Priority": 1}]
        chime._create_group({"Name": "both", "VoiceConnectorItems": items})
        blocked = [c for c in await self.destroy() if c.action == "blocked"]
        self.assertEqual(len(blocked), 1)
        self.assertIn("in the Voice Connector group both", blocked[0].detail)
        chime.groups.clear()
        await self.destroy()
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_a_bucket_goes_only_if_it_is_said(self) -> None:
        await self.apply(installation(region=REGION))
        (bucket,) = self.account.files.buckets
        told = await self.destroy(with_buckets=False)
        (kept,) = [c for c in told if c.what == f"bucket {bucket}"]
        self.assertEqual(kept.action, "keep")
        self.assertIn("--delete-buckets", kept.detail)
        self.assertEqual(list(self.account.files.buckets), [bucket])
        # One that cannot be emptied is told of once, not emptied for ever.
        self.account.files.buckets[bucket]["held"] = b"x"
        self.account.buckets.locked.add("held")
        (change,) = await self.destroy()
        self.assertEqual(change.action, "blocked")
        self.assertIn("AccessDenied", change.detail)
        self.account.buckets.locked.clear()
        (change,) = await self.destroy()
        self.assertEqual(change.action, "delete")

    async def test_what_cloudformation_made_is_left_to_it(self) -> None:
        await self.apply(installation(region=REGION, mode="bridge"))
        function = self.account.functions.functions["chimegw-sma"]
        function["tags"]["aws:cloudformation:stack-name"] = "telephony"
        told = {change.what: change for change in await self.destroy()}
        self.assertEqual(
            told["Lambda chimegw-sma"].detail,
            "it belongs to the CloudFormation stack telephony",
        )

    async def test_the_plan_has_a_line_for_each_thing(self) -> None:
        """Also for what was asked for once and is no more, and for what is not ours."""
        chime = self.account.chime
        # The name is somebody else's already; ours is known by its tag.
        theirs = chime._create_connector(
            {"Name": "chimegw-vc", "RequireEncryption": True, "AwsRegion": REGION}
        )["VoiceConnector"]
        wanted = installation(region=REGION)
        before = {item.what: item for item in await self.plan(wanted)}
        self.assertEqual(before["Voice Connector"].state, "foreign")
        self.assertIn("apply would set: ", before["Voice Connector"].detail)
        chime.connectors.clear()
        await self.apply(wanted)
        chime.connectors[theirs["VoiceConnectorId"]] = theirs
        self.assertEqual(states(await self.plan(wanted)), {"ok"})
        (rule,) = chime.rules.values()
        rule["Disabled"] = True
        self.account.events.rules.clear()
        self.account.functions.functions["chimegw-sma"]["tags"].clear()
        less = installation(region=REGION, mode="bridge", termination_user="")
        found = {item.what: item for item in await self.plan(less)}
        self.assertEqual(found[f"SIP rule for {NUMBER}"].state, "differs")
        self.assertEqual(found["Lambda"].state, "foreign")
        self.assertEqual(found["queue chimegw-notices"].state, "extra")
        self.assertEqual(found["log group of the Lambda"].state, "ok")
        self.assertEqual(
            {item.what for item in await self.plan(wanted) if item.state == "missing"},
            {"event rule"},
        )

    async def test_a_number_that_is_not_there_is_missing_and_says_how_to_get_it(
        self,
    ) -> None:
        wanted = installation(region=REGION, order=(), mode="bridge")
        (item,) = [
            item
            for item in await self.plan(wanted)
            if item.what == f"telephone number {NUMBER}"
        ]
        self.assertEqual(item.state, "missing")
        self.assertIn(f"--order {NUMBER} --confirm-order", item.detail)

    async def test_expired_credentials_end_it_at_once(self) -> None:
        await self.apply(installation(region=REGION))
        expired = Fault("ExpiredTokenException", "The token has expired", 403)

        def fault(operation: Operation) -> Fault | None:
            return expired if operation.name.startswith("Delete") else None

        self.account.aws.fault_plan = fault
        with self.assertRaisesRegex(Exception, "log in again"):
            await self.destroy()
