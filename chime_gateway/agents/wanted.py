"""
What the agent is still to say, in the order in which it will be asked for, and what it
was asked for.

When that is done, and what becomes of it, is not known here.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import Factory, define, field

from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime.commands import Command

#: The agent speaks to what it knows, without orders for this once.
PLAIN_RESPONSE: Final = realtime_commands.create_response()

_MOST_TIMES_SECOND: Final = 10


class Sort(Enum):
    """What is lost if it is not said, and who else may say it."""

    #: An answer to all that the agent knows; the next one answers to the same.
    ANSWER = "answer"
    #: These words: nobody else says them.
    WORDS = "words"
    #: Something to bridge a pause with: now, or it has no use.
    ASIDE = "aside"
    #: Goodbye: nothing comes after it, and nothing stops it.
    LAST_WORDS = "last words"


@define(eq=False)
class Wanted:
    """
    One thing to be spoken once.

    @ivar number: in the order in which things were wanted.
    @ivar is_again: it came to nothing once.
    @ivar was_silence: that was an answer that was whole and had nothing in it.
    @ivar times_second: how often another response was first.
    @ivar not_before: when it may be asked for; seconds, monotonic.
    @ivar is_dropped: it was asked for, and is not wanted any more.
    """

    number: int
    sort: Sort
    command: Command = field(repr=False)
    is_again: bool = False
    was_silence: bool = False
    times_second: int = 0
    not_before: float = 0.0
    is_dropped: bool = False

    @property
    def name(self) -> str:
        """By which the service tells that it is this one."""
        return f"wanted_{self.number}"

    @property
    def is_last(self) -> bool:
        return self.sort is Sort.LAST_WORDS

    @property
    def is_hopeless(self) -> bool:
        """Who is always second is not asked for any more."""
        return self.times_second > _MOST_TIMES_SECOND

    @property
    def is_moot(self) -> bool:
        """If it comes to nothing, nothing is lost."""
        return self.is_dropped or self.sort is Sort.ASIDE

    def stand_for(self, other: Wanted) -> None:
        """One answer for both: what came to nothing for one only did so for none."""
        self.is_again &= other.is_again
        self.was_silence &= other.was_silence


@define(eq=False)
class Response:
    """
    One that is being made.

    @ivar wanted: what it was asked for as; C{None}: the VAD asked for it.
    @ivar knows_until: it answers to all that was wanted until then.
    @ivar has_begun: there is audio of it, which was not cut before it was heard.
    @ivar has_called: it called a tool.
    @ivar has_text: it is written instead of spoken.
    @ivar is_unheard: it must not be: its audio is dropped.
    @ivar is_put_off: what was said instead does not answer to what it would have.
    @ivar dropped: (item id, content index) of what was dropped of it.
    """

    wanted: Wanted | None
    knows_until: int = 0
    has_begun: bool = False
    has_called: bool = False
    has_text: bool = False
    is_unheard: bool = False
    is_put_off: bool = False
    is_cancelled: bool = False
    dropped: dict[tuple[str, int], None] = Factory(dict)

    def knows(self, wanted: Wanted) -> bool:
        """It answers to this, too."""
        return wanted.sort is Sort.ANSWER and wanted.number <= self.knows_until

    def became(self, status: str) -> str:
        """
        @param status: as the service tells it.
        @return: also C{empty}: whole, with nothing to hear; and C{silent}: the answer
            was silence before, and is again.
        """
        if self.is_cancelled:
            return "cancelled"  # in time or not: nobody hears the rest
        if (
            status != "completed"
            or self.has_begun
            or self.has_called
            or self.is_unheard
        ):
            return status
        was_silence = self.wanted is not None and self.wanted.was_silence
        return "silent" if was_silence and not self.has_text else "empty"

    def is_silence(self, status: str) -> bool:
        """
        An answer with nothing in it, for the first time.

        @param status: as the service tells it.
        """
        is_answer = self.wanted is None or self.wanted.sort is Sort.ANSWER
        return is_answer and not self.has_text and self.became(status) == "empty"


#: A response may come late that we asked for, or wait behind others to be heard.
_REMEMBERED: Final = 32


class Begun:
    """Responses by what begins them: (item id, content index) of their first audio."""

    def __init__(self) -> None:
        self._responses: dict[tuple[str, int], Response] = {}

    def add(self, part: tuple[str, int], response: Response) -> None:
        self._responses[part] = response
        if len(self._responses) > _REMEMBERED:
            del self._responses[next(iter(self._responses))]

    def take(self, part: tuple[str, int]) -> Response | None:
        """The one that begins with this."""
        return self._responses.pop(part, None)


class AskedFor:
    """
    What was asked for, and how it is told from what the VAD asks for by itself.

    A service that repeats names tells; of another one it is guessed, and an error tells
    that the guess was wrong.

    @ivar out: neither made nor refused.
    @ivar repeats_names: the service has done so.
    """

    def __init__(self) -> None:
        self.out: Wanted | None = None
        self.repeats_names = False
        self._guessed: Wanted | None = None
        self._by_name: dict[str, Wanted] = {}

    def ask(self, wanted: Wanted) -> None:
        self._guessed = None
        self.out = self._by_name[wanted.name] = wanted
        if len(self._by_name) > _REMEMBERED:
            del self._by_name[next(iter(self._by_name))]

    def made(self, name: str) -> Wanted | None:
        """
        A response begins.

        @param name: empty: the service tells none.
        @return: what it was asked for as; C{None}: the VAD asked for it.
        """
        if name:
            self.repeats_names = True
            # It may come late, or another may have been taken for it.
            wanted = self._by_name.get(name)
        elif self.repeats_names:
            return None
        else:
            wanted = self._guessed = self.out or self._guessed
            if self.out is None:
                return None
        if wanted is self.out:
            self.out = None
        return wanted

    def refused(self, name: str | None) -> Wanted | None:
        """@param name: C{None}: it is not said of what."""
        out = self.out
        if out is None or name not in (None, out.name):
            return None
        self.out = None
        return out

    def mistaken(self, name: str | None) -> Wanted | None:
        """The response that was taken for this one is another."""
        guessed = self._guessed
        if guessed is None or self.repeats_names or name not in (None, guessed.name):
            return None
        self._guessed = None
        return guessed


class WantedQueue:
    """
    Words come before an answer, as somebody chose them; there is one answer.

    @ivar count: of all that was ever wanted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._wanted: list[Wanted] = []

    def __len__(self) -> int:
        return len(self._wanted)

    def new(self, sort: Sort, command: Command) -> Wanted:
        """It is not in the queue yet."""
        self.count += 1
        return Wanted(self.count, sort, command)

    def add(self, wanted: Wanted) -> None:
        """Behind all others of its sort."""
        if wanted.sort is Sort.ANSWER:
            # Whichever comes first knows all that the other one would.
            self.drop_answer()
            self._wanted.append(wanted)
            return
        index = sum(other.sort is not Sort.ANSWER for other in self._wanted)
        self._wanted.insert(index, wanted)

    def add_answer(self) -> None:
        self.add(self.new(Sort.ANSWER, PLAIN_RESPONSE))

    def put_back(self, wanted: Wanted, not_before: float = 0.0) -> None:
        """
        It was asked for and came to nothing; it keeps its place among words.

        @param not_before: when it may be asked for again.
        """
        wanted.not_before = not_before
        if wanted.sort is not Sort.ANSWER:
            index = sum(
                other.sort is not Sort.ANSWER and other.number < wanted.number
                for other in self._wanted
            )
            self._wanted.insert(index, wanted)
        elif (other := self._answer()) is not None:
            other.stand_for(wanted)
        else:
            self._wanted.append(wanted)

    def _answer(self) -> Wanted | None:
        answers = (wanted for wanted in self._wanted if wanted.sort is Sort.ANSWER)
        return next(answers, None)

    def take_due(self, now: float) -> Wanted | None:
        """The first one that may be asked for now."""
        for wanted in self._wanted:
            if wanted.not_before <= now:
                self._wanted.remove(wanted)
                return wanted
        return None

    def discard(self, wanted: Wanted) -> None:
        """It is being made after all."""
        if wanted in self._wanted:
            self._wanted.remove(wanted)

    def next_at(self) -> float | None:
        """When the next one may be asked for."""
        return min((wanted.not_before for wanted in self._wanted), default=None)

    def hurry(self) -> None:
        """What only has to wait its turn has it now."""
        for wanted in self._wanted:
            if not wanted.is_again:
                wanted.not_before = 0.0

    def drop_answer(self, until: int | None = None, by: Wanted | None = None) -> None:
        """
        Somebody else gives it.

        @param until: only one that was wanted by then, as L{count} was.
        @param by: what the answer that is given was asked for as.
        """
        answer = self._answer()
        if answer is None or (until is not None and answer.number > until):
            return
        self._wanted.remove(answer)
        if by is not None:
            by.stand_for(answer)

    def clear(self) -> None:
        self._wanted.clear()
