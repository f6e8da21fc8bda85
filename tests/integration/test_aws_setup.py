"""Setting AWS up, over HTTP, against an account that obeys botocore's models."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from chime_gateway.aws.package import package_lambda
from chime_gateway.aws.setup.commands import script
from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.probes import from_here
from chime_gateway.aws.setup.provision import Refused, apply, destroy, plan
from chime_gateway.aws.setup.request import Gateway, Wishes
from chime_gateway.aws.setup.verify import Finding, Probes, verify
from chime_gateway.errors import ConfigError
from chime_gateway.sim.aws.protocol import Fault, Operation
from tests.integration.aws_harness import NUMBER, AccountTestCase, actions, wishes

READS = ("Get", "List", "Describe", "Head", "Search")
BIN = str(Path(sys.executable).parent)


class EachOnce:
    """Every operation that changes something is refused the first time."""

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
    async def apply(self, wanted: Wishes | None = None) -> list[Any]:
        found: list[Any] = await self.run_in_thread(
            lambda: list(apply(self.cloud, resources(wanted or wishes())))
        )
        return found

    async def plan(self, wanted: Wishes | None = None) -> list[Any]:
        found: list[Any] = await self.run_in_thread(
            lambda: list(plan(self.cloud, resources(wanted or wishes())))
        )
        return found

    async def destroy(self, wanted: Wishes | None = None) -> list[Any]:
        wanted = wanted or wishes()
        found: list[Any] = await self.run_in_thread(
            lambda: list(
                destroy(self.cloud, resources(wanted), wanted.name, is_real=True)
            )
        )
        return found

    async def test_a_cycle_leaves_nothing_and_may_be_repeated(self) -> None:
        before = self.account.left()
        for _ in range(2):
            planned = await self.plan()
            self.assertTrue({"create", "set"} <= actions(planned))
            self.assertEqual(self.account.left(), before)
            applied = await self.apply()
            self.assertEqual(
                [(c.action, c.what) for c in applied if c.action != "keep"],
                [(c.action, c.what) for c in planned if c.action != "keep"],
            )
            self.assertEqual(actions(await self.plan()), {"keep"})
            self.assertEqual(actions(await self.apply()), {"keep"})
            # A file of a call that just ended does not keep the bucket.
            (bucket,) = self.account.files.buckets.values()
            bucket["replies/x.wav"] = b"RIFF"
            # Nor does the queue of a gateway that died stay.
            self.account.queues._create(
                {"QueueName": "chimegw-events-1", "tags": {"chime-gateway": "events"}}
            )
            self.assertEqual(actions(await self.destroy()), {"delete"})
            self.assertEqual(self.account.left(), before)
            self.assertEqual(await self.destroy(), [])

    async def test_a_run_that_breaks_off_anywhere_is_just_begun_again(self) -> None:
        fault = Fault("AccessDeniedException", "not authorized", 403)
        for step, count in ((self.apply, 25), (self.destroy, 12)):
            trouble = self.account.aws.trouble = EachOnce(fault)
            runs = 0
            while True:
                runs += 1
                self.assertLess(runs, 100)
                try:
                    await step()
                except Refused as exc:
                    self.assertIn("\n  allow ", str(exc))
                else:
                    break
            self.assertEqual(runs, len(trouble.refused) + 1)
            self.assertGreater(runs, count)
            if step == self.apply:
                self.assertEqual(actions(await self.plan()), {"keep"})
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_a_refusal_names_the_permission_that_is_missing(self) -> None:
        def denied(operation: Operation) -> Fault | None:
            if operation.name == "CreateVoiceConnector":
                return Fault("AccessDeniedException", "no", 403)
            return None

        self.account.aws.trouble = denied
        with self.assertRaises(Refused) as caught:
            await self.apply()
        self.assertIn("allow chime:CreateVoiceConnector", str(caught.exception))

    async def test_expired_credentials_say_so(self) -> None:
        expired = Fault("ExpiredTokenException", "The token has expired", 403)
        self.account.aws.trouble = lambda operation: expired
        with self.assertRaises(Refused) as caught:
            await self.apply()
        self.assertIn("log in again", str(caught.exception))

    async def test_throttling_and_a_role_not_yet_known_are_waited_for(self) -> None:
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

        self.account.aws.trouble = once
        await self.apply()
        configuration = self.account.functions.functions["chimegw-sma"]["configuration"]
        configuration["CodeSha256"] = "old"
        changes = await self.apply()
        self.assertEqual([c.detail for c in changes if c.action == "set"], ["code"])
        self.assertTrue(set(faults) <= set(seen))

    async def test_what_somebody_changed_is_put_right(self) -> None:
        await self.apply()
        chime = self.account.chime
        (connector_id,) = chime.connectors
        route = {"Host": "203.0.113.9", "Port": 5060, "Protocol": "UDP"}
        chime._of_connector[connector_id, "Origination"] = {"Routes": [route]}
        (rule,) = chime.rules.values()
        rule["Disabled"] = True
        policy = next(iter(self.account.iam.policies.values()))
        policy["versions"]["v1"] = '{"Statement":[{"Effect":"Allow","Action":"*"}]}'
        for _ in range(7):  # more often than a policy has versions
            changes = await self.apply()
            self.assertIn("set", actions(changes))
            policy["versions"][policy["default"]] = '{"Statement":[]}'
        await self.apply()
        self.assertEqual(actions(await self.plan()), {"keep"})
        self.assertFalse(rule["Disabled"])

    async def test_a_connector_that_was_there_is_set_and_never_removed(self) -> None:
        made = self.account.chime._create_connector(
            {"Name": "theirs", "RequireEncryption": False}
        )
        connector_id = made["VoiceConnector"]["VoiceConnectorId"]
        wanted = wishes(voice_connector_id=connector_id)
        await self.apply(wanted)
        self.assertEqual(list(self.account.chime.connectors), [connector_id])
        variables = self.account.functions.functions["chimegw-sma"]["configuration"]
        arn = variables["Environment"]["Variables"]["VOICE_CONNECTOR_ARN"]
        self.assertEqual(arn, made["VoiceConnector"]["VoiceConnectorArn"])
        kept = [c for c in await self.destroy(wanted) if c.action == "keep"]
        self.assertEqual([c.what for c in kept], ["Voice Connector"])
        self.assertEqual(list(self.account.chime.connectors), [connector_id])

    async def test_a_connector_that_is_not_there_is_not_made_up(self) -> None:
        wanted = wishes(voice_connector_id="abcdef1ghij2klmno3pqr4")
        with self.assertRaisesRegex(ConfigError, "--voice-connector-id abcdef"):
            await self.apply(wanted)

    async def test_what_has_our_name_and_not_our_tag_is_left_alone(self) -> None:
        await self.apply()
        self.account.functions.functions["chimegw-sma"]["tags"].clear()
        changes = await self.destroy()
        self.assertEqual([c.what for c in changes if c.action == "keep"], ["Lambda"])
        self.assertEqual(list(self.account.functions.functions), ["chimegw-sma"])

    async def test_two_installations_live_side_by_side(self) -> None:
        other = wishes(name="second", numbers=(), order=(), termination_user="")
        await self.apply()
        await self.apply(other)
        self.assertEqual(len(self.account.chime.connectors), 2)
        await self.destroy(other)
        self.assertEqual(actions(await self.plan()), {"keep"})

    async def test_numbers_are_bought_only_when_it_is_said_twice(self) -> None:
        wanted = wishes(confirms_order=False, numbers=())
        changes = await self.apply(wanted)
        (asked,) = [c for c in changes if c.action == "confirm"]
        self.assertIn("--confirm-order", asked.detail)
        self.assertEqual(self.account.chime.numbers, {})

    async def test_numbers_may_belong_to_the_voice_connector_itself(self) -> None:
        wanted = wishes(mode="bridge", is_direct=True, gateway_role="")
        with self.assertRaisesRegex(ConfigError, "--order"):
            await self.apply(wishes(mode="bridge", is_direct=True, order=()))
        self.assertTrue({"create", "set"} <= actions(await self.apply(wanted)))
        self.assertEqual(actions(await self.plan(wanted)), {"keep"})
        self.assertEqual(self.account.functions.functions, {})
        number = self.account.chime.numbers[NUMBER]
        (connector_id,) = self.account.chime.connectors
        self.assertEqual(number["Associations"][0]["Value"], connector_id)
        await self.destroy(wanted)
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_secrets_are_not_shown(self) -> None:
        changes = await self.apply()
        text = "\n".join(map(str, changes)) + "\n".join(
            script(wishes(), resources(wishes()))
        )
        self.assertNotIn("secret-of-the-trunk", text + repr(wishes()))

    async def test_the_policies_allow_what_is_needed_and_no_more(self) -> None:
        await self.apply()
        policy = next(iter(self.account.iam.policies.values()))
        statements = json.loads(policy["versions"]["v1"])["Statement"]
        for statement in statements:
            self.assertNotEqual(statement["Resource"], "*")
            for action in statement["Action"]:
                self.assertNotIn("*", action)

    async def test_the_fakes_agree_with_moto(self) -> None:
        """All that moto has is done by moto, the rest by the fake account."""
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self.addCleanup(server.stop)
        _, port = server.get_host_and_port()
        here = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ENDPOINT_URL_CHIME_SDK_VOICE": f"http://127.0.0.1:{self.port}",
        }
        self.account.functions.has = lambda arn: True  # type: ignore[method-assign]
        with mock.patch.dict(os.environ, here):
            self.cloud = self.new_cloud()
            wanted = wishes(gateway_role="")
            self.assertTrue({"create", "set"} <= actions(await self.apply(wanted)))
            self.assertEqual(actions(await self.plan(wanted)), {"keep"})
            self.assertEqual(actions(await self.destroy(wanted)), {"delete"})
            left = {c.action for c in await self.plan(wanted)}
            self.assertNotIn("set", {*left} - {"set", "create", "keep"})
            self.assertEqual(await self.destroy(wanted), [])


class VerifyTests(AccountTestCase):
    async def verify(self, wanted: Wishes, **changes: Any) -> list[Finding]:
        told: dict[str, Any] = {
            "options": lambda host, port, protocol: 200,
            "ready": lambda url: 200,
            "addresses": lambda host: [host],
        }
        expected = changes.pop("expected_calls", 5)
        allowed = changes.pop("allowed", ["us-east-1"])
        probes = Probes(**{**told, **changes})

        def work() -> list[Finding]:
            return list(
                verify(
                    self.cloud,
                    wanted,
                    resources(wanted),
                    probes,
                    expected_calls=expected,
                    allowed=allowed,
                )
            )

        found: list[Finding] = await self.run_in_thread(work)
        return found

    async def installed(self, **changes: Any) -> Wishes:
        public = Gateway(host="198.51.100.7")
        wanted = wishes(
            **{
                "mode": "bridge",
                "gateways": (public,),
                "termination_cidrs": (),
                **changes,
            }
        )
        await self.run_in_thread(lambda: list(apply(self.cloud, resources(wanted))))
        return wanted

    def wrong(self, findings: list[Finding]) -> list[Finding]:
        wrong = [finding for finding in findings if not finding.is_good]
        for finding in wrong:
            self.assertTrue(finding.mend, finding)
        return wrong

    async def test_a_finished_installation_is_found_good(self) -> None:
        # 198.51.100.0/24 is for documentation, which is not global.
        wanted = await self.installed()
        findings = await self.verify(wanted, addresses=lambda host: ["3.80.17.1"])
        self.assertEqual(self.wrong(findings), [])
        self.assertGreater(len(findings), 12)

    async def test_an_empty_account_is_told_to_apply(self) -> None:
        findings = self.wrong(await self.verify(wishes()))
        self.assertGreater(len(findings), 8)
        self.assertEqual({f.mend for f in findings[:8]}, {"chimegw aws apply"})

    async def finding(self, words: str, wanted: Wishes, **changes: Any) -> Finding:
        changes.setdefault("addresses", lambda host: ["3.80.17.1"])
        wrong = self.wrong(await self.verify(wanted, **changes))
        found = [f for f in wrong if words in f"{f.what}: {f.detail}"]
        self.assertEqual(len(found), 1, [str(one) for one in wrong])
        return found[0]

    async def test_a_route_to_the_voice_connector_itself_is_a_circle(self) -> None:
        wanted = await self.installed()
        chime = self.account.chime
        (connector,) = chime.connectors.values()
        host = connector["OutboundHostName"]
        route = {"Host": host, "Port": 5060, "Protocol": "UDP"}
        key = (connector["VoiceConnectorId"], "Origination")
        chime._of_connector[key] = {"Routes": [route]}
        await self.finding("leads to the Voice Connector itself", wanted)

    async def test_a_route_elsewhere_is_found(self) -> None:
        await self.installed()
        wanted = wishes(
            mode="bridge",
            gateways=(Gateway(host="203.0.113.9"),),
            termination_cidrs=(),
        )
        await self.finding("not one of 203.0.113.9", wanted)

    async def test_a_private_address_is_found(self) -> None:
        wanted = await self.installed()
        await self.finding("private", wanted, addresses=lambda host: ["10.0.0.7"])

    async def test_a_gateway_that_does_not_answer_is_found(self) -> None:
        wanted = await self.installed()
        await self.finding("OPTIONS is not answered", wanted, options=lambda *_: 0)
        found = await self.finding("with 503", wanted, options=lambda *_: 503)
        self.assertIn("/ready", found.mend)

    async def test_a_rule_that_makes_a_circle_is_found(self) -> None:
        wanted = await self.installed()
        (connector,) = self.account.chime.connectors.values()
        self.account.chime.rules["circle"] = {
            "SipRuleId": "circle",
            "Name": "circle",
            "TriggerType": "RequestUriHostname",
            "TriggerValue": connector["OutboundHostName"],
            "TargetApplications": [
                {"SipMediaApplicationId": "x", "Priority": 1, "AwsRegion": "us-east-1"}
            ],
            "Disabled": False,
        }
        await self.finding("a circle", wanted)

    async def test_a_region_that_the_gateway_does_not_answer_is_found(self) -> None:
        wanted = await self.installed()
        found = await self.finding("not answered", wanted, allowed=["eu-west-1"])
        self.assertEqual(found.mend, "add us-east-1")

    async def test_quotas_are_held_against_the_calls_that_are_expected(self) -> None:
        wanted = await self.installed()
        self.account.quotas["Voice Connector active calls"] = 100.0
        await self.finding(
            "SIP media application: active calls", wanted, expected_calls=30
        )

    async def test_a_page_of_readiness_that_is_not_there_is_found(self) -> None:
        wanted = await self.installed(
            function={"READY_URL": "https://gw.example/ready"}
        )
        await self.finding("READY_URL", wanted, ready=lambda url: 0)

    async def test_termination_must_allow_the_gateway(self) -> None:
        wanted = await self.installed(termination_cidrs=("203.0.113.0/28",))
        wrong = self.wrong(
            await self.verify(wanted, addresses=lambda host: ["3.80.17.1"])
        )
        self.assertIn("allow-list has the gateway 3.80.17.1", str(wrong[0]))

    async def test_a_check_that_is_forbidden_names_the_permission(self) -> None:
        wanted = await self.installed()

        def denied(operation: Operation) -> Fault | None:
            if operation.name == "GetVoiceConnectorTermination":
                return Fault("ForbiddenException", "no", 403)
            return None

        self.account.aws.trouble = denied
        await self.finding("chime:GetVoiceConnectorTermination", wanted)


class CommandLineTests(AccountTestCase):
    """The tools as they are typed."""

    async def run_tool(self, *words: str, status: int = 0) -> str:
        def work() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                words,
                capture_output=True,
                text=True,
                env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
                cwd=self.folder,
                timeout=300,
            )

        done: subprocess.CompletedProcess[str] = await deferToThread(work)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    timeout = 300

    def setUp(self) -> None:
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    async def test_plan_apply_verify_and_destroy_as_they_are_typed(self) -> None:
        options = ["--region", "us-east-1", "--gateway", "127.0.0.1:9/udp"]
        options += ["--order", NUMBER, "--confirm-order"]
        tool = [f"{BIN}/chimegw", "aws"]
        told = await self.run_tool(*tool, "plan", *options)
        self.assertIn("+ create   Voice Connector", told)
        self.assertIn("nothing was changed", told)
        told = await self.run_tool(*tool, "apply", *options)
        self.assertRegex(told, r"CHIMEGW_SMA_ID=[0-9a-f-]{36}")
        told = await self.run_tool(*tool, "apply", *options, "--json")
        changes = json.loads(told)["changes"]
        self.assertEqual({change["action"] for change in changes}, {"keep"})
        told = await self.run_tool(*tool, "verify", *options, status=1)
        self.assertIn("OPTIONS is not answered from here", told)
        self.assertIn("mend it:", told)
        told = await self.run_tool(*tool, "destroy", *options)
        self.assertIn("nothing was changed: say --yes", told)
        await self.run_tool(*tool, "destroy", *options, "--yes")
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_the_cli_of_aws_accepts_every_printed_command(self) -> None:
        if not Path(BIN, "aws").exists():
            raise SkipTest("the AWS CLI is not installed")
        for mode in ("bridge", "kinesis"):
            wanted = wishes(mode=mode, name=f"by-{mode}", order=(), numbers=(NUMBER,))
            self.account.chime.numbers[NUMBER] = {"PhoneNumberId": NUMBER}
            lines = "\n".join(script(wanted, resources(wanted)))
            Path(self.folder, "setup.sh").write_text(lines, encoding="utf-8")
            around = (
                'CREDENTIALS=\'[{"Username":"gateway","Password":"p"}]\'\n'
                'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'
            )
            Path(self.folder, "env.sh").write_text(around, encoding="utf-8")
            await self.run_tool(
                "bash", "-c", "export SETTLE_SECONDS=0; . ./env.sh; . ./setup.sh"
            )
            # The same as apply would have made.
            changes = await self.run_in_thread(
                partial(
                    lambda wanted: list(plan(self.cloud, resources(wanted))), wanted
                )
            )
            self.assertEqual(actions(changes), {"keep"}, [str(c) for c in changes])

    async def test_the_streaming_command_has_the_id_and_the_truth(self) -> None:
        told = await self.run_tool(
            *(f"{BIN}/chimegw", "aws", "commands", "--region", "eu-central-1"),
            *("--voice-connector-id", "abcdef1ghij2klmno3pqr4"),
        )
        flat = " ".join(told.replace("\\\n#", "").split())
        self.assertIn(
            "put-voice-connector-streaming-configuration --voice-connector-id"
            " abcdef1ghij2klmno3pqr4",
            flat,
        )
        self.assertIn("no WebSocket target", told)

    async def test_a_wrong_option_is_one_line(self) -> None:
        wrong = (
            ["plan", "--region", "mars-1"],
            ["plan", "--region", "us-east-1", "--gateway", "a b"],
            ["plan", "--region", "us-east-1", "--number", "911"],
            ["plan", "--region", "us-east-1", "--mode", "loud"],
            ["plan", "--region", "us-east-1", "--fallback-number", "911"],
            ["dance"],
        )
        for words in wrong:
            told = await self.run_tool(f"{BIN}/chimegw", "aws", *words, status=1)
            self.assertEqual(len(told.strip().splitlines()), 1, told)
            self.assertTrue(told.startswith("chimegw: "), told)

    async def test_the_package_is_the_same_every_time(self) -> None:
        tool = (f"{BIN}/chimegw", "aws", "package-lambda")
        first = await self.run_tool(*tool, "--output", "a.zip", "--json")
        await self.run_tool(*tool, "--output", "b.zip")
        a, b = (Path(self.folder, name).read_bytes() for name in ("a.zip", "b.zip"))
        self.assertEqual(a, b)
        self.assertEqual(a, package_lambda().content)
        self.assertEqual(json.loads(first)["sha256"], package_lambda().sha256)
        code = (
            "import sys; sys.path.insert(0, 'a.zip'); import sma;"
            "print(sma.handler.__name__)"
        )
        told = await self.run_tool(sys.executable, "-I", "-c", code)
        self.assertEqual(told.strip(), "handler")


class ProbeTests(AccountTestCase):
    async def test_nobody_at_home_is_zero(self) -> None:
        probes = from_here()

        def work() -> Iterator[int]:
            yield probes.options("127.0.0.1", 9, "TCP")
            yield probes.ready("http://127.0.0.1:9/ready")
            yield probes.ready("ftp://127.0.0.1/")

        found = await deferToThread(lambda: list(work()))
        self.assertEqual(found, [0, 0, 0])
        self.assertEqual(probes.addresses("127.0.0.1"), ["127.0.0.1"])
