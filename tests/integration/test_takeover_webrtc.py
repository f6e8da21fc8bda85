"""WebRTC calls during take-overs, with callers on real sockets."""

from __future__ import annotations

import os
import signal

from twisted.internet.defer import Deferred, gatherResults

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.dial import place_call
from tests.integration.takeover_harness import TakeOverTestCase
from tests.support.ports import free_port
from tests.whole_calls.test_media_stream import LONG, phrase

#: The approximate duration; see tests/run.py.
seconds = 20


class WebRtcTakeOverTests(TakeOverTestCase):
    def offer(self, port: int | None, turns: int = 1) -> Deferred[CallReport]:
        plan = CallPlan(utterances=(phrase(PCMU, *LONG),) * turns)
        url = f"http://127.0.0.1:{port}/webrtc/offer"
        return place_call(url, plan, PCMU, reactor=self.reactor)

    async def test_each_process_keeps_its_calls_on_the_same_port(self) -> None:
        """Three processes; the second takes over while a caller is connecting."""
        listen = f"udp:{free_port()}:interface=127.0.0.1"
        twistd, _ = await self.gateway(CHIMEGW_WEBRTC_LISTEN=listen)
        port = twistd.port()
        calls = [self.offer(port, turns=3) for _ in range(3)]
        await self.until_count(twistd, "call.answered", 3)
        await self.take_over(twistd)
        calls += [self.offer(port, turns=2) for _ in range(3)]
        await self.until_count(twistd, "call.started", 6)
        await self.take_over(twistd)
        calls += [self.offer(port) for _ in range(2)]
        reports = await gatherResults(calls)
        turns = (3,) * 3 + (2,) * 3 + (1,) * 2
        for report, count in zip(reports, turns, strict=True):
            self.assertEqual((report.error, report.unanswered), ("", 0))
            self.assertEqual(len(report.answer_latencies), count)
            # Ended by DELETE, which reaches the newest process for any call.
            self.assertEqual(report.close_reason, "the caller hung up")
        await self.until_count(twistd, "call.ended", 8)
        os.kill(self.pid(), signal.SIGTERM)
        await self.ended(twistd)
        self.assertNotIn("Traceback", twistd.text)
        endings = [e for e in twistd.events() if e["event"].startswith("call.ended")]
        self.assertEqual([e["outcome"] for e in endings], ["completed"] * 8)
        self.assertEqual(len({e["process"] for e in endings}), 3)
        lost = sum(
            e["packets_lost"]
            for e in twistd.events()
            if e["event"].startswith("media.ended")
        )
        # A packet may be lost when its address gets its own socket.
        self.assertLessEqual(lost, 8)
