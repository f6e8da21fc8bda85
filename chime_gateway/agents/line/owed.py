"""
Tracks what the agent owes the caller: words that it was asked to say, an answer, or the
rest of an answer.

It knows what has to be asked for again when a session ends, and when what is owed
becomes overdue.  Times are arguments, in seconds, monotonic.
"""

from __future__ import annotations

from math import inf
from typing import Final

from attrs import Factory, define, field, frozen

#: The events of a response in progress usually follow each other within this time.
_QUIET_SECONDS: Final = 0.5


@frozen(kw_only=True)
class Patience:
    """
    How long a session may be silent while it owes something, in seconds.

    @ivar response: until a response begins.
    @ivar first_audio: from then until its first audio, without any event.
    @ivar audio_gap: until the next audio of an item that is not done.
    """

    response: float
    first_audio: float
    audio_gap: float


@define(eq=False)
class Words:
    """
    Something that the agent has to say once.

    @ivar instructions: those that ask the agent to say it.
    @ivar is_last: nothing is said after it.
    @ivar has_begun: part of it was heard, in a session that is over.
    """

    instructions: str = field(repr=False)
    is_last: bool
    has_begun: bool = False


@define(eq=False)
class PendingResponse:
    """
    A response in progress.

    @ivar words: the words that it says; C{None}: it is an answer.
    @ivar knows: the number of answers that had been asked for when it began.
    @ivar has_audio: audio of it has arrived.
    @ivar has_called: it has called a tool.
    @ivar spoken: unfinished item -> bytes of its audio that have arrived.
    @ivar last: the item whose audio was completed last, and its bytes.
    @ivar is_cut: the rest of it must not be heard.
    """

    words: Words | None
    knows: int
    has_audio: bool = False
    has_called: bool = False
    spoken: dict[str, int] = Factory(dict)
    last: tuple[str, int] = ("", 0)
    is_cut: bool = False


