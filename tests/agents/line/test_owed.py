"""What the agent owes a caller is owed until it is given, in any session."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.owed import Owed, Patience

PATIENCE = Patience(response=3.0, first_audio=5.0, audio_gap=2.0)

#: Courses of a response: (how far it gets, its end).
ENDS = (
    *("created:failed", "created:cancelled", "created:lost", "created:completed"),
    *("audio:completed", "audio:lost", "said:completed", "said:lost"),
    *("tool:completed", "tool:lost"),
)

#: The courses after which an answer is certainly due, and those after which it is
#: certainly not: complete audio need not be a complete answer before that is reported.
DUE = ("created:lost", "audio:lost", "said:lost")
NOT_DUE = ("tool:lost", *(end for end in ENDS if end.endswith(":completed")))


class OwedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.owed = Owed(is_interruptible=True)
        self.count = 0

    def overdue(self, now: float) -> bool:
        deadline = self.owed.deadline(PATIENCE)
        return deadline is not None and now >= deadline[0]

    def make(self, end: str, *, asked_within: bool = False) -> None:
        """Run a response from its beginning to its end."""
        owed = self.owed
        self.count += 1
        name = f"r{self.count}"
        stage, _, status = end.partition(":")
        owed.response_started(name, 0.0)
        if asked_within:
            owed.expect(0.0)
        if stage in ("audio", "said"):
            owed.audio_came(name, f"i{name}", 160, 0.0)
        if stage == "said":
            owed.audio_done(f"i{name}")
        if stage == "tool":
            owed.tool_called(name, f"c{name}")
        if status == "lost":
            owed.session_over()
            owed.session_began(0.0)
        else:
            owed.response_done(name, status, 0.0)
        owed.tool_result(f"c{name}")

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ENDS), st.booleans()), max_size=8))
    def test_an_answer_is_due_until_a_response_that_knows_the_question(
        self, ends: list[tuple[str, bool]]
    ) -> None:
        self.setUp()
        self.owed.caller_began()
        self.owed.caller_stopped(0.0)
        for end, asked_within in ends:
            was_due = self.owed.is_answer_due
            self.make(end, asked_within=asked_within)
            if asked_within:
                # It was requested before the question, so its course does not matter.
                self.assertTrue(self.owed.is_answer_due, end)
            else:
                is_due = end in DUE or (was_due and end not in NOT_DUE)
                self.assertEqual(self.owed.is_answer_due, is_due, end)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.sampled_from(ENDS), max_size=6))
    def test_words_are_owed_until_they_were_said(self, ends: list[str]) -> None:
        self.setUp()
        self.owed.say("the greeting", 0.0, is_last=False)
        is_said = has_begun = False
        for end in ends:
            if is_said:
                break
            (words,) = self.owed.words
            self.assertEqual(words.has_begun, has_begun)
            self.owed.words_start(is_last=False)
            self.make(end)
            is_said = end in ("audio:completed", "said:completed", "said:lost")
            has_begun |= end == "audio:lost"
        self.assertEqual(bool(self.owed.words), not is_said)

    @given(
        st.sampled_from(("asked", "created", "within", "between")),
        st.floats(0.0, 100.0),
        st.floats(0.0, 8.0),
        st.booleans(),
    )
    @example("within", 0.0, 2.0, False)
    def test_each_stage_has_its_deadline_and_none_while_the_caller_speaks(
        self, stage: str, began: float, waited: float, is_speaking: bool
    ) -> None:
        self.setUp()
        owed = self.owed
        owed.expect(began)
        if stage != "asked":
            owed.response_started("r", began)
        if stage in ("within", "between"):
            owed.audio_came("r", "i", 160, began)
        if stage == "between":
            owed.audio_done("i")
        within = {
            "asked": PATIENCE.response,
            "within": PATIENCE.audio_gap,
        }.get(stage, PATIENCE.first_audio)
        owed.is_caller_speaking = is_speaking
        now = began + waited
        is_over = now >= began + within and not is_speaking
        self.assertEqual(self.overdue(now), is_over)
        owed.active(now)
        if stage != "asked":
            self.assertFalse(self.overdue(now))

    @given(
        st.sampled_from(("asked", "created", "within", "between", "cut")),
        st.floats(0.0, 50.0),
        st.floats(0.0, 10.0),
    )
    def test_silence_begins_when_nothing_owed_is_heard(
        self, stage: str, began: float, queued: float
    ) -> None:
        self.setUp()
        owed = self.owed
        heard_by = began + queued
        self.assertIsNone(owed.silence(heard_by))
        owed.caller_began()
        self.assertIsNone(owed.silence(heard_by))
        owed.caller_stopped(began)
        if stage != "asked":
            owed.response_started("r", began)
        if stage in ("within", "between", "cut"):
            owed.audio_came("r", "i", 160, began)
        if stage == "between":
            owed.audio_done("i")
        if stage == "cut":
            owed.cancel()
        expected = None if stage in ("between", "cut") else heard_by
        found = owed.silence(heard_by)
        self.assertEqual(found and found[0], expected)
        if found is not None:
            self.assertEqual(found[1], stage == "created")

    def test_a_delayed_retry_has_not_stalled(self) -> None:
        owed = self.owed
        owed.expect(1.0)
        owed.delayed(2.0, 10.0)
        self.assertEqual(owed.waits_since(5.0), 1.0)
        self.assertFalse(self.overdue(12.9))
        self.assertTrue(self.overdue(13.0))

    def test_the_rest_of_an_answer_is_wanted_unless_it_was_cut(self) -> None:
        for is_cut in (False, True):
            self.setUp()
            owed = self.owed
            owed.expect(0.0)
            owed.response_started("r", 0.0)
            owed.audio_came("r", "i", 160, 0.0)
            if is_cut:
                owed.caller_began()
                owed.is_caller_speaking = False
            owed.session_over()
            self.assertEqual(owed.goes_on, not is_cut)

    def test_nothing_is_owed_after_the_last_words(self) -> None:
        owed = self.owed
        owed.expect(0.0)
        owed.say("goodbye", 0.0, is_last=True)
        self.assertFalse(owed.is_answer_due)
        owed.expect(0.0)
        self.assertFalse(owed.is_answer_due)
        self.assertTrue(owed.is_parting)

    def test_a_running_tool_is_waited_for(self) -> None:
        """Its result requests the answer, in the next session as in this one."""
        owed = self.owed
        owed.expect(0.0)
        owed.response_started("r", 0.0)
        owed.tool_called("r", "c")
        owed.response_done("r", "completed", 0.0)
        # It is unknown what this response was for.
        owed.response_started("s", 0.0)
        owed.session_over()
        self.assertFalse(owed.is_anything_due)
        owed.tool_result("c")
        owed.expect(1.0)
        self.assertTrue(owed.is_answer_due)
