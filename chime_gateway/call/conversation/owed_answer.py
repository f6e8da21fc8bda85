"""Tracks whether the agent owes the caller an answer, and until when."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define


@define(eq=False)
class _Making:
    """
    A response that is being made.

    @ivar debts: how many answers were owed when it began: those it may give.
    @ivar has_come: there is audio of it, or it called a tool.
    """

    debts: int
    has_come: bool = False


class OwedAnswer:
    """
    An answer is owed until it has come, not until some response is over: one that
    fails, says nothing, or was begun before something else was asked gives none.

    @param clock: seconds, monotonic.
    @param seconds: after which an agent that gives no sign is given up.
    @ivar is_caller_speaking: then nothing is overdue.
    """

    __slots__ = (
        *("_clock", "_debts", "_due_at", "_is_fruitless", "_is_silence_chosen"),
        *("_making", "is_caller_speaking", "seconds"),
    )

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._due_at: float | None = None
        self._debts = 0
        self._making: dict[str, _Making] = {}
        self._is_silence_chosen = False
        # One came to nothing, and nothing has come since: more of them are no sign.
        self._is_fruitless = False
        self.is_caller_speaking = False

    def expect(self) -> None:
        """One more, from now on."""
        self._debts += 1
        self._is_silence_chosen = self._is_fruitless = False
        self._wait()

    def settle(self) -> None:
        """Nothing is owed."""
        self._due_at = None
        self._is_silence_chosen = self._is_fruitless = False

    def is_overdue(self, now: float) -> bool:
        return self._due_at is not None and now >= self._due_at

    def take_silence(self, now: float) -> bool:
        """
        Nobody speaks, as the agent has chosen to; told once.  It is no fault, but who
        asks for a word now and gets none has found one.
        """
        is_long = self._is_silence_chosen and self.is_overdue(now)
        if is_long:
            self._is_silence_chosen = False
            self._wait()
        return is_long

    def _wait(self) -> None:
        if not self.is_caller_speaking:
            self._due_at = self._clock() + self.seconds

    # -- the caller ----------------------------------------------------------------

    def caller_began(self) -> None:
        self.is_caller_speaking = True
        self.settle()

    def caller_stopped(self) -> None:
        self.is_caller_speaking = False
        self.expect()

    # -- the agent -----------------------------------------------------------------

    def response_started(self, response_id: str) -> None:
        self._making[response_id] = _Making(self._debts)
        if self._due_at is None or not self._is_fruitless:
            self._wait()

    def audio_came(self, response_id: str) -> None:
        """Called for every piece of audio."""
        making = self._making.get(response_id)
        if making is not None:
            making.has_come = True
        self._is_fruitless = False
        if self._due_at is not None and not self.is_caller_speaking:
            self._due_at = self._clock() + self.seconds

    def tool_called(self) -> None:
        self._is_fruitless = False
        for making in self._making.values():
            making.has_come = True

    def sign_of_life(self) -> None:
        """It is on its way; without a response, other things are."""
        if self._making and not self._is_fruitless:
            self._go_on()

    def _go_on(self) -> None:
        if self._due_at is not None:
            self._wait()

    def response_done(self, response_id: str, status: str) -> None:
        making = self._making.pop(response_id, None)
        if making is None:
            return
        is_all = making.debts == self._debts
        gives = status == "completed" or (making.has_come and status != "failed")
        if status == "silent" and is_all and self._due_at is not None:
            self._is_silence_chosen = True
            self._due_at = self._clock() + self.seconds / 2
        elif not gives:
            self._is_fruitless = True
        elif is_all:
            self.settle()
        else:
            self._go_on()
