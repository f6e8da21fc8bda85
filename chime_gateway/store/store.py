"""The store of one gateway: starts and stops its parts in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.call.reports import events
from chime_gateway.errors import ConfigError
from chime_gateway.net.signed_post import SignedPost
from chime_gateway.net.system.threads import Threads
from chime_gateway.services import InThread
from chime_gateway.settings.values import StoreSettings, WebhookSettings
from chime_gateway.store.call_book import CallBook, Notice, deliveries, lost_row
from chime_gateway.store.database import Database
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.recordings.files import RecordingWriter
from chime_gateway.store.retention.retention import Retention
from chime_gateway.store.rows import CallRow, StoredCall, Whose, columns
from chime_gateway.store.webhooks.webhooks import Webhooks
from chime_gateway.store.writing.journals import Journals
from chime_gateway.store.writing.writer import Writer

#: How long a stop waits for a slow database.
_STOP_SECONDS: Final = 10.0


class Store:
    """
    The store of one gateway.

    @param in_reactor: runs a function in the reactor's thread.
    @param recordings: C{None}: calls are not recorded.
    @param captures: the folder of captures; C{None}: calls are not captured.
    @param generation: of this process.
    @param is_alone: no other process of this gateway may be running.
    @raise ConfigError: the state folder or the database's URL cannot be used.
    """

    _log = Logger()

    def __init__(
        self,
        settings: StoreSettings,
        webhooks: Sequence[WebhookSettings],
        *,
        post: SignedPost,
        in_thread: InThread,
        in_reactor: Callable[..., object],
        clock: IReactorTime,
        wall_time: Callable[[], float],
        jitter: Callable[[], float],
        generation: str = "",
        is_alone: bool = True,
        recordings: RecordingWriter | None = None,
        captures: Path | None = None,
    ) -> None:
        self.settings = settings
        self.guard = NumberGuard(settings.numbers, settings.numbers_key)
        folder = Path(settings.state_directory)
        self.whose = Whose(settings.instance, generation)
        self.journals = Journals(folder, settings.instance, generation)
        self.journal = self.journals.open_own(
            is_alone=is_alone, now=time.monotonic(), wall_now=wall_time()
        )
        try:
            self.database = Database(settings.database_url, folder)
        except ConfigError:
            self.journal.close()
            raise
        self._webhook_settings = webhooks
        self._wall_time = wall_time
        self._in_thread = in_thread
        self._in_reactor = in_reactor
        self._retention = Retention(
            self.database,
            settings.retention_days,
            path_of=_nowhere if recordings is None else recordings.path_of,
            recordings=None if recordings is None else recordings.folder,
            captures=captures,
            wall_time=wall_time,
        )
        self.writer = Writer(
            self.database,
            self.journal,
            self.journals,
            ready=self._ready,
            wrote=self._wake,
            upkeep=self._keep_up,
            wall_time=wall_time,
            is_serving=is_alone,
        )
        self.book = CallBook(self.whose, self.guard, webhooks, self.writer.put)
        self.webhooks = Webhooks(
            webhooks,
            self.whose,
            waiting=self.database,
            put=self.writer.put,
            post=post,
            in_thread=Threads("webhooks", 2, in_reactor, clock).run,
            clock=clock,
            wall_time=wall_time,
            jitter=jitter,
        )

    def start(self) -> None:
        self.writer.start()
        self.webhooks.wake()

    def serve(self) -> None:
        """This process takes the new calls from now on."""
        self.writer.serve()

    async def stop(self) -> None:
        await self.webhooks.stop()
        await self._in_thread(self.writer.stop, _STOP_SECONDS)
        self.database.close()

    # -- asked, in threads of the pool ---------------------------------------------

    def calls(self, query: CallQuery) -> list[CallRow]:
        """See L{Database.calls}."""
        return self.database.calls(query)

    def call(self, call_id: str) -> StoredCall | None:
        return self.database.call(call_id)

    # -- in the writer's thread ------------------------------------------------------

    def _wake(self) -> None:
        """Look for deliveries now."""
        self._in_reactor(self.webhooks.wake)

    def _ready(self) -> None:
        self._sweep()
        self._adopt()

    def _sweep(self) -> None:
        """Close the records of calls whose gateway was lost during the call."""
        now = self._wall_time()
        self.database.seen(self.whose.instance, now)
        rows = self.database.unclosed_calls(self.whose, now)
        # After the rows: a process that wrote one is in this set, or has ended.
        there_are = self.journals.generations() if rows else set()
        count = 0
        for row in rows:
            if row.instance == self.whose.instance and row.generation in there_are:
                continue
            found = self.database.call(row.call_id)
            turns = [] if found is None else list(found.transcript)
            why = "the gateway went away in the middle of the call"
            closed = lost_row(row, why, _last_known(row, turns))
            data = {**closed.record, "transcript": turns}
            # A number higher than that of any event of the call.
            notice = Notice(events.ENDED, row.call_id, 1_000_000, now, data)
            told = deliveries(self._webhook_settings, self.whose, notice)
            count += self.database.close_lost(columns(closed), told)
        if count:
            self._log.warn("{count} calls of an earlier run were lost", count=count)
            self._wake()

    def _adopt(self) -> None:
        """Take over deliveries of processes and gateways that are gone."""
        theirs = self.database.others_deliveries(self.whose)
        # After the rows, as above: a new process keeps its deliveries.
        gone = theirs - self.journals.generations()
        if self.database.adopt_deliveries(self.whose, gone, self._wall_time()):
            self._wake()

    def _keep_up(self) -> bool:
        """@return: whether there is more to do at once."""
        if self._retention.is_under_way:
            return self._retention.step()
        self._sweep()
        self._adopt()
        return self._retention.step()


def _last_known(row: CallRow, turns: Sequence[Mapping[str, Any]]) -> float:
    """Return the last time at which a call is known to have been in progress."""
    last = row.answered_at or row.started_at
    for turn in turns:
        ended = turn.get("ended") or turn.get("started") or 0.0
        last = max(last, row.started_at + ended)
    return float(last)


def _nowhere(_: str) -> None:
    """There are no recordings on this machine."""
