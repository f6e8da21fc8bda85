"""
Tables of the results of one run of run.py.

    python benchmarks/table.py benchmarks/results/latest.json            # print them
    python benchmarks/table.py benchmarks/results/latest.json --write    # and save them

They are saved between two marks in docs/benchmarks.md, and one sentence is saved
between two marks in the README: both from the same run.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from results import BUSY_LOAD_SHARE, Cell, Cells

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN = "<!-- figures of one run: make bench-docs writes them -->"
END = "<!-- /figures -->"

#: Title, and the words of its rows; TLS to the agent first.
SECTIONS: tuple[tuple[str, frozenset[str]], ...] = (
    ("TLS to the agent", frozenset({"tls"})),
    ("Plaintext", frozenset()),
    ("TLS to the agent and to the carrier", frozenset({"tls", "wss"})),
    (
        "TLS to the agent, speech",
        frozenset({"tls", "speech"}),
    ),
    ("Plaintext, speech", frozenset({"speech"})),
)
_PROGRAMS = ("gateway", "baseline", "relay", "node", "aiortc")


def _sections(cells: Cells) -> Iterable[tuple[str, list[Cell]]]:
    named = {words for _, words in SECTIONS}
    for title, words in SECTIONS:
        yield title, [cell for cell in cells if cell.row.words == words]
    yield (
        "Other carriers and transports",
        [cell for cell in cells if cell.row.words not in named],
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} [{min(values):.2f} {max(values):.2f}]"


def _ratio(cell: Cell, other: Cell | None) -> str:
    return "" if other is None else f"{cell.cpu / other.cpu:.2f}"


def _row(cell: Cell, cells: Cells, is_other: bool) -> str:
    row = cell.row
    server = row.program_title
    if is_other:
        server += f": {row.carrier_title}; {row.agent_title}"
    busy = " **!**" if cell.load_share > BUSY_LOAD_SHARE else ""
    answers = ""
    if row.speaks:
        answers = (
            f"; answer {cell.middle('answer_p50_ms'):.1f}"
            f" / {cell.middle('answer_p99_ms'):.1f}"
        )
    ratios = (
        _ratio(cell, cells.beside(cell, name)) for name in ("relay", "node", "baseline")
    )
    parts = (
        *(server, str(cell.calls), _spread(cell.of("cpu_ms_per_call_second"))),
        *(
            " / ".join(ratio or "-" for ratio in ratios)
            if row.program == "gateway"
            else "",
        ),
        f"{cell.p50:.1f} / {cell.p99:.1f}{answers}",
        f"{cell.mean:.1f}",
        f"{cell.lost}; {max(0.0, 1 - cell.frames):.1%}",
        f"{cell.middle('server_share'):.0%}",
        f"{cell.load_share:.0%}{busy}",
        f"{max(cell.of('stolen_share')):.1%}",
    )
    return f"| {' | '.join(parts)} |"


_HEAD = (
    "| server | calls | CPU, ms per call-second [least most] | gateway to relay /"
    " Node / other commit | added p50 / p99, ms | mean | lost calls; frames |"
    " its core | load's core | stolen |"
)


def _place(cell: Cell) -> tuple[Any, ...]:
    return cell.calls, sorted(cell.row.words), _PROGRAMS.index(cell.row.program)


def memory(cells: Cells) -> list[str]:
    """
    Return the table of memory: idle; growth per call at the largest number of calls;
    and the memory of a further call, between the fewest calls and the most.
    """
    lines = [
        "| server | idle, MB (own) | calls | KB per call | KB per further call |",
        "|---|---|---|---|---|",
    ]
    largest: dict[str, Cell] = {}
    for cell in cells:
        best = largest.get(cell.row.name)
        if best is None or best.calls < cell.calls:
            largest[cell.row.name] = cell
    for name, cell in sorted(largest.items()):
        per_call = (cell.middle("loaded_mb") - cell.middle("idle_mb")) * 1024
        further = cells.kb_each_further_call(name)
        lines.append(
            f"| {name} | {cell.middle('idle_mb'):.1f}"
            f" ({cell.middle('idle_own_mb'):.1f})"
            f" | {cell.calls} | {per_call / cell.calls:.0f}"
            f" | {'-' if math.isnan(further) else f'{further:.0f}'} |"
        )
    return lines


def set_ups(storms: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| server | calls per second | CPU per call, ms | TLS resumed | answer to agent"
        " ready, p50 / p99 ms | running calls, p50 / p99 ms: alone | while others"
        " arrive | lost | its core | load's core |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in storms:
        lines.append(
            f"| {one['name']} | {one['rate']:g} | {one['cpu_ms_per_call']:.1f}"
            f" | {one['resumed_share']:.0%}"
            f" | {one['ready_p50_ms']:.1f} / {one['ready_p99_ms']:.1f}"
            f" | {one['alone_p50_ms']:.1f} / {one['alone_p99_ms']:.1f}"
            f" | {one['during_p50_ms']:.1f} / {one['during_p99_ms']:.1f}"
            f" | {one['lost']} of {one['calls']}, {one['lost_running']} of"
            f" {one['running']} | {one['server_share']:.0%}"
            f" | {one['load_share']:.0%} |"
        )
    return lines


def document_tables(document: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    cells = Cells(document)
    rounds = 2 * document["rounds"] or 1
    lines = [
        f"Commit {document['commit']}, {document['date']}: {document['cpu']},"
        f" {document['cores']} cores, Python {document['python']},"
        f" {document['openssl']}, Node {document['node'] or '-'}."
        f" {rounds} runs of {document['seconds']:g} s each; other commit:"
        f" {document['baseline'] or '-'}.",
    ]
    for title, some in _sections(cells):
        if some:
            is_other = title.startswith("Other")
            lines += ["", f"**{title}**", "", _HEAD, "|" + "---|" * 10]
            lines += [_row(c, cells, is_other) for c in sorted(some, key=_place)]
    lines += ["", "**Memory**", "", *memory(cells)]
    if document["setups"]:
        lines += ["", "**Set-ups**", "", *set_ups(document["setups"])]
    if cells.failed:
        lines += ["", "**Failed**", ""]
        lines += [f"- {one.name}, {one.calls}: {one.failed}" for one in cells.failed]
    return "\n".join(lines)


def sentence(document: dict[str, Any]) -> str:
    """
    Return a sentence about the calls on one core; empty: not measured in this run.
    """
    cells = Cells(document)
    good = [c for c in cells if c.row.name == "gateway-tls" and c.is_good]
    if not good:
        return ""
    most = max(good, key=lambda cell: cell.calls)
    text = (
        f"With TLS to the agent, one core carries {most.calls} calls with audio in both"
        f" directions all the time: {most.cpu:.1f} ms of CPU per call and second,"
        f" {most.p99:.1f} ms of added delay at p99, nothing lost"
    )
    relay = cells.beside(most, "relay")
    if relay is not None:
        text += f"; {most.cpu / relay.cpu:.1f} times the CPU of a bare relay in C"
    return f"{text} ({document['cpu']}, {document['date']})."


def between_marks(text: str, new: str) -> str:
    """
    Replace the part between the marks of a text.

    @raise ValueError: the marks are not there exactly once, in this order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail or END in head:
        raise ValueError(f"{BEGIN} and {END} are not there exactly once")
    return f"{head}{BEGIN}\n\n{new}\n\n{END}{tail}"


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    document = json.loads(options.results.read_text())
    print(document_tables(document), sentence(document), sep="\n\n")
    if options.write:
        said = sentence(document)
        if not said:
            raise SystemExit("no good row gateway-tls in the run: nothing is written")
        pages = [(DOCUMENT, document_tables(document)), (README, said)]
        written = [(page, between_marks(page.read_text(), new)) for page, new in pages]
        for page, text in written:
            page.write_text(text)


if __name__ == "__main__":
    main()
