"""
The results: single runs, and the runs of one row and number of calls combined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import Any

from attrs import fields, frozen
from kinds import Kind, kind

#: Above this share of its core, the load itself limits the result.
BUSY_LOAD_SHARE = 0.85

#: Limits below which a caller notices nothing.
GOOD_P99_MS = 20.0
GOOD_FRAMES_SHARE = 0.999


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN by None, because JSON has no NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


@frozen
class Run:
    """
    One run of one row; times in ms, including the load's own.

    @ivar name: the row, see kinds.py.
    @ivar p50_ms: round trip; where the agent speaks, from the caller to the agent.
    @ivar answer_p50_ms: where the agent speaks: from the first delta of an answer to
        the caller.
    @ivar idle_mb: resident memory before the first call; C{idle_own_mb} of it is not
        backed by a file.
    @ivar frames_share: received frames divided by sent frames.
    @ivar failed: why the run has no result; empty: it has one.
    """

    name: str
    calls: int
    cpu_ms_per_call_second: float
    server_share: float
    p50_ms: float
    p99_ms: float
    mean_ms: float
    answer_p50_ms: float | None
    answer_p99_ms: float | None
    idle_mb: float
    idle_own_mb: float
    loaded_mb: float
    lost_calls: int
    frames_share: float
    stolen_share: float
    load_share: float
    setup_p50_ms: float
    setup_p99_ms: float
    failed: str = ""

    @classmethod
    def failed_run(cls, name: str, calls: int, why: str) -> Run:
        values: dict[str, Any] = {
            each.name: math.nan for each in fields(cls) if each.type == "float"
        }
        values |= {"answer_p50_ms": None, "answer_p99_ms": None, "lost_calls": calls}
        return cls(**{**values, "name": name, "calls": calls, "failed": why})

    @property
    def kb_per_call(self) -> float:
        return (self.loaded_mb - self.idle_mb) * 1024 / self.calls


def line(one: Run, base: tuple[float, float]) -> str:
    """Format a run for the progress output."""
    if one.failed:
        return f"{one.name:22} {one.calls:4} FAILED {one.failed}"
    own = (0.0, 0.0) if one.answer_p50_ms is not None else base
    busy = "!" if one.load_share > BUSY_LOAD_SHARE else " "
    text = (
        f"{one.name:22} {one.calls:4} CPU {one.cpu_ms_per_call_second:6.2f} ms"
        f" ({one.server_share:4.0%})  p50 {one.p50_ms - own[0]:6.2f}"
        f" p99 {one.p99_ms - own[1]:7.2f}  lost {one.lost_calls}"
        f" frames {one.frames_share:6.1%}  load {one.load_share:4.0%}{busy}"
        f" stolen {one.stolen_share:5.1%}  idle {one.idle_mb:5.1f} MB"
        f" {one.kb_per_call:6.1f} KB/call  set-up {one.setup_p50_ms:.0f}"
    )
    if one.answer_p50_ms is not None and one.answer_p99_ms is not None:
        text += f"  answer {one.answer_p50_ms:.1f}/{one.answer_p99_ms:.1f}"
    return text


@frozen
class Cell:
    """
    The runs of one row with one number of calls.

    @param base: p50 and p99 of the load alone, which are subtracted; 0 for one-way
        times.
    """

    row: Kind
    calls: int
    runs: tuple[Run, ...]
    base: tuple[float, float]

    def of(self, name: str) -> list[float]:
        return [value for run in self.runs if (value := getattr(run, name)) is not None]

    def middle(self, name: str) -> float:
        found = self.of(name)
        return median(found) if found else math.nan

    @property
    def cpu(self) -> float:
        return self.middle("cpu_ms_per_call_second")

    @property
    def p50(self) -> float:
        return self.middle("p50_ms") - self.base[0]

    @property
    def p99(self) -> float:
        return self.middle("p99_ms") - self.base[1]

    @property
    def mean(self) -> float:
        return self.middle("mean_ms") - self.base[0]

    @property
    def lost(self) -> int:
        return sum(run.lost_calls for run in self.runs)

    @property
    def frames(self) -> float:
        return min(self.of("frames_share"))

    @property
    def load_share(self) -> float:
        return max(self.of("load_share"))

    @property
    def is_good(self) -> bool:
        frames = self.row.speaks or self.frames >= GOOD_FRAMES_SHARE
        return self.p99 < GOOD_P99_MS and not self.lost and frames


class Cells:
    """
    All results, by row and number of calls.

    @ivar failed: runs without a result.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        by: dict[tuple[str, int], list[Run]] = {}
        self.failed: list[Run] = []
        for values in document["runs"]:
            run = Run(**values)
            if run.failed:
                self.failed.append(run)
            else:
                by.setdefault((run.name, run.calls), []).append(run)
        self._cells: dict[tuple[str, int], Cell] = {}
        for (name, calls), runs in by.items():
            row = kind(name)
            floor = document["floors"][str(calls)]
            base = (0.0, 0.0) if row.speaks else (floor[0], floor[1])
            self._cells[name, calls] = Cell(row, calls, tuple(runs), base)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def get(self, name: str, calls: int) -> Cell | None:
        return self._cells.get((name, calls))

    def kb_each_further_call(self, name: str) -> float:
        """
        Return the memory of a further call, between the row's fewest and its most
        calls: memory that is allocated once, with the first call, is in both.  NaN if
        the row was measured with one number of calls only.
        """
        rungs = sorted((c for c in self if c.row.name == name), key=lambda c: c.calls)
        if len(rungs) < 2:
            return math.nan
        few, most = rungs[0], rungs[-1]
        grown = most.middle("loaded_mb") - few.middle("loaded_mb")
        return grown * 1024 / (most.calls - few.calls)

    def beside(self, cell: Cell, program: str) -> Cell | None:
        """Return the result of another program with the same words and calls."""
        for other in self:
            if (other.row.program, other.row.words, other.calls) == (
                *(program, cell.row.words, cell.calls),
            ):
                return other if other is not cell else None
        return None
