"""
Whatever fails, in whichever order: what is to be spoken is spoken once, or it is told
that it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, note, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.session import AzureSession
from chime_gateway.audio import PCMU
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.wire.realtime.dialects import GA
from tests.support.hearing import Hearing
from tests.support.racing_service import Made, Manners, RacingService

_DELAYS = st.lists(st.sampled_from((0.01, 0.1, 0.3, 0.7)), min_size=1, max_size=4)

_OUTCOMES = (
    *("spoken", "fails", "empty", "written", "cut short", "calls"),
    *("breaks", "filtered", "throttled"),
)

_REFUSALS = (
    *("", "server_error Sorry. Please try again in 3s.", "server_error Sorry."),
    *("rate_limit_exceeded Please try again in 20s.", "invalid_value No."),
)

_MANNERS = st.builds(
    Manners,
    names=st.just(True) | st.booleans(),
    tells_command=st.booleans(),
    interrupts=st.booleans(),
    complains=st.booleans(),
    up=_DELAYS,
    down=_DELAYS,
    outcomes=st.lists(st.sampled_from(_OUTCOMES)),
    refusals=st.lists(st.sampled_from(_REFUSALS)),
)

_NOTHING = Manners(outcomes=["spoken", "calls", "empty", "empty"])
_FAILS_THEN_NOTHING = Manners(outcomes=["spoken", "fails", "empty"])
_BREAKS = Manners(outcomes=["spoken", "breaks", "breaks"])
_FAILS_FOR_EVER = Manners(outcomes=["spoken", *["fails"] * 20])
#: An answer that was silence for one turn is requested again for the next turn.
_NOTHING_TO_ANOTHER = Manners(
    tells_command=True,
    interrupts=False,
    complains=True,
    up=[0.7, 0.01, 0.1, 0.01],
    down=[0.7, 0.01, 0.3, 0.7],
    outcomes=["cut short", "empty", "fails", "empty"],
    refusals=["server_error Sorry. Please try again in 3s."],
)

#: A response that fails while it is stopped has failed.
_FAILS_AS_IT_IS_STOPPED = Manners(
    interrupts=False,
    up=[0.01],
    down=[0.3],
    outcomes=["spoken", "fails", "fails", "fails", "spoken", "spoken", "fails"],
)

#: The VAD's answer and the last words are both blocked, and no error says which.
_SECOND = Manners(interrupts=False, tells_command=False, up=[0.01], down=[0.01])

_SCHEDULE = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.05, 0.2, 0.4, 0.9, 2.0)),
        st.sampled_from(("say", "result", "two results", "keys", "caller", "caller")),
    ),
    min_size=1,
    max_size=8,
)


class SpokenOnceTests(SynchronousTestCase):
    """A service with a slow connection, a caller, an operator and tools."""

    def start(self, manners: Manners, *, leaves: bool = False) -> None:
        """@param leaves: the session is closed when a failure is reported."""
        self.clock = Clock()
        self.call = Hearing(self.clock.seconds)
        profile = AgentProfile(instructions="", interruptible=manners.interrupts)
        session = AzureSession(GA, profile, PCMU, self.call, self.clock)
        service = RacingService(
            self.clock, manners, lambda event: session.message_received(event, False)
        )
        session.opened(service)
        service.emit("session.created", session={"id": "s"})
        service.emit("session.updated", session={})
        self.run_for(2.0)
        self.successResultOf(session.ready)
        self.session, self.service = session, service
        if leaves:
            self.call.leave = session.close
        self.call.answer_tool = lambda: self.act("result")
        self.texts = ["greeting"]
        self.given_at = {"greeting": 0.0}
        session.say("greeting")
        self.run_for(5.0)
        # After it has repeated a name, the gateway knows that it does so.
        self.is_sure = manners.names and bool(self.call.heard)
        self.results: list[str] = []
        self.is_caller_speaking = False

    def run_for(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while (now := self.clock.seconds()) < end:
            due = (call.getTime() for call in self.clock.getDelayedCalls())
            self.clock.advance(min(end, *due, end) - now)

    def act(self, what: str) -> None:
        if what == "say":
            self.texts.append(f"words {len(self.texts)}")
            self.given_at[self.texts[-1]] = self.clock.seconds()
            self.session.say(self.texts[-1])
        elif what == "caller":
            self.is_caller_speaking = not self.is_caller_speaking
            if self.is_caller_speaking:
                self.service.caller_begins()
            else:
                self.given_at[f"turn {self.service.turns}"] = self.clock.seconds()
                self.service.caller_stops()
        elif what == "keys":
            self.session.cancel()
            self.clock.callLater(0.5, self.act, "result")
        else:
            for _ in range(2 if what == "two results" else 1):
                self.results.append(f"result {len(self.results)}")
                self.given_at[self.results[-1]] = self.clock.seconds()
                self.session.tool_result(self.results[-1], self.results[-1])
            self.session.respond()

    def play(
        self, schedule: Sequence[tuple[float, str]], at_most: float = 60.0
    ) -> None:
        for seconds, what in schedule:
            self.run_for(seconds)
            self.act(what)
        if self.is_caller_speaking:
            self.run_for(0.5)
            self.act("caller")
        self.run_for(at_most)

    def heard(self) -> list[Made]:
        return [made for made in self.service.made if made.id in self.call.heard]

    @settings(max_examples=200, deadline=None)
    @example(_NOTHING, [(0.0, "say"), (0.0, "result")], False)  # the model's choice
    @example(_FAILS_THEN_NOTHING, [(0.0, "result")], False)
    @example(_BREAKS, [(0.0, "result"), (2.0, "caller"), (0.2, "caller")], False)
    @example(_FAILS_FOR_EVER, [(0.0, "result")], True)
    @example(
        _FAILS_AS_IT_IS_STOPPED, [(0.0, "say"), (0.0, "caller"), (0.9, "say")], False
    )
    @example(_NOTHING_TO_ANOTHER, [(0.9, "caller"), (0.4, "caller")] * 2, False)
    @given(_MANNERS, _SCHEDULE, st.booleans())
    def test_each_request_is_spoken_once_or_reported_as_failed(
        self, manners: Manners, schedule: Sequence[tuple[float, str]], leaves: bool
    ) -> None:
        note(f"{manners} {schedule} {leaves}")
        self.start(manners, leaves=leaves)
        self.play(schedule)
        heard = self.heard()
        missing = [
            text for text in self.texts if text not in {made.said for made in heard}
        ]
        known = frozenset[str]().union(*(made.knows for made in heard if not made.said))
        missing += [item for item in self.results if item not in known]
        missing += {f"turn {n + 1}" for n in range(self.service.turns)} - known
        told = self.call.failed_at
        # If the service does not repeat names, some are guessed.
        if self.is_sure and not (leaves and told):
            for item in missing:
                self.assertGreater(max(told, default=-1.0), self.given_at[item], item)
        if self.is_sure:
            del self.service.in_vain[""]  # among the VAD's answers
            self.assertLessEqual(max(self.service.in_vain.values(), default=0), 3)
        if leaves and told:
            self.assertEqual(len(told), 1)
            self.assertLessEqual(self.service.last_asked_at, told[0])
        if manners.interrupts:
            self.assertEqual(self.call.over_caller, set())
        if self.is_sure:
            self.assert_nothing_twice(heard)

    def assert_nothing_twice(self, heard: Sequence[Made]) -> None:
        said = [made.said for made in heard if made.said]
        self.assertEqual(sorted(said), sorted(set(said)))
        known: frozenset[str] = frozenset()
        for made in heard:
            if made.is_asked_for and not made.said and not made.was_overtaken:
                self.assertLess(known, known | made.knows, "the same answer twice")
            if not made.said:
                known |= made.knows

    @settings(max_examples=40, deadline=None)
    @example(_SECOND, [(0.0, "caller"), (0.0, "caller")])
    @given(_MANNERS, _SCHEDULE)
    def test_nothing_is_heard_after_the_last_words(
        self, manners: Manners, schedule: Sequence[tuple[float, str]]
    ) -> None:
        note(f"{manners} {schedule}")
        self.start(manners)
        self.play(schedule, at_most=0.0)
        began = len(self.service.made)
        self.session.say("goodbye", is_last=True)
        self.play(schedule)
        later = self.service.made[began:]
        said = [made.said for made in later if made.id in self.call.heard]
        if self.is_sure:
            self.assertEqual(said, ["goodbye"] * len(said[:1]))
            if not said:
                notes = [entry[1] for entry in self.call.log if "seen" in entry[0]]
                self.assertIn("unspoken.last_words", notes)
