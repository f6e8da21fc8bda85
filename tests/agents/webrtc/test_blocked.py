from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.blocked import (
    BLOCKED_SECONDS,
    LOST_SECONDS,
    TOGETHER_SECONDS,
    BlockedPlaces,
)

#: (seconds, event, place)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from((0.0, 5.0, 30.0, 61.0, 400.0)),
        st.sampled_from(("lost", "none found")),
        st.sampled_from("ab"),
    ),
    max_size=12,
)


class BlockedTests(SynchronousTestCase):
    @example([(1.0, "lost", "a"), (30.0, "lost", "a")])
    @given(_STEPS)
    def test_one_loss_blocks_for_a_moment_and_two_block_for_long(
        self, steps: list[tuple[float, str, str]]
    ) -> None:
        clock = Clock()
        places = BlockedPlaces(clock.seconds)
        happened: dict[str, list[tuple[float, str]]] = {"a": [], "b": []}
        for seconds, what, place in steps:
            clock.advance(seconds)
            now = clock.seconds()
            happened[place].append((now, what))
            (places.lost if what == "lost" else places.none_found)(place)
            self.assertTrue(places.is_blocked(place))
            for one, found in happened.items():
                self.assertEqual(places.is_blocked(one), self.is_blocked(found, now))

    def is_blocked(self, found: list[tuple[float, str]], now: float) -> bool:
        """Compute the expected result from the rules."""
        lost = [at for at, what in found if what == "lost"]
        pairs = pairwise(lost)
        heavy = [at for at, what in found if what == "none found"]
        heavy += [late for early, late in pairs if late - early <= TOGETHER_SECONDS]
        return any(now < at + BLOCKED_SECONDS for at in heavy) or any(
            now < at + LOST_SECONDS for at in lost
        )
