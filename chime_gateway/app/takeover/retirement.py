"""
Decides how long the old process stays after a take-over: until its calls have ended and
its HTTP connections are closed, or until a time limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How often it is checked.
LOOK_SECONDS: Final = 0.25

#: A persistent connection is closed with its next response; it may be idle this long
#: before that.
CONNECTIONS_SECONDS: Final = 80.0


class Retirement:
    """
    The last phase of an old process.

    @ivar reasons: functions that are asked, once there are no calls, whether there is
        another reason to stay.
    @param seconds: returns how long calls may continue.
    @param calls: returns the number of calls.
    @param connections: returns the number of connections that may still bring a call.
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
        # Not now: the caller has not finished.
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
