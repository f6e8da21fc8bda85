"""
A process that was stopped is on time again after it continues.

benchmarks/stopped.py measures how soon; here the test waits for it.
"""

from __future__ import annotations

import json
import random
import re
import signal
import statistics
import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutput

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.dial import place_call
from tests.integration.twistd import TwistdTestCase
from tests.support.ports import MEDIA, free_port

#: The approximate duration; see tests/run.py.
seconds = 15

STOP_SECONDS = 3.0
SAYS_SECONDS = 40.0

#: The time limit to be on time again, even on a busy machine.
MOST_SECONDS = 25.0

#: Frames of each of three calls.
LEAST_FRAMES = 120

#: The length of a piece of audio that is searched, and the number of pieces: a piece is
#: not found if one of its frames was skipped, as on a busy machine.
PIECE_SECONDS = 0.2
PLACES = 10
LEAST_WHOLE = 3


class Echo(WebSocketServerProtocol):  # type: ignore[misc]
    """A Realtime service that echoes the audio at once."""

    def onConnect(self, request: Any) -> None:
        self.heard = 0

    def onOpen(self) -> None:
        self.factory.sessions.append(self)
        self.say("session.created", session={"id": "s"})

    def say(self, kind: str, **members: Any) -> None:
        self.sendMessage(json.dumps({"type": kind, **members}).encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        event = json.loads(payload)
        if event["type"] == "session.update":
            self.say("session.updated", session={"id": "s"})
        elif event["type"] == "input_audio_buffer.append":
            audio = event["audio"]
            self.heard += len(audio) * 3 // 4 - audio[-2:].count("=")
            where = {"response_id": "r", "item_id": "i", "content_index": 0}
            self.say("response.output_audio.delta", delta=audio, **where)


class StoppedTests(TwistdTestCase):
    async def test_after_a_stop_audio_is_on_time_again(self) -> None:
        factory = WebSocketServerFactory(reactor=self.reactor)
        factory.protocol = Echo
        factory.sessions = []
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        sip = free_port()
        twistd, process = await self.run_twistd(
            *("--port", "0", "--insecure"),
            AZURE_OPENAI_ENDPOINT=f"http://127.0.0.1:{port.getHost().port}",
            AZURE_OPENAI_DEPLOYMENT="echo",
            AZURE_OPENAI_API_KEY="key",
            CHIMEGW_SIP_LISTEN=f"udp:{sip}:interface=127.0.0.1",
            CHIMEGW_SIP_ALLOW="127.0.0.0/8",
            CHIMEGW_RTP_PORTS=f"{MEDIA[0]}-{MEDIA[1]}",
        )
        web = twistd.port()
        said = random.Random(1).randbytes(int(SAYS_SECONDS * 8000))
        plan = CallPlan(utterances=(said,), answer_seconds=0.5)
        urls = (
            f"ws://127.0.0.1:{web}/stream",
            f"ws://127.0.0.1:{web}/stream/raw",
            f"sip:echo@127.0.0.1:{sip}",
        )
        calls = gatherResults(
            [place_call(url, plan, PCMU, reactor=self.reactor) for url in urls]
        )
        while len(factory.sessions) < 3 or min(s.heard for s in factory.sessions) < 1:
            await deferLater(self.reactor, 0.01)
        began = self.reactor.seconds()
        await deferLater(self.reactor, 2.5)
        process.signalProcess("STOP")
        await deferLater(self.reactor, STOP_SECONDS)
        process.signalProcess(signal.SIGCONT)
        went_on = self.reactor.seconds()
        overdue = 0
        while overdue < 3 * LEAST_FRAMES:
            self.assertLess(self.reactor.seconds() - went_on, MOST_SECONDS)
            await deferLater(self.reactor, 0.25)
            overdue = await self.overdue(web)
        await deferLater(self.reactor, 2.5)
        passed = self.reactor.seconds() - began
        heard_by_model = [session.heard for session in factory.sessions]
        # The second signal ends the calls at once.
        process.signalProcess("TERM")
        await self.until_it_says(twistd, "draining")
        process.signalProcess("TERM")
        reports: list[CallReport] = await calls
        await twistd.ended.addErrback(lambda _: None)
        for url, report in zip(urls, reports, strict=True):
            with self.subTest(url):
                self.assertEqual(report.error, "")
                befores = self.late_ms(report, 0.2)
                afters = self.late_ms(report, len(report.said) / 8000 - 2.3)
                for found in (befores, afters):
                    self.assertGreaterEqual(len(found), LEAST_WHOLE)
                for after in afters:
                    late = after - statistics.median(befores)
                    self.assertLess(abs(late), STOP_SECONDS * 1000 / 4)
        # The model heard all of it exactly once.
        for heard in heard_by_model:
            self.assertLess(abs(heard / 8000 - passed), 0.5)
        self.assertNotIn("Traceback", twistd.text)

    def late_ms(self, report: CallReport, since: float) -> list[float]:
        """Return the delays of the caller's echo from then on."""
        found = []
        size = int(PIECE_SECONDS * 8000)
        for start in range(int(since * 8000), int(since * 8000) + PLACES * size, size):
            piece = decode(PCMU, bytes(report.said[start : start + size]))
            whole = decode(PCMU, bytes(report.heard[start : start + size + 4 * 8000]))
            score, lag = correlation(piece, whole)
            if score > 0.6:
                found.append(lag / 8)
        return found

    async def overdue(self, port: int | None) -> int:
        """Return the number of skipped frames."""
        url = f"http://127.0.0.1:{port}/metrics"
        read = f"print(u.urlopen({url!r}).read().decode())"
        out: bytes = await getProcessOutput(
            sys.executable,
            ("-c", f"import urllib.request as u; {read}"),
            reactor=self.reactor,
        )
        name = r'frames_dropped_total\{reason="overdue"\} (\d+)'
        counted = re.search(name, out.decode())
        return 0 if counted is None else int(counted[1])
