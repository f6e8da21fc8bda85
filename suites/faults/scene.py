"""One fault, its calls, and the conditions that must hold during and after it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define, field

from suites.faults.lines import Line, Stream
from suites.faults.processes import Gateway, page, until
from suites.faults.sip_line import SipCall

#: Frames that one call may lose: a queue that was too long is shortened by single
#: frames, and the loss of one in a hundred is not heard.
MOST_LOST_FRAMES = 4
MOST_LOST_SHARE = 0.01

#: The same in the short form, where two suites run in parallel.  A stall of 0.3 s is
#: usually the machine's fault, and the scheduler statistics do not always show it.
#: Each stall costs a paced leg the frames that came late, which are skipped to catch
#: up.
MOST_LOST_SHORT_FRAMES = 15

#: A process that waits this long for the CPU within C{SAMPLE_SECONDS} is starved:
#: frames lost around that time do not count.
STARVED_SECONDS = 0.1
SAMPLE_SECONDS = 0.2
STARVED_BEFORE_SECONDS, STARVED_AFTER_SECONDS = 0.5, 2.0

#: Time for frames in transit when a caller stops talking.
UNDER_WAY_SECONDS = 3.0

_BUG = re.compile(r'Traceback|"log_failure"|"name": "critical"')


def waited(pid: int) -> float:
    """
    Return how long a process has waited for the CPU.

    @return: the time for which its first thread was ready and did not run, in seconds
        (Documentation/scheduler/sched-stats.rst of Linux).
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0  # it has ended


