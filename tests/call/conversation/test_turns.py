"""Turns of the agent: each is reported once, in order, with what was heard."""

from __future__ import annotations

from attrs import Factory, define
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.reports.events import TurnCompleted, TurnFacts
from tests.support.conversation import GONE, ConversationTestCase

#: What a service does in one item, in every order that makes sense.
GAPS = st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.7, 1.3, 2.5])

#: Milliseconds; only the second is a whole number of frames.
PIECES = st.lists(st.sampled_from([7, 200, 330, 1000]), max_size=3)

#: The longest time until a heard turn is reported: its text is awaited, and turns are
#: checked twice a second.
TOLD_WITHIN = 4.0


@define
class Spoken:
    """One item that the service makes."""

    texts: int
    pieces: list[int]
    is_closed: bool
    gap: float


@define
class Answer:
    """One response: its items, and the pause before its end and before the next."""

    items: list[Spoken]
    gap: float
    pause: float


ITEMS = st.builds(
    Spoken, texts=st.integers(0, 2), pieces=PIECES, is_closed=st.booleans(), gap=GAPS
)
ANSWERS = st.lists(
    st.builds(
        Answer, items=st.lists(ITEMS, min_size=1, max_size=3), gap=GAPS, pause=GAPS
    ),
    min_size=1,
    max_size=3,
)


@define
class Service:
    """
    The agent's side: it makes responses, one after the other, until it is interrupted.

    @ivar sent: milliseconds of audio of each item that may have been heard.
    """

    test: SpokenCall
    interrupt_at: int
    how: str
    steps: int = 0
    is_cut: bool = False
    sent: dict[str, int] = Factory(dict)

    def step(self, gap: float) -> bool:
        """@return: whether the response goes on."""
        self.test.run_for(gap)
        self.steps += 1
        if self.steps == self.interrupt_at:
            self.is_cut = True
            self.test.interrupt(self.how)
        return not self.is_cut

    def run(self, answers: list[Answer]) -> None:
        for number, answer in enumerate(answers):
            self.respond(f"r{number}", answer)
            self.is_cut = False
            self.step(answer.pause)
            self.is_cut = False

    def respond(self, response_id: str, answer: Answer) -> None:
        talk = self.test.talk
        talk.response_started(response_id)
        for number, item in enumerate(answer.items):
            if not self.speak(response_id, f"{response_id}i{number}", item):
                break
        goes_on = self.step(answer.gap)
        talk.response_done(response_id, "completed" if goes_on else "cancelled", "", {})

    def speak(self, response_id: str, item_id: str, item: Spoken) -> bool:
        talk = self.test.talk
        if not self.step(item.gap):
            return False
        if item.texts:
            self.sent.setdefault(item_id, 0)
            talk.agent_said(item_id, "some words", False)
        for ms in item.pieces:
            if not self.step(item.gap):
                return False
            self.sent[item_id] = self.sent.get(item_id, 0) + ms
            talk.agent_audio(response_id, item_id, 0, b"\x10" * (ms * 8))
        if item.is_closed:
            talk.agent_audio_done(item_id)
        if item.texts > 1:
            talk.agent_said(item_id, "some words", True)
        return self.step(0.0)


class SpokenCall(ConversationTestCase):
    def interrupt(self, how: str) -> None:
        if how == "speech":
            self.talk.speech_started("u")
        elif how == "key":
            self.call.digit_pressed("1")
        else:
            self.call.say("We close now.")

    def told(self) -> list[TurnFacts]:
        return [
            event.payload.turn
            for event in self.events
            if isinstance(event.payload, TurnCompleted)
            and event.payload.turn.speaker == "agent"
        ]

    def hold(self, sent: dict[str, int]) -> None:
        """Everything that was said is reported before the call is over."""
        self.run_for(sum(sent.values()) / 1000 + TOLD_WITHIN)
        told = self.told()
        self.assertEqual(len(told), len(sent), sent)
        numbers = [turn.number for turn in told]
        self.assertEqual(numbers, sorted(set(numbers)))
        # The agent speaks its items in order, so turns and items match one by one.
        for turn, ms in zip(told, sent.values(), strict=True):
            assert turn.heard is not None and turn.ended is not None
            self.assertLessEqual(turn.started, turn.ended)
            assert turn.heard.heard_ms is not None, turn
            assert turn.heard.spoken_ms is not None, turn
            self.assertLessEqual(0, turn.heard.heard_ms)
            self.assertLessEqual(turn.heard.heard_ms, turn.heard.spoken_ms)
            self.assertLessEqual(turn.heard.spoken_ms, ms)
            if not turn.heard.interrupted:
                self.assertEqual(turn.heard.heard_ms, turn.heard.spoken_ms)
        self.call.leg_ended(GONE)
        self.assertEqual(self.told(), told)
        of_agent = [turn for turn in self.transcript() if turn.speaker == "agent"]
        self.assertEqual(of_agent, told)


class TurnsTests(SynchronousTestCase):
    @settings(max_examples=60)
    @example(
        answers=[Answer([Spoken(2, [200], True, 0.02)], 1.3, 0.3)],
        interrupt_at=5,
        how="speech",
        buffers=True,
    )
    @example(
        # The end of the first item is reported long after the second item.
        answers=[
            Answer(
                [Spoken(2, [200], False, 0.0), Spoken(2, [200], True, 0.0)], 9.0, 0.0
            )
        ],
        interrupt_at=0,
        how="speech",
        buffers=True,
    )
    @example(
        # The last item has only text, and is over while the others are still heard.
        answers=[
            Answer(
                [
                    Spoken(2, [1000] * 3, True, 0.0),
                    Spoken(2, [1000] * 3, True, 0.0),
                    Spoken(1, [], False, 0.0),
                ],
                0.0,
                0.0,
            )
        ],
        interrupt_at=0,
        how="speech",
        buffers=True,
    )
    @given(
        answers=ANSWERS,
        interrupt_at=st.integers(0, 30),
        how=st.sampled_from(["speech", "key", "say"]),
        buffers=st.booleans(),
    )
    def test_every_turn_of_the_agent_is_reported_once_in_order_with_what_was_heard(
        self, answers: list[Answer], interrupt_at: int, how: str, buffers: bool
    ) -> None:
        call = SpokenCall()
        call.buffers = buffers
        call.setUp()
        service = Service(call, interrupt_at, how)
        service.run(answers)
        call.hold(service.sent)
