"""
Webhooks: deliver what waits in the store, in order for each call, until it is
taken.

A delivery is repeated with the same id until somebody answers with a 2xx, or for
long enough in vain; then the next one of its call has its turn.  What is in it is
not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.interfaces import InThread
from chime_gateway.net.backoff import BackOff
from chime_gateway.net.signed_post import PostFailed, SignedPost
from chime_gateway.net.timer import Timer
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.database import Trouble
from chime_gateway.store.entries import TRIED, Entry
from chime_gateway.store.rows import DeliveryRow
from chime_gateway.store.tables import DEAD, DELIVERED, PENDING

BACK_OFF: Final = BackOff(
    (2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0), spread=(0.75, 1.25)
)

#: Deliveries under way at the same time, over all receivers.
_AT_ONCE: Final = 16

#: The store is looked at at least this often: its database may have been away.
_LOOK_SECONDS: Final = 15.0

#: A receiver's answer does not matter, only its status.
_MAX_ANSWER_BYTES: Final = 65_536


class Waiting(Protocol):
    """Where deliveries wait."""

    def due_deliveries(
        self, instance: str, now: float, limit: int
    ) -> tuple[list[DeliveryRow], float | None]: ...


class Webhooks:
    """
    @param put: takes entries that say what became of a delivery.
    @param wall_time: Unix seconds.
    @ivar counts: of tries, by what became of them.
    """

    _log = Logger()

    def __init__(
        self,
        hooks: Sequence[WebhookSettings],
        instance: str,
        *,
        waiting: Waiting,
        put: Callable[[Entry], None],
        post: SignedPost,
        in_thread: InThread,
        clock: IReactorTime,
        wall_time: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._hooks = {hook.name: hook for hook in hooks}
        self._instance = instance
        self._waiting = waiting
        self._put = put
        self._post = post
        self._in_thread = in_thread
        self._wall_time = wall_time
        self._jitter = jitter
        self._under_way: dict[tuple[str, str], Deferred[None]] = {}
        # What was settled here, and may not have reached the database yet.
        self._settled: dict[str, float] = {}
        self._look_due = Timer(clock)
        self._looking: Deferred[None] | None = None
        self._look_again = False
        self._is_stopped = False

    def wake(self) -> None:
        """There may be something to deliver."""
        if self._is_stopped:
            return
        if self._looking is not None:
            self._look_again = True
            return
        self._look_due.stop()
        looking = Deferred.fromCoroutine(self._look())
        self._looking = looking
        looking.addErrback(self._bug)
        looking.addBoth(self._looked)

    def stop(self) -> Deferred[Any]:
        """What is under way is given up; it is repeated by the next run."""
        self._is_stopped = True
        self._look_due.stop()
        running = [d for d in (*self._under_way.values(), self._looking) if d]
        for deferred in running:
            deferred.cancel()
        return DeferredList(running)

    # -- inside ------------------------------------------------------------------

    def _bug(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("webhooks", failure)

    def _looked(self, _: Any) -> None:
        self._looking = None
        if self._look_again:
            self._look_again = False
            self.wake()

    def _look_in(self, seconds: float) -> None:
        if not self._is_stopped:
            self._look_due.start(seconds, self.wake)

    async def _look(self) -> None:
        now = self._wall_time()
        try:
            due, next_at = await self._in_thread(
                self._waiting.due_deliveries, self._instance, now, 10 * _AT_ONCE
            )
        except Trouble:
            self._look_in(_LOOK_SECONDS)  # the writer says why
            return
        if self._is_stopped:
            return
        for row in due:
            if len(self._under_way) >= _AT_ONCE:
                break
            self._begin(row)
        wait = _LOOK_SECONDS if next_at is None else min(_LOOK_SECONDS, next_at - now)
        self._look_in(max(0.05, wait))

    def _begin(self, row: DeliveryRow) -> None:
        key = (row.webhook, row.call_id)
        if key in self._under_way:
            return
        settled = self._settled.get(row.delivery_id)
        if settled is not None and self._wall_time() < settled:
            return  # the database has not heard yet
        delivering = Deferred.fromCoroutine(self._deliver(row))
        self._under_way[key] = delivering

        def over(result: Any) -> None:
            self._under_way.pop(key, None)
            self.wake()

        delivering.addErrback(self._bug)
        delivering.addBoth(over)

    async def _deliver(self, row: DeliveryRow) -> None:
        hook = self._hooks.get(row.webhook)
        if hook is None:
            self._settle(row, DEAD, "there is no such webhook any more")
            return
        try:
            answer = await self._post.send(
                hook.url,
                row.body.encode(),
                message_id=row.delivery_id,
                seconds=hook.timeout_seconds,
                max_bytes=_MAX_ANSWER_BYTES,
                secret=hook.secret,
                bearer=hook.bearer,
            )
        except PostFailed as exc:
            self._failed(row, hook, str(exc))
            return
        if 200 <= answer.status < 300:
            self._settle(row, DELIVERED, "")
        else:
            self._failed(row, hook, f"HTTP {answer.status}")

    def _failed(self, row: DeliveryRow, hook: WebhookSettings, why: str) -> None:
        now = self._wall_time()
        if now - row.created_at > hook.give_up_hours * 3600:
            self._log.error(
                "webhook {webhook} has not taken {event} for {hours} h: given up",
                webhook=hook.name,
                event=row.event,
                hours=hook.give_up_hours,
                call_id=row.call_id,
            )
            self._settle(row, DEAD, why)
            return
        pause = BACK_OFF.pause(row.attempts + 1, self._jitter())
        self._settle(row, PENDING, why, now + pause)
        if row.attempts in (0, 3):
            self._log.warn(
                "webhook {webhook} does not take {event}: {why}",
                webhook=hook.name,
                event=row.event,
                why=why,
                call_id=row.call_id,
            )

    def _settle(
        self, row: DeliveryRow, state: str, why: str, next_try_at: float = 0.0
    ) -> None:
        self.counts["failed" if state == PENDING else state] += 1
        # A minute is more than the writer takes; should it take longer, a delivery
        # is repeated, which its id tells.
        until = next_try_at if state == PENDING else self._wall_time() + 60.0
        self._settled[row.delivery_id] = until
        while len(self._settled) > 10_000:
            del self._settled[next(iter(self._settled))]
        tried = {
            "delivery_id": row.delivery_id,
            "state": state,
            "attempts": row.attempts + 1,
            "next_try_at": next_try_at,
            "last_error": why[:500],
        }
        self._put((TRIED, tried))
