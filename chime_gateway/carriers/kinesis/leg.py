"""
The caller's leg over Kinesis Video Streams and PlayAudio.

L{chime_gateway.carriers.kinesis.source} reads the caller's audio,
L{chime_gateway.carriers.kinesis.reply} plays the agent's.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from chime_gateway.audio import PCMU, Codec
from chime_gateway.carriers.kinesis.reply import Reply
from chime_gateway.carriers.kinesis.source import KinesisSource, StreamingAws
from chime_gateway.carriers.pending_transfer import PendingTransfer
from chime_gateway.errors import TransferFailed
from chime_gateway.interfaces import CarrierTraits, LegEvents
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.switchboard import Switchboard
from chime_gateway.wire.kinesis.stream_notice import Status, StreamNotice

#: A transfer without a report by then has failed.
_TRANSFER_SECONDS: Final = 45.0

#: After a failed transfer, the caller is streamed again within this time.
_RETURN_SECONDS: Final = 15.0


class KinesisLegOwner(Protocol):
    """The carrier, as a leg uses it."""

    aws: StreamingAws
    clock: IReactorTime

    def new_reply(self, leg: KinesisLeg, control_id: str) -> Reply: ...
    def transfer(self, info: CallerInfo, target: str) -> Deferred[None]: ...
    def dismiss(self, control_id: str, *, apologise: bool) -> None:
        """End this caller's call, with an apology if C{apologise}."""

    def leg_over(self, leg: KinesisLeg) -> None: ...


