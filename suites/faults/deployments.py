"""Faults of a deployment: with a healthy second one, alone, and for a moment."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from attrs import frozen
from server import free_port

from suites.faults.processes import Echoes, Gateway, Simulator, deployment, until
from suites.faults.scene import Scene
from suites.faults.sip_line import options

CALLS_BESIDE = 24
CALLS_IN_A_BLIP = 10
BLIP_SECONDS = 0.1

#: Longer than the longest rest that doubles (30 s), and one more attempt.
REST_SECONDS = 50.0


@frozen
class Fault:
    """
    A fault.

    @ivar options: options of the simulator; C{None}: no simulator.
    @ivar away_seconds: how long the deployment may rest after its recovery.
    @ivar url: its URL; C{PORT} is the simulator's port.
    """

    options: tuple[str, ...] | None
    away_seconds: float = REST_SECONDS
    url: str = "http://127.0.0.1:PORT"


#: docs/reference/deployments.md: C{Retry-After} counts up to 120 s plus a tenth, and a
#: wrong setting is tried again every minute.
FAULTS = {
    "silent": Fault(("--refuse", "silence")),
    "silent session": Fault(("--fault", "silent_start")),
    "drops": Fault(("--refuse", "drop")),
    "429": Fault(("--refuse", "429", "--retry-after", "120"), away_seconds=150.0),
    "503": Fault(("--refuse", "503")),
    "refuses": Fault(None),
    "no name": Fault(None, url="https://chaos.invalid"),
    "wrong key": Fault(("--api-key", "another"), away_seconds=80.0),
    "connects to none": Fault(None, url="http://127.0.0.1:FULL"),
    "throttles": Fault(("--fault", "refuse=session.update:rate_limit_exceeded")),
    "never updates": Fault(("--fault", "update_delay_seconds=-1")),
    "closes": Fault(("--fault", "close_at_once")),
}


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """Open a port that drops SYNs: its backlog is full, and nothing is accepted."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
        waiting.append(one)
    return listening, waiting


async def faulty(scene: Scene, fault: Fault, port: int) -> str:
    """
    Start a faulty deployment.

    @return: its URL.
    """
    if fault.options is not None:
        await scene.run(Simulator(port, *fault.options))
    if "FULL" in fault.url:
        listening, waiting = full_backlog()
        scene.others += [listening, *waiting]
        return fault.url.replace("FULL", str(listening.getsockname()[1]))
    return fault.url.replace("PORT", str(port))


def beside(name: str) -> Callable[[Scene], Awaitable[None]]:
    async def scene_of(scene: Scene) -> None:
        url = await faulty(scene, FAULTS[name], free_port())
        echoes = await scene.run(Echoes())
        settings = deployment("first", url, 1) + deployment("second", echoes.url, 2)
        gateway = await scene.start(Gateway(name.replace(" ", "-"), settings))
        early = await scene.call(gateway, CALLS_BESIDE // 3, 0.2)
        await scene.answered(early, "calls at once")
        late = await scene.call(gateway, CALLS_BESIDE - len(early), 3.0)
        await scene.answered(late, "calls later")
        scene.expect(await gateway.is_ready(), "not ready with a healthy deployment")
        await scene.go_on(scene.lines, "calls at the end")
        await scene.hush(scene.lines)
        await scene.finish(gateway)

    return scene_of


def alone(name: str) -> Callable[[Scene], Awaitable[None]]:
    fault = FAULTS[name]

    async def scene_of(scene: Scene) -> None:
        port = free_port()
        url = await faulty(scene, fault, port)
        gateway = await scene.start(
            Gateway(
                name.replace(" ", "-"), deployment("first", url, 1), connect_seconds=3.0
            )
        )
        scene.expect(await gateway.is_ready(), "not ready before the first attempt")
        seen: list[str] = []

        async def watch() -> None:
            # The first rest is only a fraction of a second.
            while not seen:
                status, text = await gateway.ready()
                seen.extend([text] * (status == 503))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        for _ in range(4):
            await scene.refused(await scene.call(gateway, 3, 0.1), "calls, no agent")
            if seen:
                break
        watching.cancel()
        scene.expect(seen, "/ready was never 503 while all deployments rested")
        scene.expect(not seen or "first" in seen[0], f"/ready names none: {seen}")
        if fault.away_seconds > REST_SECONDS:
            status = await options(gateway.sip_port)
            scene.expect(status == 503, f"OPTIONS got {status} while all rested")
        is_soon = not scene.is_short or fault.away_seconds <= REST_SECONDS
        if is_soon and "PORT" in fault.url:
            await come_back(scene, gateway, port, fault.away_seconds)
        await scene.finish(gateway)

    return scene_of


async def come_back(scene: Scene, gateway: Gateway, port: int, seconds: float) -> None:
    for other in scene.others:
        other.kill()
    scene.others.clear()
    echoes = Echoes(port)
    await scene.run(echoes)
    scene.expect(
        await until(gateway.is_ready, seconds, 0.25), "not ready after the recovery"
    )
    status = await options(gateway.sip_port)
    scene.expect(status == 200, f"OPTIONS got {status} after the recovery")
    lines = await scene.call(gateway, 10, 0.1)
    await scene.answered(lines, "calls after the recovery")
    await scene.hush(lines)


class Outage:
    """Another server on the service's port, which gives no sessions."""

    def __init__(self, port: int, answer: bytes | None) -> None:
        """
        @param answer: the answer on each connection; empty: the connection is dropped;
            C{None}: the port is closed.
        """
        self._port = port
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def begin(self) -> None:
        if self._answer is not None:
            here = ("127.0.0.1", self._port)
            self._server = await asyncio.start_server(self._serve, *here)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer or b"")
            writer.close()

    def end(self) -> None:
        if self._server is not None:
            self._server.close()


