from __future__ import annotations

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

#: About so long it takes; see tests/run.py.
seconds = 13


class CheckOptionsTests(SynchronousTestCase):
    def test_only_what_is_there_can_be_asked_for(self) -> None:
        for words in (
            [],
            ["--online", "--transport", "smoke"],
            ["--transport", "webrtc"],
        ):
            options = CheckOptions()
            self.assertRaises(usage.UsageError, options.parseOptions, words)
        CheckOptions().parseOptions(["--online", "--transport", "webrtc"])


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
            self.assertIn("taken", found["1 PCMU alone, no data channel"])
            self.assertIn("401", found["2 multipart with the plain key"])
            # As it was seen of the service.
            self.assertIn(self.consent, found["3 consent without USE-CANDIDATE"])
            self.assertIn("packets a second", found["4 RTP during silence"])
            self.assertIn("none", found["5 TCP candidate"])
            self.assertTrue(found["6 which model answers"])
            self.assertTrue(found["7 what events say when DTLS is closed"])
            self.assertEqual(found["a second call with the secret"], "taken")
            await self.until(lambda: not self.simulator.webrtc().calls)

        return Deferred.fromCoroutine(scene())


class LenientServiceTests(ProbeTests):
    behaviour = Behaviour(webrtc=WebRtcFaults(no_tcp=True, lenient_consent=True))
    consent = "all the time"


class RefusedProbeTests(ProbeTests):
    door = Door(api_keys=frozenset({"another"}))

    def test_each_question_has_an_answer(self) -> Deferred[None]:
        """A wrong key: there is nothing else to be asked."""

        async def scene() -> None:
            self.assertFalse(await self.ask())
            self.assertIn("HTTP 401", self.found["the rest"])

        return Deferred.fromCoroutine(scene())
