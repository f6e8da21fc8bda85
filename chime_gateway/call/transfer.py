"""
Transfers a caller: waits until what is being said has been heard, asks the carrier,
and learns the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.call.reports import events
from chime_gateway.call.reports.events import TransferFacts
from chime_gateway.errors import TransferFailed
from chime_gateway.services import Destinations

#: Carriers say before that how it went.
_MOST_SECONDS: Final = 120.0


@define(kw_only=True)
class TransferNote:
    """
    The record of an attempt.

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


class TransferAttempt:
    """
    One attempt.

    @param begin: asks the carrier.
    @param begin_by: what is being said is not waited for any longer.
    @ivar done: fires when the caller has been transferred; fails with
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
        self._known_by = 0.0

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
        if self.is_over:
            return
        if self._has_begun:
            if now >= self._known_by:
                self._fail("nothing was heard of it")
        elif is_quiet or now >= self._begin_by:
            self.start(now)

    def start(self, now: float) -> None:
        """Begin now, without waiting."""
        self._has_begun = True
        self._known_by = now + _MOST_SECONDS
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


def apart(waiting: Deferred[None]) -> Deferred[None]:
    """A Deferred with the same result, which may be cancelled without any effect."""
    told: Deferred[None] = Deferred()
    waiting.addCallbacks(told.callback, told.errback)
    return told


class Owner(Protocol):
    """The call whose caller is transferred."""

    def happened(self, payload: events.Payload) -> None: ...
    def transferred(self) -> None: ...
    def bug(self, failure: Failure) -> None: ...


class Noted(Protocol):
    """The record of a call, as far as it is of transfers."""

    call_id: str
    transfers: list[TransferNote]


class CallTransfers:
    """
    The attempts of one call, one at a time.

    @param ask: asks the carrier to transfer the caller to an address.
    @param record: has the notes of all attempts, in order.
    @param began: when the call did, by the clock of C{now} everywhere.
    """

    _log = Logger()

    def __init__(
        self,
        owner: Owner,
        ask: Callable[[str], Deferred[None]],
        destinations: Destinations,
        record: Noted,
        began: float,
    ) -> None:
        self._owner = owner
        self._ask = ask
        self._destinations = destinations
        self._record = record
        self._began = began
        self._attempt: TransferAttempt | None = None
        self._is_closed = False

    @property
    def is_under_way(self) -> bool:
        """An attempt waits, or was begun and has no result yet."""
        return self._attempt is not None and not self._attempt.is_over

    @property
    def has_begun(self) -> bool:
        """The carrier was asked, and has not reported the result yet."""
        attempt = self._attempt
        return attempt is not None and attempt.has_begun and not attempt.is_over

    def begin(
        self, name: str, address: str, now: float, wait_seconds: float | None = None
    ) -> Deferred[None]:
        """
        The Deferred fails with L{TransferFailed}.  Whoever has it may lose interest;
        the attempt goes on all the same.

        @param name: what records say.
        @param wait_seconds: what is being said may take so long; C{None}: it is not
            waited for.
        """
        if self.is_under_way:
            return fail(TransferFailed("a transfer is under way"))
        if self._is_closed:
            return fail(TransferFailed("the call is over"))
        call_id = self._record.call_id
        note = TransferNote(target=name, at=now - self._began)
        why = self._destinations.take(address)
        if why:
            self._log.info(
                "call.transfer_refused {call_id}: {why}", call_id=call_id, why=why
            )
            note.outcome, note.reason = "failed", why
            self._record.transfers.append(note)
            self._owner.happened(events.CallTransferFailed(note.facts()))
            return fail(TransferFailed(why))
        self._log.info("call.transferring {call_id}", call_id=call_id)
        self._record.transfers.append(note)
        self._owner.happened(events.CallTransferring(note.facts()))
        attempt = TransferAttempt(
            note, lambda: self._ask(address), now + (wait_seconds or 0.0)
        )
        self._attempt = attempt
        told: Deferred[None] = Deferred()

        def transferred(_: None) -> None:
            self._owner.transferred()
            told.callback(None)

        def failed(failure: Failure) -> None:
            self._owner.happened(events.CallTransferFailed(note.facts()))
            told.errback(failure)

        attempt.done.addCallbacks(transferred, failed).addErrback(self._owner.bug)
        if wait_seconds is None:
            attempt.start(now)
        return told

    def tick(self, now: float, is_quiet: Callable[[float], bool]) -> bool:
        """
        @param is_quiet: whether what the agent had to say was heard.
        @return: L{is_under_way}.
        """
        attempt = self._attempt
        if attempt is None or attempt.is_over:
            return False
        attempt.tick(now, not attempt.has_begun and is_quiet(now))
        return self.is_under_way

    def call_off(self, why: str) -> None:
        """Cancel an attempt that has not begun."""
        if self._attempt is not None and not self._attempt.has_begun:
            self._attempt.call_off(why)

    def close(self) -> None:
        """The call is over; the result of an attempt does not matter any more."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.call_off("the call is over")
