"""What is to be spoken is spoken once, whoever else asks for responses meanwhile."""

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
from tests.support.realtime_session import SessionTestCase

_DELAYS = st.lists(st.sampled_from((0.01, 0.1, 0.3, 0.7)), min_size=1, max_size=4)

_OUTCOMES = ("spoken", "fails", "empty", "written", "cut short", "calls")

_MANNERS = st.builds(
    Manners,
    names=st.just(True) | st.booleans(),
    tells_command=st.booleans(),
    interrupts=st.booleans(),
    complains=st.booleans(),
    up=_DELAYS,
    down=_DELAYS,
    outcomes=st.lists(st.sampled_from(_OUTCOMES)),
    refusals=st.lists(st.sampled_from(("", "Sorry. Please try again in 3s."))),
)

_NOTHING = Manners(outcomes=["spoken", "calls", "empty", "empty"])
_FAILS_THEN_NOTHING = Manners(outcomes=["spoken", "fails", "empty"])
#: What was silence to one turn is asked for again for the next one, too.
_NOTHING_TO_ANOTHER = Manners(
    tells_command=True,
    interrupts=False,
    complains=True,
    up=[0.7, 0.01, 0.1, 0.01],
    down=[0.7, 0.01, 0.3, 0.7],
    outcomes=["cut short", "empty", "fails", "empty"],
    refusals=["Sorry. Please try again in 3s."],
)

_SCHEDULE = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.05, 0.2, 0.4, 0.9, 2.0)),
        st.sampled_from(("say", "result", "two results", "keys", "caller", "caller")),
    ),
    min_size=1,
    max_size=8,
)


