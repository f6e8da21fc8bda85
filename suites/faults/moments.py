"""
Sessions that fail during a call, at a chosen or a random moment.

The call must neither end nor fall silent, and its answers must stay right.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from server import free_port

from suites.faults.conversations import (
    ANSWER_SECONDS,
    Conversation,
    Event,
    events_of,
    open_sessions,
    sessions_of,
    together,
)
from suites.faults.processes import Gateway, Simulator, deployment, until
from suites.faults.scene import Scene
from suites.faults.takeovers import ending_all, take_over
from suites.faults.talking import Talking, TalkingSip, TalkingStream
from suites.faults.timeline import timeline

#: The profile's greeting, so that a repeated greeting is noticed.
AGENT = "[agents.default]\ngreeting = 'Hello.'\n"

CALLS, SECONDS = 12, 240.0
SHORT_CALLS, SHORT_SECONDS = 6, 35.0


class Services:
    """
    Two deployments whose voice answers from its session's items, and their gateway.

    @ivar logs: the logs of the deployments.
    """

    def __init__(self, *faults: str, second: tuple[str, ...] = ()) -> None:
        """
        @param faults: faults of the first deployment.
        @param second: faults of the second one, which is tried after the first.
        """
        folder = Path(tempfile.mkdtemp(prefix="chimegw-chaos-services-"))
        self.logs = [folder / "first.jsonl", folder / "second.jsonl"]
        self.simulators = []
        for log, chosen in zip(self.logs, (faults, second), strict=True):
            log.touch()
            told = [word for fault in chosen for word in ("--fault", fault)]
            options = ("--voice", "answering", "--log", str(log), *told)
            self.simulators.append(Simulator(free_port(), *options))

    async def start(self, scene: Scene, name: str, settings: str = "") -> Gateway:
        for simulator in self.simulators:
            await scene.run(simulator)
        places = "".join(
            deployment(name, f"http://127.0.0.1:{one.port}", priority)
            for priority, (name, one) in enumerate(
                zip(("first", "second"), self.simulators, strict=True), 1
            )
        )
        return await scene.start(Gateway(name, AGENT + places + settings))

    def events(self) -> list[Event]:
        return events_of(*self.logs)


def talkers(scene: Scene, gateway: Gateway, calls: int) -> list[Conversation]:
    lines: list[Talking] = []
    for n in range(calls):
        if n % 2:
            lines.append(TalkingSip(gateway.sip_port, secret=gateway.call_secret))
        else:
            lines.append(TalkingStream(gateway.port))
    scene.lines += lines
    scene.counts["calls"] += calls
    numbers = scene.rng.sample(range(1000, 10_000), calls)
    return [
        Conversation(line, number, scene.rng, scene.gaps)
        for line, number in zip(lines, numbers, strict=True)
    ]


def judge(scene: Scene, conversations: list[Conversation], services: Services) -> None:
    """Check what was heard in each conversation, and the logs of the services."""
    events = services.events()
    for one in conversations:
        scene.counts["questions"] += len(one.asked)
        scene.counts["excused"] += one.excused
        wrong = one.faults()
        mine = sessions_of(one.number, events)
        happened = [
            f"{event.members['fault']} at {event.at:.1f} in {event.session}"
            for event in events
            if event.what == "fault" and event.session in mine
        ]
        scene.counts["faults"] += len(happened)
        for what, count in wrong.items():
            scene.counts[what] += count
        scene.expect(
            not wrong,
            f"{one.line.carrier} {one.number}: {dict(wrong)}, {one.line.ended}"
            f" after {happened}",
        )
    violations = [x.members["how"] for x in events if x.what == "violation"]
    scene.counts["violations"] += len(violations)
    scene.expect(not violations, f"violations: {violations[:3]}")


def faults_of(one: Conversation, events: list[Event]) -> list[Event]:
    mine = sessions_of(one.number, events)
    return [x for x in events if x.what == "fault" and x.session in mine]


def table(conversations: list[Conversation], events: list[Event]) -> str:
    """
    Make a table of each fault: how often it happened, and the time until the next
    answer, counted from the fault or from the end of the question if that was later.
    """
    costs: dict[str, list[float]] = defaultdict(list)
    for one in conversations:
        for fault in faults_of(one, events):
            later = (x for x in one.asked if x.began is None or x.began > fault.at)
            asked = next(later, None)
            if asked is not None:
                end = asked.began or asked.said.ends + ANSWER_SECONDS
                cost = end - max(fault.at, asked.said.ends)
                costs[str(fault.members["fault"])].append(cost)
    lines = [f"    {'fault':46} {'count':>5} {'p50':>6} {'longest':>8}"]
    for name, found in sorted(costs.items()):
        lines.append(
            f"    {name:46} {len(found):5} {median(found):6.2f} {max(found):8.2f}"
        )
    return "\n".join(lines)


def show(conversations: list[Conversation], services: Services) -> None:
    """Print the table, and draw the call with the most faults."""
    events = services.events()
    print(table(conversations, events), flush=True)
    worst = max(conversations, key=lambda one: len(faults_of(one, events)))
    if faults_of(worst, events):
        path = services.logs[0].with_name("call.svg")
        path.write_text(timeline(worst, events))
        print(f"    a call with {len(faults_of(worst, events))} faults: {path}")


async def finish(scene: Scene, gateway: Gateway, services: Services) -> None:
    """Expect as many sessions as calls, then none, and one record per call."""
    live = sum(line.is_open for line in scene.lines)
    scene.expect(
        await until(lambda: open_sessions(services.events()) == live, 15.0),
        f"{open_sessions(services.events())} sessions are open for {live} calls",
    )
    await scene.hang_up()
    scene.expect(
        await until(lambda: not open_sessions(services.events()), 15.0),
        "sessions are open after the last call",
    )
    placed = scene.counts["calls"]
    await until(lambda: len(gateway.rows()) >= placed, 15.0, 0.5)
    rows = gateway.rows()
    scene.counts["records"] += len(rows)
    scene.expect(len(rows) == placed, f"{len(rows)} records of {placed} calls")
    await scene.finish(gateway)


async def chance(scene: Scene) -> None:
    """Two thirds of the sessions have a random fault; calls meet many of them."""
    calls, seconds = (CALLS, SECONDS)
    if scene.is_short:
        calls, seconds = (SHORT_CALLS, SHORT_SECONDS)
    seed = scene.rng.randrange(1 << 30)
    services = Services(f"chance={seed}", second=(f"chance={seed + 1}:0.4",))
    gateway = await services.start(scene, "chance")
    conversations = talkers(scene, gateway, calls)
    await together(conversations, seconds)
    judge(scene, conversations, services)
    show(conversations, services)
    await finish(scene, gateway, services)


async def stopped(scene: Scene) -> None:
    """The gateway's process is stopped for three seconds during conversations."""
    services = Services()
    gateway = await services.start(scene, "stopped")
    conversations = talkers(scene, gateway, SHORT_CALLS)
    talk = asyncio.create_task(together(conversations, SHORT_SECONDS))
    await asyncio.sleep(12.0)
    gateway.send(signal.SIGSTOP)
    await asyncio.sleep(3.0)
    gateway.send(signal.SIGCONT)
    # Questions asked during the stop are late or damaged: only later ones count.
    await talk
    for one in conversations:
        one.begin_anew()
    await asyncio.gather(*(one.ask() for one in conversations))
    judge(scene, conversations, services)
    await finish(scene, gateway, services)


async def taken_over(scene: Scene) -> None:
    """Two take-overs during conversations with sessions that fail."""
    services = Services(f"chance={scene.rng.randrange(1 << 30)}")
    gateway = await services.start(scene, "taken-over")
    conversations = talkers(scene, gateway, SHORT_CALLS)
    talk = asyncio.create_task(together(conversations, SHORT_SECONDS))
    for _ in range(2):
        await asyncio.sleep(8.0)
        await take_over(scene, gateway)
    await talk
    judge(scene, conversations, services)
    await scene.hang_up()
    scene.expect(
        await until(lambda: not open_sessions(services.events()), 15.0),
        "sessions are open after the last call",
    )


SCENES = {
    "conversations": chance,
    "talk stopped": stopped,
    "talk taken over": ending_all(taken_over),
}
