"""Tracks whether the agent owes the caller an answer, and by when."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define


@define(eq=False)
class _Making:
    """
    A response that is being generated.

    @ivar debts: the number of answers that were owed when it began; it may give these.
    @ivar has_come: audio of it has arrived, or it has called a tool.
    """

    debts: int
    has_come: bool = False


class OwedAnswer:
    """
    An answer is owed until it has been given.  The end of a response is not enough: a
    response that fails, says nothing, or began before a later question does not answer
    it.

    @param clock: seconds, monotonic.
    @param seconds: how long the agent may show no activity before it is given up.
    @ivar is_caller_speaking: nothing is overdue while the caller speaks.
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
        # A response has failed or was empty, and nothing has arrived since.  Until
        # something does, the start of another response does not count as activity.
        self._is_fruitless = False
        self.is_caller_speaking = False

    def expect(self) -> None:
        """One more answer is owed from now on."""
        self._debts += 1
        self._is_silence_chosen = self._is_fruitless = False
        self._wait()

    def settle(self) -> None:
        """No answer is owed any more."""
        self._due_at = None
        self._is_silence_chosen = self._is_fruitless = False

    def is_overdue(self, now: float) -> bool:
        return self._due_at is not None and now >= self._due_at

    def take_silence(self, now: float) -> bool:
        """
        Return whether the agent has chosen to be silent for too long; true only once.

        The chosen silence is not a fault.  After this, the caller of this method asks
        the agent to speak; if that brings no answer either, the answer is overdue.
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
        """Extend the time for an answer, if a response is in progress."""
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
