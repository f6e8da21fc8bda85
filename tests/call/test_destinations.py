"""The limits for the number of calls to each destination."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.destinations import Destinations
from chime_gateway.settings.values import TransferSettings

#: Destinations, each in two notations.
TARGETS = (
    ("+4930123456", "sip:+49-30-123456@pbx.example"),
    ("+4420712345", "tel:+44(20)712345"),
    ("sip:desk7@pbx.example", "sip:DESK7@pbx.example"),
)

steps = st.lists(
    st.tuples(
        st.sampled_from((0.0, 1.0, 60.0, 1799.0, 1800.0, 3600.0)),
        st.integers(0, len(TARGETS) - 1),
        st.integers(0, 1),
    ),
    max_size=60,
)


class DestinationsTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(steps, st.integers(1, 8), st.integers(1, 5))
    def test_each_hour_has_the_allowed_number_of_calls_and_no_more(
        self, happens: list[tuple[float, int, int]], per_hour: int, per_target: int
    ) -> None:
        clock = Clock()
        bounds = TransferSettings(per_hour=per_hour, per_target_per_hour=per_target)
        destinations = Destinations(bounds, clock.seconds)
        taken: list[tuple[float, int]] = []
        refused: Counter[str] = Counter()
        for seconds, target, writing in happens:
            clock.advance(seconds)
            now = clock.seconds()
            recent = [who for at, who in taken if at > now - 3600.0]
            why = destinations.take(TARGETS[target][writing])
            if len(recent) >= per_hour:
                self.assertIn(" per_hour", why)
                refused["per_hour"] += 1
            elif recent.count(target) >= per_target:
                self.assertIn("per_target_per_hour", why)
                refused["per_target"] += 1
            else:
                self.assertEqual(why, "")
                taken.append((now, target))
        self.assertEqual(+destinations.refused, refused)

    def test_a_disallowed_destination_is_counted_and_takes_no_place(self) -> None:
        bounds = TransferSettings(allow=("+49",), per_hour=1)
        destinations = Destinations(bounds, Clock().seconds)
        for _ in range(3):
            self.assertIn("[transfer] allow", destinations.take("+4420712345"))
        self.assertEqual(destinations.refused["allow"], 3)
        self.assertEqual(destinations.take("+4930123456"), "")

    def test_a_full_gateway_may_transfer_every_caller(self) -> None:
        # 200 calls of four minutes, all transferred to the same office.
        destinations = Destinations(TransferSettings(), Clock().seconds)
        for _ in range(3000):
            self.assertEqual(destinations.take("+4930123456"), "")
        self.assertTrue(destinations.take("+4930123456"))

    def test_nothing_is_kept_longer_than_an_hour(self) -> None:
        clock = Clock()
        destinations = Destinations(TransferSettings(), clock.seconds)
        for number in range(1000):
            destinations.take(f"+4930{number}")
        clock.advance(3600.0)
        destinations.take("+4930123456")
        self.assertEqual(len(destinations._sent), 1)
        self.assertEqual(len(destinations._by_target), 1)
