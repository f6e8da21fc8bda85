"""
Transfers a caller: waits until the caller has heard what is being said, asks the
carrier, and records the result.
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

#: How long a carrier may take to report the result; carriers have shorter limits.
_MOST_SECONDS: Final = 120.0


@define(kw_only=True)
class TransferNote:
    """
    The record of one attempt.

    @ivar target: the target's name, or the address if it was given directly.
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
    One attempt to transfer the caller.

    @param begin: asks the carrier.
    @param begin_by: the time after which it begins even if the agent still speaks.
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
        """The carrier was asked; the attempt can no longer be cancelled."""
        return self._has_begun

    @property
    def is_over(self) -> bool:
        return bool(self.note.outcome)

    def tick(self, now: float, is_quiet: bool) -> None:
        """
        @param is_quiet: the caller has heard everything that the agent had to say.
        """
        if self.is_over:
            return
        if self._has_begun:
            if now >= self._known_by:
                self._fail("the carrier reported no result")
        elif is_quiet or now >= self._begin_by:
            self.start(now)

    def start(self, now: float) -> None:
        """Ask the carrier now, without waiting."""
        self._has_begun = True
        self._known_by = now + _MOST_SECONDS
        self._begin().addCallbacks(lambda _: self._transferred(), self._failed)

    def call_off(self, why: str) -> None:
        """Cancel an attempt that has not begun; ignore the result of one that has."""
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


def detached(waiting: Deferred[None]) -> Deferred[None]:
    """Return a Deferred with the same result; cancelling it cancels nothing else."""
    result: Deferred[None] = Deferred()
    waiting.addCallbacks(result.callback, result.errback)
    return result


class Owner(Protocol):
    """The call whose caller is transferred."""

    def happened(self, payload: events.Payload) -> None: ...
    def transferred(self) -> None: ...
    def bug(self, failure: Failure) -> None: ...


class Noted(Protocol):
    """The part of a call's record that concerns transfers."""

    call_id: str
    transfers: list[TransferNote]


class CallTransfers:
    """
    The attempts of one call, one at a time.

    @param ask: asks the carrier to transfer the caller to an address.
    @param record: receives the notes of all attempts, in order.
    @param began: when the call began, by the same clock as every C{now}.
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
        """An attempt is waiting to begin, or has begun and has no result yet."""
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
        Start an attempt.  The Deferred fails with L{TransferFailed}; cancelling it does
        not stop the attempt.

        @param name: of the target, for records.
        @param wait_seconds: how long to wait for the agent to finish speaking; C{None}:
            begin at once.
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
        result: Deferred[None] = Deferred()

        def transferred(_: None) -> None:
            self._owner.transferred()
            result.callback(None)

        def failed(failure: Failure) -> None:
            self._owner.happened(events.CallTransferFailed(note.facts()))
            result.errback(failure)

        attempt.done.addCallbacks(transferred, failed).addErrback(self._owner.bug)
        if wait_seconds is None:
            attempt.start(now)
        return result

    def tick(self, now: float, is_quiet: Callable[[float], bool]) -> bool:
        """
        @param is_quiet: whether the caller has heard everything that the agent had to
            say.
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
        """End: the call is over, and the result of an attempt no longer matters."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.call_off("the call is over")
