"""
Sends pending deliveries to the webhooks, in order for each call.

A delivery is repeated with the same id until the receiver answers with a 2xx status, or
until a time limit; then the next delivery of its call follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.signed_post import SignedPost
from chime_gateway.net.system.threads import NoThreadFree
from chime_gateway.net.timer import Timer
from chime_gateway.services import InThread
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.database import DatabaseUnavailable
from chime_gateway.store.entries import Entry
from chime_gateway.store.rows import DeliveryRow, Whose
from chime_gateway.store.webhooks.receiver import Receiver

#: The database is read at least this often: it may have been unavailable before.
_LOOK_SECONDS: Final = 15.0


class Waiting(Protocol):
    """Reads pending deliveries."""

    def due_deliveries(
        self, whose: Whose, wanted: Mapping[str, int]
    ) -> Mapping[str, list[DeliveryRow]]: ...


class Webhooks:
    """
    Sends deliveries to all webhooks.

    @param put: writes an entry with the result of an attempt.
    @param in_thread: runs a function in one of its own threads, as a database may take
        long to answer.
    @param wall_time: returns Unix seconds.
    @ivar counts: the number of attempts, by result.
    """

    _log = Logger()

    def __init__(
        self,
        hooks: Sequence[WebhookSettings],
        whose: Whose,
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
        self._whose = whose
        self._waiting = waiting
        self._in_thread = in_thread

        def receiver(settings: WebhookSettings | None) -> Receiver:
            return Receiver(
                settings,
                put=put,
                post=post,
                counts=self.counts,
                over=self.wake,
                wall_time=wall_time,
                jitter=jitter,
            )

        self._receivers = {hook.name: receiver(hook) for hook in hooks}
        self._removed = receiver(None)
        self._look_due = Timer(clock)
        self._looking: Deferred[None] | None = None
        self._look_again = False
        self._is_stopped = False

    def change(self, hooks: Iterable[WebhookSettings]) -> None:
        """Use new settings of the same webhooks from the next delivery on."""
        for hook in hooks:
            self._receivers[hook.name].settings = hook

    def wake(self) -> None:
        """Look for deliveries now."""
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
        """Stop; an interrupted delivery is repeated at the next start."""
        self._is_stopped = True
        self._look_due.stop()
        running = [] if self._looking is None else [self._looking]
        for receiver in (*self._receivers.values(), self._removed):
            running += receiver.under_way
        for deferred in running:
            deferred.cancel()
        return DeferredList(running)

    # -- inside ------------------------------------------------------------------

    def _bug(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("a bug in webhooks", failure)
        # Try again, but not at once.
        self._look_in(_LOOK_SECONDS)

    def _looked(self, _: object) -> None:
        self._looking = None
        if self._look_again:
            self._look_again = False
            self.wake()

    def _look_in(self, seconds: float) -> None:
        if not self._is_stopped:
            self._look_due.start(max(0.05, seconds), self.wake)

    async def _look(self) -> None:
        wanted = {name: found.wanted for name, found in self._receivers.items()}
        try:
            due = await self._in_thread(
                self._waiting.due_deliveries, self._whose, wanted
            )
        except (*DatabaseUnavailable, NoThreadFree):
            # The writer logs why the database is unavailable; a busy thread becomes
            # free again.
            self._look_in(_LOOK_SECONDS)
            return
        if self._is_stopped:
            return
        wait = _LOOK_SECONDS
        for name, rows in due.items():
            receiver = self._receivers.get(name, self._removed)
            next_in = receiver.begin(rows, wanted.get(name, 0))
            wait = wait if next_in is None else min(wait, next_in)
        self._look_in(wait)
