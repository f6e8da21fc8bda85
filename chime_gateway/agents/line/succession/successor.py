"""
Opens the next session of a line, alongside the current one, until it can take over.

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

#: The pause after a failed attempt, doubled each time up to the limit.
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 4.0


class Successor:
    """
    The successor of a line's session.

    @param open_session: starts opening a session; its argument is the deployment to
        avoid.
    @param new_reports: makes the receiver of the next session's reports.
    @param came: called when the session is ready.
    @param clock: seconds, monotonic.
    @ivar is_wanted: a session is being opened, or is waiting to take over.
    @ivar ready: the waiting session and the receiver of its reports.
    @ivar why: why the last attempt failed; empty: none has failed.
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
        """Open a session after C{pause} seconds, unless one is wanted already."""
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
        """Open a session when due.  Called a few times a second while L{is_wanted}."""
        if (
            self.is_wanted
            and self.ready is None
            and self._opening is None
            and now >= self._again_at
        ):
            self._open()

    def take(self) -> tuple[Reports, AgentSession] | None:
        """Remove and return the waiting session, if there is one."""
        ready, self.ready = self.ready, None
        if ready is not None:
            self.is_wanted = False
        return ready

    def lost(self, reports: Reports, reason: str) -> None:
        """A session has ended; it may be the waiting one."""
        if self.ready is not None and self.ready[0] is reports:
            self.ready = None
            self._failed_because(reason)

    def drop(self) -> None:
        """Close the session: it is not wanted any more."""
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
        # It may be open already.
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