@define
class Scene:
    """
    A scene, with its calls, gateways and counts.

    @ivar broken: descriptions of violations.
    @ivar may_lack: tracebacks that contain this are not bugs; empty: all are bugs.
    @ivar excused: errors that C{/health} may give instead of an answer.
    @ivar most_lost: the number of frames that a call may lose, in addition to
        L{MOST_LOST_SHARE}.
    @ivar gaps: times in ns during which frames may be lost.
    """

    name: str
    rng: random.Random
    is_short: bool
    lines: list[Line] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    broken: list[str] = field(factory=list)
    gaps: list[tuple[int, int]] = field(factory=list)
    most_lost: int = MOST_LOST_FRAMES
    gateways: list[Gateway] = field(factory=list)
    others: list[Any] = field(factory=list)
    may_lack: str = ""
    excused: tuple[str, ...] = ()
    _watching: list[asyncio.Task[None]] = field(factory=list)

    def expect(self, is_so: object, what: str) -> None:
        if not is_so:
            self.broken.append(what)

    async def start(self, gateway: Gateway) -> Gateway:
        """Wait for a gateway, and watch it from now on: C{/health} must answer."""
        self.gateways.append(gateway)
        await gateway.listens()
        self._watching.append(asyncio.create_task(self._watch(gateway)))
        self._watching.append(asyncio.create_task(self._watch_machine(gateway)))
        return gateway

    async def run(self, other: Any) -> Any:
        """Start a simulator or another server that ends with the scene."""
        self.others.append(other)
        await (other.listens() if hasattr(other, "listens") else other.listen())
        return other

    async def _watch(self, gateway: Gateway) -> None:
        while not gateway.is_told_to_stop:
            status, text = await page(gateway.port, "/health")
            self.counts["health asked"] += 1
            is_excused = not status and any(word in text for word in self.excused)
            if status != 200 and not is_excused and not gateway.is_told_to_stop:
                self.counts["health failed"] += 1
                self.expect(False, f"/health did not answer: {status} {text}")
            await asyncio.sleep(0.5)

    async def _watch_machine(self, gateway: Gateway) -> None:
        pids = (gateway.process.pid, os.getpid())
        before = [waited(pid) for pid in pids]
        while not gateway.is_told_to_stop:
            await asyncio.sleep(SAMPLE_SECONDS)
            after = [waited(pid) for pid in pids]
            longest = max(b - a for a, b in zip(before, after, strict=True))
            before = after
            if longest > STARVED_SECONDS:
                now = time.monotonic_ns()
                start = now - round(STARVED_BEFORE_SECONDS * 1e9)
                self.gaps.append((start, now + round(STARVED_AFTER_SECONDS * 1e9)))
                self.counts["starved"] += 1

    def line(self, gateway: Gateway, carrier: str = "", agent: str = "") -> Line:
        chosen = carrier or self.rng.choice(("stream", "raw", "sip", "sip"))
        if chosen == "sip":
            secret = gateway.call_secret
            return SipCall(gateway.sip_port, agent=agent, secret=secret)
        return Stream(gateway.port, is_raw=chosen == "raw", agent=agent)

    async def call(
        self,
        gateway: Gateway,
        calls: int,
        within_seconds: float = 1.0,
        agent: str = "",
        *,
        is_mute: bool = False,
    ) -> list[Line]:
        """Place this number of calls of both carriers; some may be refused."""
        carriers = ["sip", "stream", "sip", "raw"]
        placed = [self.line(gateway, carriers[n % 4], agent) for n in range(calls)]
        for line in placed:
            line.is_mute = is_mute
        self.rng.shuffle(placed)
        self.lines += placed
        self.counts["calls"] += calls

        async def place(line: Line, after: float) -> None:
            await asyncio.sleep(after)
            await line.place()

        await asyncio.gather(
            *(place(line, self.rng.uniform(0, within_seconds)) for line in placed)
        )
        return placed

    async def settled(self, lines: list[Line]) -> None:
        """Wait until each call is answered or has ended, or the time is over."""
        await until(lambda: all(line.frames or line.ended for line in lines), 30.0)

    async def answered(self, lines: Iterable[Line], what: str) -> list[Line]:
        """
        Expect that all calls are answered.

        @return: the answered ones.
        """
        lines = list(lines)
        are = await asyncio.gather(*(line.is_answered() for line in lines))
        silent = [line for line, is_so in zip(lines, are, strict=True) if not is_so]
        self.counts["unanswered"] += len(silent)
        why = Counter(f"{line.carrier}: {line.ended or 'silence'}" for line in silent)
        self.expect(not silent, f"{len(silent)} of {len(lines)} {what}: {dict(why)}")
        return [line for line, is_so in zip(lines, are, strict=True) if is_so]

    async def refused(self, lines: Iterable[Line], what: str) -> None:
        """
        Expect that all calls are refused with a reason; where the carrier tries no
        other gateway, the caller may hear an apology first.
        """
        lines = list(lines)
        await until(lambda: all(line.ended for line in lines), 40.0)
        odd = [
            line
            for line in lines
            if not line.ended or (line.frames and line.carrier == "sip")
        ]
        self.expect(not odd, f"{len(odd)} of {len(lines)} {what}: not refused")
        broken = [line for line in lines if "broke" in line.ended]
        broken += [line for line in lines if "not connected" in line.ended]
        why = Counter(f"{line.carrier}: {line.ended}" for line in broken)
        self.expect(not broken, f"{what}: refused without a reason: {dict(why)}")

    async def go_on(self, lines: Iterable[Line], what: str) -> None:
        """Expect that all calls are open and still heard."""
        lines = list(lines)
        since = time.monotonic_ns()
        await until(lambda: all(line.goes_on(since) for line in lines), 10.0)
        over = [line for line in lines if not line.goes_on(since)]
        self.counts["lost calls"] += len(over)
        why = Counter(f"{line.carrier}: {line.ended or 'silence'}" for line in over)
        self.expect(not over, f"{len(over)} of {len(lines)} {what}: {dict(why)}")

    async def hush(self, lines: Iterable[Line]) -> None:
        """Let the callers stop talking, and count their lost frames."""
        lines = [line for line in lines if line.sent]
        for line in lines:
            line.be_quiet()
        await until(
            lambda: not any(line.lost(self.gaps) for line in lines), UNDER_WAY_SECONDS
        )
        sent = sum(len(line.sent) for line in lines)
        lost = {line: line.lost(self.gaps) for line in lines}
        self.counts["frames"] += sent
        self.counts["frames lost"] += sum(lost.values())
        most = self.most_lost
        if self.is_short:
            most = max(most, MOST_LOST_SHORT_FRAMES)
        bad = [
            f"{line.carrier} {count} of {len(line.sent)}"
            for line, count in lost.items()
            if count > most + MOST_LOST_SHARE * len(line.sent)
        ]
        self.expect(not bad, f"frames lost: {', '.join(bad)}")

    async def hang_up(self, lines: Iterable[Line] | None = None) -> None:
        chosen = list(self.lines if lines is None else lines)
        await asyncio.gather(*(line.hang_up() for line in chosen))
        mute = sum(line.ended == "BYE was not answered" for line in chosen)
        self.expect(not mute, f"{mute} BYE without an answer")

    async def finish(self, gateway: Gateway) -> None:
        """Expect that nothing is held, no bug was logged, and the gateway stops."""
        await self.hang_up()
        left = await gateway.held()
        self.counts["held"] += sum(left.values())
        self.expect(not left, f"held at the end: {left}")
        wrong = await gateway.stop()
        self.expect(not wrong, wrong)
        self.look_at_log(gateway.log)

    def look_at_log(self, log: str) -> None:
        found = (line for line in log.splitlines() if _BUG.search(line))
        bugs = [line for line in found if not (self.may_lack and self.may_lack in line)]
        self.counts["tracebacks"] += len(bugs)
        self.expect(not bugs, f"{len(bugs)} tracebacks, the first: {bugs[:1]}")

    @property
    def is_wrong_at_any_speed(self) -> bool:
        """Whether a busy machine cannot be the cause of the violations."""
        return bool(self.counts["tracebacks"] or self.counts["held"])

    def close(self) -> None:
        for task in self._watching:
            task.cancel()
        for line in self.lines:
            line.close()
        for gateway in self.gateways:
            gateway.kill()
        for other in self.others:
            (other.kill if hasattr(other, "kill") else other.close)()
