"""A caller who speaks to a session that no longer works is heard by the next one."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.agents.line.succession.caller_audio import (
    LOUD_SECONDS,
    MOST_SECONDS,
    NOTICE_SECONDS,
)
from chime_gateway.audio import PCMU
from chime_gateway.errors import BROKE_PROTOCOL
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from tests.support.fakes import RecordingAgent, RecordingSessions

FRAME = 0.02
LOUD, QUIET = b"\x00" * 160, b"\xff" * 160

#: The longest time until a dead session is replaced: the caller has to be heard, or to
#: be silent, for a while; then the session has to answer a probe; then the next opens.
NOTICED_SECONDS = 1.5 + 3.0 + 0.5


@define
class Session(RecordingAgent):
    """
    A session that answers a probe after a while, or never.

    @ivar is_dead: it reports nothing any more.
    @ivar took: the audio that it received.
    """

    clock: Clock
    events: Any
    delay: float
    is_dead: bool = False
    probes: int = 0
    took: list[bytes] = field(factory=list)
    is_open: bool = True
    began: float = field(init=False)

    most_seconds: float | None = None

    def __attrs_post_init__(self) -> None:
        self.began = self.clock.seconds()
        RecordingAgent.__init__(self, [], most_seconds=self.most_seconds)

    def report(self, name: str, *arguments: Any) -> None:
        if not self.is_dead:
            getattr(self.events, name)(*arguments)
            self.events.agent_active()

    def send_audio(self, audio: bytes) -> None:
        self.took.append(audio)

    def probe(self) -> None:
        self.probes += 1
        self.clock.callLater(
            self.delay, lambda: self.is_dead or self.events.agent_active()
        )

    def respond(self) -> None:
        self.clock.callLater(self.delay, self.report, "response_started", "answer")
        done: tuple[Any, ...] = ("response_done", "answer", "completed", "", {})
        self.clock.callLater(self.delay, self.report, *done)

    def close(self) -> None:
        self.is_open = False


class _Call:
    """
    Does nothing.

    @ivar told: the names of the reports.
    """

    def __init__(self) -> None:
        self.told: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.told.add(name)


class LineTestCase(SynchronousTestCase):
    most_seconds: float | None = None

    def start(self, delay: float = 0.1, **limits: float) -> None:
        self.clock = clock = Clock()
        self.sessions: list[Session] = []
        self.agents = RecordingSessions([])
        self.call = events = _Call()
        chosen: Any = limits
        opening = Lines(self.agents, Limits(**chosen)).open(
            AgentProfile(), PCMU, events, clock.seconds, 0.0
        )
        self.delay = delay
        self.answer()
        self.line = self.successResultOf(opening)

    def answer(self) -> None:
        """Open the sessions that were requested."""
        while len(self.sessions) < len(self.agents.opening):
            number = len(self.sessions)
            events = self.agents.events[number]
            session = Session(
                self.clock, events, self.delay, most_seconds=self.most_seconds
            )
            self.sessions.append(session)
            self.agents.opening[number].callback(session)

    def hear(self, audio: bytes, seconds: float) -> None:
        for _ in range(round(seconds / FRAME)):
            self.line.send_audio(audio)
            self.clock.advance(FRAME)
            self.line.tick(self.clock.seconds())
            self.answer()


class LineTests(LineTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        quiet=st.floats(0.1, 8.0),
        pieces=st.lists(
            st.tuples(st.floats(0.1, 1.5), st.floats(0.02, 0.4)), min_size=1, max_size=5
        ),
        is_told=st.booleans(),
    )
    def test_a_caller_who_speaks_to_a_dead_session_is_heard_by_the_next(
        self, quiet: float, pieces: list[tuple[float, float]], is_told: bool
    ) -> None:
        """C{is_told}: it reported that the caller speaks before it died."""
        self.start()
        self.hear(QUIET, quiet)
        first = self.sessions[0]
        if is_told:
            first.report("speech_started", "turn")
        first.is_dead = True
        frames = 0
        for loud, pause in pieces:
            self.hear(LOUD, loud)
            self.hear(QUIET, pause)
            frames += round(loud / FRAME)
        if frames * FRAME < 0.6 and not is_told:
            return  # a cough
        self.hear(QUIET, NOTICED_SECONDS)
        self.assertFalse(first.is_open)
        self.assertEqual(len(self.sessions), 2)
        heard = b"".join(self.sessions[1].took)
        self.assertEqual(heard.count(LOUD[0]), frames * len(LOUD))

    @settings(max_examples=20, deadline=None)
    @given(
        pieces=st.lists(
            st.tuples(st.sampled_from((LOUD, QUIET)), st.floats(0.1, 20.0)),
            min_size=3,
            max_size=8,
        ),
        delay=st.floats(0.0, 2.8),
        is_told=st.booleans(),
    )
    def test_an_active_session_may_report_no_speech(
        self, pieces: list[tuple[bytes, float]], delay: float, is_told: bool
    ) -> None:
        """It takes what it hears for noise, or for an endless turn."""
        self.start(delay)
        if is_told:
            self.sessions[0].report("speech_started", "turn")
        for audio, seconds in pieces:
            self.hear(audio, seconds)
        session, *others = self.sessions
        self.assertTrue(session.is_open)
        # One of the prepared sessions may still be open.
        self.assertLessEqual(sum(other.is_open for other in others), 1)
        self.assertNotIn("agent_changed", self.call.told)
        seconds = sum(seconds for _, seconds in pieces)
        self.assertLessEqual(session.probes, 5 + seconds / 24)

    def test_a_session_that_reports_turns_is_not_probed(self) -> None:
        self.start()
        for turn in range(10):
            self.hear(LOUD, 0.3)
            self.sessions[0].report("speech_started", f"{turn}")
            self.hear(LOUD, 2.0)
            self.hear(QUIET, 0.5)
            self.sessions[0].report("speech_stopped", f"{turn}")
            self.sessions[0].report("response_started", f"r{turn}")
            done: tuple[Any, ...] = ("response_done", f"r{turn}", "completed", "", {})
            self.sessions[0].report(*done)
            self.hear(QUIET, 3.0)
        self.assertEqual(self.sessions[0].probes, 0)

    @settings(max_examples=40, deadline=None)
    @given(
        quiet=st.floats(2.5, 6.0),
        noticed_in=st.floats(0.0, 0.9),
        chatter=st.lists(st.floats(0.0, 1.2), max_size=6),
        dies_in=st.floats(0.0, 1.5),
    )
    @example(3.0, 0.8, [0.7], 1.0)
    def test_the_first_word_of_a_turn_is_heard_even_if_noticed_late(
        self, quiet: float, noticed_in: float, chatter: list[float], dies_in: float
    ) -> None:
        """The session may report other things meanwhile, and die."""
        self.start()
        self.hear(QUIET, quiet)
        first = self.sessions[0]
        began = self.clock.seconds()
        self.clock.callLater(noticed_in, first.report, "speech_started", "turn")
        for after in chatter:
            self.clock.callLater(after, first.report, "agent_said", "i", "w", False)
        self.clock.callLater(dies_in, first.report, "agent_lost", "it closed")
        self.hear(LOUD, 1.6)
        self.assertEqual(len(self.sessions), 2)
        heard = b"".join(self.sessions[1].took)
        frames = round((self.clock.seconds() - began) / FRAME)
        self.assertEqual(heard.count(LOUD[0]), frames * len(LOUD))

    @settings(max_examples=40, deadline=None)
    @given(
        quiet=st.floats(2.5, 4.0),
        chatter=st.lists(st.floats(0.0, 9.0), max_size=12),
        dies_in=st.floats(0.5, 9.0),
    )
    @example(3.0, [n / 10 for n in range(60)], 8.0)
    def test_speech_that_a_lost_session_had_no_time_to_report_is_heard_by_the_next(
        self, quiet: float, chatter: list[float], dies_in: float
    ) -> None:
        """It does not report the loud caller, but sends other events."""
        self.start(delay=99.0)
        self.hear(QUIET, quiet)
        first, began = self.sessions[0], self.clock.seconds()
        for after in chatter:
            self.clock.callLater(after, first.report, "agent_said", "i", "w", False)
        self.clock.callLater(dies_in, first.report, "agent_lost", "it closed")
        while not any(session.took for session in self.sessions[1:]):
            self.hear(LOUD, FRAME)
        said = self.clock.seconds() - began
        signs = [after for after in chatter if after <= said]
        least = said - max(0.0, max(signs, default=0.0) - NOTICE_SECONDS)
        took = b"".join(audio for one in self.sessions[1:] for audio in one.took)
        heard = took.count(LOUD[0]) / len(LOUD) * FRAME
        self.assertGreaterEqual(heard, min(least, MOST_SECONDS) - 2 * FRAME)

    def test_a_caller_without_turns_takes_little_memory(self) -> None:
        self.start()
        line: Any = self.line
        most = 0
        for n in range(600):
            self.sessions[0].report("agent_said", "i", f"{n} ", False)
            self.hear(LOUD, FRAME)
            if n > 150:
                most = max(most, len(line._caller.audio))
        self.assertLessEqual(most, (LOUD_SECONDS + 0.2) * PCMU.bytes_per_second)

    def test_missing_audio_is_not_loud(self) -> None:
        self.start()
        self.hear(LOUD, 0.2)
        for _ in range(1000):
            self.clock.advance(FRAME)
            self.line.tick(self.clock.seconds())
        self.assertEqual(self.sessions[0].probes, 0)

    def test_a_gateway_that_stood_still_reads_events_before_judging(self) -> None:
        """The session's events are read after the late beat."""
        self.start()
        session = self.sessions[0]
        for seconds in (3.5, 60.0):
            for owes in (lambda: self.line.respond(), lambda: self.hear(LOUD, 1.5)):
                owes()
                self.clock.pump([0.0])
                self.clock.rightNow += seconds
                self.line.tick(self.clock.seconds())
                self.clock.advance(FRAME)
                session.report("response_started", "r")
                session.report("response_done", "r", "completed", "", {})
                self.hear(QUIET, 2.0)
        self.assertEqual(len(self.sessions), 1)

    @settings(max_examples=25, deadline=None)
    @example(3600.0, 300.0, 10.0, 1.0, True)
    @example(3600.0, 5.0, 60.0, 1.0, False)
    @given(
        seconds=st.floats(40.0, 600.0),
        lead=st.floats(0.5, 400.0),
        goodbye=st.floats(1.0, 30.0),
        opens_in=st.floats(0.0, 3.0),
        is_agent=st.booleans(),
    )
    def test_a_session_that_expires_without_a_pause_is_followed_by_the_next(
        self,
        seconds: float,
        lead: float,
        goodbye: float,
        opens_in: float,
        is_agent: bool,
    ) -> None:
        """One side speaks all the time; that is no reason for a goodbye."""
        self.most_seconds = seconds
        self.start(agent_rollover_seconds=lead, goodbye_seconds=goodbye)
        first = self.sessions[0]
        if is_agent:
            first.report("response_started", "r")
        else:
            first.report("speech_started", "turn")
        asked_at = None
        while first.is_open and self.clock.seconds() < seconds:
            if is_agent:
                first.events.agent_audio("r", "i", 0, LOUD)
            self.line.send_audio(LOUD)
            self.clock.advance(0.1)
            now = self.clock.seconds()
            self.line.tick(now)
            if asked_at is None and len(self.agents.opening) > 1:
                asked_at = now
            if asked_at is not None and now >= asked_at + opens_in:
                self.answer()
        self.assertFalse(first.is_open)
        self.assertEqual(len(self.sessions), 2)
        self.assertNotIn("agent_expires", self.call.told)


