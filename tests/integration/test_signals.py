"""The end of the process after signals, at any time."""

from __future__ import annotations

import random
import signal
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone
from twisted.internet.task import deferLater

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.dial import place_call
from tests.integration.twistd import RUN, TwistdTestCase, arguments
from tests.support.files import temporary_folder
from tests.whole_calls.test_media_stream import LONG, phrase

#: The same, with a line when it has begun to handle signals.
RUN_AND_SAY = f"""
import time
import chime_gateway.app.twistd as plugin
real = plugin.listen_while_starting
def listen():
    real()
    print('{{"event": "starting"}}', flush=True)
    time.sleep(0.3)
plugin.listen_while_starting = listen
{RUN}
"""

#: The log line after which the process is stopped.
PHASES = ("starting", "listening on", "is ready for calls", "call.answered")


class SignalTests(TwistdTestCase):
    async def run_until(
        self, phase: str, pause: float, numbers: list[signal.Signals]
    ) -> Any:
        """
        Start a gateway, and stop it in a phase with these signals.

        @return: how the process ended.
        """
        words = arguments("--simulate", "--port", "0", run=RUN_AND_SAY)
        twistd, process = self.spawn(words, CHIMEGW_STATE=str(temporary_folder(self)))
        while "listening on" not in twistd.text and phase not in twistd.text:
            await self.pause(twistd)
        calling: Deferred[Any] | None = None
        if phase == "call.answered":
            plan = CallPlan(utterances=(phrase(PCMU, *LONG),) * 20)
            url = f"ws://127.0.0.1:{twistd.port()}/stream"
            calling = place_call(url, plan, PCMU, reactor=self.reactor)
        while phase not in twistd.text:
            await self.pause(twistd)
        for number in numbers:
            await deferLater(self.reactor, pause)
            if not twistd.ended.called:
                process.signalProcess(number)
            # Two equal signals may merge if the first has not been handled yet.
            while calling and "draining" not in twistd.text and not twistd.ended.called:
                await deferLater(self.reactor, 0.01)
        end = await twistd.ended.addErrback(lambda failure: failure.value)
        if calling is not None:
            await calling
        self.assertNotIn("Traceback", twistd.text)
        return end

    def test_stopped_at_any_time_it_ends_with_status_0(self) -> Deferred[None]:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)

        async def scene() -> None:
            running = []
            for phase in PHASES:
                # With a call, a second signal is needed to end it at once.
                least = 2 if phase == "call.answered" else 1
                numbers = chance.choices(
                    (signal.SIGTERM, signal.SIGINT), k=chance.randint(least, 3)
                )
                pause = chance.uniform(0.02, 0.3)
                running.append(
                    Deferred.fromCoroutine(self.run_until(phase, pause, numbers))
                )
            ends = await gatherResults(running)
            kinds = [type(end) for end in ends]
            self.assertEqual(kinds, [ProcessDone] * len(ends), f"seed {seed}")

        return Deferred.fromCoroutine(scene())
