"""A requested transfer whose result is not known yet."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chime_gateway.errors import TransferFailed


class PendingTransfer:
    """
    One attempt.  Reports after its end are ignored.

    @param seconds: without a report by then, it has failed.
    @param overdue: the error text in that case.
    @ivar done: fires when the caller is with the target.  Fails with
        L{TransferFailed}.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        overdue: str = "there was no report of the transfer",
    ) -> None:
        self.done: Deferred[None] = Deferred(
            lambda _: self.fail("the transfer was cancelled")
        )
        self.done.addTimeout(
            seconds, clock, lambda *_: Failure(TransferFailed(overdue))
        )

    @property
    def is_over(self) -> bool:
        return bool(self.done.called)

    def succeed(self) -> None:
        if not self.is_over:
            self.done.callback(None)

    def fail(self, why: str) -> None:
        """The transfer was refused, or cancelled."""
        if not self.is_over:
            self.done.errback(TransferFailed(why))
