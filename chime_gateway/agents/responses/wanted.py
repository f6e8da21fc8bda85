"""The queue of what the agent is still to say, and what each response was asked for."""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import define, field

from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime.commands import Command

#: The agent speaks to what it knows, without orders for this once.
PLAIN_RESPONSE: Final = realtime_commands.create_response()

#: So often a thing is asked for in one session.
MOST_FAILURES: Final = 3

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
    @ivar failures: how often it failed.
    @ivar silences: how often of these there was an answer, with nothing in it.
    @ivar times_second: how often another response was first.
    @ivar not_before: when it may be asked for; seconds, monotonic.
    @ivar is_dropped: it was asked for, and is not wanted any more.
    """

    number: int
    sort: Sort
    command: Command = field(repr=False)
    failures: int = 0
    silences: int = 0
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
        """If it fails, nothing is lost."""
        return self.is_dropped or self.sort is Sort.ASIDE

    @property
    def was_only_silence(self) -> bool:
        """Whenever it was asked for; it will not be asked for again."""
        return self.silences == self.failures == MOST_FAILURES - 1

    def failed(self, *, is_silence: bool) -> None:
        """It failed once more."""
        self.failures += 1
        self.silences += is_silence

    def stand_for(self, other: Wanted) -> None:
        """One answer for both: what came to nothing for one only did so for none."""
        self.failures, self.silences = min(
            (self.failures, self.silences), (other.failures, other.silences)
        )


#: A response may come late that we asked for.
_REMEMBERED: Final = 32


class AskedFor:
    """
    What was asked for, and how it is told from what the VAD asks for by itself.

    A service that repeats names tells; of another one it is guessed, and an error tells
    that the guess was wrong.

    @ivar out: neither made nor refused.
    @ivar doubted_until: an error may have been about C{out}; 0: none was.
    @ivar gives_names: the service takes them.
    @ivar repeats_names: the service has done so.
    """

    __slots__ = (
        *("_by_name", "_doubted", "_guessed"),
        *("doubted_until", "gives_names", "out", "repeats_names"),
    )

    def __init__(self) -> None:
        self.out: Wanted | None = None
        self.doubted_until = 0.0
        self._doubted: Wanted | None = None
        self.gives_names = True
        self.repeats_names = False
        self._guessed: Wanted | None = None
        self._by_name: dict[str, Wanted] = {}

    def ask(self, wanted: Wanted) -> Command:
        """@return: how it is asked for."""
        self._guessed = None
        self.out = self._by_name[wanted.name] = wanted
        if len(self._by_name) > _REMEMBERED:
            del self._by_name[next(iter(self._by_name))]
        if not self.gives_names:
            return wanted.command
        return realtime_commands.named(wanted.command, wanted.name)

    def doubt(self, until: float) -> None:
        """
        Something was second, and it is not said what.

        @param until: it was what is out, if that has not begun by then.
        """
        self._doubted, self.doubted_until = self.out, until

    def take_doubted(self, now: float) -> Wanted | None:
        """What was second, as far as it is known by now; it will not be made."""
        if self.out is None or self.out is not self._doubted:
            self.doubted_until = 0.0
        elif now >= self.doubted_until:
            self.out = None
            return self._doubted
        return None

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

    __slots__ = ("_wanted", "count")

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
            if not wanted.failures:
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
