"""Receivers that work, are slow, refuse, or do not answer, side by side."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.signed_post import Answer, PostFailed
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.database import Database
from chime_gateway.store.entries import DELIVERY, Entry
from chime_gateway.store.rows import DeliveryRow, Whose
from chime_gateway.store.webhooks.receiver import BACK_OFF, PLACES, Receiver
from chime_gateway.store.webhooks.webhooks import Webhooks
from tests.support.entries import delivery
from tests.support.files import temporary_folder

#: Kinds of receivers: the time of an answer, and its status; C{None}: it accepts the
#: request and never answers.
KINDS = {
    "well": (0.05, 200),
    "slow": (2.0, 200),
    "refusing": (0.05, 503),
    "dead": (5.0, None),
    "stuck": (10.0, None),
}


class Receivers:
    """
    A fake network of receivers.

    @ivar taken: accepted deliveries, (id, time), by webhook.
    @ivar most: the highest number of concurrent requests, by webhook.
    """

    def __init__(self, clock: Clock, kinds: dict[str, str]) -> None:
        self.clock = clock
        self.kinds = kinds
        self.taken: dict[str, list[tuple[str, float]]] = {n: [] for n in kinds}
        self.open = dict.fromkeys(kinds, 0)
        self.most = dict.fromkeys(kinds, 0)

    def send(self, url: str, body: bytes, **options: Any) -> Any:
        name = url.rpartition("/")[2]
        seconds, status = KINDS[self.kinds[name]]
        self.open[name] += 1
        self.most[name] = max(self.most[name], self.open[name])
        done: Deferred[Answer] = Deferred(lambda d: d.errback(CancelledError()))

        def over() -> None:
            self.open[name] -= 1
            if done.called:
                return
            if status is None:
                done.errback(PostFailed("it took too long to answer"))
                return
            if status == 200:
                message_id = options["message_id"]
                self.taken[name].append((message_id, self.clock.seconds()))
            done.callback(Answer(status, "", b""))

        self.clock.callLater(seconds, over)
        return done


class ReceiverTests(SynchronousTestCase):
    def deliver(self, kinds: dict[str, str], calls: int, seed: int) -> Receivers:
        """Deliver all events to all kinds; the database gets each result late."""
        folder = temporary_folder(self)
        database = Database(f"sqlite:///{folder}/calls.sqlite", folder)
        self.addCleanup(database.close)
        database.migrate()
        clock = Clock()
        clock.advance(1000.0)
        receivers: Any = Receivers(clock, kinds)
        chance = random.Random(seed)

        def written(entry: Entry) -> None:
            database.apply([entry])
            webhooks.wake()

        def put(entry: Entry) -> None:
            clock.callLater(chance.uniform(0.0, 1.5), written, entry)

        webhooks = Webhooks(
            [WebhookSettings(name=n, url=f"https://r.example/{n}") for n in kinds],
            Whose("me"),
            waiting=database,
            put=put,
            post=receivers,
            in_thread=lambda function, *args: maybeDeferred(function, *args),
            clock=clock,
            wall_time=clock.seconds,
            jitter=chance.random,
        )
        self.entries = [
            (DELIVERY, delivery(f"c{call}", number, name, created_at=1000.0))
            for call in range(calls)
            for number in (1, 2)
            for name in kinds
        ]
        database.apply(self.entries)
        webhooks.wake()
        clock.pump([0.1] * 250)
        self.successResultOf(webhooks.stop())
        self.flushLoggedErrors()
        found: Receivers = receivers
        return found

    @settings(max_examples=3, deadline=None)
    @given(
        st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
        st.integers(3, 40),
        st.integers(0, 1 << 32),
    )
    @example(["stuck", "dead"], 40, 1)
    def test_working_receivers_are_not_delayed_by_others(
        self, others: list[str], calls: int, seed: int
    ) -> None:
        kinds = {"first": "well"}
        kinds |= {f"other{n}": kind for n, kind in enumerate(others)}
        found = self.deliver(kinds, calls, seed)
        for name, kind in kinds.items():
            self.assertLessEqual(found.most[name], PLACES)
            if kind != "well":
                continue
            taken = [message_id for message_id, _ in found.taken[name]]
            # Each once, and those of a call in order.
            self.assertEqual(len(taken), len(set(taken)))
            self.assertEqual(len(taken), 2 * calls)
            for call in range(calls):
                mine = [t for t in taken if t.startswith(f"c{call}.")]
                self.assertEqual(mine, [f"c{call}.{n}.{name}" for n in (1, 2)])
            # The time that it needs alone, plus the delays of the database.
            last = max(at for _, at in found.taken[name]) - 1000.0
            self.assertLess(last, 5.0 + 2 * calls * 0.3)

    def test_a_failing_receiver_gets_one_request_at_a_time(self) -> None:
        found = self.deliver({"a": "stuck"}, 10, 1)
        self.assertEqual(found.most["a"], PLACES)
        self.assertLessEqual(found.open["a"], 1)

    @settings(max_examples=100, deadline=None)
    @given(
        st.integers(1, 9), st.floats(0, 1), st.sampled_from((0.0, 5.0, 35.0, 3600.0))
    )
    def test_a_clock_that_is_set_back_does_not_delay_deliveries(
        self, attempts: int, jitter: float, step: float
    ) -> None:
        """The wait is at most the longest pause of the next attempt, not the step."""
        nothing: Any = None
        receiver = Receiver(
            None,
            put=nothing,
            post=nothing,
            counts=Counter(),
            over=nothing,
            wall_time=nothing,
            jitter=nothing,
        )
        pause = BACK_OFF.pause(attempts, jitter)
        at = 1_000_000.0 + pause
        row = DeliveryRow(**delivery("a", 1, attempts=attempts, next_try_at=at))
        due_in = receiver._due_in(row, 1_000_000.0 - step)
        assert due_in is not None
        self.assertLessEqual(due_in, BACK_OFF.pause(attempts + 1, 1.0))
        if not step:
            self.assertAlmostEqual(due_in, pause)
