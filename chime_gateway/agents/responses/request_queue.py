"""The queue of requests for responses, and the requests that were sent."""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import define, field

from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime.commands import Command

#: A response to what the agent knows, without instructions of its own.
PLAIN_RESPONSE: Final = realtime_commands.create_response()

#: Number of attempts at one request in one session.
MOST_FAILURES: Final = 3

_MOST_TIMES_BLOCKED: Final = 10


class Sort(Enum):
    """Sorts of requests, which differ in what may replace them."""

    #: An answer to everything that the agent knows; any later answer replaces it.
    ANSWER = "answer"
    #: Prescribed words: nothing replaces them.
    WORDS = "words"
    #: Words that fill a pause: useless later.
    ASIDE = "aside"
    #: Goodbye: nothing follows it, and nothing interrupts it.
    LAST_WORDS = "last words"


@define(eq=False)
class ResponseRequest:
    """
    A request for a response that has to be spoken once.

    @ivar number: in the order of requests.
    @ivar failures: how often it has failed.
    @ivar silences: how many of the failures were empty answers.
    @ivar times_blocked: how often another response was in progress.
    @ivar not_before: the earliest time to send it; seconds, monotonic.
    @ivar is_dropped: it was sent, and is not wanted any more.
    """

    number: int
    sort: Sort
    command: Command = field(repr=False)
    failures: int = 0
    silences: int = 0
    times_blocked: int = 0
    not_before: float = 0.0
    is_dropped: bool = False

    @property
    def name(self) -> str:
        """The name that the service repeats in the response."""
        return f"wanted_{self.number}"

    @property
    def is_last(self) -> bool:
        return self.sort is Sort.LAST_WORDS

    @property
    def is_hopeless(self) -> bool:
        """Whether it was blocked too often to be sent again."""
        return self.times_blocked > _MOST_TIMES_BLOCKED

    @property
    def is_moot(self) -> bool:
        """Whether nothing is lost if it fails."""
        return self.is_dropped or self.sort is Sort.ASIDE

    @property
    def was_only_silence(self) -> bool:
        """Whether all earlier attempts were empty, and this one is the last."""
        return self.silences == self.failures == MOST_FAILURES - 1

    def failed(self, *, is_silence: bool) -> None:
        """Count one more failure."""
        self.failures += 1
        self.silences += is_silence

    def stand_for(self, other: ResponseRequest) -> None:
        """Answer another request as well; only failures of both count."""
        self.failures, self.silences = min(
            (self.failures, self.silences), (other.failures, other.silences)
        )


#: Number of sent requests that are remembered: their responses may come late.
_REMEMBERED: Final = 32


class SentRequests:
    """
    The requests that were sent, told apart from those of the service's VAD.

    If the service repeats names, they identify the responses.  Otherwise this object
    guesses, and an error shows that the guess was wrong.

    @ivar out: the request that is neither answered nor refused.
    @ivar doubted_until: until when an error may have been about C{out}; 0: it was not.
    @ivar gives_names: the service accepts names.
    @ivar repeats_names: the service has repeated a name.
    """

    __slots__ = (
        *("_by_name", "_doubted", "_guessed"),
        *("doubted_until", "gives_names", "out", "repeats_names"),
    )

    def __init__(self) -> None:
        self.out: ResponseRequest | None = None
        self.doubted_until = 0.0
        self._doubted: ResponseRequest | None = None
        self.gives_names = True
        self.repeats_names = False
        self._guessed: ResponseRequest | None = None
        self._by_name: dict[str, ResponseRequest] = {}

    def ask(self, request: ResponseRequest) -> Command:
        """Return the command that sends this request."""
        self._guessed = None
        self.out = self._by_name[request.name] = request
        if len(self._by_name) > _REMEMBERED:
            del self._by_name[next(iter(self._by_name))]
        if not self.gives_names:
            return request.command
        return realtime_commands.named(request.command, request.name)

    def doubt(self, until: float) -> None:
        """
        Some request was blocked; the service does not say which.

        @param until: if the response to C{out} has not begun by then, it was C{out}.
        """
        self._doubted, self.doubted_until = self.out, until

    def take_doubted(self, now: float) -> ResponseRequest | None:
        """Remove and return C{out} if it turns out that it was blocked."""
        if self.out is None or self.out is not self._doubted:
            self.doubted_until = 0.0
        elif now >= self.doubted_until:
            self.out = None
            return self._doubted
        return None

    def made(self, name: str) -> ResponseRequest | None:
        """
        A response begins.

        @param name: empty: the service repeats none.
        @return: the request for it; C{None}: the VAD requested it.
        """
        if name:
            self.repeats_names = True
            # It may be late, or another response may have been taken for it.
            request = self._by_name.get(name)
        elif self.repeats_names:
            return None
        else:
            request = self._guessed = self.out or self._guessed
            if self.out is None:
                return None
        if request is self.out:
            self.out = None
        return request

    def refused(self, name: str | None) -> ResponseRequest | None:
        """
        A request was refused.

        @param name: C{None}: the service does not say which.
        """
        out = self.out
        if out is None or name not in (None, out.name):
            return None
        self.out = None
        return out

    def mistaken(self, name: str | None) -> ResponseRequest | None:
        """Return the request whose response was guessed wrongly, if any."""
        guessed = self._guessed
        if guessed is None or self.repeats_names or name not in (None, guessed.name):
            return None
        self._guessed = None
        return guessed


