"""
One receiver of webhooks: its deliveries in progress, and their results.

Each receiver has its own limit of concurrent deliveries, so that one that fails or
hangs does not delay the others; while it fails, the limit is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.net.backoff import BackOff
from chime_gateway.net.signed_post import PostFailed, SignedPost
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.entries import TRIED, Entry
from chime_gateway.store.rows import DeliveryRow
from chime_gateway.store.tables import DEAD, DELIVERED, PENDING

BACK_OFF: Final = BackOff(
    (2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0), spread=(0.75, 1.25)
)

#: Most concurrent deliveries.
PLACES: Final = 4

#: After this many consecutive failures, the limit is one.
_IS_DOWN: Final = 4

#: Only the status of a receiver's response matters, not its body.
_MAX_ANSWER_BYTES: Final = 65_536

#: Most deliveries whose result is remembered until the database has it.
_MAX_SETTLED: Final = 10_000


class Receiver:
    """
    Sends deliveries to one receiver.

    @param over: called when an attempt has ended, whatever its result.
    @param put: writes an entry with the result of an attempt.
    @param counts: the number of attempts, by result.
    @ivar settings: C{None}: the webhook is no longer configured.
    """

    _log = Logger()

    def __init__(
        self,
        settings: WebhookSettings | None,
        *,
        put: Callable[[Entry], None],
        post: SignedPost,
        counts: Counter[str],
        over: Callable[[], None],
        wall_time: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._put = put
        self._post = post
        self._counts = counts
        self._over = over
        self._wall_time = wall_time
        self._jitter = jitter
        self._under_way: dict[str, Deferred[None]] = {}
        # When each delivery with a known result may be tried again; C{None}: never.
        self._settled: dict[str, float | None] = {}
        self._failures = 0
        # The number of results that the database did not have at the last look.
        self._known = 0

    @property
    def places(self) -> int:
        """The current limit of concurrent deliveries."""
        return 1 if self._is_down else PLACES

    @property
    def _is_down(self) -> bool:
        return self._failures >= _IS_DOWN

    @property
    def wanted(self) -> int:
        """How many deliveries to look for; 0: the limit is reached."""
        if len(self._under_way) >= self.places:
            return 0
        return self.places + len(self._under_way) + self._known

    @property
    def under_way(self) -> list[Deferred[None]]:
        return list(self._under_way.values())

    def begin(self, rows: Iterable[DeliveryRow], limit: int) -> float | None:
        """
        Send the deliveries that are due.

        @param limit: how many were looked for.
        @return: in how many seconds the next one is due; C{None}: there is none, or it
            has to wait for the end of one in progress.
        """
        now = self._wall_time()
        count, known = 0, 0
        next_in: float | None = None
        for row in rows:
            count += 1
            if row.call_id in self._under_way:
                continue
            due_in = self._due_in(row, now)
            if due_in is None:
                known += 1  # the database does not have the result yet
            elif due_in > 0:
                next_in = due_in if next_in is None else min(next_in, due_in)
            elif len(self._under_way) < self.places:
                self._begin(row)
        if count < limit:
            self._known = 0
        elif known:
            self._known = min(_MAX_SETTLED, 2 * known + PLACES)
            next_in = 0.0 if len(self._under_way) < self.places else next_in
        return next_in

    def _due_in(self, row: DeliveryRow, now: float) -> float | None:
        try_at = row.next_try_at
        if row.delivery_id in self._settled:
            settled = self._settled[row.delivery_id]
            if settled is None:
                return None
            try_at = max(try_at, settled)
        due_in = try_at - now
        # A time later than the longest pause comes from a clock that was set back
        # since then.  The row may lack the last attempt, hence + 1.
        longest = BACK_OFF.pause(row.attempts + 1, 1.0)
        return 0.0 if due_in > longest else max(0.0, due_in)

    def _begin(self, row: DeliveryRow) -> None:
        delivering = Deferred.fromCoroutine(self._deliver(row))
        self._under_way[row.call_id] = delivering

        def over(result: object) -> None:
            self._under_way.pop(row.call_id, None)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure("a bug in a delivery", result)
            self._over()

        delivering.addBoth(over)

    async def _deliver(self, row: DeliveryRow) -> None:
        hook = self.settings
        if hook is None:
            self._settle(row, DEAD, "the webhook is no longer configured")
            return
        if self._is_down and row.attempts and self._is_too_old(row, hook):
            # Another attempt would only take another time-out.
            self._give_up(row, hook, row.last_error)
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
            self._failures = 0
            self._settle(row, DELIVERED, "")
        else:
            self._failed(row, hook, f"HTTP {answer.status}")

    def _is_too_old(self, row: DeliveryRow, hook: WebhookSettings) -> bool:
        return self._wall_time() - row.created_at > hook.give_up_hours * 3600

    def _give_up(self, row: DeliveryRow, hook: WebhookSettings, why: str) -> None:
        self._log.error(
            "webhook {webhook} has not accepted {event} for {hours} h: given up",
            webhook=hook.name,
            event=row.event,
            hours=hook.give_up_hours,
            call_id=row.call_id,
        )
        self._settle(row, DEAD, why)

    def _failed(self, row: DeliveryRow, hook: WebhookSettings, why: str) -> None:
        self._failures += 1
        if self._is_too_old(row, hook):
            self._give_up(row, hook, why)
            return
        pause = BACK_OFF.pause(row.attempts + 1, self._jitter())
        self._settle(row, PENDING, why, self._wall_time() + pause)
        if row.attempts in (0, 3):
            self._log.warn(
                "webhook {webhook} does not accept {event}: {why}",
                webhook=hook.name,
                event=row.event,
                why=why,
                call_id=row.call_id,
            )

    def _settle(
        self, row: DeliveryRow, state: str, why: str, next_try_at: float = 0.0
    ) -> None:
        self._counts["failed" if state == PENDING else state] += 1
        # Remembered, because the database may be unavailable and show it as pending.
        self._settled.pop(row.delivery_id, None)
        self._settled[row.delivery_id] = next_try_at if state == PENDING else None
        while len(self._settled) > _MAX_SETTLED:
            del self._settled[next(iter(self._settled))]
        tried = {
            "delivery_id": row.delivery_id,
            "state": state,
            "attempts": row.attempts + 1,
            "next_try_at": next_try_at,
            "last_error": why[:500],
        }
        self._put((TRIED, tried))
