"""The gateway as a process with an agent over WebRTC, connected by UDP."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.sim.realtime.server import SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot
from tests.integration.harness import KEY
from tests.integration.twistd import Twistd, TwistdTestCase
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 18


class ProcessTests(TwistdTestCase):
    def test_calls_work_are_interrupted_and_leave_nothing(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            service = SimulatorFactory(
                Parrot, reactor=self.reactor, api_keys=frozenset({KEY})
            )
            port: Any = self.reactor.listenTCP(0, service, interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            self.addCleanup(service.webrtc().stop)
            twistd, process = await self.run_twistd(
                *("--port", "0"),
                AZURE_OPENAI_ENDPOINT=f"http://127.0.0.1:{port.getHost().port}",
                AZURE_OPENAI_DEPLOYMENT="sim",
                AZURE_OPENAI_API_KEY=KEY,
                AZURE_OPENAI_TRANSPORT="webrtc",
            )
            url = f"ws://127.0.0.1:{twistd.port()}/stream"
            said = (phrase(PCMU, *LONG), phrase(PCMU, *SHORT))
            plan = CallPlan(utterances=said, interrupt_after_seconds=(0.8,))
            report = await place_call(url, plan, PCMU, reactor=self.reactor)
            self.assertEqual((report.error, report.stale_bytes), ("", 0))
            last = decode(PCMU, said[1])
            score, _ = correlation(last, decode(PCMU, bytes(report.heard)))
            # Less if the machine stalls (C{overdue}).
            self.assertGreater(score, 0.6)
            rtc = service.webrtc()
            (call,) = rtc.all_calls
            self.assertEqual(call.session.log.violations, [])
            # One secret, fetched before the first call.
            self.assertEqual(rtc.offers, 1)
            # A running call is also hung up when the process ends.
            cut_off = place_call(url, plan, PCMU, reactor=self.reactor)
            while not rtc.calls:
                await self.pause(twistd)
            process.signalProcess("TERM")
            # Two signals at once would merge.
            await self.until_it_says(twistd, "draining")
            process.signalProcess("TERM")
            await self.ended(twistd)
            # Its socket's timers end with it.
            await cut_off
            self.assertEqual(rtc.calls, {})
            self.assertNotIn("Traceback", twistd.text)
            self.assertNotIn("over the WebSocket", twistd.text)

        return Deferred.fromCoroutine(scene())

    async def ended(self, twistd: Twistd) -> None:
        await twistd.ended.addErrback(lambda _: None)
