"""
Controls calls from outside: asks the SIP media application to act on a caller.

C{UpdateSipMediaApplicationCall} is accepted at once and carried out later by the Lambda
(L{chime_gateway.aws.sma}); the result shows in the call.  An account may make five
requests a second, so requests are queued here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.errors import CallInDoubt, CallRefused, TransferFailed
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.rate_limit import Quota
from chime_gateway.outcomes import CallerInfo
from chime_gateway.services import AwsCalls
from chime_gateway.settings.telephone import is_e164, normalised

#: An extension of the Voice Connector.
_EXTENSION: Final = re.compile(r"sip:[^\s@]{1,36}")
_NOTHING: Final[Mapping[str, str]] = {}


class CallGone(Exception):
    """The SIP media application no longer has this call."""


class SmaControl:
    """
    Sends requests to one SIP media application.

    @param application_id: the id of the application.
    @param updates_per_second: the account's quota (5 unless it was raised).
    @param calls_per_second: the account's quota for new calls (1).
    @ivar counts: the number of updates, by result.
    """

    _log = Logger()

    def __init__(
        self,
        aws: AwsCalls,
        application_id: str,
        clock: IReactorTime,
        *,
        updates_per_second: float = 5.0,
        calls_per_second: float = 1.0,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._aws = aws
        self._application_id = application_id
        self._updates = Quota(updates_per_second, updates_per_second, clock)
        self._calls = Quota(calls_per_second, max(1.0, calls_per_second), clock)

    def stop(self) -> None:
        self._updates.stop()
        self._calls.stop()

    def turn(self) -> Deferred[None]:
        """Fires when the next L{update_now} may be called."""
        return self._updates.turn()

    async def update(self, transaction_id: str, arguments: Mapping[str, str]) -> None:
        """
        Request an update that is urgent: it goes before the replies that are queued.

        @raise CallGone: the caller has left.
        @raise AwsError: it was not accepted.
        """
        await self._updates.turn(urgent=True)
        await self.update_now(transaction_id, arguments)

    async def update_now(
        self, transaction_id: str, arguments: Mapping[str, str]
    ) -> None:
        """
        Request an update at once.  Wait for L{turn} first.

        @raise CallGone: the caller has left.
        @raise AwsError: it was not accepted.
        """
        try:
            await self._aws.call(
                "chime-sdk-voice",
                "UpdateSipMediaApplicationCall",
                {
                    "SipMediaApplicationId": self._application_id,
                    "TransactionId": transaction_id,
                    "Arguments": dict(arguments),
                },
            )
        except AwsError as exc:
            if exc.code.startswith("NotFound"):
                self.counts["gone"] += 1
                raise CallGone(str(exc)) from exc
            self.counts["throttled" if exc.is_throttled else "failed"] += 1
            raise
        self.counts["taken"] += 1

    # -- Transfers ---------------------------------------------------------------

    def transfer(
        self, info: CallerInfo, target: str, more: Mapping[str, str] = _NOTHING
    ) -> Deferred[None]:
        """
        Request a transfer of the caller to C{target}.  Fires when it was accepted.

        The Deferred fails with L{TransferFailed}.

        @param more: further arguments of the request.
        """
        return Deferred.fromCoroutine(self._transfer(info, target, more))

    async def _transfer(
        self, info: CallerInfo, target: str, more: Mapping[str, str]
    ) -> None:
        if not info.stream_id:
            raise TransferFailed(
                "the call did not come through a SIP media application"
                " (it has no X-Transaction-Id)"
            )
        if not target.lower().startswith("sip"):
            target = normalised(target)
        if not is_e164(target) and not _EXTENSION.fullmatch(target):
            raise TransferFailed(
                "the target is neither a number (+12065550100) nor sip:EXTENSION"
            )
        arguments = {"Action": "transfer", "Target": target, **more}
        try:
            await self.update(info.stream_id, arguments)
        except CallGone as exc:
            raise TransferFailed("the caller has left") from exc
        except AwsError as exc:
            raise TransferFailed(str(exc)) from exc

    # -- outbound calls ------------------------------------------------------------

    async def create_call(
        self, from_number: str, to_number: str, arguments: Mapping[str, str]
    ) -> str:
        """
        Place an outbound call.  Once answered, it comes in like any other call, with
        C{X-Direction: outbound} and the transaction id.

        @param from_number: a number of the account.
        @param arguments: C{agent} and C{context} come back as headers.
        @return: the transaction id.
        @raise CallRefused: the request was not accepted.
        @raise CallInDoubt: it is not known whether it was accepted.
        """
        for number in (from_number, to_number):
            if not is_e164(number):
                raise CallRefused("a telephone number has to be E.164: +COUNTRYNUMBER")
        await self._calls.turn()
        try:
            answer = await self._aws.call(
                "chime-sdk-voice",
                "CreateSipMediaApplicationCall",
                {
                    "FromPhoneNumber": from_number,
                    "ToPhoneNumber": to_number,
                    "SipMediaApplicationId": self._application_id,
                    "ArgumentsMap": dict(arguments),
                },
                # A second attempt could ring twice.
                attempts=1,
            )
        except AwsError as exc:
            refused = CallInDoubt if exc.is_in_doubt else CallRefused
            raise refused(str(exc)) from exc
        transaction_id: str = answer["SipMediaApplicationCall"]["TransactionId"]
        return transaction_id
