from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.memory import Memory
from chime_gateway.call.conversation.transcript import Transcript
from chime_gateway.speaking_rate import SpeakingRate

#: Words of several scripts; in scripts without spaces, characters count as words.
LATIN = ("we", "have", "your", "table", "tomorrow", "tonight.", "for", "Friday,")
CYRILLIC = ("мы", "вас", "ждём", "завтра", "столик", "вечером,", "хорошо", "да")
JAPANESE = ("ご", "予", "約", "を", "お", "取", "り", "し", "す", "。")
KOREAN = ("내일", "저녁", "예약을", "확인해", "드리겠습니다", "네", "고객님")
DIGITS = ("4711", "08154", "2365", "90210")
SCRIPTS = {
    # words, separator, seconds per character
    "latin": (LATIN, " ", 0.0667),
    "cyrillic": (CYRILLIC, " ", 0.07),
    "digits": ((*LATIN[:3], *DIGITS), " ", 0.0667),
    "japanese": (JAPANESE, "", 0.15),
    "korean": (KOREAN, " ", 0.17),
}
DIGIT_SECONDS = 0.35

#: Characters with two or three syllables, which take longer than others.
KANJI = "予約取"
KANJI_SECONDS = 0.225

#: The pause between two words, in any script: no longer than a letter.
SPACE_SECONDS = 0.0667

#: Words that may be reported as heard although they were not.
MOST_WORDS = 2


class Speech:
    """What an agent says, and when each word ends."""

    def __init__(self, script: str, picked: list[int], speed: float) -> None:
        words, self.joint, char_seconds = SCRIPTS[script]
        self.words = [words[n % len(words)] for n in picked]
        self.text = self.joint.join(self.words)
        self.ends: list[float] = []
        at = 0.0
        for word in self.words:
            seconds = sum(
                DIGIT_SECONDS
                if x.isdigit()
                else 0.2
                if x == ","
                else 0.3
                if x in ".。"
                else KANJI_SECONDS
                if x in KANJI
                else char_seconds
                for x in word
            )
            at += (seconds + SPACE_SECONDS * len(self.joint)) * 1000 / speed
            self.ends.append(at)

    @property
    def ms(self) -> int:
        return round(self.ends[-1])

    def heard(self, ms: float) -> int:
        return sum(end <= ms + 1 for end in self.ends)

    def count(self, text: str) -> int:
        assert self.text.startswith(text), (text, self.text)
        return len(text.split(" ")) if text and self.joint else len(text)


