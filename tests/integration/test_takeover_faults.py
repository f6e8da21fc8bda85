"""A successor that does not start changes nothing, however it fails."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import socket
from pathlib import Path
from typing import Any

from chime_gateway.app.takeover.state_file import ticks_of
from tests.integration.takeover_harness import FAILED, LIMITS, TakeOverTestCase
from tests.integration.twistd import RUN, Twistd

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 85

#: Faults of a successor, with the log's message.
FAULTS = {
    "a module is missing": ("import nothing_like_that", "No module named"),
    "it ends": ("os._exit(3)", "it ended with status 3"),
    "it is killed": ("os.kill(os.getpid(), 9)", "it was ended by SIGKILL"),
    "it says too much": (
        "print('x' * 3_000_000 + 'the last word'); raise SystemExit('no more')",
        "no more",
    ),
    "a bug as it starts": ("service._start = lambda self: 1 / 0", "division by zero"),
    "it stands still when it is told": (
        "arrival._go = lambda *_: os.kill(os.getpid(), 19)",
        "it was ready but did not take over",
    ),
    "it dies when it is told": ("arrival._go = lambda *_: os._exit(7)", "status 7"),
}

#: Ways of hanging: before the start, during it, or when it should report ready.
HANGS = (
    "time.sleep(1000)",
    "service._start = lambda self: time.sleep(1000)",
    "arrival.ready = lambda self: None",
)

#: A file selects the fault, which only successors have.
RUN_WITH_FAULTS = f"""
import os, time
if "CHIMEGW_PREDECESSOR" in os.environ:
    from chime_gateway.app.gateway import GatewayService as service
    from chime_gateway.app.takeover.arrival import Arrival as arrival
    exec(open(os.environ["CHIMEGW_STATE"] + "/fault").read())
{RUN}
"""


class FaultTests(TakeOverTestCase):
    timeout = 240

    async def setting_out(self, seconds: int = 60) -> tuple[Twistd, Any]:
        self.settings = self.state / "gateway.toml"
        self.settings.write_text(f"{LIMITS}takeover_seconds = {seconds}\n")
        (self.state / "fault").write_text("")
        return await self.gateway("--config", str(self.settings), run=RUN_WITH_FAULTS)

    async def no_successor(self, twistd: Twistd, process: Any, said: str) -> None:
        """Expect that there is no successor, and that nothing has changed."""
        before = twistd.text.count(FAILED)
        generation = (await self.ask(twistd.port()))["generation"]
        process.signalProcess(signal.SIGUSR2)
        await self.until_count(twistd, FAILED, before + 1)
        (line,) = (e for e in twistd.events()[-1:] if FAILED in e["event"])
        self.assertIn(said, line["event"])
        self.assertLess(len(line["event"]), 6000)
        self.assertEqual(self.pid(), process.pid)
        page = await self.ask(twistd.port())
        self.assertEqual(page["generation"], generation)

    async def test_a_successor_that_fails_is_dropped_and_the_next_one_takes_over(
        self,
    ) -> None:
        seed = random.randrange(1 << 32)
        twistd, process = await self.setting_out()
        call = self.long_call(twistd.port())
        await self.until_it_says(twistd, "call.answered")
        for name in random.Random(seed).sample(sorted(FAULTS), 3):
            fault, said = FAULTS[name]
            (self.state / "fault").write_text(fault)
            try:
                await self.no_successor(twistd, process, said)
            except self.failureException as exc:
                raise self.failureException(f"seed {seed}, {name}: {exc}") from exc
        self.assert_whole(await self.call(twistd.port()))
        (self.state / "fault").write_text("")
        await self.take_over(twistd)
        self.assert_whole(await self.call(twistd.port()))
        self.assert_whole(await call.end())

    async def test_a_successor_that_hangs_is_waited_for_until_the_time_limit(
        self,
    ) -> None:
        # Each hangs for any time limit; the next one has a longer one.
        twistd, process = await self.setting_out(3)
        for fault in HANGS:
            (self.state / "fault").write_text(fault)
            await self.no_successor(twistd, process, "not ready within")
        (self.state / "fault").write_text("")
        self.settings.write_text(LIMITS)
        process.signalProcess(signal.SIGHUP)
        await self.until_it_says(twistd, "settings reloaded")
        await self.take_over(twistd)
        self.assert_whole(await self.call(twistd.port()))

    async def test_with_wrong_settings_the_old_process_continues(self) -> None:
        twistd, process = await self.setting_out()
        good = self.settings.read_text()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            for settings, said in (
                ("[limits]\nmax_calls = -1\n", "limits.max_calls"),
                ("nonsense", "gateway.toml"),
                (
                    f'{good}[sip]\nlisten = ["tcp:{taken.getsockname()[1]}'
                    ':interface=127.0.0.1"]\nallow = ["127.0.0.0/8"]\n',
                    "Address already in use",
                ),
            ):
                self.settings.write_text(settings)
                await self.no_successor(twistd, process, said)
        self.assert_whole(await self.call(twistd.port()))
        self.settings.write_text(good)
        await self.take_over(twistd)

    async def test_descriptors_do_not_leak(self) -> None:
        """Neither with failed take-overs nor, from process to process, with others."""
        twistd, process = await self.setting_out()
        counts = []
        for _ in range(3):
            (self.state / "fault").write_text("os._exit(3)")
            await self.no_successor(twistd, process, "status 3")
            counts.append(self.descriptors(process.pid))
            await self.until(lambda: self.descriptors(process.pid) <= counts[0])
        (self.state / "fault").write_text("")
        counts.clear()
        for _ in range(3):
            pid = await self.take_over(twistd)
            await self.until(lambda pid=pid: self.pid() == pid)
            await self.until(lambda: self.alive(twistd) == 1)
            counts.append(self.descriptors(pid))
            await self.until(lambda pid=pid: self.descriptors(pid) <= counts[0])

    def descriptors(self, pid: int) -> int:
        """Count descriptors, without closing connections and those of threads."""
        links = []
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(one.readlink()))
        return sum(not re.search("sqlite|journal|keys", link) for link in links)

    def alive(self, twistd: Twistd) -> int:
        return sum(ticks_of(pid) >= 0 for pid in self.successors(twistd))
