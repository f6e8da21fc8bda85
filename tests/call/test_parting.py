"""Every call ends with one goodbye, or after the time for it, and then hangs up."""

from __future__ import annotations

from typing import Any

from attrs import define
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PTIME_MS
from chime_gateway.errors import GatewayError, TransferFailed
from chime_gateway.outcomes import Ending, Outcome
from tests.support.conversation import GONE, ConversationTestCase

#: Different sounds for the goodbye and for everything else.
BYE, OTHER = b"\x42" * 1600, b"\x21" * 1600

STOPPING = Ending(Outcome.DRAINED, "the gateway is being stopped")

#: goodbye_seconds of the test, half a second until the next check, and a margin for
#: audio that is still to be heard.
ENDS_WITHIN = 4.0 + 0.5 + 2.0 + 0.1

#: What may happen while a call is parting.  "bye" and "other" are responses.
HAPPENINGS = st.sampled_from(
    [
        *("bye", "bye sounds", "bye sounds", "bye completed", "bye cancelled"),
        *("bye failed", "bye incomplete"),
        *("other", "other sounds", "other completed", "other cancelled"),
        *("other hangs up", "other transfers"),
        *("key", "speech", "silence", "tool", "say", "instruct", "part", "digits"),
        *("transfer", "transferred", "not transferred"),
    ]
)
GAPS = st.sampled_from([0.0, 0.02, 0.3, 0.6, 1.0])
SCHEDULES = st.lists(st.tuples(GAPS, HAPPENINGS), max_size=14)


@define
class PartingCall(ConversationTestCase):
    """
    A call that is parting, and a service that the test controls.

    @ivar said: bytes of the goodbye so far; C{whole}: bytes of a complete goodbye.
    """

    count: int = 0
    bye: str = ""
    other: str = ""
    said: int = 0
    whole: int | None = None
    is_handed_on: bool = False

    def begin(self, before: list[str]) -> None:
        self.setUp()
        for happening in before:
            self.happen(happening)
        self.queued = self.call.queued_seconds()
        self.call.part(STOPPING)
        self.began = self.clock.seconds()
        self.played = len(self.leg.played)

    @property
    def is_over(self) -> bool:
        return bool(self.measures.records)

    def happen(self, happening: str) -> None:
        who, _, what = happening.partition(" ")
        self.count += 1
        if who == "bye":
            self.bye_does(what)
        elif who == "other" and not self.is_deaf:
            self.other_does(what)
        else:
            self.somebody_does(happening)

    @property
    def is_deaf(self) -> bool:
        """Return whether the session was closed, so that it reports nothing more."""
        return ("agent.close",) in self.log

    def bye_does(self, what: str) -> None:
        asked = [name for name, *_ in self.log].count("agent.last_words")
        if self.is_deaf or not asked:
            return
        if not what and not self.bye:
            self.bye, self.said = f"bye{self.count}", 0
            self.talk.last_words_start(self.bye)
            self.talk.response_started(self.bye)
        elif what == "sounds" and self.bye:
            self.said += len(BYE)
            self.talk.agent_audio(self.bye, f"of {self.bye}", 0, BYE)
        elif self.bye:
            bye, self.bye = self.bye, ""
            if self.said and what in ("completed", "incomplete"):
                self.whole = self.said
            self.talk.response_done(bye, what, "", {})

    def other_does(self, what: str) -> None:
        if not what:
            self.other = f"other{self.count}"
            self.talk.response_started(self.other)
        elif what == "sounds":
            self.talk.agent_audio(self.other, f"of {self.other}", 0, OTHER)
        elif what == "hangs up":
            self.talk.tool_called(self.other, f"c{self.count}", "end_call", "{}")
        elif what == "transfers":
            arguments = '{"target":"office"}'
            self.talk.tool_called(
                self.other, f"c{self.count}", "transfer_call", arguments
            )
        elif self.other:
            other, self.other = self.other, ""
            self.talk.response_done(other, what, "", {})

    def somebody_does(self, happening: str) -> None:
        if self.is_over:
            return
        if happening == "key":
            self.call.digit_pressed("1")
        elif happening == "speech" and not self.is_deaf:
            self.talk.speech_started(f"u{self.count}")
        elif happening == "silence" and not self.is_deaf:
            self.talk.speech_stopped(f"u{self.count}")
        elif happening == "tool":
            for asked in self.tools.asked.values():
                if not asked.called:
                    asked.callback('{"state":"sent"}')
        elif happening == "say":
            self.call.say("More.")
        elif happening == "instruct":
            self.call.instruct("More.", True)
        elif happening == "part":
            self.call.part(GONE)
        elif happening == "digits":
            self.call.send_digits("1")
        elif happening == "transfer":
            self.call.transfer("+15557777").addErrback(lambda f: f.trap(GatewayError))
        elif happening.endswith("transferred"):
            self.carrier_says(happening == "transferred")

    def carrier_says(self, is_good: bool) -> None:
        transferring: Any = getattr(self.leg, "transferring", None)
        if transferring is None or transferring.called:
            return
        if is_good:
            self.is_handed_on = True
            transferring.callback(None)
        else:
            transferring.errback(TransferFailed("busy"))

    def hold(self) -> None:
        sound = self.leg.played[self.played :]
        self.assertNotIn(OTHER[:160], sound)
        # Only what was being said when the call began to end is cut.
        if self.whole is not None:
            self.assertTrue(sound.endswith(BYE[:1] * self.whole), sound[-1600:])


class PartingTests(SynchronousTestCase):
    @settings(max_examples=100)
    @example(
        buffers=True,
        before=[],
        schedule=[
            (0.0, "other"),
            (0.0, "other sounds"),
            (0.0, "other completed"),
            (0.3, "bye"),
            (0.0, "bye sounds"),
            (0.0, "bye completed"),
        ],
    )
    @example(
        buffers=False,
        before=[],
        schedule=[
            (0.0, "bye"),
            (0.0, "bye sounds"),
            (0.02, "key"),
            (0.0, "bye completed"),
            (0.02, "key"),
        ],
    )
    @example(
        # The carrier reports a failed transfer after all other time is over.
        buffers=True,
        before=["transfer"],
        schedule=[(0.6, "bye"), *[(1.0, "bye")] * 6],
    )
    @given(
        buffers=st.booleans(),
        before=st.lists(HAPPENINGS, max_size=4),
        schedule=SCHEDULES,
    )
    def test_a_whole_goodbye_is_heard_or_times_out_before_the_call_ends(
        self, buffers: bool, before: list[str], schedule: list[tuple[float, str]]
    ) -> None:
        call = PartingCall()
        call.buffers = buffers
        call.begin(before)
        for gap, happening in schedule:
            call.run_for(gap)
            if not call.is_over:
                call.happen(happening)
        # At some point the carrier reports the result of the transfer.
        call.run_for(2.0)
        call.carrier_says(False)
        spent = call.clock.seconds() - call.began
        # The carrier's report is processed on the next beat.
        left = ENDS_WITHIN + call.said / 8000 + 2.0 - spent
        call.run_for(max(PTIME_MS / 1000, left))
        self.assertTrue(call.is_over)
        if not call.is_handed_on:
            call.hold()
            self.assertEqual(len(call.called("leg.hang_up")), 1)
