"""
Compare one run with the goals, which are mostly ratios between rows of the same run.

    python benchmarks/goals.py benchmarks/results/latest.json
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from results import GOOD_P99_MS, Cell, Cells

Figure = Callable[[Cells], float]


@frozen
class Goal:
    """
    One goal.

    @ivar most: the upper limit of the figure.
    @ivar of: computes the figure; NaN: not measured in this run.
    """

    title: str
    most: float
    of: Figure


def _of(name: str, calls: int, figure: Callable[[Cell], float]) -> Figure:
    def found(cells: Cells) -> float:
        cell = cells.get(name, calls)
        return math.nan if cell is None else figure(cell)

    return found


def _cpu(name: str, calls: int) -> Figure:
    return _of(name, calls, lambda cell: cell.cpu)


def _ratio(name: str, other: str, calls: int) -> Figure:
    one, two = _cpu(name, calls), _cpu(other, calls)
    return lambda cells: one(cells) / two(cells)


def _difference(name: str, other: str, calls: int) -> Figure:
    one, two = _cpu(name, calls), _cpu(other, calls)
    return lambda cells: one(cells) - two(cells)


def _p99(name: str, calls: int) -> Figure:
    """Return the p99; infinite if a call was lost."""
    return _of(name, calls, lambda cell: math.inf if cell.lost else cell.p99)


def _idle(cells: Cells) -> float:
    return min(
        (c.middle("idle_mb") for c in cells if c.row.name == "gateway"),
        default=math.nan,
    )


def _kb_per_call(name: str) -> Figure:
    """
    Use the row with the most calls: there, memory free before the first counts least.
    """

    def found(cells: Cells) -> float:
        rows = [cell for cell in cells if cell.row.name == name]
        if not rows:
            return math.nan
        return max(rows, key=lambda cell: cell.calls).middle("kb_per_call")

    return found


GOALS = (
    Goal(
        "TLS, 60 calls: ratio to the other commit",
        0.70,
        _ratio("gateway-tls", "baseline-tls", 60),
    ),
    Goal(
        "TLS adds, 60 calls, ms per call-second",
        1.2,
        _difference("gateway-tls", "gateway", 60),
    ),
    Goal(
        "TLS, 220 calls: p99, ms, nothing lost", GOOD_P99_MS, _p99("gateway-tls", 220)
    ),
    Goal("plain, 300 calls: ratio to the relay", 1.4, _ratio("gateway", "relay", 300)),
    Goal("plain, 100 calls: ratio to the relay", 1.6, _ratio("gateway", "relay", 100)),
    Goal("plain, 100 calls: ratio to Node", 1.0, _ratio("gateway", "node", 100)),
    Goal("plain, 200 calls: ratio to Node", 1.0, _ratio("gateway", "node", 200)),
    Goal("plain, 300 calls: ratio to Node", 1.0, _ratio("gateway", "node", 300)),
    Goal("plain, 350 calls: p99, ms, nothing lost", GOOD_P99_MS, _p99("gateway", 350)),
    Goal(
        "SIP, 100 calls: ratio to the other commit",
        0.75,
        _ratio("gateway-sip", "baseline-sip", 100),
    ),
    Goal(
        "SRTP, 100 calls: ratio to SIP with plain RTP",
        1.2,
        _ratio("gateway-srtp", "gateway-sip", 100),
    ),
    Goal(
        "SIP, 100 calls: mean delay of the echo, ms",
        12.0,
        _of("gateway-sip", 100, lambda cell: cell.mean),
    ),
    Goal(
        "agent over WebRTC, 60 calls: ratio to TLS",
        1.0,
        _ratio("gateway-webrtc-agent", "gateway-tls", 60),
    ),
    Goal("idle, MB resident", 95.0, _idle),
    Goal("KB per call", 45.0, _kb_per_call("gateway")),
)


def lines(document: dict[str, Any]) -> list[str]:
    """Return one line for each goal."""
    cells = Cells(document)
    found = []
    for goal in GOALS:
        figure = goal.of(cells)
        if math.isnan(figure):
            found.append(f"      {'-':>7}     {goal.most:5g}  {goal.title}")
        else:
            is_reached = "yes" if figure <= goal.most else "NO"
            found.append(
                f"{is_reached:>4}  {figure:7.2f} <= {goal.most:5g}  {goal.title}"
            )
    return found


def main() -> None:
    (path,) = sys.argv[1:]
    print(*lines(json.loads(Path(path).read_text())), sep="\n")


if __name__ == "__main__":
    main()
