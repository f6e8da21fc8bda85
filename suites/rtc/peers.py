"""
Peers on third-party stacks, each stack in a separate process.

All have the same commands: one line of JSON, answered by one line of JSON.

    offer    make the offer of a new call, with all candidates
    accept   take the answer to it
    answer   take an offer and return the answer
    heard    return the samples received so far, 16 bit, base64
    state    return the connection's state, in the terms of the W3C
    keys     send digits (RFC 4733)
    say      send these samples from now on
    tell     send a text through the data channel
    told     return the texts received since the last time; null before it is open
    close    hang up
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy
from attrs import define, field

from suites.rtc.audio import Samples

HERE = Path(__file__).parent

#: The time limit for one answer; a browser takes some seconds to start.
ANSWER_SECONDS = 30.0

#: The folder where npm installed werift.
NODE_MODULES = HERE.parent / "node_modules"

_numbers = itertools.count(1)

#: A recording of a minute is a line of more than a megabyte.
_LINE_BYTES = 1 << 24


class PeerError(Exception):
    """The other stack refused, or did not answer."""


@define(eq=False)
class Peer:
    """
    One call of a third-party stack.

    @ivar said: the samples that it sends; C{None}: it echoes.
    """

    stack: Stack
    said: Samples | None = None
    name: str = field(factory=lambda: f"call{next(_numbers)}")

    async def offer(self, **more: Any) -> str:
        return str(await self._ask("offer", **self._says(), **more))

    async def accept(self, description: str) -> None:
        await self._ask("accept", sdp=description)

    async def answer(self, description: str, **more: Any) -> str:
        return str(await self._ask("answer", sdp=description, **self._says(), **more))

    async def heard(self) -> Samples:
        data = base64.b64decode(await self._ask("heard"))
        return numpy.frombuffer(data, dtype="<i2")

    async def state(self) -> str:
        return str(await self._ask("state"))

    async def is_connected(self, seconds: float = 15.0) -> bool:
        return await self._comes_to(("connected",), seconds)

    async def is_over(self, seconds: float = 15.0) -> bool:
        """Return whether the other side has ended the call."""
        return await self._comes_to(("closed", "failed", "disconnected"), seconds)

    async def _comes_to(self, wanted: tuple[str, ...], seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.state() not in wanted:
                    await asyncio.sleep(0.1)
                return True
        return False

    async def press(self, digits: str) -> None:
        await self._ask("keys", digits=digits)

    async def say(self, samples: Samples) -> None:
        await self._ask("say", audio=_encoded(samples))

    async def tell(self, text: str) -> None:
        await self._ask("tell", text=text)

    async def told(self) -> list[str] | None:
        """Return new texts; C{None}: there is no channel."""
        found: list[str] | None = await self._ask("told")
        return found

    async def close(self) -> None:
        await self._ask("close")

    def _says(self) -> dict[str, str]:
        return {} if self.said is None else {"audio": _encoded(self.said)}

    async def _ask(self, what: str, **members: Any) -> Any:
        return await self.stack.ask(what, call=self.name, **members)


def _encoded(samples: Samples) -> str:
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


class Stack:
    """
    A process with one third-party stack.

    @cvar has_keys: it sends telephone-events.
    @cvar has_goodbyes: it sends and respects close_notify of DTLS; otherwise only the
        loss of consent shows the end.
    """

    name = ""
    has_keys = has_goodbyes = True

    def __init__(self) -> None:
        self._process: Any = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asked = itertools.count(1)
        self._reading: asyncio.Task[None] | None = None

    def peer(self, said: Samples | None = None) -> Peer:
        return Peer(self, said)

    def command(self) -> list[str]:
        raise NotImplementedError

    async def listen(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self.command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            limit=_LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read())
        await self.ask("ready")

    async def _read(self) -> None:
        while line := await self._process.stdout.readline():
            self._came(json.loads(line))
        for future in self._answers.values():
            if not future.done():
                future.set_exception(PeerError(f"{self.name} has ended"))

    def _came(self, answer: dict[str, Any]) -> None:
        future = self._answers.pop(answer["id"], None)
        if future is None or future.done():
            return
        if "error" in answer:
            future.set_exception(PeerError(f"{self.name}: {answer['error']}"))
        else:
            future.set_result(answer.get("value"))

    async def ask(self, what: str, **members: Any) -> Any:
        number = next(self._asked)
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        line = json.dumps({"id": number, "do": what, **members})
        self._process.stdin.write(line.encode() + b"\n")
        return await asyncio.wait_for(future, ANSWER_SECONDS)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


class Aiortc(Stack):
    name = "aiortc"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "suites.rtc.peer_aiortc"]


class Werift(Stack):
    name = "werift"
    has_keys = has_goodbyes = False

    def command(self) -> list[str]:
        return [shutil.which("node") or "node", str(HERE / "peer_werift.mjs")]
