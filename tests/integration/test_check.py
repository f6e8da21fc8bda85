from __future__ import annotations

import io
import os
import sys
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.credentials import ApiKey
from chime_gateway.cli.check import CheckOptions
from chime_gateway.cli.online import webrtc_probe as module
from chime_gateway.cli.online.webrtc_probe import WebRtcProbe
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.webrtc import WebRtcFaults
from chime_gateway.sim.realtime.server import Door
from tests.integration.harness import KEY, GatewayTestCase
from tests.support.files import temporary_folder

#: The approximate duration; see tests/run.py.
seconds = 13


class CheckOptionsTests(SynchronousTestCase):
    def test_options_that_do_not_fit_are_refused(self) -> None:
        for words in (
            ["--online", "--transport", "smoke"],
            ["--transport", "webrtc"],
        ):
            options = CheckOptions()
            self.assertRaises(usage.UsageError, options.parseOptions, words)
        simulated = ["--simulate", "--port", "0"]
        CheckOptions().parseOptions(["--online", "--transport", "webrtc", *simulated])


class ProbeTests(GatewayTestCase):
    behaviour = Behaviour(webrtc=WebRtcFaults(no_tcp=True))
    consent = "at first only"

    def ask(self) -> Deferred[bool]:
        self.patch(module, "_LISTEN_SECONDS", 0.5)
        self.patch(module, "_CHECKS", 5)
        self.patch(module, "_GOODBYE_SECONDS", 2.0)
        self.found: dict[str, str] = {}
        settings = self.gateway.composition.agents.health._choice.candidates[0].settings
        probe = WebRtcProbe(
            *(self.reactor, settings, ApiKey(KEY), AgentProfile()),
            self.found.__setitem__,
        )
        return Deferred.fromCoroutine(probe.run())

    def test_each_question_has_an_answer(self) -> Deferred[None]:
        async def scene() -> None:
            self.assertTrue(await self.ask(), self.found)
            found = self.found
            self.assertIn("accepted", found["1 only PCMU, no data channel"])
            self.assertIn("401", found["2 multipart with the plain key"])
            # As observed with the real service.
            self.assertIn(self.consent, found["3 consent without USE-CANDIDATE"])
            self.assertIn("packets per second", found["4 RTP during silence"])
            self.assertIn("none", found["5 TCP candidate"])
            self.assertTrue(found["6 which model answers"])
            self.assertTrue(found["7 events when DTLS is closed"])
            self.assertEqual(found["a second call with the secret"], "accepted")
            await self.until(lambda: not self.simulator.webrtc().calls)

        return Deferred.fromCoroutine(scene())


class LenientServiceTests(ProbeTests):
    behaviour = Behaviour(webrtc=WebRtcFaults(no_tcp=True, lenient_consent=True))
    consent = "always answered"


class RefusedProbeTests(ProbeTests):
    door = Door(api_keys=frozenset({"another"}))

    def test_each_question_has_an_answer(self) -> Deferred[None]:
        """With a wrong key nothing else can be tested."""

        async def scene() -> None:
            self.assertFalse(await self.ask())
            self.assertIn("HTTP 401", self.found["the rest"])

        return Deferred.fromCoroutine(scene())


class OnlineTests(GatewayTestCase):
    """The output of C{chimegw check --online} for working and faulty services."""

    def check(self, toml: str, **env: str) -> Deferred[list[str]]:
        """
        Run the check.

        @return: its lines; the last one has the status.
        """
        path = temporary_folder(self) / "gateway.toml"
        path.write_text(toml)
        url = self.gateway.composition.agents.health.candidates()[0].settings.endpoint
        variables = {
            "AZURE_OPENAI_ENDPOINT": url,
            "AZURE_OPENAI_DEPLOYMENT": "sim",
            "AZURE_OPENAI_API_KEY": KEY,
            "CHIMEGW_STATE": str(path.parent),
            **env,
        }
        patched = patch.dict(os.environ, variables)
        patched.start()
        self.addCleanup(patched.stop)
        said = io.StringIO()
        self.patch(sys, "stdout", said)
        options = CheckOptions()
        options.parseOptions(["--online", "--port", "0", "--config", str(path)])
        running = options.run(self.reactor)
        return running.addCallback(
            lambda status: [*said.getvalue().splitlines(), f"status {status}"]
        )

    def test_each_working_part_is_one_line(self) -> Deferred[None]:
        async def scene() -> None:
            lines = await self.check("[agents.sales]\nvoice = 'cedar'\n")
            self.assertEqual(lines[-2:], ["no faults", "status 0"])
            self.assertEqual([line.split()[0] for line in lines[:-2]], ["ok"] * 4)
            answers = [line for line in lines if "answered after" in line]
            self.assertEqual(len(answers), 2, lines)

        return Deferred.fromCoroutine(scene())

    def test_each_fault_has_a_remedy(self) -> Deferred[None]:
        async def scene() -> None:
            lines = await self.check(
                "[agents.default]\ntools = ['order']\n"
                "[agents.sales]\nvoice = 'nobody'\n"
                "[tools.order]\nurl = 'http://127.0.0.1:1/x'\ndescription = 'd'\n"
                f"[webhooks.crm]\nurl = 'http://127.0.0.1:{self.port}/x'\n"
                "[deployments.b]\nendpoint = 'http://127.0.0.1:1'\ndeployment = 'x'\n",
                CHIMEGW_DATABASE_URL="postgresql://u:geheim@127.0.0.1:1/x",
            )
            faults = [line for line in lines if line.startswith("FAULT")]
            for line, *words in zip(
                faults,
                ("agent sales", "deployment b", "DATABASE_URL", "tools.order.url"),
                ("'nobody'", "refused", "refused", "refused"),
                ("[agents.sales]", "deployments.b.endpoint", "firewall", "running"),
                strict=True,
            ):
                for word in words:
                    self.assertIn(word, line)
            self.assertEqual(lines[-2:], ["faults: 4", "status 1"])
            self.assertNotIn("geheim", "".join(lines))
            self.assertTrue(any("webhooks.crm" in one for one in lines))

        return Deferred.fromCoroutine(scene())

    def test_a_wrong_key_is_reported_once(self) -> Deferred[None]:
        async def scene() -> None:
            toml = "[agents.sales]\nvoice = 'cedar'\n"
            lines = await self.check(toml, AZURE_OPENAI_API_KEY="another")
            (fault,) = (line for line in lines if line.startswith("FAULT"))
            self.assertIn("401", fault)
            self.assertIn("set AZURE_OPENAI_API_KEY", fault)

        return Deferred.fromCoroutine(scene())
