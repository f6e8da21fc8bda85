"""
Handing a caller on: wait until what is being said was heard, ask, learn how it went.

It knows neither the carrier nor what becomes of the call.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chime_gateway.call.events import TransferFacts
from chime_gateway.errors import TransferFailed


@define(kw_only=True)
class TransferNote:
    """
    What is recorded of an attempt.

    @ivar target: its name; of an address given by hand, that.
    @ivar at: seconds since the start of the call.
    @ivar outcome: C{transferred}, C{failed}, or empty while it is not known.
    """

    target: str = field(repr=False)
    at: float
    outcome: str = ""
    reason: str = ""

    def facts(self) -> TransferFacts:
        return TransferFacts(
            target=self.target,
            at=round(self.at, 3),
            outcome=self.outcome,
            reason=self.reason,
        )


class Handover:
    """
    One attempt.

    @param begin: asks the carrier.
    @param begin_by: what is being said is not waited for any longer.
    @ivar done: fires when the caller has been handed on; fails with
        L{TransferFailed}.
    """

    def __init__(
        self,
        note: TransferNote,
        begin: Callable[[], Deferred[None]],
        begin_by: float,
    ) -> None:
        self.note = note
        self.done: Deferred[None] = Deferred()
        self._begin = begin
        self._begin_by = begin_by
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """The carrier was asked; there is no way back."""
        return self._has_begun

    @property
    def is_over(self) -> bool:
        return bool(self.note.outcome)

    def tick(self, now: float, is_quiet: bool) -> None:
        """
        @param is_quiet: the agent has said what it had to say, and was heard.
        """
        if not self.is_over and (is_quiet or now >= self._begin_by):
            self.start()

    def start(self) -> None:
        """Do not wait."""
        self._has_begun = True
        self._begin().addCallbacks(lambda _: self._transferred(), self._failed)

    def call_off(self, why: str) -> None:
        """Not begun: it will not be.  Begun: its outcome does not matter any more."""
        self._fail(why)

    def _transferred(self) -> None:
        if not self.is_over:
            self.note.outcome = "transferred"
            self.done.callback(None)

    def _failed(self, failure: Failure) -> None:
        failure.trap(TransferFailed)
        self._fail(failure.getErrorMessage())

    def _fail(self, why: str) -> None:
        if not self.is_over:
            self.note.outcome = "failed"
            self.note.reason = why
            self.done.errback(TransferFailed(why))