_OUTAGES = (
    None,
    b"",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
)


async def outage(scene: Scene, echoes: Echoes, seconds: float) -> None:
    """Let the service be unavailable for a time; existing sessions go on."""
    echoes.close()
    fault = Outage(echoes.port, scene.rng.choice(_OUTAGES))
    await fault.begin()
    await asyncio.sleep(seconds)
    fault.end()
    await echoes.listen()


async def blip(scene: Scene) -> None:
    """The only deployment is unavailable for a moment, while ten callers arrive."""
    echoes = await scene.run(Echoes())
    gateway = await scene.start(Gateway("blip", deployment("only", echoes.url, 1)))
    others = await scene.call(gateway, 4, 0.2)
    await scene.answered(others, "calls before")
    for _ in range(1 if scene.is_short else 8):
        await asyncio.sleep(scene.rng.uniform(0.5, 1.5))
        lines, _ = await asyncio.gather(
            scene.call(gateway, CALLS_IN_A_BLIP, BLIP_SECONDS),
            outage(scene, echoes, BLIP_SECONDS),
        )
        await scene.answered(lines, "calls during a blip")
        after = await scene.call(gateway, CALLS_IN_A_BLIP, 0.5)
        await scene.answered(after, "calls after a blip")
        await scene.hang_up([*lines, *after])
    await scene.go_on(others, "other calls during a blip")
    await scene.hush(others)
    await scene.finish(gateway)


async def flapping(scene: Scene) -> None:
    """Two deployments fail and recover in turn, never both at a time."""
    both = [await scene.run(Echoes()) for _ in range(2)]
    settings = "".join(
        deployment(f"d{n}", one.url, 1 if scene.rng.random() < 0.5 else n)
        for n, one in enumerate(both, 1)
    )
    gateway = await scene.start(Gateway("flapping", settings))
    first = await scene.call(gateway, 4, 0.2)
    await scene.answered(first, "calls before")
    is_over = False

    async def flap() -> None:
        while not is_over:
            one = scene.rng.choice(both)
            await outage(scene, one, scene.rng.choice((0.05, 0.3, 1.0, 3.0)))
            # Time for the gateway to find that it has recovered.
            await asyncio.sleep(scene.rng.choice((0.2, 1.0)))

    flapped = asyncio.create_task(flap())
    for _ in range(4 if scene.is_short else 40):
        lines = await scene.call(gateway, 6, 1.0)
        await scene.answered(lines, "calls with one healthy deployment")
        await scene.hang_up(lines)
    is_over = True
    await flapped
    await scene.go_on(first, "calls that went on")
    await scene.hush(first)
    await scene.finish(gateway)


async def profile(scene: Scene) -> None:
    """A profile with a voice that the service does not have, and a good profile."""
    simulator = await scene.run(Simulator(free_port()))
    url = f"http://127.0.0.1:{simulator.port}"
    agents = (
        "[agents.default]\ngreeting = 'Hello, this is the agent. How are you?'\n"
        "[agents.wrong]\nvoice = 'nosuchvoice'\n"
    )
    settings = agents + deployment("only", url, 1)
    gateway = await scene.start(Gateway("profile", settings))
    for _ in range(2 if scene.is_short else 5):
        bad, good = await asyncio.gather(
            scene.call(gateway, 4, 0.5, agent="wrong"),
            scene.call(gateway, 8, 0.5, is_mute=True),
        )
        await scene.refused(bad, "calls of a wrong profile")
        await scene.answered(good, "calls of a good profile")
        await scene.hang_up(good)
    status, text = await gateway.ready()
    scene.expect(status == 200, f"not ready for the good profile: {text}")
    scene.expect('"wrong"' in text, f"/ready does not name the profile: {text}")
    scene.expect('"default"' not in text, f"/ready names a good profile: {text}")
    scene.expect("nosuchvoice" in gateway.log, "the log does not name the voice")
    await scene.finish(gateway)
