"""
Opens the next session of a line, beside the current one, until it can take over.

A failed attempt is repeated as long as a successor is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.agents.line.reports import Reports
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentSession

#: After an attempt that failed; each time twice as long, up to the last.
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 4.0


class Successor:
    """
    @param open_session: begins to open it; it is told which deployment to avoid.
    @param new_reports: what the next one will report to.
    @param came: told when it is ready.
    @param clock: seconds, monotonic.
    @ivar is_wanted: it is sought, or waits.
    @ivar ready: it, and what it reports to.
    @ivar why: nothing came of the last attempt; empty: there was none that failed.
    """

    __slots__ = (
        *("is_wanted", "ready", "why"),
        *("_again_at", "_avoid", "_came", "_clock", "_new_reports", "_open_session"),
        *("_opening", "_pause"),
    )

    _log = Logger()

    def __init__(
        self,
        open_session: Callable[[Reports, str], Deferred[AgentSession]],
        new_reports: Callable[[], Reports],
        came: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.is_wanted = False
        self.ready: tuple[Reports, AgentSession] | None = None
        self.why = ""
        self._open_session = open_session
        self._new_reports = new_reports
        self._came = came
        self._clock = clock
        self._avoid = ""
        self._opening: Deferred[None] | None = None
        self._again_at = 0.0
        self._pause = _FIRST_PAUSE_SECONDS

    def want(self, avoid: str = "", pause: float = 0.0) -> None:
        """Open it in so many seconds, unless that is being done."""
        self._avoid = avoid
        if self.is_wanted:
            return
        self.is_wanted = True
        self.why = ""
        self._pause = _FIRST_PAUSE_SECONDS
        self._again_at = self._clock() + pause
        if not pause:
            self._open()

    def tick(self, now: float) -> None:
        """Some times a second while L{is_wanted}."""
        if (
            self.is_wanted
            and self.ready is None
            and self._opening is None
            and now >= self._again_at
        ):
            self._open()

    def take(self) -> tuple[Reports, AgentSession] | None:
        """Hand the session over."""
        ready, self.ready = self.ready, None
        if ready is not None:
            self.is_wanted = False
        return ready

    def lost(self, reports: Reports, reason: str) -> None:
        """A session is over; perhaps it was the one that waited here."""
        if self.ready is not None and self.ready[0] is reports:
            self.ready = None
            self._failed_because(reason)

    def drop(self) -> None:
        """Close it, as it is not wanted any more."""
        self.is_wanted = False
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        ready, self.ready = self.ready, None
        if ready is not None:
            ready[1].close()

    # -- inside --------------------------------------------------------------------

    def _open(self) -> None:
        reports = self._new_reports()
        opening = self._open_session(reports, self._avoid).addCallback(
            self._is_ready, reports
        )
        # It may be there already.
        if not opening.called:
            self._opening = opening
        opening.addErrback(self._failed)

    def _is_ready(self, session: AgentSession, reports: Reports) -> None:
        self._opening = None
        if not self.is_wanted:
            session.close()
            return
        self.ready = reports, session
        self._came()

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        if failure.check(AgentUnavailable, CancelledError) is None:
            self._log.failure("a bug in a change of sessions", failure)
        self._failed_because(failure.getErrorMessage())

    def _failed_because(self, why: str) -> None:
        self.why = why
        self._again_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