class ResponsesModelTests(SynchronousTestCase):
    """A service at the end of a slow line, a caller, an operator and tools."""

    def start(self, manners: Manners) -> None:
        self.clock = Clock()
        self.call = Hearing()
        profile = AgentProfile(interruptible=manners.interrupts)
        session = AzureSession(GA, profile, PCMU, self.call, self.clock)
        service = RacingService(
            self.clock, manners, lambda event: session.message_received(event, False)
        )
        session.opened(service)  # type: ignore[arg-type]
        service.emit("session.created", session={"id": "s"})
        service.emit("session.updated", session={})
        self.run_for(2.0)
        self.successResultOf(session.ready)
        self.session, self.service = session, service
        self.call.answer_tool = lambda: self.act("result")
        self.texts = ["greeting"]
        session.say("greeting")
        self.run_for(5.0)
        # Once it has repeated a name, it is known that it does.
        self.is_sure = manners.names and bool(self.call.heard)
        self.results: list[str] = []
        self.is_caller_speaking = False

    def run_for(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds * 100))

    def act(self, what: str) -> None:
        if what == "say":
            self.texts.append(f"words {len(self.texts)}")
            self.session.say(self.texts[-1])
        elif what == "caller":
            self.is_caller_speaking = not self.is_caller_speaking
            if self.is_caller_speaking:
                self.service.caller_begins()
            else:
                self.service.caller_stops()
        elif what == "keys":
            self.session.cancel()
            self.clock.callLater(0.5, self.act, "result")
        else:
            for _ in range(2 if what == "two results" else 1):
                self.results.append(f"result {len(self.results)}")
                self.session.tool_result(self.results[-1], self.results[-1])
            self.session.respond()

    def play(
        self, schedule: Sequence[tuple[float, str]], at_most: float = 30.0
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

    def is_kept_silent_about(self, item: str) -> bool:
        """It was asked twice about it, had nothing to say, and the call knows."""
        told = [
            self.call.statuses.get(made.id, "")
            for made in self.service.made
            if made.is_empty and item in made.knows
        ]
        return len(told) > 1 and "silent" in told

    @settings(max_examples=60, deadline=None)
    @example(_NOTHING, [(0.0, "say"), (0.0, "result")])  # its choice
    @example(_FAILS_THEN_NOTHING, [(0.0, "result")])  # asked for once more
    @example(_NOTHING_TO_ANOTHER, [(0.9, "caller"), (0.4, "caller")] * 2)
    @given(_MANNERS, _SCHEDULE)
    def test_each_thing_is_spoken_once_or_reported(
        self, manners: Manners, schedule: Sequence[tuple[float, str]]
    ) -> None:
        note(f"{manners} {schedule}")
        self.start(manners)
        self.play(schedule)
        heard = self.heard()
        missing = [
            text for text in self.texts if text not in {made.said for made in heard}
        ]
        known = frozenset[str]().union(*(made.knows for made in heard if not made.said))
        missing += [item for item in self.results if item not in known]
        missing += {f"turn {n + 1}" for n in range(self.service.turns)} - known
        missing = [item for item in missing if not self.is_kept_silent_about(item)]
        # Of a service that does not repeat names some is guessed.
        if missing and self.is_sure:
            self.assertNotEqual(self.call.reports, [], missing)
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
    @given(_MANNERS, _SCHEDULE)
    def test_the_last_words_are_the_last_that_is_heard(
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
                self.assertNotEqual(self.call.reports, [])


class ResponsesTests(SessionTestCase):
    """One case each of what the models draw, and of what they do not."""

    def started(self, response_id: str, **more: object) -> None:
        self.receive("response.created", response={"id": response_id, **more})

    def done(self, response_id: str, status: str, message: str = "") -> None:
        response = {
            "id": response_id,
            "status": status,
            "status_details": {"error": {"message": message}},
        }
        self.receive("response.done", response=response)

    def creates(self) -> list[str]:
        """Instructions of what was asked for."""
        commands = [entry[1] for entry in self.log if entry[0] == "send"]
        return [
            command.get("response", {}).get("instructions", "")
            for command in commands
            if command["type"] == "response.create"
        ]

    def notes(self) -> list[str]:
        return [entry[1] for entry in self.log if entry[0] == "oddity_seen"]

    def test_a_greeting_that_comes_to_nothing_is_asked_for_again_once(self) -> None:
        for status in ("failed", "incomplete", "completed"):
            with self.subTest(status):
                self.setUp()
                self.open()
                self.session.say("Hello")
                self.started("r1")
                self.done("r1", status)
                self.clock.advance(1.4)
                self.assertEqual(self.creates(), ["Hello"])
                self.clock.advance(0.2)
                self.assertEqual(self.creates(), ["Hello", "Hello"])
                self.started("r2")
                self.done("r2", status)
                self.clock.pump([1.0] * 30)
                self.assertEqual(self.creates(), ["Hello", "Hello"])
                self.assertEqual(self.notes(), ["asked_again.words", "unspoken.words"])

    def test_the_service_says_when_but_not_for_ever(self) -> None:
        for hint, seconds in (("0.3s", 0.3), ("4s", 4.0), ("1h", 8.0)):
            with self.subTest(hint):
                self.setUp()
                self.open()
                self.session.respond()
                error = {"code": "rate_limit_exceeded", "event_id": self.socket.ids[-1]}
                text = f"Please try again in {hint}."
                self.receive("error", error={**error, "message": text})
                self.clock.advance(seconds - 0.01)
                self.assertEqual(len(self.creates()), 1)
                self.clock.advance(0.02)
                self.assertEqual(len(self.creates()), 2)

    def test_what_was_heard_or_calls_a_tool_is_not_asked_for_again(self) -> None:
        self.open()
        self.started("cut short")
        self.audio("cut short", "i")
        self.done("cut short", "incomplete")
        self.started("calls")
        self.receive(
            "response.function_call_arguments.done",
            response_id="calls",
            call_id="c",
            name="order",
            arguments="{}",
        )
        self.done("calls", "completed")
        self.started("calls by itself")
        self.receive("response.mcp_call.in_progress", item_id="m")
        self.done("calls by itself", "completed")
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.creates(), [])

    def test_words_that_failed_half_way_are_said_again(self) -> None:
        self.open()
        self.session.say("This call is recorded.")
        self.started("r")
        self.audio("r", "i")
        self.done("r", "failed")
        self.clock.advance(1.6)
        self.assertEqual(self.creates(), ["This call is recorded."] * 2)

    def test_a_response_that_starts_while_the_caller_speaks_is_stopped(self) -> None:
        self.open()
        self.session.say("Hello")
        name = self.socket.names[-1]
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.started("r", metadata={"asked_as": name})
        cancel = {"type": "response.cancel", "response_id": "r"}
        self.assertIn(("send", cancel), self.log)
        self.audio("r", "i")
        self.assertIn(("audio_dropped", "stale", 3), self.log)
        self.done("r", "cancelled")
        self.assertIn("conversation.item.truncate", self.sent())
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "j")
        self.done("to the turn", "completed")
        self.assertEqual(self.creates(), ["Hello", "Hello"])

    def test_a_result_is_not_spoken_to_twice_if_the_turn_s_answer_knows(self) -> None:
        self.open()
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.session.tool_result("c", "{}")
        self.session.respond()
        item = {"type": "function_call_output", "call_id": "c"}
        self.receive("conversation.item.added", item=item)
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "i")
        self.done("to the turn", "completed")
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.creates(), [])

    def test_a_result_that_the_turn_s_answer_does_not_know_is_spoken_to(self) -> None:
        self.open()
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.session.tool_result("c", "{}")
        self.session.respond()
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.started("to the turn")
        self.audio("to the turn", "i")
        self.done("to the turn", "completed")
        self.assertEqual(self.creates(), [""])

    def test_who_is_second_for_ever_is_given_up_in_the_end(self) -> None:
        for ask, most in (("say", 11), ("respond", 2)):
            with self.subTest(ask):
                self.setUp()
                self.open()
                for number in range(20):
                    if number == 0:
                        getattr(self.session, ask)(*(["Hello"] if ask == "say" else []))
                    event_id = self.socket.ids[-1]
                    self.started(f"r{number}", metadata={"asked_as": "another"})
                    self.audio(f"r{number}", "i")
                    code = "conversation_already_has_active_response"
                    self.receive("error", error={"code": code, "event_id": event_id})
                    self.done(f"r{number}", "completed")
                self.assertEqual(len(self.creates()), most)

    def test_a_service_that_wants_no_names_is_given_none(self) -> None:
        self.open()
        self.session.respond()
        message = "Unknown parameter: 'response.metadata'."
        error = {"code": "unknown_parameter", "event_id": self.socket.ids[-1]}
        self.receive("error", error={**error, "message": message})
        self.clock.advance(1.6)
        self.assertEqual(self.socket.names[-2:], ["wanted_1", ""])

    def test_a_filler_that_is_not_said_now_is_not_said(self) -> None:
        self.open()
        self.started("r")
        self.session.interject("One moment")
        self.audio("r", "i")
        self.done("r", "completed")
        self.session.interject("One moment")
        self.error("server_error")
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.creates()), 1)

    def test_nothing_is_asked_for_in_a_session_that_is_over(self) -> None:
        self.open()
        self.started("r")
        self.done("r", "failed")
        self.session.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class UninterruptibleResponsesTests(SessionTestCase):
    profile = AgentProfile(interruptible=False)

    def test_who_cannot_interrupt_is_talked_over_and_answered_afterwards(self) -> None:
        self.open()
        self.session.say("Hello")
        self.receive("input_audio_buffer.speech_started", item_id="u")
        self.receive("response.created", response={"id": "r"})
        self.audio("r", "i")
        self.receive("input_audio_buffer.speech_stopped", item_id="u")
        self.error("conversation_already_has_active_response")
        self.receive("response.done", response={"id": "r", "status": "completed"})
        self.clock.advance(1.1)
        self.assertIn(("agent_audio", "r", "i", 0, 3), self.log)
        creates = [entry[1] for entry in self.log if entry[0] == "send"]
        self.assertEqual(creates[1:], [{"type": "response.create"}])
