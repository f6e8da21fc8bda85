from __future__ import annotations

import json
from typing import Any

from attrs import asdict
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks.test_forms import NAMES
from tests.support.benchmarks import module

kinds = module("kinds")
results = module("results")
table = module("table")

SHARES = st.floats(0, 1)
TIMES = st.floats(0.01, 60)

#: Without marks of its own.
TEXT = st.text(st.characters(exclude_characters="<"), max_size=20)


def run_of(name: str, calls: int, **values: Any) -> Any:
    """One in which nothing went wrong."""
    usual = {
        "cpu_ms_per_call_second": 4.0,
        **{"server_share": 0.5, "load_share": 0.5, "stolen_share": 0.0},
        **{"p50_ms": 1.0, "p99_ms": 5.0, "mean_ms": 1.5},
        **{"answer_p50_ms": None, "answer_p99_ms": None},
        **{"idle_mb": 90.0, "idle_own_mb": 60.0, "loaded_mb": 100.0},
        **{"lost_calls": 0, "frames_share": 1.0},
        **{"setup_p50_ms": 20.0, "setup_p99_ms": 30.0},
    }
    return results.Run(name=name, calls=calls, **{**usual, **values})


@st.composite
def a_run(draw: Any) -> dict[str, Any]:
    """As JSON has it; now and then one that failed, or that heard nothing."""
    name, calls = draw(st.sampled_from(NAMES)), draw(st.sampled_from([1, 60, 220]))
    if draw(st.integers(0, 7)) == 0:
        run = results.Run.failed_run(name, calls, "TimeoutError: ")
    else:
        some = st.one_of(st.just(float("nan")), TIMES)
        speaks = kinds.kind(name).speaks
        run = run_of(
            name,
            calls,
            cpu_ms_per_call_second=draw(TIMES),
            p50_ms=draw(some),
            p99_ms=draw(some),
            answer_p50_ms=draw(some) if speaks else None,
            answer_p99_ms=draw(some) if speaks else None,
            loaded_mb=draw(TIMES),
            lost_calls=draw(st.integers(0, 2)),
            frames_share=draw(st.sampled_from([0.5, 0.9995, 1.0])),
            load_share=draw(SHARES),
            setup_p50_ms=draw(some),
        )
    values: dict[str, Any] = results.plain(table_values(run))
    return values


def table_values(run: Any) -> dict[str, Any]:
    return {name: getattr(run, name) for name in run.__slots__ if name[0] != "_"}


@st.composite
def a_document(draw: Any) -> dict[str, Any]:
    document = {
        "runs": draw(st.lists(a_run(), max_size=8)),
        "floors": {str(n): (draw(TIMES), draw(TIMES)) for n in (1, 60, 220)},
        "setups": [],
        **{"commit": "a", "baseline": "", "date": "d", "cpu": "c", "cores": 2},
        **{"python": "p", "openssl": "o", "node": "", "seconds": 9.0, "rounds": 1},
    }
    # It is read from a file: whatever is in it can be written and read.
    read: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return read


class TablesTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(a_document())
    def test_whatever_was_measured_is_in_them_once(
        self, document: dict[str, Any]
    ) -> None:
        measured = {
            (r["name"], r["calls"]) for r in document["runs"] if not r["failed"]
        }
        failed = [run for run in document["runs"] if run["failed"]]
        lines = table.document_tables(document).split("**Memory**")[0].splitlines()
        rows = [
            line for line in lines if line.startswith(("| chime", "| bare", "| Node"))
        ]
        self.assertEqual(len(rows), len(measured))
        self.assertEqual(len(set(rows)), len(rows))
        said = table.document_tables(document)
        self.assertEqual(said.count("TimeoutError: "), len(failed))

    @given(
        st.integers(0, 30), st.integers(20, 200), st.integers(2, 90), st.integers(1, 99)
    )
    def test_what_a_further_call_takes_is_without_what_is_loaded_once(
        self, once_mb: int, each_kb: int, few: int, more: int
    ) -> None:
        counts = (few, few + more)
        runs = [
            run_of("gateway", n, loaded_mb=90.0 + once_mb + each_kb * n / 1024)
            for n in counts
        ]
        document: dict[str, Any] = {
            "floors": {str(n): [0.0, 0.0] for n in counts},
            "runs": [results.plain(asdict(run)) for run in runs],
        }
        cells = results.Cells(document)
        found = cells.kb_each_further_call("gateway")
        self.assertAlmostEqual(found, each_kb, places=3)
        self.assertTrue(table.memory(cells)[-1].endswith(f"| {each_kb} |"))
        alone = results.Cells({**document, "runs": document["runs"][:1]})
        self.assertTrue(table.memory(alone)[-1].endswith("| - |"))

    @settings(max_examples=60)
    @given(a_document())
    def test_a_row_is_marked_where_the_load_was_at_its_end(
        self, document: dict[str, Any]
    ) -> None:
        cells = list(results.Cells(document))
        busy = sum(cell.load_share > 0.85 for cell in cells)
        self.assertEqual(table.document_tables(document).count("**!**"), busy)

    @settings(max_examples=60)
    @given(a_document())
    def test_the_readme_says_what_went_well_in_every_run(
        self, document: dict[str, Any]
    ) -> None:
        said = table.sentence(document)
        for calls in (1, 60, 220):
            runs = [
                run
                for run in document["runs"]
                if (run["name"], run["calls"]) == ("gateway-tls", calls)
                and not run["failed"]
            ]
            lost = any(r["lost_calls"] or r["frames_share"] < 0.999 for r in runs)
            if not runs or lost:
                self.assertNotIn(f" {calls} calls", said)


class MarksTests(SynchronousTestCase):
    @given(TEXT, TEXT, TEXT)
    def test_what_is_around_them_stays(self, head: str, new: str, tail: str) -> None:
        page = f"{head}{table.BEGIN}{table.END}{tail}"
        once = table.between_marks(page, new)
        self.assertTrue(once.startswith(head + table.BEGIN))
        self.assertTrue(once.endswith(table.END + tail))
        self.assertEqual(table.between_marks(once, new), once)

    def test_a_page_without_them_or_with_too_many_is_left_alone(self) -> None:
        both = table.BEGIN + table.END
        for page in ("", table.BEGIN, table.END + table.BEGIN, both + both):
            self.assertRaises(ValueError, table.between_marks, page, "new")

    def test_our_pages_have_them(self) -> None:
        for page in (table.DOCUMENT, table.README):
            table.between_marks(page.read_text(), "new")
