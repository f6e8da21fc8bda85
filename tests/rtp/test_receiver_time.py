"""The audio that is heard follows the sender's clock, whatever the network does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rtp_schedule import Pattern, ScheduleTestCase

#: The tolerance of the model's time, in ms.
BOUND: Final = 20

PATTERNS: Final[Mapping[str, Pattern]] = {
    "all comes": Pattern(),
    "5 % lost": Pattern(loss=0.05),
    "20 % lost": Pattern(loss=0.2),
    "50 % lost": Pattern(loss=0.5),
    "bursts of 6 to 8": Pattern(bursts=(6, 7, 8)),
    "bursts of 9 to 30": Pattern(bursts=(9, 10, 15, 30)),
    "bursts of 100": Pattern(bursts=(100,)),
    "reordered": Pattern(late=0.2, twice=0.05),
    "DTX under 200 ms": Pattern(pauses=(20, 40, 60, 100, 140, 180)),
    "DTX over 200 ms": Pattern(pauses=(220, 310, 500, 1000)),
    "DTX with comfort noise": Pattern(pauses=(100, 180, 450, 900), has_noise=True),
    "ptime changes": Pattern(ptimes=(10, 20, 30, 60), loss=0.05),
    "keys": Pattern(keys=True, loss=0.02),
    "all at once": Pattern(
        loss=0.1,
        bursts=(7, 40),
        pauses=(60, 180, 700),
        has_noise=True,
        late=0.1,
        twice=0.02,
        ptimes=(20, 10, 30),
        keys=True,
        first_number=65000,
        first_timestamp=2**32 - 80000,
    ),
}


def patterns() -> st.SearchStrategy[Pattern]:
    some = st.lists(st.integers(1, 100), max_size=3).map(tuple)
    return st.builds(
        Pattern,
        seconds=st.just(9.0),
        loss=st.sampled_from((0.0, 0.02, 0.1, 0.3, 0.5)),
        bursts=some,
        pauses=st.lists(st.integers(1, 1500), max_size=3).map(tuple),
        has_noise=st.booleans(),
        late=st.sampled_from((0.0, 0.05, 0.3)),
        late_ms=st.floats(1, 100),
        twice=st.sampled_from((0.0, 0.05)),
        ptimes=st.lists(
            st.sampled_from((10, 20, 30, 40, 60)), min_size=1, max_size=3
        ).map(tuple),
        keys=st.booleans(),
        first_number=st.sampled_from((0, 32767, 65400)),
        first_timestamp=st.sampled_from((0, 2**31 - 8000, 2**32 - 8000)),
        seed=st.integers(0, 2**32),
    )


class SendersClockTests(ScheduleTestCase):
    def remain(self, pattern: Pattern, *, most_missing: int | None = None) -> None:
        error, worst, missing = self.hear(pattern)
        self.assertLessEqual(abs(error), BOUND, pattern)
        self.assertLessEqual(worst, BOUND, pattern)
        if most_missing is not None:
            self.assertLessEqual(missing, most_missing, pattern)

    def test_time_is_kept_for_a_minute_of_each_pattern(self) -> None:
        for name, pattern in PATTERNS.items():
            with self.subTest(name):
                self.remain(pattern)

    @settings(max_examples=6, deadline=None)
    @given(
        st.lists(st.integers(1, 470), min_size=1, max_size=6).map(tuple),
        st.sampled_from((10, 20, 30, 60)),
        st.integers(0, 2**32),
    )
    def test_audio_that_the_network_delayed_for_a_moment_is_heard(
        self, stalls: tuple[int, ...], ptime: int, seed: int
    ) -> None:
        self.remain(
            Pattern(seconds=21.0, stalls=stalls, ptimes=(ptime,), seed=seed),
            most_missing=0,
        )

    @settings(max_examples=4, deadline=None)
    @given(st.sampled_from((10, 20, 30, 60)), st.integers(0, 2**32))
    def test_packets_in_random_order_are_heard(self, ptime: int, seed: int) -> None:
        # At first the right wait is not known.
        self.remain(
            Pattern(seconds=30.0, late=1.0, late_ms=200, ptimes=(ptime,), seed=seed),
            most_missing=40,
        )

    @settings(max_examples=6, deadline=None)
    @given(
        st.lists(st.integers(560, 1500), min_size=1, max_size=3).map(tuple),
        st.booleans(),
        st.integers(0, 2**32),
    )
    def test_no_word_is_lost_where_the_clock_stops_in_a_pause(
        self, pauses: tuple[int, ...], has_noise: bool, seed: int
    ) -> None:
        self.remain(
            Pattern(
                seconds=21.0,
                pauses=pauses,
                has_noise=has_noise,
                stands=True,
                seed=seed,
            ),
            most_missing=0,
        )

    @settings(max_examples=12, deadline=None)
    @given(patterns())
    def test_time_is_kept_in_any_loss_order_and_pause(self, pattern: Pattern) -> None:
        self.remain(pattern)
