"""
Records the agent's sessions of a call: the deployment of each, why it ended, and how
long the caller heard nothing as a result.
"""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.call.reports.record import CallRecord, SessionNote
from chime_gateway.interfaces import AgentLine
from chime_gateway.media.pump import MediaPump


class AgentSessions:
    """
    The agent's sessions of one call.

    @param clock: seconds, monotonic; the call began at C{began}.
    @ivar silent_since: since when the caller has heard nothing because a session ended;
        C{None}: there is no such silence.
    """

    def __init__(
        self,
        record: CallRecord,
        pump: MediaPump,
        clock: Callable[[], float],
        began: float,
    ) -> None:
        self._notes = record.sessions
        self._pump = pump
        self._clock = clock
        self._began = began
        self.silent_since: float | None = None
        self._is_awaited = False
        self._line: AgentLine | None = None

    def joined(self, line: AgentLine) -> None:
        """The caller and the agent's first session are connected."""
        self._line = line
        self._notes.append(SessionNote(line.deployment, self._at()))

    def ended(self, reason: str, awaited_since: float | None) -> None:
        """See L{chime_gateway.interfaces.LineEvents.session_ended}."""
        if self._line is None:
            return  # the caller is not connected yet
        now = self._clock()
        note = self._notes[-1]
        note.ended, note.reason = self._at(), reason
        if self.silent_since is None:
            queued = self._pump.queued_seconds(now)
            is_silent = awaited_since is not None and not queued
            self.silent_since = awaited_since if is_silent else now + queued
        self._is_awaited |= awaited_since is not None

    def changed(self, deployment: str) -> None:
        """The next session has taken over; it may use another codec."""
        if self._line is None:
            return
        self._pump.join(self._line)
        self._notes.append(SessionNote(deployment, self._at()))
        if not self._is_awaited:
            self._silence_is_over()

    def audio_came(self) -> None:
        """Audio has arrived, which ends the silence."""
        self._silence_is_over()

    def caller_began(self) -> None:
        """The caller speaks, and so no longer waits for the agent."""
        self.silent_since = None
        self._is_awaited = False

    def _silence_is_over(self) -> None:
        since, self.silent_since = self.silent_since, None
        self._is_awaited = False
        if since is not None and len(self._notes) > 1:
            self._notes[-2].silent_seconds += max(0.0, self._clock() - since)

    def _at(self) -> float:
        return self._clock() - self._began
