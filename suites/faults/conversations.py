"""
Conversations: what a caller asks, and which answers are right or wrong.

The service answers only from its session's items (docs/reference/simulator.md).  So a
right answer after a fault shows that the conversation was carried over, and a second
greeting or a repeated sentence shows that it was not.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from chime_gateway.sim.speech import Sentence
from suites.faults.talking import Said, Talking

#: The time limit for an answer.
ANSWER_SECONDS = 20.0

#: How often a caller repeats a question in one call.
MOST_EXCUSED = 8

#: After this time an interrupted agent must not begin another sentence.
STALE_SECONDS = 1.0

_PART = re.compile(r"Part ([0-9]+) of ([0-9]+)\.\Z")
_ANSWER = re.compile(r"Answer ([0-9]+): ")
_STORY = "Tell me a story"
_WRONG = ("I do not know", "Pardon?", "It said nothing")


@frozen
class Asked:
    """
    A question, with its answer.

    @ivar began: when the right answer began; C{None}: there was none in time.
    """

    said: Said
    expected: str
    began: float | None

    @property
    def is_story(self) -> bool:
        """Whether it asks for a story, whose answer takes a while."""
        return _PART.match(self.expected) is not None

    @property
    def seconds(self) -> float:
        """The time from the caller's last sound to the agent's first."""
        return (self.began or self.said.ends + ANSWER_SECONDS) - self.said.ends


@define
class Conversation:
    """
    The conversation of one call, with its checks.

    @ivar number: the caller's number, which is unique.
    @ivar interrupted: when the caller began to speak over the agent.
    @ivar gaps: times in ns during which the machine stalled; a question asked then may
        not be understood, and is repeated.
    @ivar excused: the number of questions that had no answer for this reason.
    """

    line: Talking
    number: int
    rng: random.Random
    gaps: list[tuple[int, int]]
    excused: int = 0
    asked: list[Asked] = field(factory=list)
    interrupted: list[float] = field(factory=list)
    count: int = 1

    async def begin(self) -> None:
        await self.line.place()
        await self.line.hears("How can I help you?", 0.0, ANSWER_SECONDS)
        text = f"My number is {self.number}."
        while await self._ask(text, "I have noted your number.") is None:
            pass

    def begin_anew(self) -> None:
        """Forget what was heard and asked up to now."""
        self.asked.clear()
        self.interrupted.clear()
        self.line.ear.segments.clear()

    async def ask(self) -> Asked:
        """Ask for the number that the caller gave."""
        asked = None
        while asked is None:
            self.count += 1
            n = self.count
            asked = await self._ask(
                f"Question {n}: what is my number?",
                f"Answer {n}: Your number is {self.number}.",
            )
        return asked

    async def story(self, parts: int, *, to_its_end: bool) -> Asked | None:
        """Ask for a story, and listen to its end or interrupt it."""
        self.count += 1
        last = parts if to_its_end else 2
        asked = await self._ask(
            f"{_STORY} of {parts} parts.",
            f"Part {last} of {parts}.",
            ANSWER_SECONDS + 1.5 * parts,
        )
        if not to_its_end:
            self.interrupted.append(time.monotonic())
            await self.ask()
        return asked

    async def _ask(
        self, text: str, expected: str, seconds: float = ANSWER_SECONDS
    ) -> Asked | None:
        """
        Ask a question.

        @return: C{None}: there was no answer because the machine stalled.
        """
        said = await self.line.say(text)
        heard = await self.line.hears(expected, said.begins, seconds)
        is_over = heard is None and self._is_excused(said.begins, time.monotonic())
        if is_over and self.line.is_open and self.excused < MOST_EXCUSED:
            self.excused += 1
            return None
        asked = Asked(said, expected, heard.at_seconds if heard else None)
        self.asked.append(asked)
        return asked

    def _is_excused(self, start: float, end: float) -> bool:
        return any(
            begins / 1e9 < end and start < ends / 1e9 for begins, ends in self.gaps
        )

    def _is_wrong(self, one: Sentence) -> bool:
        """Return whether a sentence is a wrong answer to an understandable question."""
        if not one.text.startswith(_WRONG) and "I do not know" not in one.text:
            return False
        before = [x.begins for x in self.line.said if x.begins < one.at_seconds]
        return not self._is_excused(max(before[-2:-1], default=0.0), one.at_seconds)

    async def go_on(self, until: float) -> None:
        """Ask random questions until a time; never interrupt an answer by accident."""
        while self.line.is_open and time.monotonic() < until:
            await self.line.silence(self.rng.uniform(0.3, 2.5), ANSWER_SECONDS)
            what = self.rng.random()
            if what < 0.6:
                await self.ask()
            else:
                await self.story(self.rng.randint(3, 6), to_its_end=what < 0.8)

    def faults(self) -> Counter[str]:
        """Count the faults: audio that was wrongly heard or missing."""
        found: Counter[str] = Counter()
        sentences = [one for one in self.line.ear.sentences() if one.is_whole]
        texts = Counter(one.text for one in sentences)
        found["no answer"] = sum(one.began is None for one in self.asked)
        found["greeted again"] = max(0, texts["Hello."] - 1)
        found["wrong"] = sum(map(self._is_wrong, sentences))
        found["heard again"] = sum(
            count - 1 for text, count in texts.items() if _ANSWER.match(text)
        )
        found["heard again"] += _parts_again(sentences, self.line.said)
        found["left out"] = self._left_out(sentences)
        found["stale"] = sum(self._is_stale(one) for one in sentences)
        found["ended"] = self.line.ended not in ("", "hung up")
        return +found

    def _left_out(self, sentences: list[Sentence]) -> int:
        """Count the missing parts of stories that were heard to their end."""
        missing = 0
        for asked in self.asked:
            end = _PART.match(asked.expected)
            began = asked.began
            if end is None or began is None or end[1] != end[2]:
                continue
            begins = asked.said.begins
            if any(begins < one.begins < began for one in self.line.said):
                continue  # the carrier had all of it, but the caller interrupted
            heard = {
                one.text for one in sentences if begins < one.at_seconds < began + 0.1
            }
            if not self._is_excused(begins, began):
                of = int(end[2])
                missing += sum(
                    f"Part {n} of {of}." not in heard for n in range(1, of + 1)
                )
        return missing

    def _is_stale(self, one: Sentence) -> bool:
        """Return whether it is part of an interrupted story and begins after that."""
        stories = [x.begins for x in self.line.said if x.text.startswith(_STORY)]
        return bool(_PART.match(one.text)) and any(
            at + STALE_SECONDS < one.at_seconds
            and not any(at < begins < one.at_seconds for begins in stories)
            for at in self.interrupted
        )


def _parts_again(sentences: list[Sentence], said: list[Said]) -> int:
    """
    Count parts that were heard twice in one story.

    The part during which the session was lost may be repeated once: the agent knows the
    heard words only to one or two, and this voice says whole sentences.
    """
    stories = [one.begins for one in said if one.text.startswith(_STORY)]
    heard = [
        (sum(begins < one.at_seconds for begins in stories), one.text)
        for one in sentences
        if _PART.match(one.text)
    ]
    heard = [
        one
        for one, next_one in zip(heard, [*heard, None][1:], strict=True)
        if one != next_one
    ]
    return sum(count - 1 for count in Counter(heard).values())


@frozen
class Event:
    """A line of a service's log."""

    at: float
    session: tuple[str, int]
    what: str
    members: dict[str, Any]


def events_of(*logs: Path) -> list[Event]:
    """Read the logs of the services, in order of time."""
    found = []
    for log in logs:
        for text in log.read_text().splitlines():
            line = json.loads(text)
            session = log.stem, line.pop("session")
            found.append(Event(line.pop("t"), session, line.pop("what"), line))
    return sorted(found, key=lambda one: one.at)


def open_sessions(events: list[Event]) -> int:
    counts = Counter(one.what for one in events)
    return counts["opened"] - counts["closed"]


def sessions_of(number: int, events: list[Event]) -> set[tuple[str, int]]:
    """Return the sessions of the call whose caller gave this number."""
    text = re.compile(rf"\b{number}\b")
    return {
        one.session
        for one in events
        if text.search(str(one.members.get("text", "")) + str(one.members.get("said")))
    }


async def together(conversations: list[Conversation], seconds: float) -> None:
    """Run all conversations at once, each starting at a random time."""
    until = time.monotonic() + seconds

    async def one(conversation: Conversation) -> None:
        await asyncio.sleep(conversation.rng.uniform(0.0, min(3.0, seconds / 4)))
        await conversation.begin()
        await conversation.go_on(until)

    await asyncio.gather(*map(one, conversations))
