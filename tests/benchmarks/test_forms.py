from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.benchmarks import module

forms = module("forms")
kinds = module("kinds")

#: Some that may stand beside each other.
NAMES = sorted(
    {name for form in forms.FORMS.values() for _, n in form for name in n.split()}
)


class OrderTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.integers(1, 3))
    def test_each_row_meets_the_same_of_what_changes_slowly(
        self, names: list[str], rounds: int
    ) -> None:
        """There and back: the mean place of every row in time is the same."""
        order = forms.order(tuple(map(kinds.kind, names)), rounds)
        self.assertEqual(order, order[::-1])
        self.assertEqual(set(Counter(order).values()), {2 * rounds})
        places = {
            row.name: sum(at for at, other in enumerate(order) if other is row)
            for row in order
        }
        self.assertEqual(len(set(places.values())), 1)


class FormsTests(SynchronousTestCase):
    def test_tls_to_the_agent_is_measured_first(self) -> None:
        for form in forms.FORMS.values():
            for rung in forms.rungs(form):
                tls = [row.agent_tls for row in rung.kinds if row.carrier == "stream"]
                plain = [row.name for row in rung.kinds if not row.agent_tls]
                if any(tls) and plain:
                    self.assertTrue(rung.kinds[0].agent_tls)

    def test_they_end_in_time(self) -> None:
        """An hour, ten minutes and one, with all that may be left out."""
        for name, rounds, seconds, minutes in (
            ("full", 1, 9.0, 57),
            ("goals", 1, 9.0, 10.5),
            ("short", 0, 1.0, 1.2),
        ):
            rungs = forms.rungs(forms.FORMS[name])
            lasts = forms.lasts_seconds(rungs, rounds, seconds)
            self.assertLess(lasts / 60, minutes, name)

    def test_what_cannot_be_run_leaves_no_empty_rung(self) -> None:
        rungs = forms.rungs([(1, "node node-tls"), (2, "node gateway")])
        left = forms.without(rungs, ["node"])
        names = [[row.name for row in rung.kinds] for rung in left]
        self.assertEqual(names, [["gateway"]])


class NamesTests(SynchronousTestCase):
    @given(
        st.sampled_from(sorted(kinds.PROGRAMS)),
        st.sets(st.sampled_from([*sorted(kinds._GATEWAYS), "webrtc", "tsl", ""])),
    )
    def test_a_name_is_a_row_or_says_what_is_wrong_with_it(
        self, program: str, words: set[str]
    ) -> None:
        name = "-".join([program, *sorted(words)])
        try:
            row = kinds.kind(name)
        except ValueError as exc:
            self.assertIn(name, str(exc))
            return
        self.assertEqual(row.words, words - {"webrtc"})
        self.assertTrue(row.path.startswith("/"))
        if row.carrier_tls:
            self.assertIn("TLS", row.carrier_title)
        self.assertEqual("TLS" in row.agent_title, row.agent_tls)
