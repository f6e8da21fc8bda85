from __future__ import annotations

from math import inf, nan
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.chooser.breaker import (
    LONGEST_REST_SECONDS,
    RECHECK_SECONDS,
    Breaker,
    Permit,
    State,
)

#: Rests that a service may ask for.
ASKED = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1e9, inf, nan, -1.0]))


class BreakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.breaker = Breaker()

    def fail_at(self, now: float, asked: float | None = None) -> float:
        """Fail one round; return the rest that follows."""
        self.breaker.take(now).failed(now, 1.0, "503", retry_after_seconds=asked)
        return self.breaker.rests_until - now

    def test_each_round_rests_longer_up_to_a_limit(self) -> None:
        rests = []
        now = 0.0
        for _ in range(8):
            rests.append(self.fail_at(now))
            now = self.breaker.rests_until
        self.assertEqual(rests, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])

    def test_thousands_of_rounds_never_overflow(self) -> None:
        now = 0.0
        for _ in range(5000):
            self.assertLessEqual(self.fail_at(now), 30.0)
            now = self.breaker.rests_until
        self.assertEqual(self.breaker.state(now), State.HALF_OPEN)

    @given(st.integers(1, 60), st.floats(0.0, 0.1), st.randoms(use_true_random=False))
    def test_any_number_of_attempts_that_meet_one_failure_are_one_round(
        self, calls: int, blip: float, random: Random
    ) -> None:
        breaker = Breaker()
        permits = [breaker.take(0.0) for _ in range(calls)]
        for number, permit in enumerate(permits):
            permit.failed(blip * number / calls, random.random(), "reset")
        self.assertEqual(breaker.failures, 1)
        self.assertLessEqual(breaker.rests_until, 0.5 + blip)

    def test_one_probe_decides_for_all(self) -> None:
        self.fail_at(0.0)
        self.assertFalse(self.breaker.may_be_tried(0.49))
        self.assertTrue(self.breaker.may_be_tried(0.5))
        probe = self.breaker.take(0.5)
        self.assertTrue(probe.is_probe)
        self.assertFalse(self.breaker.may_be_tried(0.6))
        self.assertEqual(self.breaker.state(0.6), State.HALF_OPEN)
        self.assertTrue(probe.succeeded())
        self.assertEqual(self.breaker.state(0.6), State.CLOSED)
        self.assertFalse(self.breaker.take(0.6).is_probe)

    def test_after_a_cancelled_probe_another_may_follow(self) -> None:
        self.fail_at(0.0)
        self.breaker.take(0.5).dropped()
        self.assertTrue(self.breaker.take(0.5).is_probe)

    def test_attempts_of_earlier_rounds_are_ignored(self) -> None:
        early, late = self.breaker.take(0.0), self.breaker.take(0.0)
        self.fail_at(0.1)
        self.assertFalse(early.succeeded())
        self.assertEqual(self.breaker.state(0.2), State.OPEN)
        self.breaker.take(0.6).succeeded()
        self.assertFalse(late.failed(7.0, 1.0, "timed out"))
        self.assertEqual(self.breaker.state(7.0), State.CLOSED)

    def test_the_longest_rest_requested_in_a_round_counts(self) -> None:
        second = self.breaker.take(0.0)
        self.fail_at(0.0)
        second.failed(0.1, 0.0, "429", retry_after_seconds=20.0)
        self.assertEqual(self.breaker.rests_until, 20.1)
        self.assertEqual(self.breaker.failures, 1)

    def test_a_requested_rest_is_kept_and_not_much_exceeded(self) -> None:
        for jitter in (0.0, 0.5, 1.0):
            breaker = Breaker()
            permit = breaker.take(0.0)
            permit.failed(0.0, jitter, "429", retry_after_seconds=60.0)
            self.assertTrue(60.0 <= breaker.rests_until <= 66.0)

    def test_a_misconfiguration_is_checked_again_after_a_while(self) -> None:
        permit = self.breaker.take(0.0)
        permit.failed(0.0, 0.0, "HTTP 401", misconfigured=True)
        self.assertEqual(self.breaker.state(1.0), State.MISCONFIGURED)
        self.assertEqual(self.breaker.rests_until, RECHECK_SECONDS)
        self.assertEqual(self.breaker.why, "HTTP 401")
        self.assertEqual(self.breaker.state(RECHECK_SECONDS), State.HALF_OPEN)

    def test_a_permit_is_settled_once(self) -> None:
        permit = self.breaker.take(0.0)
        permit.dropped()
        self.assertFalse(permit.failed(0.0, 0.0, "too late"))
        self.assertEqual(self.breaker.state(0.0), State.CLOSED)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["take", "succeed", "fail", "mend", "drop", "wait"]),
                st.floats(0.0, 1.0),
                ASKED,
            ),
            max_size=60,
        )
    )
    def test_no_rest_is_ever_longer_than_the_longest(
        self, steps: list[tuple[str, float, float | None]]
    ) -> None:
        breaker, now = Breaker(), 0.0
        running: list[Permit] = []
        for what, chance, asked in steps:
            if what == "wait":
                now += chance * 40
            elif what == "take":
                if breaker.may_be_tried(now):
                    running.append(breaker.take(now))
            elif running:
                permit = running.pop(int(chance * (len(running) - 1)))
                if what == "succeed":
                    permit.succeeded()
                elif what == "drop":
                    permit.dropped()
                else:
                    permit.failed(
                        now,
                        chance,
                        "no",
                        misconfigured=what == "mend",
                        retry_after_seconds=asked,
                    )
            self.assertLessEqual(breaker.rests_until - now, LONGEST_REST_SECONDS)
            probes = [p for p in running if p.is_probe and breaker._probe is p]
            self.assertLessEqual(len(probes), 1)
            if breaker.state(now) is State.HALF_OPEN:
                self.assertEqual(breaker.may_be_tried(now), not breaker.is_probed)

    def test_a_fault_of_this_machine_is_a_short_rest_that_does_not_grow(self) -> None:
        now = 0.0
        for _ in range(2000):
            permit = self.breaker.take(now)
            self.assertTrue(permit.could_not_begin(now, 1.0, "out of descriptors"))
            self.assertEqual(self.breaker.rests_until, now + 0.5)
            now = self.breaker.rests_until
        self.breaker.take(now).succeeded()
        self.assertEqual(self.breaker.state(now), State.CLOSED)