class RequestQueue:
    """
    The waiting requests.  Prescribed words come before an answer; there is only one
    request for an answer.

    @ivar count: number of all requests so far.
    """

    __slots__ = ("_requests", "count")

    def __init__(self) -> None:
        self.count = 0
        self._requests: list[ResponseRequest] = []

    def __len__(self) -> int:
        return len(self._requests)

    def new(self, sort: Sort, command: Command) -> ResponseRequest:
        """Make a request, which is not in the queue yet."""
        self.count += 1
        return ResponseRequest(self.count, sort, command)

    def add(self, request: ResponseRequest) -> None:
        """Add a request behind all others of its sort."""
        if request.sort is Sort.ANSWER:
            # One answer covers both.
            self.drop_answer()
            self._requests.append(request)
            return
        index = sum(other.sort is not Sort.ANSWER for other in self._requests)
        self._requests.insert(index, request)

    def add_answer(self) -> None:
        self.add(self.new(Sort.ANSWER, PLAIN_RESPONSE))

    def put_back(self, request: ResponseRequest, not_before: float = 0.0) -> None:
        """
        Add a failed request again; it keeps its place among words.

        @param not_before: the earliest time to send it again.
        """
        request.not_before = not_before
        if request.sort is not Sort.ANSWER:
            index = sum(
                other.sort is not Sort.ANSWER and other.number < request.number
                for other in self._requests
            )
            self._requests.insert(index, request)
        elif (other := self._answer()) is not None:
            other.stand_for(request)
        else:
            self._requests.append(request)

    def _answer(self) -> ResponseRequest | None:
        answers = (request for request in self._requests if request.sort is Sort.ANSWER)
        return next(answers, None)

    def take_due(self, now: float) -> ResponseRequest | None:
        """Remove and return the first request that may be sent now."""
        for request in self._requests:
            if request.not_before <= now:
                self._requests.remove(request)
                return request
        return None

    def discard(self, request: ResponseRequest) -> None:
        """Remove a request: its response has begun after all."""
        if request in self._requests:
            self._requests.remove(request)

    def next_at(self) -> float | None:
        """Return when the next request may be sent."""
        return min((request.not_before for request in self._requests), default=None)

    def hurry(self) -> None:
        """Let requests that were only blocked be sent at once."""
        for request in self._requests:
            if not request.failures:
                request.not_before = 0.0

    def drop_answer(
        self, until: int | None = None, by: ResponseRequest | None = None
    ) -> None:
        """
        Drop the request for an answer: another response gives it.

        @param until: only if its number is not greater than this.
        @param by: the request of the response that gives the answer.
        """
        answer = self._answer()
        if answer is None or (until is not None and answer.number > until):
            return
        self._requests.remove(answer)
        if by is not None:
            by.stand_for(answer)

    def clear(self) -> None:
        self._requests.clear()
