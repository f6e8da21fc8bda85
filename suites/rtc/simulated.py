"""
The simulated service, called by third-party stacks: they send audio, and the parrot
repeats it over their ICE, DTLS and RTP.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy
from server import free_port

from suites.faults.playing import Play
from suites.faults.processes import until
from suites.faults.scene import Scene
from suites.rtc import http
from suites.rtc.audio import RATE, compare, speech
from suites.rtc.callers import connected, stack_of

CALLS = "/openai/v1/realtime/calls"
SECRETS = "/openai/v1/realtime/client_secrets"

SAID_SECONDS, QUIET_SECONDS = 3.0, 5.0

#: The share that must be heard: the VAD starts a little late.
HEARD_SHARE = 0.8


class Simulator:
    """
    C{chimegw simulate-azure}, with options for third-party stacks: aiortc knows no
    static payload types, and sends consent checks without C{USE-CANDIDATE}.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.path = Path(tempfile.mkdtemp(prefix="chimegw-rtc-")) / "log.jsonl"
        self._process: Any = None

    async def listen(self) -> None:
        code = "from chime_gateway.cli.main import main; main()"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", code, "simulate-azure"),
                *("--port", str(self.port), "--log", str(self.path)),
                *("--fault", "rtpmap", "--fault", "lenient_consent"),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
        )
        if not await until(self._answers, 20.0):
            raise TimeoutError("the simulator does not answer")

    async def _answers(self) -> bool:
        return (await http.ask(self.port, "POST", SECRETS)).status == 401

    def told(self, what: str) -> list[dict[str, Any]]:
        lines = self.path.read_text().splitlines()
        return [one for one in map(json.loads, lines) if one["what"] == what]

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def simulated(name: str) -> Play:
    async def scene_of(scene: Scene) -> None:
        simulator = await scene.run(Simulator())
        said = speech(SAID_SECONDS, 6)
        quiet = numpy.zeros(round(QUIET_SECONDS * RATE), dtype=numpy.int16)
        whole = numpy.concatenate((quiet[: RATE // 2], said, quiet))
        stack = await scene.run(stack_of(name, whole))
        peer = stack.peer(whole)
        scene.counts["calls"] += 1
        offer = await peer.offer()
        session = {"session": {"type": "realtime", "model": "parrot"}}
        minted = await http.ask(
            simulator.port,
            *("POST", SECRETS, json.dumps(session)),
            api_key="key",
            Content_Type="application/json",
        )
        answered = await http.ask(
            simulator.port,
            *("POST", CALLS, offer),
            Authorization=f"Bearer {json.loads(minted.body)['value']}",
            Content_Type="application/sdp",
        )
        scene.expect(answered.status == 201, f"{name}'s offer: {answered}")
        await peer.accept(answered.body)
        await connected(scene, peer)
        await asyncio.sleep(2 * SAID_SECONDS + QUIET_SECONDS)
        found = compare(said, await peer.heard())
        print(f"{scene.name:24} {name}: {found}", flush=True)
        scene.counts["windows"] += found.windows
        scene.counts["windows lost"] += found.windows - found.found
        scene.expect(found.share >= HEARD_SHARE, f"{name} heard {found}")
        scene.expect(simulator.told("turn"), "the service has heard no turn")
        call_id = answered.headers["location"].rpartition("/")[2]
        ended = await http.ask(
            simulator.port, "POST", f"{CALLS}/{call_id}/hangup", api_key="key"
        )
        scene.expect(ended.status == 200, f"hang-up: {ended}")
        scene.expect(await peer.is_over(), f"{name} did not notice the hang-up")

    return scene_of


SCENES: dict[str, Play] = {
    f"simulated: {name}": simulated(name) for name in ("aiortc", "Chromium")
}
