"""
Inbound calls over SIP: from the INVITE to the answer, and to the ACK.

The caller hears ringing, not silence, until the agent is ready.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.audio import CODECS
from chime_gateway.carriers.sip.audio import LegAudio
from chime_gateway.carriers.sip.context import (
    ACCEPT,
    ALLOW,
    SDP_TYPE,
    SUPPORTED,
    SipContext,
    warning,
)
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.carriers.sip.leg import SipLeg
from chime_gateway.carriers.sip.offer_answer import NotAcceptable
from chime_gateway.carriers.sip.transport.transactions import Incoming
from chime_gateway.errors import CallRefused, UnknownAgent
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.rtp.ports import NoPortFree
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.sip.bodies import session_body
from chime_gateway.wire.sip.dialog import Dialog, dialog_of_request
from chime_gateway.wire.sip.message import (
    BadMessage,
    Header,
    Request,
    readable,
    tokens,
)
from chime_gateway.wire.sip.session_timer import SessionTimer, TooSmall, answer_timer

#: The response to a call that cannot be served.
_STATUS: Final[Mapping[Outcome, int]] = {
    Outcome.AGENT_UNAVAILABLE: 503,
    Outcome.AGENT_LOST: 503,
    Outcome.REFUSED: 503,
    Outcome.DRAINED: 503,
    Outcome.INTERNAL_ERROR: 500,
}

#: For a refused caller: when to try again, in seconds.
RETRY_AFTER: Final[Header] = ("Retry-After", "10")

#: Headers of the caller's side that are stored in the record.  They say who calls and
#: by which route, and prove nothing.  X-Gw-Auth, which does, is not stored.
_KEPT_HEADERS: Final = re.compile(
    r"(x-(?!gw-auth\Z).{1,60}|user-to-user|diversion|p-asserted-identity|privacy)\Z",
    re.IGNORECASE,
)
_MAX_KEPT: Final = 40
_MAX_KEPT_CHARS: Final = 2048


def caller_info(request: Request) -> CallerInfo:
    """Return what an INVITE says about its caller."""
    parameters: dict[str, str] = {}
    for name in request.headers.keys():  # noqa: SIM118
        if _KEPT_HEADERS.match(name) and len(parameters) < _MAX_KEPT:
            # Several lines are one list (RFC 3261 section 7.3.1).
            value = ", ".join(request.headers.getlist(name))
            parameters[name] = readable(value[:_MAX_KEPT_CHARS])
    lower = {name.lower(): value for name, value in parameters.items()}
    return CallerInfo(
        carrier_call_id=request.call_id,
        stream_id=lower.get("x-transaction-id", ""),
        caller=request.from_address.uri.user or "",
        called=request.uri.user or lower.get("x-dialed-number", ""),
        agent=lower.get("x-agent", ""),
        parameters=parameters,
    )


#: A call that is not answered ends before proxies on the way end it (timer C, RFC 3261
#: section 16.6).
_RING_SECONDS: Final = 180.0


class _InboundState(Enum):
    RINGING = "ringing"
    ANSWERED = "answered"  # the ACK has not come
    CONFIRMED = "confirmed"
    LEAVING = "leaving"  # hung up, but the BYE has to wait for the ACK


_WITH_FAILOVER: Final = evolve(SipLeg.traits, fails_over=True)


class InboundLeg(SipLeg):
    """The leg of an inbound call, from its INVITE on."""

    def __init__(
        self, context: SipContext, incoming: Incoming, info: CallerInfo
    ) -> None:
        super().__init__(context, info)
        if context.settings.failover:
            self.traits = _WITH_FAILOVER
        self._incoming = incoming
        self._state = _InboundState.RINGING
        self._terms: Terms | None = None
        self._answer = b""
        self._timer_headers: tuple[Header, ...] = ()
        self._agreed_timer: SessionTimer | None = None
        self._leaving: Ending | None = None
        self._ringing = Timer(context.clock)
        self._arriving: Deferred[None] | None = None

    def begin(self) -> None:
        """Send 180 and open an agent, or refuse the call."""
        # Before anything that may fail.
        self._ringing.start(_RING_SECONDS, self._rang_out)
        self._incoming.respond(100)
        self._incoming.cancelled = self._cancelled
        request = self._incoming.request
        try:
            dialog = self._prepare(request)
        except TooSmall:
            least = str(self._context.settings.min_se_seconds)
            self._refuse(422, "the session interval is too small", ("Min-SE", least))
            return
        except NotAcceptable as exc:
            self._refuse(488, str(exc), warning(str(exc)))
            return
        except BadMessage as exc:
            self._refuse(exc.status, str(exc), ACCEPT)
            return
        except NoPortFree as exc:
            self._refuse(self._context.settings.full_status, str(exc), RETRY_AFTER)
            return
        # A proxy of the trunk may challenge a BYE in an inbound call, too.
        digest = self._context.new_digest()
        self._dialog = LiveDialog(self._context, dialog, self._incoming.flow, digest)
        self._context.owner.dialog_made(self, dialog)
        self._come_in()

    def _prepare(self, request: Request) -> Dialog:
        """Check the INVITE before resources are spent on it."""
        context = self._context
        body = session_body(request)
        dialog = dialog_of_request(request, context.new_token())
        self._peer_allows = tokens(request, "Allow")
        self._agreed_timer, self._timer_headers = answer_timer(
            request, context.settings.min_se_seconds
        )
        source = self._incoming.flow.source
        audio = self._audio = LegAudio(
            context, self.codec, self, source.host, is_confirmed=False
        )
        if body:
            self._terms, self._answer = audio.descriptions.take_offer(body)
            self.codec = self._terms.codec
            if self._terms.dtls is not None:
                self.traits = evolve(self.traits, arrives_later=True)
        else:
            # The answer comes with the ACK.  Whatever codec it chooses, the call uses
            # the preferred one.
            self.codec = CODECS[context.settings.codecs[0]]
            self._answer = audio.descriptions.make_offer()
        audio.set_codec(self.codec)
        return dialog

    def _refuse(self, status: int, why: str, *extra: Header) -> None:
        """Refuse the INVITE before there is a call."""
        self._incoming.respond(status, to_tag=self._context.new_token(), extra=extra)
        refused = status in (404, 486, 503)
        outcome = Outcome.REFUSED if refused else Outcome.CALLER_PROTOCOL_ERROR
        self._release()
        self._context.switchboard.turned_away(self.traits.name, Ending(outcome, why))

    def _come_in(self) -> None:
        full = self._context.settings.full_status
        try:
            call = self._context.switchboard.incoming(self)
        except UnknownAgent as exc:
            self._refuse(404, str(exc))
            return
        except CallRefused as exc:
            self._refuse(full, str(exc), RETRY_AFTER)
            return
        if self._is_over:
            return  # the call ended while it began, and has hung up
        self._call = call
        if self._state is _InboundState.RINGING:
            self._respond(180)

    # -- CallLeg -----------------------------------------------------------------

    def answer(self) -> None:
        if self._is_over or self._state is not _InboundState.RINGING:
            return
        self._context.owner.answered(self)
        assert self._dialog is not None and self._audio is not None
        contact = self._dialog.contact()
        headers = (contact, ALLOW, SUPPORTED, *self._timer_headers, SDP_TYPE)
        try:
            self._answer_reliably(self._incoming, headers, self._answer)
        finally:
            if self._incoming.is_accepted:
                self._state = _InboundState.ANSWERED
        self._ringing.stop()
        # No longer needed here: what repeats the answer has a copy.
        self._answer, self._timer_headers = b"", ()
        if self._terms is not None:
            # At once: if media began only with the caller's first packet, the caller
            # could miss the beginning of the greeting.
            self._audio.agree(self._terms)

    def arrive(self) -> Deferred[None]:
        """
        Answer, and wait for keys.  A caller who has offered DTLS cannot hear before.
        """
        self._arriving = arriving = Deferred[None]()
        self.answer()
        return arriving

    def keys_agreed(self) -> None:
        arriving = self._arriving
        if arriving is not None and not arriving.called:
            self._surely(lambda: arriving.callback(None))

    def hang_up(self, ending: Ending) -> None:
        self._call = None
        if self._state is _InboundState.RINGING:
            status = _STATUS.get(ending.outcome, 480)
            if status == 503:
                status = self._context.settings.full_status
            extra = (RETRY_AFTER,) if status == 503 else ()
            try:
                self._respond(status, extra)
            finally:
                self._release()
        else:
            self._end(ending, says_bye=True)

    def _leave(self, ending: Ending) -> None:
        """
        Hang up after the ACK.  A callee must not send a BYE before the ACK has come, or
        it is certain that none will (RFC 3261 section 15).
        """
        self._state, self._leaving = _InboundState.LEAVING, ending
        if self._audio is not None:
            self._audio.pause()

    def _is_answered(self) -> bool:
        return super()._is_answered() and self._state is not _InboundState.RINGING

    def _end(self, ending: Ending, *, says_bye: bool) -> None:
        if (
            not says_bye
            or not self._unacknowledged
            or self._state is _InboundState.CONFIRMED
        ):
            super()._end(ending, says_bye=says_bye)
        elif self._state is _InboundState.ANSWERED:
            call, self._call = self._call, None
            try:
                self._leave(ending)
            finally:
                if call is not None:
                    call.leg_ended(ending)

    def _stop(self) -> None:
        self._ringing.stop()
        self._incoming.forget()
        super()._stop()

    def _rang_out(self) -> None:
        """The call was neither answered nor refused in time."""
        why = f"the call was not answered within {_RING_SECONDS:g} s"
        ending = Ending(Outcome.AGENT_UNAVAILABLE, why)
        self._surely(lambda: self._end_unanswered(480, ending))

    def _end_unanswered(self, status: int, ending: Ending) -> None:
        """End a call that was not answered: it needs no BYE."""
        try:
            self._respond(status)
        finally:
            self._end(ending, says_bye=False)

    # -- from the peer -------------------------------------------------------------

    def _cancelled(self) -> None:
        """The caller cancelled the call before it was answered."""
        if self._is_over or self._state is not _InboundState.RINGING:
            return
        self._surely(self._end_cancelled)

    def _end_cancelled(self) -> None:
        self._context.owner.cancelled(self)
        ending = Ending(Outcome.COMPLETED, "the caller cancelled")
        self._end_unanswered(487, ending)

    def failed(self) -> None:
        if self._state is _InboundState.RINGING:
            why = Ending(Outcome.INTERNAL_ERROR, "internal error")
            self._end_unanswered(500, why)
        else:
            super().failed()

    def request_received(self, incoming: Incoming) -> None:
        method, has_body = incoming.request.method, bool(incoming.request.body)
        is_ringing = self._state is _InboundState.RINGING
        if is_ringing and method == "UPDATE" and not has_body:
            self._update_early(incoming)
            return
        if is_ringing and method not in ("BYE", "OPTIONS", "INFO"):
            is_offer = method in ("INVITE", "UPDATE")
            incoming.respond(
                500 if is_offer else 481,
                phrase="the first INVITE is not answered yet" if is_offer else "",
                extra=(("Retry-After", "2"),) if is_offer else (),
            )
            return
        if self._state is _InboundState.LEAVING and method in ("INVITE", "UPDATE"):
            incoming.respond(491)
            return
        super().request_received(incoming)

    def _update_early(self, incoming: Incoming) -> None:
        """An early UPDATE without an offer only changes the caller's Contact."""
        live, request = self._dialog, incoming.request
        assert live is not None
        try:
            if not live.dialog.in_order(request):
                raise BadMessage("CSeq is out of order", 500)
            live.dialog.refresh_target(request)
        except BadMessage as exc:
            incoming.respond(exc.status, phrase=str(exc))
            return
        incoming.respond(200, extra=(live.contact(), ALLOW, SUPPORTED))

    def _bye(self, incoming: Incoming) -> None:
        if self._state is _InboundState.RINGING:
            self._context.owner.cancelled(self)
            self._respond(487)
        super()._bye(incoming)

    def _acknowledged(self) -> None:
        self._context.owner.acknowledged(self)
        if self._state is _InboundState.ANSWERED:
            self._state = _InboundState.CONFIRMED
            if self._audio is not None:
                self._audio.confirm()
            self._run_session(self._agreed_timer)
        elif self._state is _InboundState.LEAVING:
            assert self._leaving is not None
            self._state = _InboundState.CONFIRMED
            self._end(self._leaving, says_bye=True)

    def _never_acknowledged(self) -> None:
        if self._state is _InboundState.LEAVING:
            self._acknowledged()
        else:
            self._state = _InboundState.CONFIRMED
            super()._never_acknowledged()

    def _respond(self, status: int, extra: tuple[Header, ...] = ()) -> None:
        live = self._dialog
        if live is None:
            self._incoming.respond(status, to_tag=self._context.new_token())
            return
        if status == 180:
            extra = (live.contact(), ALLOW)
        self._incoming.respond(status, to_tag=live.dialog.local_tag, extra=extra)
