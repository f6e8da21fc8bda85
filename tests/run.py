"""
Run the whole suite under both runners, and compare their test counts.

Either runner alone would silently skip a test that only the other one collects.

Most of the time tests wait, for the end of a call or the start of a program.  So
several processes run in parallel: each runs a part of the suite with one of the
runners, with the usual command and its own ports (tests/support/ports.py).

In tests/integration calls are heard in real time, and a busy processor causes gaps in
the audio.  So few of these run at the same time, and all other tests are one
part that gives way to them, with a low priority.  A file there that says C{gives_way}
gives way as well.  A long one says C{seconds = 40} and is a separate part; longer parts
start first.  Short ones share a process, because its start takes longer than they do.

A part of tests/integration that fails is run once more, alone, after all others; if it
passes then, the machine was at fault.  Nothing else is run twice.

When the whole suite runs, the unit tests under pytest are measured: too little
coverage fails them (tests/cover.py).
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import zip_longest
from pathlib import Path
from typing import Final

from attrs import frozen

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
INTEGRATION = TESTS / "integration"

RUNNERS = ("trial", "pytest")

#: Trial's folders, one for each process; _trial_temp stays free for runs by hand.
TEMPORARY = ROOT / "_trial_temp.parts"

#: A part that takes longer counts as hanging.
MOST_SECONDS: Final = 900

#: The number of slowest tests that are listed.
SLOWEST: Final = 30

#: A call in real time uses a sixth of a processor and otherwise waits: this number of
#: parts in real time run in addition to one per processor.  With two, audio has gaps.
MORE_IN_TIME: Final = 1

#: Parts that give way check no audio, and wait for programs: this number of them run in
#: addition to one per processor.
MORE_THAT_WAIT: Final = 2

#: The assumed duration of a file that declares none, and the number of such files that
#: share a process.
FEW_SECONDS: Final = 5
SHARING: Final = 7


@frozen
class Part:
    """
    Some test files that run in one process.

    @ivar name: its name in the report.
    @ivar files: relative to the root.
    @ivar gives_way: it runs with a low priority, because it needs no real time.
    @ivar seconds: the approximate duration.
    @ivar is_real: it uses sockets, programs and the real clock, so that a busy machine
        can make it fail.
    @ivar is_measured: its coverage is measured, and too little fails it.
    """

    name: str
    files: tuple[Path, ...]
    gives_way: bool = False
    seconds: int = FEW_SECONDS
    is_real: bool = True
    is_measured: bool = False


@frozen
class Result:
    """
    The result of a part under one runner.

    @ivar busy_seconds: CPU time, including that of programs that it started.
    @ivar slowest: duration and name of the slowest tests.
    """

    runner: str
    part: Part
    status: int
    seconds: float
    busy_seconds: float
    output: str
    tests: int
    skipped: int
    slowest: tuple[tuple[float, str], ...] = ()


def parts(folders: Sequence[Path]) -> list[Part]:
    """
    Divide all test files into parts; long ones come first, so that none runs alone at
    the end.
    """
    files = sorted(
        {
            file.relative_to(ROOT)
            for folder in folders
            for file in (folder.rglob("test_*.py") if folder.is_dir() else [folder])
        }
    )
    apart = [file for file in files if INTEGRATION in (ROOT / file).parents]
    rest = tuple(file for file in files if file not in apart)
    found = []
    if rest:
        name, is_whole = "all but integration", TESTS in folders
        found.append(Part(name, rest, True, MOST_SECONDS, False, is_whole))
    short: dict[bool, list[Path]] = {False: [], True: []}
    for file in apart:
        text = (ROOT / file).read_text()
        gives_way = re.search(r"^gives_way = True$", text, re.M) is not None
        if seconds := re.search(r"^seconds = (\d+)$", text, re.M):
            found.append(Part(str(file), (file,), gives_way, int(seconds[1])))
        else:
            short[gives_way].append(file)
    for gives_way, those in short.items():
        for at in range(0, len(those), SHARING):
            some = tuple(those[at : at + SHARING])
            name = ", ".join((str(some[0]), *(file.name for file in some[1:])))
            found.append(Part(name, some, gives_way, FEW_SECONDS * len(some)))
    return sorted(found, key=lambda part: -part.seconds)


def run(runner: str, part: Part) -> Result:
    if runner == "trial":
        folder = (
            f"{TEMPORARY}/{part.files[0].with_suffix('').as_posix().replace('/', '.')}"
        )
        command = ["-W", "error::RuntimeWarning", "-m", "twisted.trial"]
        command += ["--reporter=text", f"--temp-directory={folder}"]
        command += [".".join(file.with_suffix("").parts) for file in part.files]
    else:
        command = ["tests/cover.py"] if part.is_measured else ["-m", "pytest"]
        command += ["-q", "-rs", "-p", "no:cacheprovider"]
        command += [f"--durations={SLOWEST}", *map(str, part.files)]
    began, busy = time.monotonic(), busy_seconds()
    try:
        done = subprocess.run(
            [
                *(["nice", "-n", "10"] if part.gives_way else []),
                sys.executable,
                *command,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=MOST_SECONDS,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as hung:
        said = hung.stdout or b""
        status, output = -1, said.decode(errors="replace") + "\nit hung: killed\n"
    end = "\n".join(output.splitlines()[-20:])
    if runner == "trial":
        tests, skipped = count(r"Ran (\d+) tests", end), count(r"skips=(\d+)", end)
    else:
        skipped = count(r"(\d+) skipped", end)
        tests = count(r"(\d+) passed", end) + skipped
    return Result(
        runner,
        part,
        status,
        time.monotonic() - began,
        busy_seconds() - busy,
        output,
        tests,
        skipped,
        tuple(
            (float(seconds), test)
            for seconds, test in re.findall(
                r"^ *([\d.]+)s (?:call|setup|teardown) +(\S+)", output, re.MULTILINE
            )
        ),
    )


def busy_seconds() -> float:
    """Return the CPU time of all programs that this process has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def count(pattern: str, said: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


def notes(output: str) -> list[str]:
    """Return pytest's lines about skipped tests, and those of tests/cover.py."""
    told = ("SKIPPED", "coverage of ")
    return [line for line in output.splitlines() if line.startswith(told)]


def show(result: Result) -> None:
    said = f"{result.tests} tests"
    if result.skipped:
        said += f", {result.skipped} skipped"
    if result.status:
        print(result.output)
        said = f"FAILED with status {result.status}"
    print(
        f"{result.seconds:6.1f} s, {result.busy_seconds:5.1f} s busy  {result.runner:6}"
        f"  {result.part.name}: {said}",
        flush=True,
    )
    for line in notes(result.output):
        print(f"          {line}", flush=True)


def in_order(group: Sequence[Part]) -> Iterator[tuple[str, Part]]:
    """Order runs so that the second runner is one part behind the first."""
    for ahead, behind in zip_longest(group, (None, *group)):
        for runner, part in zip(RUNNERS, (ahead, behind), strict=True):
            if part is not None:
                yield runner, part


def run_all(chosen: Sequence[Part], at_once: int) -> list[Result]:
    """
    Run the parts.

    @param at_once: the number of parts in real time that run in parallel, besides those
        that give way.
    """
    results = []
    in_time = [part for part in chosen if not part.gives_way]
    busy = [part for part in chosen if part.gives_way]
    # Each worker is a process, so that it measures only the programs that it started.
    with (
        ProcessPoolExecutor(at_once + MORE_IN_TIME) as first,
        ProcessPoolExecutor(at_once + MORE_THAT_WAIT) as second,
    ):
        running = [
            pool.submit(run, runner, part)
            for pool, group in ((first, in_time), (second, busy))
            for runner, part in in_order(group)
        ]
        for future in as_completed(running):
            results.append(future.result())
            show(results[-1])
    return [again(one) if one.status and one.part.is_real else one for one in results]


def again(failed: Result) -> Result:
    """Run a part once more, with nothing in parallel."""
    print(f"\nrepeated alone: {failed.runner}, {failed.part.name}", flush=True)
    result = run(failed.runner, failed.part)
    show(result)
    return result


def differences(results: Sequence[Result]) -> list[str]:
    """Return the parts in which the runners ran different numbers of tests."""
    tests: dict[str, dict[str, int]] = {}
    for result in results:
        tests.setdefault(result.part.name, {})[result.runner] = result.tests
    return [
        f"{name}: trial ran {by['trial']} tests, pytest {by['pytest']}"
        for name, by in tests.items()
        if not by["trial"] or by["trial"] != by["pytest"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[TESTS])
    parser.add_argument(
        *("-j", "--jobs"),
        type=int,
        default=os.cpu_count() or 1,
        help="the number of parts in real time that run in parallel, besides some that"
        " give way to them; default: one for each processor",
    )
    options = parser.parse_args()
    began = time.monotonic()
    TEMPORARY.mkdir(exist_ok=True)
    results = run_all(parts([path.resolve() for path in options.paths]), options.jobs)
    slowest = sorted(one for result in results for one in result.slowest)[-SLOWEST:]
    print(f"\nThe {len(slowest)} slowest tests, under pytest:")
    for seconds, name in reversed(slowest):
        print(f"{seconds:6.2f} s  {name}")
    busy = sum(result.busy_seconds for result in results)
    print(f"\n{time.monotonic() - began:.0f} s for both runners, {busy:.0f} s busy")
    if failed := [result for result in results if result.status]:
        names = "\n".join(f"  {one.runner}: {one.part.name}" for one in failed)
        raise SystemExit(f"failed, see above:\n{names}")
    if differ := differences(results):
        raise SystemExit("\n".join(differ))
    tests = sum(result.tests for result in results if result.runner == "trial")
    skipped = sum(result.skipped for result in results if result.runner == "trial")
    print(f"both runners: {tests} tests")
    if skipped:
        print(f"{skipped} skipped: the reasons are above")
    print(f"{tests - skipped} passed, 0 failed")


if __name__ == "__main__":
    main()
