"""
Run the big suites, and print one table of their counts.

Each suite is a program in this folder.  C{--short} selects a form of about a minute; it
ends on its own, with an exit status, and prints its counts as one JSON object in its
last line.  To add one, write its file and add one line to L{SUITES}.  Whether a suite
passes depends on counts (lost, leaked, out of order), never on milliseconds.

    make long                    the full forms one after the other, at most an hour
    make long SUITES="soak"
    make short                   the short forms two at a time, as CI runs them
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Any

from attrs import frozen

HERE = Path(__file__).parent
ROOT = HERE.parent

#: By the name of the file.  The longest short form comes first, so that none runs alone
#: at the end.
SUITES = {
    "attack": "strangers and rogue peers: calls go on, and nothing leaks",
    "chaos": "faults from outside: other calls go on, and the gateway recovers",
    "soak": "thousands of short calls: all resources are released",
    "webrtc": "aiortc, werift, Chromium, tshark: both sides are heard, nothing leaks",
    "kept": "kill -9, and a database that fails: nothing is lost",
    "dialogs": "random SIP dialogs: all resources are released, no traceback",
}

#: A suite that takes longer counts as hanging.  A scene may be played twice.
SHORT_SECONDS = 300.0
FULL_SECONDS = 1800.0


@frozen
class Result:
    name: str
    passed: bool
    seconds: float
    counts: dict[str, Any]


def run(name: str, is_short: bool) -> Result:
    most = SHORT_SECONDS if is_short else FULL_SECONDS
    print(f"{name:>8} | {SUITES[name]}", flush=True)
    began = time.monotonic()
    # The suites use the load of the benchmarks, and start the gateway of the checkout.
    path = os.pathsep.join((str(ROOT / "benchmarks"), str(ROOT)))
    with subprocess.Popen(
        [sys.executable, str(HERE / f"{name}.py"), *(["--short"] if is_short else [])],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        # SIGINT lets the suite end the programs that it started; SIGKILL does not.
        timers = (
            Timer(most, process.send_signal, [signal.SIGINT]),
            Timer(most + 30.0, process.kill),
        )
        for timer in timers:
            timer.start()
        last = ""
        for line in process.stdout:
            print(f"{name:>8} | {line}", end="", flush=True)
            last = line
        process.wait()
        for timer in timers:
            timer.cancel()
    seconds = time.monotonic() - began
    counts = json.loads(last) if last.startswith("{") else {}
    return Result(name, process.returncode == 0 and bool(counts), seconds, counts)


def table(results: list[Result]) -> str:
    lines = [f"{'suite':12} {'':7} {'seconds':>8}  counts"]
    for one in results:
        counts = ", ".join(f"{name} {count}" for name, count in one.counts.items())
        said = "passed" if one.passed else "FAILED"
        lines.append(f"{one.name:12} {said:7} {one.seconds:8.0f}  {counts or 'none'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[1])
    parser.add_argument("names", nargs="*", metavar="suite", help=", ".join(SUITES))
    parser.add_argument("--short", action="store_true", help="a minute for each")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="suites in parallel")
    options = parser.parse_args()
    names = options.names or list(SUITES)
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"unknown suites: {', '.join(unknown)}")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: run(name, options.short), names))
    print(f"\n{table(results)}")
    raise SystemExit(0 if all(one.passed for one in results) else 1)


if __name__ == "__main__":
    main()
