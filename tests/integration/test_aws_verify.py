"""Verifying an installation at AWS, over HTTP, against the simulated account."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from typing import Any

from twisted.internet.threads import deferToThread

from chime_gateway.aws.inspection.probes import from_here
from chime_gateway.aws.inspection.verify import Finding, Probes, verify
from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.provision import apply
from chime_gateway.aws.setup.request import Gateway, InstallationRequest
from chime_gateway.sim.aws.protocol import Fault, Operation
from tests.integration.aws_harness import AccountTestCase, installation

#: Checks no audio, so it may be slow; see tests/run.py.
gives_way = True


class VerifyTests(AccountTestCase):
    async def verify(
        self, wanted: InstallationRequest, **changes: Any
    ) -> list[Finding]:
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

    async def installed(self, **changes: Any) -> InstallationRequest:
        public = Gateway(host="198.51.100.7")
        wanted = installation(
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
            self.assertTrue(finding.cure, finding)
        return wrong

    async def test_a_complete_installation_passes(self) -> None:
        # 198.51.100.0/24 is reserved for documentation, and counts as not global.
        wanted = await self.installed()
        findings = await self.verify(wanted, addresses=lambda host: ["3.80.17.1"])
        self.assertEqual(self.wrong(findings), [])
        self.assertGreater(len(findings), 12)

    async def test_an_empty_account_is_told_to_apply(self) -> None:
        findings = self.wrong(await self.verify(installation()))
        self.assertGreater(len(findings), 8)
        self.assertEqual({f.cure for f in findings[:8]}, {"chimegw aws apply"})

    async def finding(
        self, words: str, wanted: InstallationRequest, **changes: Any
    ) -> Finding:
        changes.setdefault("addresses", lambda host: ["3.80.17.1"])
        wrong = self.wrong(await self.verify(wanted, **changes))
        found = [f for f in wrong if words in f"{f.what}: {f.detail}"]
        self.assertEqual(len(found), 1, [str(one) for one in wrong])
        return found[0]

    async def test_a_route_to_the_voice_connector_itself_is_a_loop(self) -> None:
        wanted = await self.installed()
        chime = self.account.chime
        (connector,) = chime.connectors.values()
        host = connector["OutboundHostName"]
        route = {"Host": host, "Port": 5060, "Protocol": "UDP"}
        key = (connector["VoiceConnectorId"], "Origination")
        chime._of_connector[key] = {"Routes": [route]}
        await self.finding("leads to the Voice Connector itself", wanted)

    async def test_a_route_to_another_host_is_found(self) -> None:
        await self.installed()
        wanted = installation(
            mode="bridge",
            gateways=(Gateway(host="203.0.113.9"),),
            termination_cidrs=(),
        )
        await self.finding("not one of 203.0.113.9", wanted)

    async def test_a_private_address_is_found(self) -> None:
        wanted = await self.installed()
        await self.finding("not a public", wanted, addresses=lambda host: ["10.0.0.7"])

    async def test_a_gateway_that_does_not_answer_is_found(self) -> None:
        wanted = await self.installed()
        await self.finding("OPTIONS is not answered", wanted, options=lambda *_: 0)
        found = await self.finding("with 503", wanted, options=lambda *_: 503)
        self.assertIn("/ready", found.cure)

    async def test_a_rule_that_forms_a_loop_is_found(self) -> None:
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
        await self.finding("a loop", wanted)

    async def test_a_region_that_the_gateway_does_not_allow_is_found(self) -> None:
        wanted = await self.installed()
        found = await self.finding("are ignored", wanted, allowed=["eu-west-1"])
        self.assertEqual(found.cure, "add us-east-1")

    async def test_quotas_are_compared_with_the_expected_calls(self) -> None:
        wanted = await self.installed()
        self.account.quotas["Voice Connector active calls"] = 100.0
        await self.finding(
            "SIP media application: active calls", wanted, expected_calls=30
        )

    async def test_a_missing_readiness_page_is_found(self) -> None:
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

        self.account.aws.fault_plan = denied
        await self.finding("chime:GetVoiceConnectorTermination", wanted)


class ProbeTests(AccountTestCase):
    async def test_no_answer_is_zero(self) -> None:
        probes = from_here()

        def work() -> Iterator[int]:
            yield probes.options("127.0.0.1", 9, "TCP")
            yield probes.ready("http://127.0.0.1:9/ready")
            yield probes.ready("ftp://127.0.0.1/")

        found = await deferToThread(lambda: list(work()))
        self.assertEqual(found, [0, 0, 0])
        self.assertEqual(probes.addresses("127.0.0.1"), ["127.0.0.1"])

    async def test_any_answer_is_a_finding_and_no_exception(self) -> None:
        chooser = random.Random(53)
        pieces = (
            b"HTTP/1.1 ",
            b"SIP/2.0 ",
            b"200",
            b" OK",
            b"\r\n",
            b"\xff",
            b"9" * 99,
        )
        more = (
            b"302 F\r\nLocation: http://[::\r\n\r\n",
            b"a: b\r\n" * 120,
            b"x" * 70000,
        )
        for turn in range(30):
            chosen = chooser.choices(pieces + more, k=turn % 5)
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
                ready = deferToThread(from_here().ready, f"http://127.0.0.1:{port}/")
                await deferToThread(answer_once, server, b"".join(chosen))
                self.assertIn(await ready, (0, 200, 302), chosen)
        for host in ("a" * 70, "x..y", "\u2028"):
            self.assertEqual(from_here().options(host, 5060, "UDP"), 0)
            self.assertEqual(from_here().addresses(host), [])
            self.assertEqual(from_here().ready(f"http://{host}/"), 0)


def answer_once(server: socket.socket, text: bytes) -> None:
    peer, _ = server.accept()
    with peer, contextlib.suppress(OSError):
        peer.recv(4096)
        peer.sendall(text)
