from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.http.gathered import merged

VALUES = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.integers(0, 1000),
    max_size=3,
)


def page(counts: dict[str, int], seconds: list[float], more: bool) -> bytes:
    registry = CollectorRegistry()
    counter = Counter("chimegw_calls", "Calls {that} ended.", ["of"], registry=registry)
    for label, value in counts.items():
        counter.labels(label).inc(value)
    latency = Histogram("chimegw_turn", "Turns.", buckets=(1, 2), registry=registry)
    for one in seconds:
        latency.observe(one)
    if more:
        Gauge("chimegw_new", "Of another version.", registry=registry).set(7)
    return generate_latest(registry)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found: dict[Any, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


class MergedTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(VALUES, st.lists(st.floats(0, 5), max_size=3), st.booleans()),
            min_size=1,
            max_size=3,
        )
    )
    def test_each_sample_appears_once_with_its_generation(
        self, pages: list[tuple[dict[str, int], list[float], bool]]
    ) -> None:
        own, *others = [page(*one) for one in pages]
        named: dict[str, bytes | None] = {f"g{n}": p for n, p in enumerate(others)}
        text = merged(own, {**named, "hangs": None})
        expected = dict(samples(own))
        for generation, other in named.items():
            up = ("generation", generation)
            expected["chimegw_generation_answers", (up,)] = 1
            for (name, labels), value in samples(other or b"").items():
                expected[name, tuple(sorted((*labels, up)))] = value
        gone = (("generation", "hangs"),)
        expected["chimegw_generation_answers", gone] = 0
        self.assertEqual(samples(text), expected)
        helps = [li for li in text.splitlines() if li.startswith(b"# HELP")]
        self.assertEqual(len(helps), len(set(helps)))