class HopelessTests(LineTestCase):
    """Sessions are lost one after another, although the agent speaks in each."""

    def lose(self, lasted: float, why: str) -> None:
        session = self.sessions[-1]
        self.hear(QUIET, lasted / 2)
        events = session.events
        events.response_started("r")
        events.agent_audio("r", "i", 0, bytes(160))
        events.response_done("r", "completed", "", {})
        self.hear(QUIET, lasted / 2)
        session.is_open = False
        events.agent_lost(why)
        # The next session may be opened after a pause.
        self.hear(QUIET, 5.0)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([0.2, 1.0, 4.0, 20.0]),
                st.sampled_from(["it closed", f"{BROKE_PROTOCOL}: too many frames"]),
            ),
            min_size=1,
            max_size=9,
        )
    )
    @example([(1.0, "it closed")] * 9)
    @example([(1.0, f"{BROKE_PROTOCOL}: too many frames")] * 9)
    @example([(20.0, "it closed")] * 9)
    @example([(20.0, f"{BROKE_PROTOCOL}: too many frames")] * 9)
    def test_a_line_is_given_up_when_no_session_lasts_and_only_then(
        self, losses: list[tuple[float, str]]
    ) -> None:
        self.start()
        strikes = 0
        began = 0.0
        for lasted, why in losses:
            age = self.clock.seconds() + lasted - began
            if why.startswith(BROKE_PROTOCOL):
                strikes += 4
            else:
                strikes = 1 if age >= 10.0 else strikes + 1
            count = len(self.sessions)
            self.lose(lasted, why)
            if strikes > 6:
                self.assertIn("agent_lost", self.call.told)
                self.assertEqual(len(self.sessions), count)
                return
            self.assertNotIn("agent_lost", self.call.told)
            began = self.sessions[-1].began
