"""What a listener receives that reconnects repeatedly, over restarts."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.http.api.live_events import KEPT, LiveEvents


class Event:
    """The members of a call's event that are used."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.call_id = "c"
        self.kind = "turn.completed"


class Request:
    """A stream, and what was written to it."""

    def __init__(self) -> None:
        self.data = b""
        self.channel = self
        self.gone: Deferred[None] = Deferred()

    def setHeader(self, *_: Any) -> None: ...
    def setTimeout(self, _: Any) -> None: ...
    def registerProducer(self, *_: Any) -> None: ...
    def unregisterProducer(self) -> None: ...
    def finish(self) -> None: ...

    def notifyFinish(self) -> Deferred[None]:
        return self.gone

    def write(self, data: bytes) -> None:
        self.data += data

    def seen(self) -> list[tuple[int, int]]:
        """Return (id, number) of each event."""
        found = []
        for message in self.data.decode().split("\n\n"):
            lines = dict(
                line.split(": ", 1) for line in message.split("\n") if ": " in line
            )
            if "id" in lines:
                found.append((int(lines["id"]), int(lines["data"])))
        return found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("happen"), st.integers(1, 30)),
        st.tuples(st.just("leave"), st.just(0)),
        st.tuples(st.just("come back"), st.just(0)),
        # Seconds until the restart; negative if the clock was set back.
        st.tuples(st.just("restart"), st.sampled_from((0, 1, 60, -3600))),
    ),
    max_size=25,
)


class LiveEventTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    # Runs that begin in the same second differ by chance, not by Hypothesis' choice.
    @given(STEPS, st.integers(0, 2**32).map(random.Random))
    def test_a_listener_that_reconnects_misses_no_kept_event(
        self, steps: list[tuple[str, int]], chance: random.Random
    ) -> None:
        clock = Clock()
        now = 1_795_000_000.0

        def restarted() -> LiveEvents:
            shown: Any = lambda event: event.number  # noqa: E731
            return LiveEvents(clock, shown, lambda: now, chance.random)

        live, request = restarted(), Request()
        live.listen(request, "", None)  # type: ignore[arg-type]
        kept: list[int] = []
        last: int | None = None
        seen: set[int] = set()

        def read() -> None:
            nonlocal last
            for event_id, number in request.seen():
                last = event_id
                seen.add(number)
            request.data = b""

        count = 0
        is_here = True
        for name, value in (*steps, ("come back", 0)):
            if name == "happen":
                for _ in range(value):
                    count += 1
                    live.happened(Event(count))  # type: ignore[arg-type]
                    kept.append(count)
                kept = kept[-KEPT:]
            elif name == "restart":
                read()
                now += value
                live, kept, is_here = restarted(), [], False
            elif is_here and name == "leave":
                read()
                request.gone.callback(None)
                is_here = False
            elif not is_here and name == "come back":
                request = Request()
                # Like a browser; a listener that has seen nothing requests everything.
                live.listen(request, "", last or 0)  # type: ignore[arg-type]
                is_here = True
            read()
            if is_here:
                missed = set(kept) - seen
                self.assertEqual(missed, set())

    def test_ids_increase_over_restarts_and_are_exact_in_browsers(self) -> None:
        last = 0
        for seconds in (1_795_000_000, 1_795_000_001, 1_795_000_060):
            live = LiveEvents(Clock(), lambda _: {}, lambda s=seconds: s, lambda: 0.5)  # type: ignore[misc]
            for number in range(5):
                live.happened(Event(number))  # type: ignore[arg-type]
                self.assertGreater(live._last, last)
                last = live._last
        self.assertLess(last, 1 << 53)
