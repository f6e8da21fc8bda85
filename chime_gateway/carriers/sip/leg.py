"""
The caller's leg over SIP and RTP: what inbound and outbound calls share.

L{chime_gateway.carriers.sip.inbound} and L{chime_gateway.carriers.sip.outbound} set up
the dialog.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from chime_gateway.audio import PCMU, Codec
from chime_gateway.carriers.sip.audio import LegAudio
from chime_gateway.carriers.sip.context import (
    ACCEPT,
    ALLOW,
    RESPONDERS,
    SDP_TYPE,
    SUPPORTED,
    SipContext,
    warning,
)
from chime_gateway.carriers.sip.dialog import LiveDialog, UnacknowledgedAnswers
from chime_gateway.carriers.sip.offer_answer import NotAcceptable
from chime_gateway.carriers.sip.refer import DelegatedTransfer, Referral, Transfer
from chime_gateway.carriers.sip.session_refresh import SessionRefresh
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.transactions import Incoming
from chime_gateway.carriers.towards_call import TowardsCall
from chime_gateway.errors import TransferFailed
from chime_gateway.interfaces import CarrierTraits
from chime_gateway.media.stats import NetworkStats
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.release import Release
from chime_gateway.wire.rtp.dtmf import INFO_TYPES, info_digit
from chime_gateway.wire.sip.bodies import must_be_understood, session_body
from chime_gateway.wire.sip.message import (
    BadMessage,
    Header,
    Message,
    Request,
    Response,
    contact_uri,
    content_type,
    readable,
)
from chime_gateway.wire.sip.session_timer import SessionTimer, TooSmall, answer_timer


def _play_nowhere(audio: bytes) -> None:
    """Takes audio while the leg has no ports."""


class SipLeg(TowardsCall):
    """
    One caller (L{chime_gateway.interfaces.CallLeg}).

    @ivar play: called for every frame, so bound directly to the RTP stream.
    """

    traits = CarrierTraits(
        name="sip", buffers=False, reports_playback=False, keeps_time=True
    )
    codec: Codec = PCMU

    #: Whether it is an outbound call.
    owns_call_id = False
    _log = Logger()

    def __init__(self, context: SipContext, info: CallerInfo) -> None:
        super().__init__()
        self.info = info
        self._context = context
        self._is_over = False
        self._farewell: Ending | None = None
        self._dialog: LiveDialog | None = None
        self._audio = None
        self._peer_allows: frozenset[str] = frozenset()
        self._unacknowledged = UnacknowledgedAnswers(context, self._never_acknowledged)
        self._transfer: Transfer | None = None
        self._session = SessionRefresh(
            context,
            owns_call_id=self.owns_call_id,
            offer=self._repeat_offer,
            agreed=self._refreshed,
            lost=self._lost,
        )

    @property
    def _audio(self) -> LegAudio | None:
        return self._ports

    @_audio.setter
    def _audio(self, audio: LegAudio | None) -> None:
        self._ports = audio
        self.play: Callable[[bytes], None] = (
            _play_nowhere if audio is None else audio.play
        )

    # -- CallLeg ----------------------------------------------------------------

    def answer(self) -> None:
        raise NotImplementedError

    def hang_up(self, ending: Ending) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        if self._audio is not None:
            self._audio.clear()

    def mark(self, name: str) -> None:
        """Does nothing, as a paced leg has no marks."""

    def send_digits(self, digits: str) -> bool:
        return self._audio is not None and self._audio.send_digits(digits)

    def transfer(self, target: str) -> Deferred[None]:
        """
        Transfer the caller: by REFER where it is supported, otherwise through the SIP
        media application.
        """
        if self._dialog is None or not self._is_answered():
            return fail(TransferFailed("the call is not connected"))
        if self._transfer is not None and not self._transfer.is_over:
            return fail(TransferFailed("a transfer is under way"))
        if "REFER" in self._peer_allows:
            self._transfer = Referral(self._dialog, target, self._context.clock)
            return self._transfer.done
        transfers = self._context.transfers
        if transfers is None:
            return fail(TransferFailed("the peer does not support REFER"))
        asking = transfers.transfer(self.info, target)
        self._transfer = DelegatedTransfer(asking, self._context.clock)
        return self._transfer.done

    def _is_answered(self) -> bool:
        """Return whether the call is answered.  An early dialog is not."""
        return not self._is_over

    # -- AudioUser --------------------------------------------------------------

    def audio_held(self, is_held: bool) -> None:
        if self._call is not None:
            self._call.oddity_seen("on_hold" if is_held else "resumed")

    def audio_timed_out(self, seconds: float) -> None:
        self._lost(f"no media from the peer for {seconds:g} s")

    def hold_unheard(self) -> None:
        """Check by OPTIONS whether the dialog still exists (RFC 3261 section 11)."""
        if self._dialog is not None and self._is_answered():
            self._dialog.request("OPTIONS", answered=self._hold_checked)

    def _hold_checked(self, response: Response | None) -> None:
        if response is None or response.status in (408, 481):
            self._lost("the peer on hold has gone away")

    def audio_failed(self) -> None:
        self.failed()

    def keys_agreed(self) -> None:
        """Does nothing by default."""

    def keys_failed(self, why: str) -> None:
        ending = Ending(Outcome.CALLER_PROTOCOL_ERROR, why)
        self._surely(lambda: self._end(ending, says_bye=True))

    def network_stats(self) -> NetworkStats:
        return NetworkStats() if self._audio is None else self._audio.stats()

    def failed(self) -> None:
        """A bug in the gateway ends this call only."""
        self._end(Ending(Outcome.INTERNAL_ERROR, "internal error"), says_bye=True)

    # -- requests from the peer -------------------------------------------------

    def request_received(self, incoming: Incoming) -> None:
        """Process a request of this dialog, other than ACK and CANCEL."""
        request = incoming.request
        assert self._dialog is not None
        if not self._dialog.dialog.in_order(request):
            incoming.respond(500, phrase="CSeq is out of order")
            return
        self._dialog.flow = incoming.flow
        responder = RESPONDERS.get(request.method)
        if responder is None:
            incoming.respond(405, extra=(ALLOW,))
            return
        try:
            getattr(self, responder)(incoming)
        except TooSmall:
            least = str(self._context.settings.min_se_seconds)
            incoming.respond(422, extra=(("Min-SE", least),))
        except BadMessage as exc:
            extra = (ACCEPT,) if exc.status == 415 else ()
            incoming.respond(exc.status, phrase=str(exc), extra=extra)

    def ack_received(self, request: Request, flow: Flow) -> None:
        """Process the ACK of a 2xx."""
        answer = self._unacknowledged.acknowledged(request.cseq)
        if answer is None:
            return  # a repeated one, or unknown
        assert self._dialog is not None
        self._dialog.flow = flow
        self._acknowledged()
        if answer.is_offer and not self._is_over:
            self._take_answer(request)

    def _acknowledged(self) -> None:
        """A 2xx of the gateway was acknowledged."""

    def _take_answer(self, message: Message) -> bool:
        """Take the answer to an offer.  If it cannot be used, the call ends."""
        assert self._audio is not None
        try:
            body = session_body(message)
            if not body:
                raise NotAcceptable("there is no answer to the gateway's offer")
            self._audio.agree(self._audio.descriptions.take_answer(body))
        except (NotAcceptable, BadMessage) as exc:
            ending = Ending(Outcome.CALLER_PROTOCOL_ERROR, str(exc))
            self._end(ending, says_bye=True)
            return False
        return True

    def _bye(self, incoming: Incoming) -> None:
        incoming.respond(200)
        reason = readable(incoming.request.headers.get("Reason") or "")
        why = f"the caller hung up ({reason[:80]})" if reason else "the caller hung up"
        if self._transfer is not None:
            # The caller is with the target.
            self._transfer.succeed()
        self._end(Ending(Outcome.COMPLETED, why), says_bye=False)

    def _options(self, incoming: Incoming) -> None:
        incoming.respond(200, extra=(ALLOW, SUPPORTED, ACCEPT))

    def _info(self, incoming: Incoming) -> None:
        request = incoming.request
        kind = content_type(request)
        digit = info_digit(kind, request.body)
        if digit is not None:
            incoming.respond(200)
            self.digit_pressed(digit)
        elif not must_be_understood(request):
            incoming.respond(200)
        elif kind in INFO_TYPES:
            incoming.respond(400, phrase="no digit in the body")
        else:
            incoming.respond(415, extra=(ACCEPT,))

    def _reinvite(self, incoming: Incoming) -> None:
        if self._session.is_inviting:
            incoming.respond(491)
            return
        answered = self._answer_again(incoming)
        if answered is None:
            return
        headers, body = answered
        if not body:
            assert self._audio is not None
            body = self._audio.descriptions.make_offer()
        self._answer_reliably(incoming, (*headers, SDP_TYPE), body)

    def _update(self, incoming: Incoming) -> None:
        """An UPDATE came (RFC 3311)."""
        if self._session.is_inviting and incoming.request.body:
            incoming.respond(491)
            return
        answered = self._answer_again(incoming)
        if answered is not None:
            headers, body = answered
            extra = (*headers, SDP_TYPE) if body else headers
            incoming.respond(200, extra=extra, body=body)

    def _answer_again(
        self, incoming: Incoming
    ) -> tuple[tuple[Header, ...], bytes] | None:
        """Answer a new offer in the dialog; C{None}: rejected, nothing has changed."""
        request = incoming.request
        assert self._dialog is not None and self._audio is not None
        contact_uri(request)  # a malformed one is rejected before anything changes
        timer, timer_headers = answer_timer(
            request, self._context.settings.min_se_seconds
        )
        body = session_body(request)
        if body:
            try:
                terms, body = self._audio.descriptions.take_offer(body)
            except NotAcceptable as exc:
                incoming.respond(488, extra=(warning(str(exc)),))
                return None
            self._audio.agree(terms)
        self._dialog.dialog.refresh_target(request)
        self._session.run(timer)
        return (self._dialog.contact(), ALLOW, SUPPORTED, *timer_headers), body

    def _notify(self, incoming: Incoming) -> None:
        """A NOTIFY reports the progress of a REFER (RFC 3515 section 2.4.4)."""
        if self._transfer is None:
            incoming.respond(481)
            return
        incoming.respond(200)
        self._transfer.notified(incoming.request.body)

    def _answer_reliably(
        self, incoming: Incoming, headers: tuple[Header, ...], body: bytes
    ) -> None:
        assert self._dialog is not None
        to_tag = self._dialog.dialog.local_tag
        self._unacknowledged.send(incoming, to_tag, headers, body)

    def _never_acknowledged(self) -> None:
        """No ACK came: end the session (RFC 3261 section 13.3.1.4)."""
        self._lost("the answer was never acknowledged (no ACK)")

    # -- session timer ----------------------------------------------------------

    def _run_session(self, timer: SessionTimer | None) -> None:
        assert self._dialog is not None
        self._session.begin(self._dialog, self._peer_allows, timer)

    def _repeat_offer(self) -> bytes:
        assert self._audio is not None
        return self._audio.descriptions.repeat_offer()

    def _refreshed(self, response: Response) -> None:
        assert self._dialog is not None
        with suppress(BadMessage):  # the remote target stays the same then
            self._dialog.dialog.refresh_target(response)
        if response.cseq_method == "INVITE":
            self._take_answer(response)

    # -- the end ----------------------------------------------------------------

    def _surely(self, do: Callable[[], None]) -> None:
        """Run something that is not repeated: if it fails, this call ends."""
        try:
            do()
        except Exception:
            try:
                self._log.failure("a bug in a call over SIP")
            finally:
                self.failed()

    def _lost(self, why: str) -> None:
        ending = Ending(Outcome.CALLER_LOST, why)
        self._surely(lambda: self._end(ending, says_bye=True))

    def _end(self, ending: Ending, *, says_bye: bool) -> None:
        """End the leg: release its resources, notify the call, send the BYE."""
        call = self._call
        try:
            self._release(ending if says_bye else None)
        finally:
            if call is not None:
                call.leg_ended(ending)

    def _release(self, farewell: Ending | None = None) -> None:
        """
        Release everything except transactions, which end on their own.  May be repeated
        after a failure.

        @param farewell: the reason in the BYE; C{None}: send no BYE.
        """
        if not self._is_over:
            self._is_over = True
            self._farewell = farewell
        self._call = None
        steps = SipLeg._leave_carrier, SipLeg._close_audio, type(self)._stop
        Release(self, (*steps, SipLeg._say_bye)).run()

    def _leave_carrier(self) -> None:
        dialog = None if self._dialog is None else self._dialog.dialog
        self._context.owner.leg_over(self, dialog)

    def _close_audio(self) -> None:
        if self._audio is not None:
            self._audio.close(self.info.carrier_call_id)
            self._audio = None

    def _stop(self) -> None:
        self._unacknowledged.stop()
        self._session.stop()
        if self._transfer is not None:
            self._transfer.fail("the call ended during the transfer")

    def _say_bye(self) -> None:
        if self._farewell is not None and self._dialog is not None:
            self._dialog.say_bye(self._farewell)
            self._farewell = None
