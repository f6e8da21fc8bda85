"""The templates: by cfn-lint, and against what the package itself does."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources as files
from pathlib import Path
from typing import Any

from cfnlint.api import lint_all
from cfnlint.decode import decode
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.request import (
    InstallationRequest,
    function_name,
    log_group_name,
)
from chime_gateway.aws.setup.resource import Resource
from chime_gateway.aws.sma import Settings
from chime_gateway.settings.variables import NAMES

FOLDER = Path(__file__).parents[2] / "deploy" / "cloudformation"
INSTALLATION = InstallationRequest(
    region="us-east-1", name="${Name}", numbers=("+12065550100",)
)


def template(name: str) -> Any:
    if not FOLDER.exists():
        raise SkipTest("the templates are not beside the tests")
    found, _ = decode(str(FOLDER / name))
    return json.loads(json.dumps(found))


class TemplateTests(SynchronousTestCase):
    def test_cfn_lint_finds_nothing(self) -> None:
        paths = sorted(FOLDER.glob("*.yaml"))
        self.assertEqual(len(paths), 2)
        for path in paths:
            found = [
                str(match)
                for match in lint_all(path.read_text(encoding="utf-8"))
                if match.rule.severity != "informational"
            ]
            self.assertEqual(found, [], path.name)

    def test_cfn_lint_would_find_something(self) -> None:
        broken = (FOLDER / "lambda.yaml").read_text(encoding="utf-8")
        found = lint_all(broken.replace("Handler: sma.handler", "Handlr: sma.handler"))
        self.assertIn("E3002", {match.rule.id for match in found})


class LambdaTemplateTests(SynchronousTestCase):
    """What the stack makes, C{chimegw aws apply} finds done."""

    def setUp(self) -> None:
        self.made = template("lambda.yaml")["Resources"]
        self.wanted = {one.what: one for one in resources(INSTALLATION)}

    def wants(self, what: str) -> Resource:
        return self.wanted[what]

    def test_the_function_has_the_name_and_the_settings(self) -> None:
        made = self.made["Function"]["Properties"]
        self.assertEqual(made["FunctionName"]["Fn::Sub"], function_name(INSTALLATION))
        created = self.wants("Lambda").create[0].parameters
        for key in ("Runtime", "Handler", "Timeout", "MemorySize"):
            self.assertEqual(made[key], created[key], key)
        variables = made["Environment"]["Variables"]
        self.assertTrue(set(created["Environment"]["Variables"]) <= set(variables))
        known = {name.upper() for name in Settings._fields}
        self.assertEqual(set(variables) - known, set())

    def test_the_permission_and_the_role_are_those_of_the_command(self) -> None:
        permission = self.made["Permission"]["Properties"]
        setting = self.wants("Lambda").settings[-1].write[0].parameters
        self.assertEqual(permission["Principal"], setting["Principal"])
        role = self.made["Role"]["Properties"]
        created = self.wants("IAM role of the Lambda").create[0].parameters
        name = created["RoleName"].replace(INSTALLATION.region, "${AWS::Region}")
        self.assertEqual(role["RoleName"]["Fn::Sub"], name)
        (policy,) = role["Policies"]
        self.assertEqual(policy["PolicyName"], "chimegw")
        wanted = self.wants("IAM role of the Lambda").settings[0].wanted
        (statement,) = json.loads(wanted)["Statement"]
        (made,) = policy["PolicyDocument"]["Statement"]
        self.assertEqual(made["Action"], statement["Action"])
        self.assertEqual(
            made["Resource"]["Fn::Sub"],
            statement["Resource"]
            .replace(INSTALLATION.region, "${AWS::Region}")
            .replace("${ACCOUNT_ID}", "${AWS::AccountId}"),
        )

    def test_the_log_group_is_that_of_the_function(self) -> None:
        made = self.made["LogGroup"]["Properties"]["LogGroupName"]["Fn::Sub"]
        self.assertEqual(made, log_group_name(INSTALLATION))


class GatewayTemplateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.template = template("gateway.yaml")

    def test_the_networks_are_those_that_the_gateway_allows(self) -> None:
        text = files.files("chime_gateway.settings").joinpath(
            "voice_connector_networks.toml"
        )
        known = tomllib.loads(text.read_text(encoding="utf-8"))
        made = self.template["Mappings"]["VoiceConnectors"]
        self.assertEqual(
            {region: {entry["IPv4"]} for region, entry in made.items()},
            {
                region: {network for network in networks if ":" not in network}
                for region, networks in known.items()
            },
        )

    def rules(self) -> list[Any]:
        group = self.template["Resources"]["SecurityGroup"]["Properties"]
        return [rule["Fn::If"] for rule in group["SecurityGroupIngress"]]

    def test_nobody_else_gets_in_by_sip(self) -> None:
        for _, rule, otherwise in self.rules():
            self.assertEqual(otherwise, {"Ref": "AWS::NoValue"})
            self.assertNotIn(rule.get("CidrIp"), ("0.0.0.0/0", "::/0"))
            if rule["FromPort"] not in (8080, 8443):
                self.assertIn("Fn::FindInMap", rule["CidrIp"])

    def test_it_listens_with_tls_or_behind_a_balancer_only(self) -> None:
        ports = {rule["FromPort"]: (when, rule) for when, rule, _ in self.rules()}
        self.assertEqual(set(ports), {5061, 8443, 16384, 8080})
        for port in (5061, 8443, 16384):
            self.assertEqual(ports[port][0], "HasCertificate")
        when, rule = ports[8080]
        self.assertEqual(when, "HasBalancer")
        self.assertEqual(
            rule["SourceSecurityGroupId"], {"Ref": "BalancerSecurityGroupId"}
        )
        self.assertNotIn("CidrIp", rule)
        text, values = self.user_data()
        self.assertEqual(
            values["Interface"], {"Fn::If": ["HasBalancer", "", ":interface=127.0.0.1"]}
        )
        listening = re.findall(r"(?:tcp|ssl|udp|tls):[0-9]+[^ \n'\"]*", text)
        self.assertEqual(
            listening,
            [
                "tcp:8080${Interface}",
                "tls:5061",
                "ssl:8443:privateKey=$pem:certKey=$pem",
            ],
        )
        (rule,) = self.template["Rules"].values()
        self.assertIn("CertificateSecretArn", str(rule["Assertions"][0]["Assert"]))

    def test_udp_is_named_nowhere(self) -> None:
        self.assertNotIn("udp:", json.dumps(self.template))
        unit = FOLDER.parent / "systemd" / "chimegw@.service"
        lines = unit.read_text(encoding="utf-8").splitlines()
        examples = [line for line in lines if "CHIMEGW_SIP_LISTEN" in line]
        self.assertEqual(examples, ["#   CHIMEGW_SIP_LISTEN=tls:5062"])

    def user_data(self) -> tuple[str, Any]:
        data = self.template["Resources"]["Instance"]["Properties"]["UserData"]
        text, values = data["Fn::Base64"]["Fn::Sub"]
        # A limit of EC2, before base64.
        self.assertLess(len(text), 16_000)
        return text, values

    def test_the_machines_settings_exist(self) -> None:
        text, _ = self.user_data()
        part = text.split("/etc/chimegw.env <<END")[1].split("\nEND")[0]
        names = [line.partition("=")[0].strip() for line in part.split("\n")]
        names += re.findall(r'echo "(\w+)=', text)
        names = [name for name in names if name]
        self.assertGreater(len(names), 6)
        self.assertEqual(set(names) - NAMES, set())

    def test_the_unit_is_that_of_systemd(self) -> None:
        source = (FOLDER.parent / "systemd" / "chimegw@.service").read_text("utf-8")
        lines = [
            line for line in source.splitlines() if line and not line.startswith("#")
        ]
        text, _ = self.user_data()
        begin = "cat >/etc/systemd/system/chimegw@.service <<'END'\n"
        made = text.split(begin)[1].split("\nEND\n")[0]
        self.assertEqual(made.splitlines(), lines, "run deploy/cloudformation/embed.py")
        # A machine adds how it listens and where its log goes, and nothing else.
        added = text.split("machine.conf <<END\n")[1].split("\nEND\n")[0]
        self.assertEqual(
            {line.partition("=")[0] for line in added.splitlines()},
            {"[Service]", "ExecStart", "StandardOutput"},
        )
