"""
Keep a session alive, or notice that it is not (RFC 4028 section 10).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chime_gateway.net.timer import Timer
from chime_gateway.wire.sip.session_timer import SessionTimer


class SessionRefresh:
    """
    @param refresh: called when it is our turn to refresh.
    @param expired: called when the other side missed its turn.
    """

    def __init__(
        self,
        clock: IReactorTime,
        refresh: Callable[[SessionTimer], None],
        expired: Callable[[SessionTimer], None],
    ) -> None:
        self._refresh = refresh
        self._expired = expired
        self._timer: SessionTimer | None = None
        self._due = Timer(clock)

    def run(self, timer: SessionTimer | None) -> None:
        """From now on; C{None}: the session needs none."""
        self.stop()
        self._timer = timer
        if timer is not None:
            after = timer.refresh_after if timer.we_refresh else timer.give_up_after
            self._due.start(after, self._fired, timer)

    def refreshed(self) -> None:
        """Our refresh was accepted: the time begins anew."""
        self.run(self._timer)

    def refused(self) -> None:
        """Once more before time is up; then the other side ends it."""
        if self._timer is not None:
            left = max(20, self._timer.interval // 2)
            self.run(SessionTimer(left, True))

    def stop(self) -> None:
        self._due.stop()

    def _fired(self, timer: SessionTimer) -> None:
        if timer.we_refresh:
            self._refresh(timer)
        else:
            self._expired(timer)
