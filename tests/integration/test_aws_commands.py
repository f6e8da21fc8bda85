"""The commands of C{chimegw aws}, against an account on loopback."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from chime_gateway.aws.inspection.inventory import plan
from chime_gateway.aws.package import package_lambda
from chime_gateway.aws.setup.commands import script
from chime_gateway.aws.setup.installation import resources
from tests.integration.aws_harness import NUMBER, AccountTestCase, actions, installation
from tests.support import aws_cli

#: Checks no audio and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 57

BIN = str(Path(sys.executable).parent)


class CommandLineTests(AccountTestCase):
    """Command lines, as an operator types them."""

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

    def call_secret(self) -> str:
        """Return the Lambda's secret."""
        configuration = self.account.functions.functions["chimegw-sma"]["configuration"]
        secret: str = configuration["Environment"]["Variables"]["CALL_SECRET"]
        return secret

    async def test_plan_apply_verify_and_destroy_on_the_command_line(self) -> None:
        options = ["--region", "us-east-1", "--gateway", "127.0.0.1:9/udp"]
        options += ["--order", NUMBER, "--confirm-order"]
        tool = [f"{BIN}/chimegw", "aws"]
        told = await self.run_tool(*tool, "plan", *options)
        self.assertIn("missing  Voice Connector\n", told)
        self.assertIn("nothing was changed", told)
        told = await self.run_tool(*tool, "apply", *options)
        self.assertRegex(told, r"CHIMEGW_SMA_ID=[0-9a-f-]{36}")
        self.assertIn("CHIMEGW_SIP_LISTEN=udp:9\n", told)
        self.assertIn("CHIMEGW_PUBLIC_ADDRESS=127.0.0.1\n", told)
        self.assertIn("# AZURE_OPENAI_ENDPOINT=https://RESOURCE", told)
        found = re.search("CHIMEGW_CALL_SECRET=([0-9a-f]{64})\n", told)
        assert found is not None, told
        self.assertEqual(self.call_secret(), found[1])
        told = await self.run_tool(*tool, "apply", *options, "--json")
        changes = json.loads(told)["changes"]
        self.assertEqual({change["action"] for change in changes}, {"keep"})
        gateway = json.loads(told)["gateway"]
        self.assertEqual(gateway["CHIMEGW_CALL_SECRET"], found[1])
        (connector_id,) = self.account.chime.connectors
        self.assertEqual(gateway["CHIMEGW_VOICE_CONNECTORS"], connector_id)
        for _ in range(2):
            told = await self.run_tool(*tool, "apply", *options, "--rotate-call-secret")
        self.assertIn("--retire-call-secret", told)
        newest, before = self.call_secret().split(",")
        self.assertEqual(before, found[1])
        env_file = Path(self.folder, "chimegw.env")
        env_file.write_text("# ours\nCHIMEGW_SIP_ALLOW=a\nCHIMEGW_CALL_SECRET=old\n")
        words = (*options, "--retire-call-secret", "--env-file", str(env_file))
        told = await self.run_tool(*tool, "apply", *words)
        self.assertEqual(self.call_secret(), newest)
        self.assertNotIn(newest, told)
        self.assertEqual(env_file.stat().st_mode & 0o777, 0o600)
        lines = env_file.read_text().splitlines()
        self.assertEqual(lines[:2], ["# ours", "CHIMEGW_SIP_ALLOW=a"])
        self.assertIn(f"CHIMEGW_CALL_SECRET={newest}", lines)
        self.assertNotIn("CHIMEGW_CALL_SECRET=old", lines)
        told = await self.run_tool(*tool, "verify", *options, status=1)
        self.assertIn("OPTIONS is not answered from here", told)
        self.assertIn("to fix:", told)
        told = await self.run_tool(*tool, "destroy", *options)
        self.assertIn("nothing was changed: use --yes", told)
        # Whoever does not know how it was made takes it away all the same.
        await self.run_tool(*tool, "destroy", "--region", "us-east-1", "--yes")
        self.assertEqual(self.account.left(), ["role gateway-machine"])

    async def test_the_aws_cli_accepts_every_printed_command(self) -> None:
        if not Path(BIN, "aws").exists():
            raise SkipTest("the AWS CLI is not installed")
        cli = [sys.executable, aws_cli.__file__]
        serving = subprocess.Popen(
            [*cli, "serve", f"{self.folder}/aws"], stdout=subprocess.PIPE
        )
        self.addCleanup(serving.communicate)
        self.addCleanup(serving.kill)
        assert serving.stdout is not None
        await deferToThread(serving.stdout.readline)
        for mode in ("bridge", "kinesis"):
            wanted = installation(
                mode=mode, name=f"by-{mode}", order=(), numbers=(NUMBER,)
            )
            self.account.chime.numbers[NUMBER] = {"PhoneNumberId": NUMBER}
            lines = "\n".join(script(wanted, resources(wanted)))
            Path(self.folder, "setup.sh").write_text(lines, encoding="utf-8")
            around = (
                'CREDENTIALS=\'[{"Username":"gateway","Password":"p"}]\'\n'
                f"aws() {{ {shlex.join([*cli, f'{self.folder}/aws'])}"
                ' --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'
            )
            Path(self.folder, "env.sh").write_text(around, encoding="utf-8")
            await self.run_tool(
                "bash", "-c", "export SETTLE_SECONDS=0; . ./env.sh; . ./setup.sh"
            )
            # The result is the same as that of apply.
            changes = await self.run_in_thread(
                partial(
                    lambda wanted: list(plan(self.cloud, wanted, resources(wanted))),
                    wanted,
                )
            )
            self.assertEqual(actions(changes), {"keep"}, [str(c) for c in changes])

    async def test_the_streaming_command_has_the_id_and_its_limits(self) -> None:
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

    async def test_a_wrong_option_is_reported_in_one_line(self) -> None:
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