class Two:
    """The users of the estimate: the memory for the next session, the transcript."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.transcript = Transcript()

    def begin(self, item_id: str, text: str) -> None:
        self.memory.agent_said(item_id, text, False)
        self.transcript.agent_said(item_id, text, False, 0.0)
        self.memory.agent_began(item_id)
        self.transcript.agent_began(item_id, 0.0)

    def all_text(self, item_id: str, text: str) -> None:
        self.memory.agent_said(item_id, text, True)
        self.transcript.agent_said(item_id, text, True, 0.0)

    def sound_done(self, item_id: str) -> None:
        self.memory.agent_audio_done(item_id)
        self.transcript.agent_audio_done(item_id, is_whole=True)

    def heard(self, item_id: str, heard: int, spoken: int, is_cut: bool) -> None:
        self.memory.heard(item_id, heard, spoken, is_cut)
        self.transcript.agent_heard(item_id, heard, spoken, is_cut, 1.0)
        self.transcript.settle(1.0)

    def said_before(self, speech: Speech) -> None:
        self.begin("before", speech.text)
        self.all_text("before", speech.text)
        self.sound_done("before")
        self.heard("before", speech.ms, speech.ms, False)

    def fell_short(self, item_id: str, came: int) -> None:
        self.memory.agent_fell_short(item_id, came)
        self.transcript.agent_audio_done(item_id, is_whole=False)

    def broke_off(self, item_id: str, came: int) -> None:
        self.memory.broke_off(item_id, came)
        self.transcript.agent_audio_done(item_id, is_whole=False)

    def texts(self, item_id: str) -> tuple[str, str]:
        turn = self.transcript.turns[-1]
        return self.memory.heard_text(item_id), turn.heard_text


picks = st.lists(st.integers(0, 9), min_size=12, max_size=60)


class HeardTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(
        script=st.sampled_from(sorted(SCRIPTS)),
        picked=picks,
        before=st.one_of(st.none(), picks),
        speed=st.floats(0.75, 1.3),
        text_share=st.floats(0.0, 1.0),
        came_share=st.floats(0.02, 0.98),
        heard_share=st.floats(0.0, 1.0),
        how=st.sampled_from(["lost", "cut", "cut late", "lost, cut", "cancelled"]),
        is_text_final=st.booleans(),
    )
    @example("latin", [*range(10)] * 4, None, 0.75, 1.0, 0.6, 1.0, "lost", True)
    @example("latin", [*range(10)] * 4, [*range(10)], 1, 1, 0.6, 0.5, "cut", True)
    @example("latin", [*range(10)] * 4, [*range(10)], 1, 1, 0.6, 1, "cut late", False)
    @example("latin", [*range(10)] * 4, [*range(10)], 1, 1, 0.6, 1, "cancelled", True)
    @example("digits", [2, 3, 4, 5, 6] * 4, [0] * 12, 1.0, 1.0, 0.5, 1.0, "lost", True)
    def test_no_text_is_reported_as_heard_that_was_not(
        self,
        script: str,
        picked: list[int],
        before: list[int] | None,
        speed: float,
        text_share: float,
        came_share: float,
        heard_share: float,
        how: str,
        is_text_final: bool,
    ) -> None:
        """However far the text is ahead of its audio, and however the item ends."""
        speech = Speech(script, picked, speed)
        two = Two()
        if before is not None:
            said = "latin" if script == "digits" else script
            two.said_before(Speech(said, before, speed))
        came = round(speech.ms * came_share)
        # The text is never behind its audio.
        chars = len(speech.text)
        known = len(speech.joint.join(speech.words[: speech.heard(came)]))
        known = max(known, round(chars * text_share))
        two.begin("i", speech.text[:known])
        if is_text_final:
            two.all_text("i", speech.text)
        heard = came
        if how == "cancelled":
            # The service reports the audio as done, but then the response as failed.
            two.sound_done("i")
            two.fell_short("i", came)
            two.heard("i", came, came, False)
        elif how == "lost":
            two.broke_off("i", came)
            two.heard("i", came, came, False)
        else:
            heard = round(came * heard_share)
            if how == "lost, cut":
                two.broke_off("i", came)
            two.heard("i", heard, came, True)
            if how == "cut late":
                two.sound_done("i")
        truth = speech.heard(heard)
        for told in two.texts("i"):
            count = speech.count(told)
            self.assertLessEqual(count, truth + MOST_WORDS * (1 if speech.joint else 3))
            if before is not None and script != "digits" and known == chars:
                # Nor is too little reported as heard.
                self.assertGreaterEqual(count, 0.65 * truth - 3 * MOST_WORDS)

    @settings(max_examples=40, deadline=None)
    @given(
        script=st.sampled_from(sorted(SCRIPTS)),
        picked=picks,
        speed=st.floats(0.5, 2.0),
        heard_share=st.floats(0.0, 1.0),
    )
    def test_of_complete_audio_the_heard_share_is_used(
        self, script: str, picked: list[int], speed: float, heard_share: float
    ) -> None:
        """At any speaking rate, also before it is known."""
        speech = Speech(script, picked, speed)
        two = Two()
        two.begin("i", speech.text)
        two.all_text("i", speech.text)
        two.sound_done("i")
        heard = round(speech.ms * heard_share)
        two.heard("i", heard, speech.ms, heard < speech.ms)
        for told in two.texts("i"):
            error = abs(speech.count(told) - speech.heard(heard))
            self.assertLessEqual(error, 3 if speech.joint else 6)


class SpeakingRateTests(SynchronousTestCase):
    def test_impossible_rates_are_limited(self) -> None:
        rate = SpeakingRate()
        rate.learn("so many words " * 100, 100)
        self.assertLess(rate.within(1000), 26)
        rate = SpeakingRate()
        rate.learn("Yes.", 60_000)
        self.assertGreater(rate.within(1000), 3)

    def test_numbers_do_not_change_the_rate(self) -> None:
        rate = SpeakingRate()
        before = rate.within(1000)
        rate.learn("Your number is 555 0123 4711.", 1000)
        self.assertEqual(rate.within(1000), before)

    def test_the_rate_follows_an_agent_that_becomes_slower(self) -> None:
        rate = SpeakingRate()
        for seconds in (4, 8):
            for _ in range(40):
                rate.learn("x" * 60, seconds * 1000)
        self.assertLess(rate.within(1000), 7.5)
