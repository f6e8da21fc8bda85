"""
The slow carrier: receives audio by Kinesis Video Streams, and plays it by PlayAudio.

It is for calls that cannot use SIP.  The Voice Connector streams the caller's leg and
announces that in a queue.  The agent's voice goes back as files, through the SIP media
application.  Seconds pass between question and answer, and an utterance is the smallest
unit that can be played.  The seam is the same as that of the other carriers.

L{KinesisCarrier} takes calls from the queue, in competition with other gateways.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.carriers.call_control import CallGone, SmaControl
from chime_gateway.carriers.kinesis.leg import KinesisLeg
from chime_gateway.carriers.kinesis.queue import BACK_OFF, VISIBLE_SECONDS, MessageQueue
from chime_gateway.carriers.kinesis.reply import Reply
from chime_gateway.carriers.kinesis.reports import LambdaReports
from chime_gateway.carriers.kinesis.source import StreamingAws
from chime_gateway.errors import CallRefused, RemoteProtocolError, UnknownAgent
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.settings.aws import KinesisSettings
from chime_gateway.switchboard import Switchboard
from chime_gateway.wire.kinesis.stream_notice import Status, StreamNotice, parse_notice

#: How often the message of a running call is kept invisible to others.
RENEW_SECONDS: Final = 15.0

_FULL_PAUSE_SECONDS: Final = 1.0

#: A message about another gateway's call is received at most this often.
_MOST_RECEIVES: Final = 4

#: How many ended calls are remembered, as their messages may come late.
_MAX_ENDED: Final = 10_000


class KinesisCarrier:
    """
    The Kinesis carrier of the process.

    @param control: controls the calls, and plays the agent's voice.
    @param observe_reply: called for each utterance of the agent, with the seconds from
        its end until the caller began to hear it.
    @ivar notices: the number of notices from the queue, by what was done.
    """

    traits = KinesisLeg.traits
    _log = Logger()

    def __init__(
        self,
        settings: KinesisSettings,
        switchboard: Switchboard,
        *,
        aws: StreamingAws,
        control: SmaControl,
        clock: IReactorTime,
        new_token: Callable[[], str] = lambda: secrets.token_urlsafe(24),
        observe_reply: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.notices: Counter[str] = Counter()
        self.aws = aws
        self.control = control
        self.clock = clock
        self._settings = settings
        self._switchboard = switchboard
        self._new_token = new_token
        self._observe_reply = observe_reply
        self._queue = MessageQueue(aws, settings.queue_url)
        self._reports = LambdaReports(
            aws,
            clock,
            settings.events_prefix,
            reported=self._reported,
            do=self._do,
            counts=self.notices,
        )
        self._is_paused = False
        self._legs: dict[KinesisLeg, str] = {}
        self._by_call: dict[str, KinesisLeg] = {}
        self._by_control: dict[str, KinesisLeg] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._loops: list[Deferred[None]] = []
        self._doing: set[Deferred[Any]] = set()
        self._renewing = LoopingCall(self._renew)
        self._renewing.clock = clock

    # -- life ------------------------------------------------------------------

    def start(self) -> None:
        self._renewing.start(RENEW_SECONDS, now=False)
        self._loop(self._reports.take())
        self._loop(self._take_notices())

    def pause(self) -> None:
        """Another process takes new calls; this one keeps its running calls."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False

    async def stop(self) -> None:
        """Stop, after the last call."""
        for leg in list(self._legs):
            with self._log.failuresHandled("a leg was not hung up"):
                leg.hang_up(Ending(Outcome.DRAINED, "the gateway stopped"))
        if self._renewing.running:
            self._renewing.stop()
        for loop in self._loops:
            loop.cancel()
        for doing in tuple(self._doing):
            # Wait until messages are given back and callers are hung up.
            await doing
        await self._reports.stop()

    def _loop(self, coroutine: Any) -> None:
        loop: Deferred[None] = Deferred.fromCoroutine(coroutine)
        loop.addErrback(self._loop_failed)
        self._loops.append(loop)

    def _loop_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("a bug: no more calls are received", failure)

    # -- state -----------------------------------------------------------------

    def counts(self) -> Mapping[str, int]:
        """Return the current numbers of legs and requests."""
        return {"legs": len(self._legs), "requests": len(self._doing)}

    # -- called by legs --------------------------------------------------------

    def new_reply(self, leg: KinesisLeg, control_id: str) -> Reply:
        settings = self._settings
        return Reply(
            self.aws,
            self.control,
            self.clock,
            leg,
            transaction_id=control_id,
            bucket=settings.bucket,
            events=lambda: self._reports.url,
            new_key=lambda: f"{settings.prefix}{self._new_token()}.wav",
            observe=self._observe_reply,
        )

    def transfer(self, info: CallerInfo, target: str) -> Deferred[None]:
        """Request a transfer, with reports of its progress."""
        url = self._reports.url
        events = {"Events": url} if url else {}
        return self.control.transfer(info, target, events)

    def dismiss(self, control_id: str, *, apologise: bool) -> None:
        """End this caller's call, with an apology if C{apologise}."""
        action = "apologise" if apologise else "hangup"
        self._do(self._dismiss(control_id, action))

    async def _dismiss(self, control_id: str, action: str) -> None:
        try:
            await self.control.update(control_id, {"Action": action})
        except CallGone:
            return
        except AwsError as exc:
            self._log.warn("could not hang up a caller: {why}", why=str(exc))

    def leg_over(self, leg: KinesisLeg) -> None:
        receipt = self._forget(leg)
        if receipt is not None:
            self._remember(leg.call_id)
            self._do(self._queue.delete(receipt))

    # -- notices of the Voice Connector ----------------------------------------

    async def _take_notices(self) -> None:
        failures = 0
        while True:
            is_idle = self._is_paused and not self._legs
            if is_idle or self._switchboard.fault() is not None:
                # Another gateway may have room, or an agent.
                await deferLater(self.clock, _FULL_PAUSE_SECONDS)
                continue
            try:
                messages = await self._queue.receive()
            except AwsError as exc:
                self._log.warn("no calls are received: {why}", why=str(exc))
                failures += 1
                await deferLater(self.clock, BACK_OFF.pause(failures))
                continue
            failures = 0
            for message in messages:
                # A bug in one call must not affect the others.
                with self._log.failuresHandled("a notice was not processed"):
                    self._notified(message)

    def _notified(self, message: Mapping[str, Any]) -> None:
        receipt = message["ReceiptHandle"]
        attributes = message.get("Attributes", {})
        receives = int(attributes.get("ApproximateReceiveCount", "1"))
        try:
            notice = parse_notice(message["Body"])
        except RemoteProtocolError as exc:
            # Not deleted: the queue moves it to its dead-letter queue.
            self.notices["malformed"] += 1
            self._log.warn("malformed message in the queue: {why}", why=str(exc))
            return
        if notice is None:
            self._done("foreign", receipt)
        elif notice.status is Status.STARTED:
            self._started(notice, receipt, receives)
        elif notice.status is Status.UPDATED:
            self._done("updated", receipt)
        else:
            self._over(notice, receipt, receives)

    def _started(self, notice: StreamNotice, receipt: str, receives: int) -> None:
        known = self._by_call.get(notice.call_id)
        if known is not None:
            # The message came again: from now on this receipt is valid.
            self.notices["duplicate"] += 1
            self._legs[known] = receipt
        elif notice.call_id in self._ended:
            self._done("too_late", receipt)
        elif notice.is_caller is (self._settings.leg != "caller"):
            self._remember(notice.call_id)
            self._done("other_leg", receipt)
        elif notice.control_id in self._by_control:
            self._resumed(self._by_control[notice.control_id], notice, receipt)
        elif self._is_paused:
            self.notices["passed_on"] += 1
            self._do(self._queue.hold(receipt, 0))
        else:
            self._take(notice, receipt, receives)

    def _resumed(self, leg: KinesisLeg, notice: StreamNotice, receipt: str) -> None:
        """The same call is streamed again, after a failed transfer."""
        if not leg.may_stream_again:
            self._done("second_leg", receipt)
            return
        self.notices["resumed"] += 1
        before, self._legs[leg] = self._legs[leg], receipt
        self._do(self._queue.delete(before))
        self._by_call.pop(leg.call_id, None)
        self._by_call[notice.call_id] = leg
        leg.listen(notice)

    def _take(self, notice: StreamNotice, receipt: str, receives: int) -> None:
        leg = KinesisLeg(self, notice, is_taken_over=receives > 1)
        self._legs[leg] = receipt
        self._by_call[notice.call_id] = leg
        self._by_control[notice.control_id] = leg
        try:
            leg.begin(self._switchboard)
        except CallRefused as exc:
            ending = Ending(Outcome.REFUSED, str(exc))
            if isinstance(exc, UnknownAgent) or receives >= _MOST_RECEIVES:
                self.notices["refused"] += 1
                leg.hang_up(Ending(Outcome.AGENT_UNAVAILABLE, str(exc)))
                self._switchboard.turned_away(leg.traits.name, ending)
            else:
                # Full since the messages were requested; other gateways may have room.
                self.notices["given_back"] += 1
                self._give_back(leg)
        else:
            self.notices["taken"] += 1

    def _give_back(self, leg: KinesisLeg) -> None:
        receipt = self._forget(leg)
        assert receipt is not None
        self._do(self._queue.hold(receipt, 0))

    def _forget(self, leg: KinesisLeg) -> str | None:
        """@return: the receipt of its notice, the first time."""
        self._by_call.pop(leg.call_id, None)
        self._by_control.pop(leg.info.stream_id, None)
        return self._legs.pop(leg, None)

    def _over(self, notice: StreamNotice, receipt: str, receives: int) -> None:
        leg = self._by_call.get(notice.call_id)
        if leg is not None:
            self._done("ended", receipt)
            leg.streaming_ended(notice)
        elif notice.call_id in self._ended:
            self._done("ended_again", receipt)
        elif receives < _MOST_RECEIVES:
            # Another gateway's call, or the notice of its start is still to come.
            self.notices["passed_on"] += 1
            self._do(self._queue.hold(receipt, 1))
        else:
            self._done("unmatched", receipt)
            self._remember(notice.call_id)

    def _done(self, what: str, receipt: str) -> None:
        self.notices[what] += 1
        self._do(self._queue.delete(receipt))

    def _remember(self, call_id: str) -> None:
        self._ended[call_id] = None
        if len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)

    # -- reports of the Lambda -------------------------------------------------

    def _reported(self, control_id: str, what: str, key: str) -> None:
        leg = self._by_control.get(control_id)
        if leg is not None:
            leg.reported(what, key)

    # -- requests in the background --------------------------------------------

    def _renew(self) -> None:
        for receipt in tuple(self._legs.values()):
            self._do(self._queue.hold(receipt, VISIBLE_SECONDS))

    def _do(self, coroutine: Any) -> None:
        doing: Deferred[Any] = Deferred.fromCoroutine(coroutine)

        def done(result: object) -> None:
            self._doing.discard(doing)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure("a request failed", result)

        self._doing.add(doing)
        doing.addBoth(done)
