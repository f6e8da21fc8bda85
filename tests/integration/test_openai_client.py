"""
The client of the C{openai} package against the simulator: an independent
implementation of the protocol.  It uses asyncio, so it runs in a separate process.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from chime_gateway.sim.realtime.server import Door, SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot
from tests.support.base import ReactorTestCase

GA_CLIENT = """
import asyncio, base64, json, math, sys
from openai import AsyncOpenAI

async def main(port):
    client = AsyncOpenAI(
        api_key="k", websocket_base_url=f"ws://127.0.0.1:{port}/openai/v1"
    )
    kinds, audio = [], 0
    async with client.realtime.connect(model="d") as connection:
        pcmu = {"type": "audio/pcmu"}
        await connection.session.update(session={
            "type": "realtime",
            "audio": {"input": {"format": pcmu}, "output": {"format": pcmu}},
        })
        await connection.response.create()
        async for event in connection:
            kinds.append(event.type)
            if event.type == "response.output_audio.delta":
                audio += len(base64.b64decode(event.delta))
            if event.type == "response.done":
                break
    print(json.dumps({"kinds": kinds, "audio": audio}))

asyncio.run(main(int(sys.argv[1])))
"""


class OpenAIClientTests(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.simulator = SimulatorFactory(
            Parrot, reactor=reactor, door=Door(frozenset({"k"}), frozenset({"d"}))
        )
        port: Any = self.reactor.listenTCP(0, self.simulator, interface="127.0.0.1")
        self.port: int = port.getHost().port
        self.addCleanup(port.stopListening)

    def test_it_is_answered(self) -> Deferred[None]:
        async def scene() -> None:
            out, err, status = await getProcessOutputAndValue(
                sys.executable,
                ["-W", "ignore", "-c", GA_CLIENT, str(self.port)],
                reactor=self.reactor,
            )
            self.assertEqual(status, 0, err.decode())
            said = json.loads(out)
            self.assertEqual(said["kinds"][:2], ["session.created", "session.updated"])
            self.assertEqual(said["audio"], 6000)  # the chime: three times 250 ms
            while not self.simulator.sessions[0].is_over:
                await self.turn()

        return Deferred.fromCoroutine(scene())

    async def turn(self) -> None:
        waited: Deferred[None] = Deferred()
        self.reactor.callLater(0.01, waited.callback, None)
        await waited
