"""
Keeps a session alive, or detects that it is lost (RFC 4028 section 10).

The leg makes the offers of refreshes, and ends a session that is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from attrs import evolve

from chime_gateway.carriers.sip.context import ALLOW, SDP_TYPE, SUPPORTED, SipContext
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.net.timer import Timer
from chime_gateway.wire.sip.message import BadMessage, Header, Response
from chime_gateway.wire.sip.session_timer import SessionTimer, accepted_timer, min_se

#: How often in a row a longer interval is accepted from a 422.
_MOST_INTERVALS: Final = 2

#: The minimum pause before a refused refresh is repeated.
_LEAST_PAUSE: Final = 5.0


class SessionRefresh:
    """
    The session timer of one dialog.

    A session expires one interval after its last refresh, by either side.  A refresh
    that is refused does not extend it and is repeated, never with a shorter interval.

    @param owns_call_id: the gateway placed the call, which sets the pause after a 491
        (RFC 3261 section 14.1).
    @param offer: makes the body of a re-INVITE.
    @param agreed: called with the 2xx to a refresh of the gateway.
    @param lost: called with the reason when the session is lost.
    @ivar is_inviting: a re-INVITE of the gateway is not answered yet.
    """

    def __init__(
        self,
        context: SipContext,
        *,
        owns_call_id: bool,
        offer: Callable[[], bytes],
        agreed: Callable[[Response], None],
        lost: Callable[[str], None],
    ) -> None:
        self.is_inviting = False
        self._context = context
        self._owns_call_id = owns_call_id
        self._offer = offer
        self._agreed = agreed
        self._lost = lost
        self._dialog: LiveDialog
        self._has_update = False
        self._timer: SessionTimer | None = None
        self._wanted = 0
        self._least: int | None = None
        self._intervals = 0
        self._is_asking = False
        self._expires_at = 0.0
        self._due = Timer(context.clock)
        self._deadline = Timer(context.clock)

    def begin(
        self,
        dialog: LiveDialog,
        peer_allows: frozenset[str],
        timer: SessionTimer | None,
    ) -> None:
        """The dialog is confirmed."""
        self._dialog = dialog
        self._has_update = "UPDATE" in peer_allows
        self.run(timer)

    def run(self, timer: SessionTimer | None) -> None:
        """Restart with a new session timer; C{None}: the session has none."""
        self.stop()
        self._timer = timer
        self._intervals = 0
        if timer is None:
            return
        self._wanted = timer.interval
        self._expires_at = self._context.clock.seconds() + timer.give_up_after
        self._deadline.start(timer.give_up_after, self._expired, timer)
        if timer.we_refresh:
            self._due.start(timer.refresh_after, self._refresh)

    def stop(self) -> None:
        self._due.stop()
        self._deadline.stop()

    # -- inside ------------------------------------------------------------------

    def _expired(self, timer: SessionTimer) -> None:
        self._due.stop()
        self._lost(f"the session was not refreshed within {timer.interval} s")

    def _refresh(self) -> None:
        if self._is_asking:
            return  # the pending request refreshes the session, too, or fails first
        self._is_asking = True
        headers: tuple[Header, ...] = (
            self._dialog.contact(),
            # The sender of a request is its UAC, whoever placed the call.
            ("Session-Expires", f"{self._wanted};refresher=uac"),
            *(() if self._least is None else (("Min-SE", str(self._least)),)),
            SUPPORTED,
            ALLOW,
        )
        if self._has_update:
            self._dialog.request("UPDATE", headers, b"", self._answered)
        else:
            self.is_inviting = True
            with_body = (*headers, SDP_TYPE)
            self._dialog.request("INVITE", with_body, self._offer(), self._answered)

    def _answered(self, response: Response | None) -> None:
        self._is_asking = self.is_inviting = False
        timer = self._timer
        if timer is None or not self._deadline.is_running:
            return  # the call is over
        if response is None or response.status in (408, 481):
            self._lost("the peer no longer knows the session")
        elif response.status >= 300:
            self._refused(response)
        else:
            with suppress(BadMessage):  # the timer stays the same then
                timer = accepted_timer(response) or evolve(timer, interval=self._wanted)
            self.run(timer)
            self._agreed(response)

    def _refused(self, response: Response) -> None:
        """Repeat the refresh in time before the session expires."""
        status, least = response.status, min_se(response)
        if status == 422 and least is not None and least > self._wanted:
            self._intervals += 1
            if self._intervals <= _MOST_INTERVALS:
                self._wanted = self._least = least
                self._refresh()
                return
        elif status in (405, 501) and self._has_update:
            self._has_update = False  # although Allow lists it
            self._refresh()
            return
        left = self._expires_at - self._context.clock.seconds()
        if status == 491:
            pause = self._random(2.1, 4.0) if self._owns_call_id else self._random(0, 2)
        else:
            pause = max(_LEAST_PAUSE, left / 2)
        if pause < left:
            self._due.start(pause, self._refresh)

    def _random(self, least: float, most: float) -> float:
        return least + (most - least) * self._context.random32() / 2**32
