"""
The big suites, and one table of what they counted.

Each is a program of its own in this folder: it takes C{--short} for a form of about
a minute, ends by itself, has a status, and prints what it counted as one JSON object
in its last line.  A new one is its file and one line in L{SUITES}.  Whether it
passed depends on counts, what was lost, leaked or out of order, and never on
milliseconds.

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

#: By the name of the file; in their short forms the longest ones first, so that none is
#: left alone at the end.
SUITES = {
    "attack": "strangers and rogue peers: calls go on, nothing is kept of them",
    "chaos": "faults from outside: other calls go on, and all comes back",
    "soak": "thousands of short calls: all comes back",
    "webrtc": "aiortc, werift, Chromium, tshark: each hears the other, nothing is left",
    "kept": "kill -9, and a database that goes away: nothing is lost",
    "dialogs": "random SIP dialogs: all comes back, and no traceback",
}

#: A form that takes longer hangs.
SHORT_SECONDS = 180.0
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
    # It takes its load from the benchmarks, and starts what is in the checkout.
    path = os.pathsep.join((str(ROOT / "benchmarks"), str(ROOT)))
    with subprocess.Popen(
        [sys.executable, str(HERE / f"{name}.py"), *(["--short"] if is_short else [])],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        # Interrupted it ends what it started; killed it would not.
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
    parser.add_argument("-j", "--jobs", type=int, default=1, help="so many at a time")
    options = parser.parse_args()
    names = options.names or list(SUITES)
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"no suite is called {', '.join(unknown)}")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: run(name, options.short), names))
    print(f"\n{table(results)}")
    raise SystemExit(0 if all(one.passed for one in results) else 1)


if __name__ == "__main__":
    main()
