from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import (
    CATALOGUE,
    Chance,
    Close,
    Drop,
    Moment,
    Respond,
    Scheduled,
    Stage,
    Stall,
    When,
    fault_named,
)
from chime_gateway.sim.realtime.faults.which import ALL, Which


class ScheduledTests(SynchronousTestCase):
    def test_a_fault_has_its_moment_and_its_sessions(self) -> None:
        failed = Respond(ResponseFault("failed", "server_error"), 2)
        for text, when, fault, sessions in (
            ("8s:drop", When(Moment.TIME, 0, 8.0), Drop(), ALL),
            ("1-3/turn2:close:4000", When(Moment.TURN, 2), Close(4000), Which(1, 3)),
            ("0.5:close:1006", When(Moment.TIME, 0, 0.5), Drop(), ALL),
            (
                "2-/audio1+0.5:stall:within:4",
                When(Moment.AUDIO, 1, 0.5),
                Stall(Stage.WITHIN, 4.0),
                Which(2),
            ),
            ("response3:respond:failed*2", When(Moment.RESPONSE, 3), failed, ALL),
        ):
            with self.subTest(text=text):
                name = text.partition(":")[2]
                expected = Scheduled(when, fault, name, sessions)
                self.assertEqual(Scheduled.read(text), expected)

    def test_an_unknown_fault_is_refused(self) -> None:
        for text in (
            *("drop", "8s", "8s:", "8s:gremlins", "turn:drop", "turn2+:drop"),
            *("-1:drop", "all/8s:drop", "8s:stall:never", "8s:close:99"),
            *("8s:respond:lost", "8s:refuse:x", "8s:respond:failed*x", "nan:drop"),
        ):
            with self.subTest(text=text), self.assertRaises(ValueError):
                Scheduled.read(text)


class ChanceTests(SynchronousTestCase):
    def test_every_fault_of_the_catalogue_can_be_read(self) -> None:
        for name in CATALOGUE:
            fault_named(name)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1 << 32), st.integers(1, 1 << 16))
    def test_the_same_seed_draws_the_same_faults(self, seed: int, number: int) -> None:
        once, again = Chance(seed), Chance(seed)
        self.assertEqual(once.of_session(number), again.of_session(number))

    def test_every_fault_is_drawn_and_some_sessions_have_none(self) -> None:
        chance = Chance.read("7:0.8")
        drawn = Counter(
            fault.name for number in range(1000) for fault in chance.of_session(number)
        )
        self.assertEqual(set(drawn), set(CATALOGUE))
        self.assertLess(drawn.total(), 900)
        for text in ("x", "1:2", "1:-1", "", "1:nan"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                Chance.read(text)