class Owed:
    """
    What the agent of one call owes.

    @param is_interruptible: the agent is silent while the caller speaks.
    @ivar making: the responses in progress.
    @ivar words: the words that were asked for and not said yet, in order.
    @ivar goes_on: an answer was heard in part, and its session is over.
    @ivar may_go_on: everything that arrived of an answer was heard and its session is
        over, but it is unknown whether more was to come: more of the answer, or a tool
        call.
    @ivar is_caller_speaking: nothing is overdue while the caller speaks.
    @ivar event_at: time of the session's last event.
    @ivar since: the time from which a response is awaited, if something is owed.
    @ivar failing_since: since when the caller has waited for a response that has failed
        so far; C{None}: none has failed.
    """

    __slots__ = (
        *("event_at", "goes_on", "is_caller_speaking", "making", "may_go_on"),
        *("since", "failing_since", "words"),
        *("_answer", "_asked", "_is_interruptible", "_starting", "_tools"),
    )

    def __init__(self, *, is_interruptible: bool) -> None:
        self.making: dict[str, PendingResponse] = {}
        self.words: list[Words] = []
        self.goes_on = self.may_go_on = False
        self.is_caller_speaking = False
        self._is_interruptible = is_interruptible
        self._tools: set[str] = set()
        self._asked = 0
        self._answer: int | None = None
        self._starting: Words | None = None
        self.since = 0.0
        self.failing_since: float | None = None
        self.event_at = 0.0

    @property
    def is_answer_due(self) -> bool:
        return self._answer is not None

    @property
    def is_anything_due(self) -> bool:
        is_unfinished = self.goes_on or self.may_go_on
        return bool(self.words) or is_unfinished or self._answer is not None

    @property
    def is_parting(self) -> bool:
        return any(words.is_last for words in self.words)

    # -- asked for -----------------------------------------------------------------

    def say(self, instructions: str, now: float, *, is_last: bool) -> None:
        if is_last:
            self.words.clear()
            self.settle()
        self._cut()
        self.words.append(Words(instructions, is_last))
        self.since = max(self.since, now)

    def expect(self, now: float) -> None:
        """An answer to everything that the agent knows now is owed."""
        if not self.is_parting:
            self._asked += 1
            self._answer = self._asked
            self.since = max(self.since, now)

    def cancel(self) -> None:
        """No answer is wanted any more."""
        self._cut()
        self.settle()

    def settle(self) -> None:
        """No answer is owed."""
        self.failing_since = None
        self._answer = None
        self.goes_on = self.may_go_on = False

    def _cut(self) -> None:
        for making in self.making.values():
            making.is_cut = True

    def delayed(self, now: float, until: float) -> None:
        """A failed response is not repeated before that time."""
        self.failing_since = self.waits_since(now)
        self.since = max(self.since, until)

    def waits_since(self, now: float) -> float:
        """Return since when the caller has waited for what is owed."""
        return min(
            now, self.since if self.failing_since is None else self.failing_since
        )

    # -- the caller ----------------------------------------------------------------

    def caller_began(self) -> None:
        self.is_caller_speaking = True
        if self._is_interruptible:
            self._cut()
            self.settle()

    def caller_stopped(self, now: float) -> None:
        self.is_caller_speaking = False
        self.expect(now)

    # -- the agent -----------------------------------------------------------------

    def active(self, now: float) -> None:
        """The session has sent an event."""
        self.event_at = now

    def words_start(self, *, is_last: bool) -> None:
        """The next response says words that were asked for."""
        begun = [making.words for making in self.making.values()]
        unsaid = (w for w in self.words if w.is_last is is_last and w not in begun)
        self._starting = next(unsaid, None)

    def response_started(self, response_id: str, now: float) -> None:
        words, self._starting = self._starting, None
        self.making[response_id] = PendingResponse(words, self._asked)
        self.event_at = now

    def audio_came(self, response_id: str, item_id: str, size: int, now: float) -> bool:
        """
        Called for every piece of audio.

        @return: whether it is the first of its item.
        """
        self.event_at = self.since = now
        making = self.making.get(response_id)
        if making is None:
            return False
        spoken = making.spoken
        if item_id in spoken:
            spoken[item_id] += size
            return False
        spoken[item_id] = size
        making.has_audio = True
        self.failing_since = None
        self._answer_given(making)
        return True

    def audio_done(self, item_id: str) -> None:
        for making in self.making.values():
            size = making.spoken.pop(item_id, None)
            if size is not None:
                making.last = item_id, size

    def tool_called(self, response_id: str, call_id: str) -> None:
        self._tools.add(call_id)
        making = self.making.get(response_id)
        if making is not None:
            making.has_called = True
            self._answer_given(making)

    def tool_result(self, call_id: str) -> None:
        """A tool has its result; an answer is asked for when all have theirs."""
        self._tools.discard(call_id)

    def _answer_given(self, making: PendingResponse) -> None:
        if making.words is None and self._answer == making.knows:
            self.settle()

    def response_done(self, response_id: str, status: str, now: float) -> None:
        making = self.making.pop(response_id, None)
        self.since = max(self.since, now)
        if making is None:
            return
        if making.words is None:
            if status in ("completed", "silent"):
                self._answer_given(making)
        elif making.has_audio and status != "failed" and making.words in self.words:
            self.words.remove(making.words)

    # -- a session is over -----------------------------------------------------------

    def session_over(self) -> dict[str, PendingResponse]:
        """
        Determine what is owed, as the responses in progress will not continue.

        @return: the responses that were in progress.
        """
        lost, self.making = self.making, {}
        self._starting = None
        for making in lost.values():
            if making.words is not None:
                self._words_lost(making, making.words)
            elif not self.is_parting:
                self._answer_lost(making)
        return lost

    def _words_lost(self, making: PendingResponse, words: Words) -> None:
        is_over = not making.spoken or (making.is_cut and not words.is_last)
        if making.has_audio and is_over and words in self.words:
            self.words.remove(words)
        words.has_begun |= making.has_audio

    def _answer_lost(self, making: PendingResponse) -> None:
        if making.has_called or (making.is_cut and self.is_caller_speaking):
            return
        if making.spoken:
            self.goes_on = self.goes_on or not making.is_cut
        elif making.has_audio:
            self.may_go_on |= not making.is_cut
        elif self._answer is None and not self._tools:
            self._answer = self._asked

    def session_began(self, now: float) -> None:
        """The next session was asked for everything that is owed."""
        self.since = self.event_at = now
        if self.goes_on or self.may_go_on:
            self.goes_on = self.may_go_on = False
            self._answer = self._asked

    # -- time ----------------------------------------------------------------------

    def is_quiet(self, now: float) -> bool:
        """Return whether something is owed, but nothing has arrived for a while."""
        is_due = bool(self.making) or self.is_anything_due
        return is_due and now - self.event_at >= _QUIET_SECONDS

    def deadline(self, patience: Patience) -> tuple[float, str] | None:
        """
        Return when the session is given up if nothing arrives, and the reason then;
        C{None}: nothing is awaited.
        """
        if self.is_caller_speaking and not self.is_parting:
            return None
        if self.making:
            within = inf
            for making in self.making.values():
                own = patience.audio_gap if making.spoken else patience.first_audio
                within = min(within, own)
            why = f"a response sent nothing for {within:g} s"
            return self.event_at + within, why
        if not self.is_anything_due:
            return None
        within = patience.response
        return self.since + within, f"no response began for {within:g} s"

    def silence(self, heard_by: float) -> tuple[float, bool] | None:
        """
        Return since when the caller has heard nothing of what is owed, and whether the
        agent may still be thinking; C{None}: nothing is missing.

        @param heard_by: when the caller has heard everything that has arrived.
        """
        if not self.making and not self.is_anything_due:
            return None
        if self.failing_since is not None:
            return self.failing_since, False
        if self.is_caller_speaking and not self.is_parting:
            return None
        is_made = has_audio = False
        for making in self.making.values():
            if not making.is_cut:
                if making.spoken:
                    return max(self.since, heard_by), False
                is_made = True
                has_audio |= making.has_audio
        if has_audio:
            return None
        is_due = is_made or self.is_anything_due
        return (max(self.since, heard_by), is_made) if is_due else None
