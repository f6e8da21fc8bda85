"""A session that owes something has a deadline; the caller hears a filler sooner."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.owed import Owed
from chime_gateway.agents.line.succession.watch import Watch
from chime_gateway.audio import PCMU
from chime_gateway.errors import EXPIRED
from chime_gateway.interfaces import AgentTraits
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits

BEAT = 0.02

#: A check is due each tenth of a second.
SLACK = 0.13


class _Line:
    """
    A line, and the successor of its session.

    @ivar told: (time, request) of everything that the watch requests.
    """

    deployment = "here"
    is_turn_open = False

    def __init__(self) -> None:
        self.now = 0.0
        self.heard_by = 0.0
        self.owed = Owed(is_interruptible=True)
        self.told: list[tuple[float, str]] = []
        self.is_wanted = False
        self.ready: Any = None
        self.why = ""
        self.watch: Watch | None = None
        self.is_loud = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: self.told.append((self.now, name))

    def trim(self) -> None:
        """Do nothing: all audio fits."""

    def is_caller_loud(self) -> bool:
        return self.is_loud

    def want(self, avoid: str = "", pause: float = 0.0) -> None:
        if not self.is_wanted:
            self.is_wanted = True
            self.told.append((self.now, f"want {avoid}".strip()))

    def drop(self) -> None:
        self.is_wanted = False
        self.told.append((self.now, "drop"))

    def tick(self, now: float) -> None:
        """Do nothing."""

    def lose(self, reason: str, *, is_bad: bool, waits_since: float = 0.0) -> None:
        self.told.append((self.now, "lose"))
        assert self.watch is not None
        self.has_failed = self.watch.ended(self.now, self.now, reason)

    def times(self, what: str) -> list[float]:
        return [at for at, name in self.told if name == what]


class WatchTestCase(SynchronousTestCase):
    def start(self, filler_after: float = 2.0, **limits: Any) -> None:
        self.line = line = _Line()
        any_line: Any = line
        self.limits = Limits(**limits)
        profile = AgentProfile(filler_after_seconds=filler_after)
        line.watch = self.watch = Watch(
            any_line, any_line, self.limits, profile, 0.0, 1_000_000.0
        )
        self.began(None)

    def began(self, most_seconds: float | None) -> None:
        traits = AgentTraits(codec=PCMU, most_seconds=most_seconds)
        self.watch.began(traits, self.line.now)

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / BEAT)):
            self.line.now += BEAT
            self.look()

    def look(self) -> None:
        if self.line.now >= self.watch.look_at:
            self.watch.look(self.line.now)

    def owe(self, stage: str) -> None:
        owed, now = self.line.owed, self.line.now
        owed.expect(now)
        if stage != "asked":
            owed.response_started("r", now)
        if stage in ("within", "between"):
            owed.audio_came("r", "i", 160, now)
        if stage == "between":
            owed.audio_done("i")

    def assertAt(self, found: list[float], expected: list[float]) -> None:
        self.assertEqual(len(found), len(expected), (found, expected))
        for one, due in zip(found, expected, strict=True):
            self.assertTrue(due - 1e-6 <= one <= due + SLACK, (found, expected))


class StallTests(WatchTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        stage=st.sampled_from(("asked", "created", "within", "between")),
        response=st.floats(0.5, 8.0),
        first_audio=st.floats(0.5, 8.0),
        gap=st.floats(0.5, 8.0),
        quiet=st.floats(0.1, 4.0),
        queued=st.floats(0.0, 6.0),
        filler_after=st.floats(0.5, 4.0),
    )
    def test_a_stalled_session_is_replaced_after_a_filler_by_a_prepared_one(
        self,
        stage: str,
        response: float,
        first_audio: float,
        gap: float,
        quiet: float,
        queued: float,
        filler_after: float,
    ) -> None:
        self.start(
            filler_after,
            agent_response_seconds=response,
            agent_first_audio_seconds=first_audio,
            agent_audio_gap_seconds=gap,
        )
        self.run_for(quiet)
        line = self.line
        since = line.now
        line.heard_by = since + queued
        self.owe(stage)
        patience = {"asked": response, "within": gap}.get(stage, first_audio)
        while not line.times("lose") and line.now < since + 10.0:
            self.run_for(BEAT)
        self.assertAt(line.times("lose"), [since + patience])
        self.assertAt(line.times("want here"), [since + max(0.0, patience - 1.5)])
        self.assertEqual(line.times("drop"), [])
        # Nothing is missing: everything that was said has arrived.
        wait = max(1.2, filler_after) if stage == "created" else 1.2
        sounds = [line.heard_by + wait + 3.0 * n for n in range(9)]
        lost_at = line.times("lose")[0]
        # Each of them may be late by one check.
        expected = [at for at in sounds if at < lost_at]
        found = [at for at in line.times("waits") if at < lost_at]
        if stage == "between":
            self.assertEqual(found, [])
        elif not expected or lost_at - expected[-1] > 9 * SLACK:
            self.assertEqual(len(found), len(expected), (found, expected))
            self.assertTrue(
                all(
                    0 <= a - b <= 9 * SLACK
                    for a, b in zip(found, expected, strict=True)
                ),
                (found, expected),
            )

    @settings(max_examples=40, deadline=None)
    @given(
        stage=st.sampled_from(("asked", "created", "within")),
        late=st.floats(0.1, 2.9),
        turns=st.integers(1, 4),
    )
    @example("asked", 2.0, 3)
    def test_a_slow_session_keeps_the_call_and_no_successor_is_left_open(
        self, stage: str, late: float, turns: int
    ) -> None:
        self.start(agent_first_audio_seconds=3.0)
        for _ in range(turns):
            self.owe(stage)
            self.run_for(late)
            owed, now = self.line.owed, self.line.now
            if stage == "asked":
                owed.response_started("r", now)
            if stage != "within":
                owed.audio_came("r", "i", 160, now)
            owed.audio_done("i")
            owed.response_done("r", "completed", now)
            self.run_for(1.0)
        line = self.line
        self.assertEqual(line.times("lose"), [])
        self.assertFalse(line.is_wanted)
        self.assertEqual(len(line.times("want here")), len(line.times("drop")))
        # Between these times the result depends on when the check is made.
        if not 1.4 < late < 1.7:
            self.assertEqual(bool(line.times("drop")), late > 1.5)

    @given(st.lists(st.floats(1.4, 2.9), min_size=2, max_size=6))
    def test_each_wait_has_its_filler(self, waits: list[float]) -> None:
        """Even if the previous wait ended just before."""
        self.start()
        for late in waits:
            began = self.line.now
            self.owe("asked")
            self.run_for(late)
            self.assertAt(
                [at for at in self.line.times("waits") if at > began], [began + 1.2]
            )
            owed, now = self.line.owed, self.line.now
            owed.response_started("r", now)
            owed.audio_came("r", "i", 160, now)
            owed.audio_done("i")
            owed.response_done("r", "completed", now)
            self.run_for(0.1)

    def test_nothing_is_overdue_while_the_caller_speaks(self) -> None:
        self.start()
        self.owe("asked")
        self.line.owed.caller_began()
        self.line.is_loud = False
        self.run_for(1.4)
        self.assertEqual(self.line.told, [])

    @given(st.floats(0.6, 1000.0))
    def test_a_process_that_stood_still_reads_events_before_judging(
        self, seconds: float
    ) -> None:
        self.start()
        self.owe("asked")
        self.run_for(0.5)
        self.line.now += seconds
        self.look()
        self.run_for(0.4)
        self.assertLessEqual({name for _, name in self.line.told}, {"noticed"})
        self.line.owed.response_started("r", self.line.now)
        self.run_for(1.0)
        self.assertEqual(self.line.times("lose"), [])


class DeafTests(WatchTestCase):
    """A session that owes nothing, and no longer hears the caller."""

    @settings(max_examples=40, deadline=None)
    @given(seconds=st.floats(1.2, 6.0), response=st.floats(0.5, 6.0))
    def test_a_caller_who_is_not_heard_hears_a_filler(
        self, seconds: float, response: float
    ) -> None:
        self.start(agent_response_seconds=response)
        self.run_for(1.0)
        self.line.is_loud = True
        self.run_for(seconds)
        loud_until = self.line.now
        self.line.is_loud = False
        self.run_for(8.0)
        (asked_at,) = self.line.times("probe")
        lost_at = self.line.times("lose")[0]
        self.assertAt([lost_at], [asked_at + response])
        due = max(asked_at, loud_until) + 1.2
        waits = [at for at in self.line.times("waits") if at < lost_at]
        if due + 2 * SLACK < lost_at:
            self.assertLess(abs(waits[0] - due), 2 * SLACK)
        elif due - SLACK > lost_at:
            self.assertEqual(waits, [])


class LossTests(WatchTestCase):
    def lose(self, why: str = "it closed") -> bool:
        return self.watch.ended(self.line.now, self.line.now, why)

    def test_an_expected_end_is_not_a_failure(self) -> None:
        self.start()
        self.assertTrue(self.lose())
        self.assertFalse(self.lose(f"{EXPIRED}: 60 minutes"))
        self.assertFalse(self.lose("the session was about to expire"))

    @given(st.floats(2.0, 30.0))
    def test_fillers_are_played_until_there_is_a_session_or_the_line_is_given_up(
        self, patience: float
    ) -> None:
        self.start(agent_silence_seconds=patience)
        self.run_for(1.0)
        self.lose()
        while not self.line.times("give_up"):
            self.run_for(BEAT)
        (at,) = self.line.times("give_up")
        self.assertAt([at], [1.0 + patience])
        sounds = self.line.times("waits")
        self.assertAt(sounds[:1], [2.2])
        self.assertTrue(all(b - a < 3.2 for a, b in pairwise(sounds)), sounds)

    @given(st.integers(1, 6), st.floats(0.1, 9.0))
    def test_the_first_two_successors_follow_at_once_and_later_ones_after_pauses(
        self, losses: int, lasted: float
    ) -> None:
        self.start()
        for _ in range(losses):
            self.run_for(lasted)
            self.lose()
            self.began(None)
        pauses = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0)
        self.assertEqual(self.watch.pause, pauses[losses - 1])
        self.assertTrue(self.watch.is_troubled)
        self.watch.settle()
        self.assertEqual(self.watch.pause, 0.0)
        self.assertFalse(self.watch.is_troubled)


class RolloverTests(WatchTestCase):
    @settings(max_examples=20, deadline=None)
    @given(st.floats(0.5, 20.0))
    def test_a_rollover_waits_for_a_caller_whose_speech_is_not_reported_yet(
        self, seconds: float
    ) -> None:
        self.start(agent_rollover_seconds=100.0)
        self.began(200.0)
        line = self.line
        while not line.times("lose"):
            line.now += BEAT
            line.owed.active(line.now)
            line.is_loud = 99.0 <= line.now < 100.0 + seconds
            if line.times("want") and line.ready is None:
                line.ready = object()
            self.look()
        hushed_at = 100.0 + seconds
        (at,) = line.times("lose")
        self.assertTrue(hushed_at + 0.2 <= at <= hushed_at + 0.6, (at, hushed_at))

    @settings(max_examples=40, deadline=None)
    @given(
        life=st.floats(60.0, 400.0),
        busy=st.floats(0.0, 1.0),
        is_caller=st.booleans(),
    )
    def test_a_rollover_happens_in_a_pause_or_in_time_without_one(
        self, life: float, busy: float, is_caller: bool
    ) -> None:
        """
        C{busy}: the initial share of its lifetime in which somebody speaks.
        """
        self.start(agent_rollover_seconds=life / 2)
        self.began(life)
        line, owed = self.line, self.line.owed
        if is_caller:
            owed.caller_began()
        else:
            owed.response_started("r", 0.0)
        is_quiet = False
        while not line.times("lose"):
            line.now += 0.1
            owed.active(line.now)
            if not is_quiet and line.now >= busy * life:
                is_quiet = True
                if is_caller:
                    owed.caller_stopped(line.now)
                    owed.settle()
                else:
                    owed.audio_done("i")
                    owed.response_done("r", "completed", line.now)
            if line.times("want") and line.ready is None:
                line.ready = object()
            self.look()
            self.assertLess(line.now, life)
        at = line.now
        self.assertGreaterEqual(at, life / 2 - 1e-6)
        self.assertFalse(line.has_failed)
        self.assertEqual(line.times("expires"), [])
        if busy < 0.5:
            self.assertLess(at, life / 2 + 1.0)