class KinesisLeg:
    """
    One caller (L{chime_gateway.interfaces.CallLeg}).

    The agent gets 20 ms frames of mu-law: that is the quality of a telephone, and it
    costs a table look-up where another sample rate would cost a filter.
    """

    traits = CarrierTraits(
        name="kinesis",
        buffers=True,
        reports_playback=True,
        lag_seconds=4.0,
        # The notice goes back into the queue, and the Lambda has its own apology.
        fails_over=True,
    )
    codec: Codec = PCMU

    def __init__(
        self, carrier: KinesisLegOwner, notice: StreamNotice, is_taken_over: bool
    ) -> None:
        self.info = CallerInfo(
            carrier_call_id=notice.call_id,
            stream_id=notice.control_id,
            caller=notice.caller,
            called=notice.called,
            parameters={"X-VoiceConnector-ID": notice.voice_connector_id},
        )
        self.call_id = notice.call_id
        self._carrier = carrier
        self._call: LegEvents | None = None
        self._is_over = False
        self._transfer: PendingTransfer | None = None
        self._returning = Timer(carrier.clock)
        self._is_sent_back = False
        # Audio that another gateway received before it failed is lost.
        self._source = self._new_source(
            notice, "" if is_taken_over else notice.after_fragment
        )
        self._is_streaming = True
        self._reply = carrier.new_reply(self, notice.control_id)

    def _new_source(self, notice: StreamNotice, after_fragment: str) -> KinesisSource:
        return KinesisSource(
            self._carrier.aws,
            self._carrier.clock,
            self,
            stream_arn=notice.stream_arn,
            after_fragment=after_fragment,
            owner={"TransactionId": notice.transaction_id, "CallId": notice.call_id},
        )

    def begin(self, switchboard: Switchboard) -> None:
        """
        Begin the call.

        @raise CallRefused: the call cannot be served.
        """
        call = switchboard.incoming(self)
        if not self._is_over:
            self._call = call
            self._source.start()

    # -- CallLeg ---------------------------------------------------------------

    def answer(self) -> None:
        """Does nothing, as the SIP media application has answered already."""

    def play(self, audio: bytes) -> None:
        self._reply.play(audio)

    def clear(self) -> None:
        self._reply.clear()

    def mark(self, name: str) -> None:
        self._reply.mark(name)

    def hang_up(self, ending: Ending) -> None:
        wants = ending.outcome not in (Outcome.TRANSFERRED, Outcome.CALLER_LOST)
        if self.may_stream_again and not self._is_streaming and not self._is_sent_back:
            wants = False  # the caller may be with the target by now
        self._release()
        if wants:
            is_answered = ending.outcome is not Outcome.AGENT_UNAVAILABLE
            self._carrier.dismiss(self.info.stream_id, apologise=not is_answered)

    def send_digits(self, digits: str) -> bool:
        return False

    def transfer(self, target: str) -> Deferred[None]:
        """Let the application call the target.  Fires when the target has answered."""
        if self._is_transferring:
            return fail(TransferFailed("a transfer is under way"))
        self._returning.stop()
        transfer = PendingTransfer(self._carrier.clock, _TRANSFER_SECONDS)
        self._transfer = transfer

        def over(result: object) -> Any:
            if not self._is_over:
                # The call goes on: the Lambda brings the caller back.
                self._returning.start(_RETURN_SECONDS, self._returned)
            return result

        transfer.done.addBoth(over)
        asking = self._carrier.transfer(self.info, target)
        asking.addErrback(lambda failure: transfer.fail(failure.getErrorMessage()))
        return transfer.done

    # -- SourceUser and ReplyUser ----------------------------------------------

    def caller_audio(self, audio: bytes) -> None:
        if self._call is not None:
            self._call.caller_audio(audio)

    def source_oddity(self, kind: str) -> None:
        if self._call is not None:
            self._call.oddity_seen(kind)

    def source_ended(self, ending: Ending) -> None:
        self._is_streaming = False
        if self.may_stream_again:
            return
        # Otherwise the caller would hear silence.
        self._carrier.dismiss(self.info.stream_id, apologise=False)
        self._end(ending)

    def mark_reached(self, name: str) -> None:
        if self._call is not None:
            self._call.mark_reached(name)

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        if self._call is not None:
            self._call.audio_dropped(reason, byte_count)

    def reply_failed(self, ending: Ending) -> None:
        self._end(ending)

    # -- called by the carrier -------------------------------------------------

    @property
    def may_stream_again(self) -> bool:
        """Whether the call may outlive its stream: during and after a transfer."""
        return self._is_transferring or self._returning.is_running

    def listen(self, notice: StreamNotice) -> None:
        """Read the caller's audio from another stream."""
        self._source.stop()
        self.call_id = notice.call_id
        self._source = self._new_source(notice, notice.after_fragment)
        self._is_streaming = True
        self._source.start()

    def streaming_ended(self, notice: StreamNotice) -> None:
        self._is_streaming = False
        if self.may_stream_again:
            # The agent's side was disconnected, to make room for the target.
            self._source.stop()
        elif notice.status is Status.FAILED:
            why = f"streaming failed: {notice.failure or 'no reason given'}"
            self._carrier.dismiss(self.info.stream_id, apologise=True)
            self._end(Ending(Outcome.CALLER_LOST, why[:200]))
        else:
            self._end(Ending(Outcome.COMPLETED, "the caller hung up"))

    def reported(self, what: str, key: str) -> None:
        """The Lambda has sent a report."""
        if what == "hangup":
            self._end(Ending(Outcome.COMPLETED, "the caller hung up"))
        elif what == "transferred":
            if self._transfer is None or self._transfer.is_over:
                # It took longer than the timeout: the caller is with the target now.
                self._end(Ending(Outcome.TRANSFERRED, "transferred"))
            else:
                self._transfer.succeed()
        elif what == "transfer_failed":
            self._is_sent_back = True
            self._transfer_failed("the target did not answer")
        else:
            self._reply.reported(what, key)

    # -- inside ----------------------------------------------------------------

    @property
    def _is_transferring(self) -> bool:
        return self._transfer is not None and not self._transfer.is_over

    def _transfer_failed(self, why: str) -> None:
        if self._transfer is not None:
            self._transfer.fail(why)

    def _returned(self) -> None:
        """The time for the caller's return has passed."""
        if self._is_streaming:
            return
        if self._is_sent_back:
            self._carrier.dismiss(self.info.stream_id, apologise=True)
        # Otherwise the caller may be talking with the target.
        self._end(Ending(Outcome.CALLER_LOST, "lost in a transfer"))

    def _end(self, ending: Ending) -> None:
        call = self._call
        if self._is_over:
            return
        self._release()
        if call is not None:
            call.leg_ended(ending)

    def _release(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._call = None
        self._transfer_failed("the call is over")
        self._returning.stop()
        self._source.stop()
        self._reply.close()
        self._carrier.leg_over(self)
