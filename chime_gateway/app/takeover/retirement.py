"""
Decides how long the old process stays after a take-over: until its calls have ended
and its connections have learned of it, or until a time limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How soon it is found that nothing is left.
LOOK_SECONDS: Final = 0.25

#: A connection that is kept open is closed with its next answer; so long one may be
#: idle before that.
CONNECTIONS_SECONDS: Final = 80.0


class Retirement:
    """
    @ivar reasons: others to stay: asked when there are no calls any more.
    @param seconds: that calls may go on, as it is set now.
    @param calls: how many there are.
    @param connections: how many there are that may still bring one.
    @param over: called at the end, with whether calls are left.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        seconds: Callable[[], float],
        calls: Callable[[], int],
        connections: Callable[[], int],
        over: Callable[[bool], object],
    ) -> None:
        self.reasons: list[Callable[[], bool]] = []
        self._clock = clock
        self._seconds = seconds
        self._calls = calls
        self._connections = connections
        self._over = over
        self._look = LoopingCall(self._looked)
        self._look.clock = clock
        self._began = 0.0

    def begin(self) -> None:
        self._began = self._clock.seconds()
        self._log.info(
            "{calls} calls continue in this process, for at most {seconds} s",
            calls=self._calls(),
            seconds=self._seconds(),
        )
        # Not at once: whoever asked is not done.
        self._look.start(LOOK_SECONDS, now=False)

    def cancel(self) -> None:
        if self._look.running:
            self._look.stop()

    def _looked(self) -> None:
        passed = self._clock.seconds() - self._began
        if self._calls():
            if passed >= self._seconds():
                self._end(True)
        elif passed >= CONNECTIONS_SECONDS or not (
            self._connections() or any(is_one() for is_one in self.reasons)
        ):
            self._end(False)

    def _end(self, is_overdue: bool) -> None:
        self.cancel()
        self._over(is_overdue)
