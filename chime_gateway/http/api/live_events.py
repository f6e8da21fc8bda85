"""
Sends the events of calls to listeners as they happen, as server-sent events
(html.spec.whatwg.org, section 9.2).

A listener that does not read is disconnected.  With the last id it has seen it can
request the events it missed, as far as they are kept.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from chime_gateway.call.reports.events import CallEvent
from chime_gateway.net.timer import Timer

#: The number of events kept for listeners that reconnect.
KEPT: Final = 1000

#: Proxies close a connection that is silent for longer.
_KEEP_ALIVE_SECONDS: Final = 15.0

#: The number of events queued for a listener that does not read.
_MAX_WAITING: Final = 1000

#: Ids increase across restarts as long as a run has fewer than 2 to this power events
#: a second on average.
_EPOCH_BITS: Final = 20

#: The number of listeners at the same time.
MAX_LISTENERS: Final = 50


class LiveEvents:
    """
    The latest events, and the listeners.

    Ids increase across restarts.  They differ from run to run, and between the
    instances of a gateway.

    @param shown: returns the part of an event that listeners may see.
    @param wall_time: returns Unix seconds.
    @param chance: returns a random number from 0 to 1.
    @ivar passed_on: called with each event of this process: kind, call id and JSON.
    @ivar is_elsewhere: returns whether a newer process sends the events of all calls.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        shown: Callable[[CallEvent], dict[str, object]],
        wall_time: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._shown = shown
        self._kept: deque[tuple[int, str, bytes]] = deque(maxlen=KEPT)
        # The random part separates runs that begin in the same second.  The number
        # is small enough for a browser to hold exactly.
        self._first = (int(wall_time()) << _EPOCH_BITS) + int(
            chance() * (1 << _EPOCH_BITS)
        )
        self._last = self._first
        self._listeners: set[_Listener] = set()
        self.passed_on: Callable[[str, str, str], object] = lambda *_: None
        self.is_elsewhere: Callable[[], bool] = lambda: False

    def happened(self, event: CallEvent) -> None:
        text = json.dumps(self._shown(event), separators=(",", ":"))
        self.told(event.kind, event.call_id, text)
        self.passed_on(event.kind, event.call_id, text)

    def told(self, kind: str, call_id: str, text: str) -> None:
        """Send an event of this process, or of an older one of this gateway."""
        self._last += 1
        message = f"id: {self._last}\nevent: {kind}\ndata: {text}\n\n".encode()
        self._kept.append((self._last, call_id, message))
        for listener in list(self._listeners):
            with self._log.failuresHandled("could not send an event to a listener"):
                listener.send(call_id, message)

    @property
    def is_full(self) -> bool:
        return len(self._listeners) >= MAX_LISTENERS

    def listen(self, request: Request, call_id: str, after: int | None) -> None:
        """
        Send events until the listener disconnects.

        @param call_id: the call whose events are sent; empty for all calls.
        @param after: begin with the first event after this id that is kept; with an
            id of another run or instance, begin with the first that is kept.
        """
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")
        # The listener sends nothing, so there is no idle timeout.
        request.channel.setTimeout(None)
        listener = _Listener(request, call_id, self._clock, self._listeners.discard)
        self._listeners.add(listener)
        request.write(b": live events\n\n")
        if self.is_elsewhere():
            # The connection is from before the take-over: the listener reconnects to
            # the newest process, which has the events of all calls.
            listener.close()
            return
        if after is not None:
            if not self._first <= after <= self._last:
                after = self._first
            for number, of_call, message in self._kept:
                if number > after:
                    listener.send(of_call, message)

    def close(self) -> None:
        """Disconnect all listeners; browsers reconnect automatically."""
        for listener in list(self._listeners):
            listener.close()


@implementer(IPushProducer)
class _Listener:
    def __init__(
        self,
        request: Request,
        call_id: str,
        clock: IReactorTime,
        gone: Callable[[_Listener], None],
    ) -> None:
        self._request = request
        self._call_id = call_id
        self._gone = gone
        self._waiting: deque[bytes] = deque()
        self._is_paused = False
        self._is_over = False
        self._keep_alive = Timer(clock)
        request.registerProducer(self, True)
        request.notifyFinish().addBoth(lambda _: self._left())
        self._keep_alive.start(_KEEP_ALIVE_SECONDS, self._stay)

    def send(self, call_id: str, message: bytes) -> None:
        if self._is_over or (self._call_id and call_id != self._call_id):
            return
        if not self._is_paused:
            self._request.write(message)
            return
        self._waiting.append(message)
        if len(self._waiting) > _MAX_WAITING:
            self.close()

    def close(self) -> None:
        if not self._is_over:
            channel = self._request.channel
            self._request.unregisterProducer()
            self._request.finish()
            self._left()
            # On this connection the next request would reach the same process again.
            channel.loseConnection()

    def _left(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._keep_alive.stop()
        self._gone(self)

    def _stay(self) -> None:
        if not self._is_paused:
            self._request.write(b": still here\n\n")
        self._keep_alive.start(_KEEP_ALIVE_SECONDS, self._stay)

    # -- IPushProducer -----------------------------------------------------------

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        while self._waiting and not self._is_paused:
            self._request.write(self._waiting.popleft())

    def stopProducing(self) -> None:
        self._left()
