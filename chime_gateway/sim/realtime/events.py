"""
Sends the events of a simulated session in its dialect, at once or later, until the
session ends.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.sim.realtime.behaviour import Behaviour, SessionLog
from chime_gateway.sim.realtime.dialect import (
    GA_ONLY,
    PREVIEW_NAMES,
    Ga,
    Preview,
    Refused,
)

_BASE62: Final = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 21) -> str:
    return f"{prefix}_" + "".join(secrets.choice(_BASE62) for _ in range(length))


class ServerEvents:
    """
    The events that the service sends, and its timers.

    @ivar is_mute: the service neither sends nor handles events.
    @ivar is_over: the connection is gone.
    @param send: sends an event.
    """

    def __init__(
        self,
        dialect: type[Ga] | type[Preview],
        behaviour: Behaviour,
        log: SessionLog,
        *,
        send: Callable[[Mapping[str, object]], None],
        clock: IReactorTime,
    ) -> None:
        self.is_mute = behaviour.silent_start
        self.is_over = False
        self._is_preview = dialect is Preview
        self._behaviour = behaviour
        self._log = log
        self._send = send
        self._clock = clock
        self._timers: set[IDelayedCall] = set()

    def emit(self, kind: str, /, **members: object) -> None:
        """@param kind: the event's name in GA."""
        if self.is_mute or self.is_over:
            return
        if self._is_preview:
            if kind in GA_ONLY:
                return
            kind = PREVIEW_NAMES.get(kind, kind)
        event = {"type": kind, "event_id": new_id("event"), **members}
        if self._behaviour.obfuscation and kind.endswith(".delta"):
            event["obfuscation"] = secrets.token_urlsafe(6)
        self._send(event)
        if self._behaviour.unknown_events and kind.endswith(".done"):
            self._send({"type": "future.event", "event_id": new_id("event")})
            self._send({"type": kind, "event_id": new_id("event"), **members})

    def refuse(self, refused: Refused, event_id: object) -> None:
        """@param event_id: the C{event_id} of the refused command."""
        self._log.errors.append(str(refused.code))
        self.emit(
            "error",
            error={
                "type": refused.type,
                "code": refused.code,
                "message": str(refused),
                "param": refused.param,
                "event_id": event_id if isinstance(event_id, str) else None,
            },
        )

    def seconds(self) -> float:
        return float(self._clock.seconds())

    def later(
        self, seconds: float, function: Callable[..., None], *args: object
    ) -> IDelayedCall:
        """Call a function after a delay, unless the session is over by then."""

        def run() -> None:
            self._timers.discard(timer)
            function(*args)

        timer: IDelayedCall = self._clock.callLater(seconds, run)
        if self.is_over:
            timer.cancel()
        else:
            self._timers.add(timer)
        return timer

    def forget(self, timer: IDelayedCall) -> None:
        """Cancel a timer, which may have fired already."""
        if timer.active():
            timer.cancel()
            self._timers.discard(timer)

    def stop(self) -> None:
        """Cancel everything: the connection is gone."""
        self.is_over = True
        for timer in list(self._timers):
            if timer.active():
                timer.cancel()
        self._timers.clear()
