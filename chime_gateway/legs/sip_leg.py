"""
The caller's leg over SIP and RTP: what calls in both directions share.

A L{SipLeg} owns one dialog, one pair of ports and one stream of audio.  How the
dialog came to be is in L{chime_gateway.legs.sip_inbound} and
L{chime_gateway.legs.sip_outbound}; what becomes of the audio is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from attrs import Factory, define
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.errors import TransferFailed
from chime_gateway.frames import CODECS, PCMU, Codec
from chime_gateway.interfaces import (
    CallerInfo,
    Ending,
    LegEvents,
    Outcome,
    Switchboard,
    Transfers,
)
from chime_gateway.legs.rtp_port import PortPool, RtpPort
from chime_gateway.legs.rtp_stream import RtpStream, Terms
from chime_gateway.legs.sip_access import Access
from chime_gateway.legs.sip_media import NotAcceptable, SessionDescriptions
from chime_gateway.legs.sip_transactions import Incoming, Transactions
from chime_gateway.legs.sip_transport import Flow, SipTransports
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.settings import SipSettings
from chime_gateway.wire import sdp
from chime_gateway.wire.dtmf import info_digit
from chime_gateway.wire.sip import (
    MAGIC_COOKIE,
    BadMessage,
    Header,
    Message,
    Request,
    Response,
    content_type,
    host_port,
)
from chime_gateway.wire.sipauth import DigestClient
from chime_gateway.wire.sipdialog import Dialog, Hop
from chime_gateway.wire.siptimer import SessionTimer, TooSmall, answer_timer

METHODS: Final = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "UPDATE",
    "INFO",
    "NOTIFY",
)
ALLOW: Final[Header] = ("Allow", ", ".join(METHODS))
SUPPORTED: Final[Header] = ("Supported", "timer")
ACCEPT: Final[Header] = (
    "Accept",
    f"{sdp.CONTENT_TYPE}, application/dtmf-relay, application/dtmf",
)
_SDP: Final[Header] = ("Content-Type", sdp.CONTENT_TYPE)

#: What a call that cannot be taken is answered with.  REFUSED depends.
STATUS: Final[Mapping[Outcome, int]] = {
    Outcome.AGENT_UNAVAILABLE: 503,
    Outcome.AGENT_LOST: 503,
    Outcome.REFUSED: 503,
    Outcome.DRAINED: 503,
    Outcome.INTERNAL_ERROR: 500,
    Outcome.CALLER_PROTOCOL_ERROR: 400,
    Outcome.IDLE: 480,
    Outcome.TIME_LIMIT: 480,
}

#: Headers of the caller's side that are kept in the record; they say who calls
#: and by which way, and prove nothing.
_KEPT_HEADERS: Final = re.compile(
    r"(x-.{1,60}|user-to-user|diversion|p-asserted-identity|privacy)\Z", re.IGNORECASE
)
_MAX_KEPT: Final = 40
_MAX_KEPT_CHARS: Final = 2048

#: How often a leg looks after itself, in seconds.
_CHECK_SECONDS: Final = 0.5

#: A transfer that the other side says nothing of any more has failed.
_TRANSFER_SECONDS: Final = 60.0

_FRAGMENT: Final = re.compile(rb"SIP/2\.0 (\d{3})")


class LegOwner(Protocol):
    """Who keeps the legs."""

    def dialog_made(self, leg: SipLeg, dialog: Dialog) -> None: ...
    def leg_over(self, leg: SipLeg, dialog: Dialog | None) -> None: ...


@define(kw_only=True, eq=False)
class SipContext:
    """
    What all legs of the carrier share.

    @ivar new_token: a fresh random text, for tags, branches and Call-IDs.
    @ivar random32: a fresh random number.
    @ivar wall_time: Unix seconds.
    @ivar transfers: how calls are handed on where the peer does not take REFER.
    """

    settings: SipSettings
    switchboard: Switchboard
    transports: SipTransports
    transactions: Transactions
    ports: PortPool
    access: Access
    clock: IReactorTime
    reactor: Any
    metronome: Metronome
    wall_time: Callable[[], float]
    new_token: Callable[[], str]
    random32: Callable[[], int]
    transfers: Transfers | None = None
    owner: LegOwner
    finished: NetworkStats = Factory(NetworkStats)

    def via(self, transport: str, remote_host: str, branch: str) -> str:
        host, port = self.transports.address(transport, remote_host)
        sent_by = host_port(host, port)
        return f"SIP/2.0/{transport.upper()} {sent_by};branch={branch};rport"

    def contact(self, transport: str, remote_host: str) -> Header:
        host, port = self.transports.address(transport, remote_host)
        parameter = "" if transport == "udp" else f";transport={transport}"
        return "Contact", f"<sip:chimegw@{host_port(host, port)}{parameter}>"

    def new_branch(self) -> str:
        return MAGIC_COOKIE + self.new_token()


def caller_info(request: Request) -> CallerInfo:
    """What an INVITE says of itself."""
    parameters: dict[str, str] = {}
    for name in request.headers.keys():  # noqa: SIM118
        if _KEPT_HEADERS.match(name) and len(parameters) < _MAX_KEPT:
            value = request.headers.get(name) or ""
            parameters[name] = value[:_MAX_KEPT_CHARS]
    lower = {name.lower(): value for name, value in parameters.items()}
    return CallerInfo(
        carrier_call_id=request.call_id,
        stream_id=lower.get("x-transaction-id", ""),
        caller=request.from_address.uri.user or "",
        called=request.uri.user or lower.get("x-dialed-number", ""),
        agent=lower.get("x-agent", ""),
        parameters=parameters,
    )


class SipLeg:
    """
    One side of one call (L{chime_gateway.interfaces.CallLeg}).

    @ivar flow: by which the other side last spoke.
    """

    carrier = "sip"
    buffers = False
    codec: Codec = PCMU
    _log = Logger()

    def __init__(self, context: SipContext, info: CallerInfo) -> None:
        self.info = info
        self.flow: Flow
        self._context = context
        self._call: LegEvents | None = None
        self._is_over = False
        self._dialog: Dialog | None = None
        self._port: RtpPort | None = None
        self._stream: RtpStream | None = None
        self._descriptions: SessionDescriptions | None = None
        self._is_held = False
        self._is_ticking = False
        self._check_at = 0.0
        self._lost_reported = 0
        self._session_due: IDelayedCall | None = None
        self._timer: SessionTimer | None = None
        self._peer_allows: frozenset[str] = frozenset()
        self._two_hundreds: dict[int, ReliableAnswer] = {}
        self._offers_pending: set[int] = set()
        self._is_inviting = False
        self._digest: DigestClient | None = None
        self._transfer: Deferred[None] | None = None
        self._transfer_due: IDelayedCall | None = None
        self._responders: Mapping[str, Callable[[Incoming], None]] = {
            "BYE": self._bye,
            "OPTIONS": self._options,
            "INFO": self._info,
            "INVITE": self._reinvite,
            "UPDATE": self._update,
            "NOTIFY": self._notify,
        }

    # -- CallLeg ---------------------------------------------------------------

    def answer(self) -> None:
        raise NotImplementedError

    def hang_up(self, ending: Ending) -> None:
        raise NotImplementedError

    def play(self, audio: bytes) -> None:
        if self._stream is not None:
            self._stream.play(audio)

    def clear(self) -> None:
        if self._stream is not None:
            self._stream.clear()

    def mark(self, name: str) -> None:
        """A leg that is fed frame by frame has no marks."""

    def send_digits(self, digits: str) -> bool:
        return self._stream is not None and self._stream.send_digits(digits)

    def transfer(self, target: str) -> Deferred[None]:
        """
        Hand the other side on: by REFER where it is understood (RFC 3515),
        otherwise by who controls the call.
        """
        if self._transfer is not None:
            return fail(TransferFailed("a transfer is under way"))
        if self._dialog is None or self._is_over:
            return fail(TransferFailed("the call is over"))
        if "REFER" not in self._peer_allows:
            transfers = self._context.transfers
            if transfers is None:
                return fail(TransferFailed("the peer takes no REFER"))
            return transfers.transfer(self.info, target)
        return self._refer(target)

    # -- media -----------------------------------------------------------------

    def _open_media(self, remote_host: str) -> SessionDescriptions:
        """
        @raise NoPortFree: there is none.
        """
        context = self._context
        settings = context.settings
        host = context.transports.host(remote_host)
        stream = RtpStream(
            self.codec,
            self,
            is_allowed=context.access.allows,
            clock=context.clock.seconds,
            wall_time=context.wall_time,
            random32=context.random32,
            cname=f"{context.new_token()}@{host}",
        )
        port = context.ports.lend(stream.rtp_received, stream.rtcp_received)
        stream.attach(port.send_rtp, port.send_rtcp)
        self._port, self._stream = port, stream
        self._descriptions = SessionDescriptions(
            host=host,
            port=port.number,
            codecs=[CODECS[name] for name in settings.codecs],
            requires_srtp=settings.requires_srtp,
            is_allowed=context.access.allows,
            session_id=context.random32(),
        )
        return self._descriptions

    def _agree(self, terms: Terms) -> None:
        assert self._stream is not None
        self._stream.agree(terms)
        is_held = not (terms.sends and terms.receives)
        if is_held != self._is_held and self._call is not None:
            self._call.oddity_seen("on_hold" if is_held else "resumed")
        self._is_held = is_held
        if not self._is_ticking:
            self._is_ticking = True
            self._context.metronome.add(self._tick, self._tick_failed)

    def caller_audio(self, audio: bytes) -> None:
        """From the stream."""
        if self._call is not None:
            self._call.caller_audio(audio)

    def digit_pressed(self, digit: str) -> None:
        """From the stream, or an INFO."""
        if self._call is not None:
            self._call.digit_pressed(digit)

    def _tick(self, now: float, due: int) -> None:
        assert self._stream is not None
        self._stream.tick(now, due)
        call = self._call
        if call is None:
            return
        if self._is_held:
            # A held line is not a dead one, and the model wants to hear it.
            call.caller_audio(self.codec.silence(self.codec.frame_bytes * due))
        if now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            self._check(call, now)

    def _check(self, call: LegEvents, now: float) -> None:
        assert self._stream is not None
        stats = self._stream.refresh_stats()
        if stats.lost > self._lost_reported:
            frames = stats.lost - self._lost_reported
            self._lost_reported = stats.lost
            call.audio_dropped("lost_in_network", frames * self.codec.frame_bytes)
        timeout = self._context.settings.media_timeout_seconds
        if not self._is_held and now - self._stream.heard_at >= timeout:
            why = f"no media from the other side for {timeout:g} s"
            self._end(Ending(Outcome.CALLER_LOST, why), says_bye=True)

    def _tick_failed(self, failure: Failure) -> None:
        self._end(Ending(Outcome.INTERNAL_ERROR, "internal error"), says_bye=True)

    def network_stats(self) -> NetworkStats:
        return NetworkStats() if self._stream is None else self._stream.refresh_stats()

    # -- requests from the other side, in the dialog ---------------------------

    def request_received(self, incoming: Incoming) -> None:
        """A request of this dialog, other than ACK and CANCEL."""
        request = incoming.request
        assert self._dialog is not None
        if not self._dialog.in_order(request):
            incoming.respond(500, phrase="CSeq is out of order")
            return
        self.flow = incoming.flow
        respond = self._responders.get(request.method)
        if respond is None:
            incoming.respond(405, extra=(ALLOW,))
            return
        try:
            respond(incoming)
        except TooSmall:
            least = str(self._context.settings.min_se_seconds)
            incoming.respond(422, extra=(("Min-SE", least),))
        except BadMessage as exc:
            incoming.respond(exc.status, phrase=str(exc))

    def ack_received(self, request: Request, flow: Flow) -> None:
        """The ACK of one of our 2xx."""
        answer = self._two_hundreds.pop(request.cseq, None)
        if answer is None:
            return
        answer.stop()
        self.flow = flow
        if request.cseq in self._offers_pending:
            self._offers_pending.discard(request.cseq)
            self._take_answer(request)
        self._acked()

    def _acked(self) -> None:
        """A 2xx of ours has arrived."""

    def _take_answer(self, message: Message) -> None:
        """To an offer of ours: in an ACK or in a 2xx."""
        assert self._descriptions is not None
        try:
            if content_type(message) != sdp.CONTENT_TYPE:
                raise NotAcceptable("there is no answer to our offer")
            self._agree(self._descriptions.take_answer(message.body))
        except NotAcceptable as exc:
            ending = Ending(Outcome.CALLER_PROTOCOL_ERROR, str(exc))
            self._end(ending, says_bye=True)

    def _bye(self, incoming: Incoming) -> None:
        incoming.respond(200)
        reason = incoming.request.headers.get("Reason")
        why = f"the caller hung up ({reason[:80]})" if reason else "the caller hung up"
        if self._transfer is not None:
            transfer, self._transfer = self._transfer, None
            self._forget_transfer_due()
            transfer.callback(None)
            if self._is_over:
                return
        self._end(Ending(Outcome.COMPLETED, why), says_bye=False)

    def _options(self, incoming: Incoming) -> None:
        incoming.respond(200, extra=(ALLOW, SUPPORTED, ACCEPT))

    def _info(self, incoming: Incoming) -> None:
        request = incoming.request
        if not request.body:
            incoming.respond(200)
            return
        kind = content_type(request)
        digit = info_digit(kind, request.body)
        if digit is not None:
            incoming.respond(200)
            self.digit_pressed(digit)
        elif kind in ("application/dtmf-relay", "application/dtmf"):
            incoming.respond(400, phrase="no digit in the body")
        else:
            incoming.respond(415, extra=(ACCEPT,))

    def _reinvite(self, incoming: Incoming) -> None:
        if self._is_inviting:
            incoming.respond(491)
            return
        request = incoming.request
        answered = self._answer_again(incoming)
        if answered is None:
            return
        headers, body = answered
        if not request.body:
            assert self._descriptions is not None
            body = self._descriptions.make_offer()
            self._offers_pending.add(request.cseq)
        headers = (*headers, _SDP)
        self._answer_reliably(incoming, headers, body)

    def _update(self, incoming: Incoming) -> None:
        """RFC 3311."""
        if self._is_inviting and incoming.request.body:
            incoming.respond(491)
            return
        answered = self._answer_again(incoming)
        if answered is None:
            return
        headers, body = answered
        incoming.respond(200, extra=(*headers, _SDP) if body else headers, body=body)

    def _answer_again(
        self, incoming: Incoming
    ) -> tuple[tuple[Header, ...], bytes] | None:
        """A new offer in the dialog; C{None}: it was refused, all is as before."""
        request, context = incoming.request, self._context
        assert self._dialog is not None and self._descriptions is not None
        timer, timer_headers = answer_timer(request, context.settings.min_se_seconds)
        body = b""
        if request.body:
            if content_type(request) != sdp.CONTENT_TYPE:
                incoming.respond(415, extra=(ACCEPT,))
                return None
            try:
                terms, body = self._descriptions.take_offer(request.body)
            except NotAcceptable as exc:
                incoming.respond(488, extra=(warning(str(exc)),))
                return None
            self._agree(terms)
        self._dialog.refresh_target(request)
        self._run_timer(timer)
        return (self._contact(), ALLOW, SUPPORTED, *timer_headers), body

    def _notify(self, incoming: Incoming) -> None:
        """How a REFER of ours goes on (RFC 3515 section 2.4.4)."""
        request = incoming.request
        if self._transfer is None:
            incoming.respond(481)
            return
        incoming.respond(200)
        found = _FRAGMENT.match(request.body.lstrip())
        status = int(found[1]) if found else 0
        if status >= 200:
            self._transferred(None if status < 300 else f"answered with {status}")

    def _answer_reliably(
        self, incoming: Incoming, headers: tuple[Header, ...], body: bytes
    ) -> None:
        assert self._dialog is not None
        answer = ReliableAnswer(
            self._context,
            incoming,
            self._dialog.local_tag,
            headers,
            body,
            self._never_acked,
        )
        self._two_hundreds[incoming.request.cseq] = answer
        answer.send()

    def _never_acked(self) -> None:
        """RFC 3261 section 13.3.1.4: the session is ended."""
        self._two_hundreds.clear()
        self._end(
            Ending(Outcome.CALLER_LOST, "our answer was never acknowledged (no ACK)"),
            says_bye=True,
        )

    # -- requests of ours, in the dialog ---------------------------------------

    def _contact(self) -> Header:
        return self._context.contact(self._transport(), self.flow.source.host)

    def _transport(self) -> str:
        assert self._dialog is not None
        transport = self._dialog.next_hop().transport
        if transport and self._context.transports.has(transport):
            return transport
        return self.flow.transport

    def _send(self, data: bytes, failed: Callable[[], None]) -> None:
        """To the next hop of the dialog; never to a network that is not allowed."""
        assert self._dialog is not None
        context, flow = self._context, self.flow
        transport = self._transport()
        hop = self._dialog.next_hop()
        is_same = transport != "udp" and flow.transport == transport
        if is_same and context.transports.send(data, flow):
            return
        # A Contact in a private network, or a name: the way it came leads there.
        if context.access.allows(hop.host):
            target = Hop(hop.host, hop.port, transport)
        elif transport == "udp" and flow.transport == "udp":
            target = Hop(flow.source.host, flow.source.port, transport)
        else:
            target = Hop(flow.source.host, hop.port, transport)
        if transport == "udp":
            context.transports.send_datagram(data, target)
        else:
            context.transports.connect(data, target, failed)

    def _request(
        self,
        method: str,
        headers: tuple[Header, ...] = (),
        body: bytes = b"",
        answered: Callable[[Response | None], None] = lambda _: None,
    ) -> None:
        """
        Send a request in the dialog.

        @param answered: told the final answer; C{None}: there was none.
        """
        assert self._dialog is not None
        context, dialog = self._context, self._dialog
        transport = self._transport()
        branch = context.new_branch()
        via = context.via(transport, self.flow.source.host, branch)
        data = dialog.request(method, via, headers, body)
        cseq = dialog.local_cseq

        def response(response: Response) -> None:
            if response.status < 200:
                return
            if response.status in (401, 407) and self._digest is not None:
                uri = dialog.remote_target
                again = self._digest.answer(response, method, uri)
                if again is not None:
                    self._request(method, (*headers, again), body, answered)
                    return
            if method == "INVITE" and response.status < 300:
                self._acknowledge(cseq)
            answered(response)

        def timed_out() -> None:
            answered(None)

        def ack(response: Response) -> bytes:
            return dialog.request("ACK", via, cseq=cseq)

        runner = context.transactions.start(
            data,
            branch,
            method,
            is_reliable=transport != "udp",
            send=lambda data: self._send(data, lambda: runner.transport_failed()),
            answered=response,
            timed_out=timed_out,
            ack=ack if method == "INVITE" else None,
        )

    def _acknowledge(self, cseq: int) -> None:
        assert self._dialog is not None
        context = self._context
        host = self.flow.source.host
        via = context.via(self._transport(), host, context.new_branch())
        self._send(self._dialog.request("ACK", via, cseq=cseq), lambda: None)

    def _say_bye(self, ending: Ending) -> None:
        text = re.sub(r'["\\\r\n]', "", ending.reason)[:100]
        cause = 200 if ending.outcome is not Outcome.INTERNAL_ERROR else 500
        reason = f'SIP;cause={cause};text="{text}"'
        self._request("BYE", (("Reason", reason),))

    # -- session timer ---------------------------------------------------------

    def _run_timer(self, timer: SessionTimer | None) -> None:
        due, self._session_due = self._session_due, None
        if due is not None and due.active():
            due.cancel()
        self._timer = timer
        if timer is not None and not self._is_over:
            after = timer.refresh_after if timer.we_refresh else timer.give_up_after
            self._session_due = self._context.clock.callLater(after, self._session_over)

    def _session_over(self) -> None:
        self._session_due = None
        timer = self._timer
        assert timer is not None
        if not timer.we_refresh:
            why = f"the session was not refreshed within {timer.interval} s"
            self._end(Ending(Outcome.CALLER_LOST, why), says_bye=True)
            return
        headers: tuple[Header, ...] = (
            self._contact(),
            ("Session-Expires", f"{timer.interval};refresher=uac"),
            SUPPORTED,
            ALLOW,
        )
        if "UPDATE" in self._peer_allows:
            self._request("UPDATE", headers, b"", self._refreshed)
            return
        assert self._descriptions is not None
        self._is_inviting = True
        body = self._descriptions.make_offer()
        self._request("INVITE", (*headers, _SDP), body, self._refreshed)

    def _refreshed(self, response: Response | None) -> None:
        self._is_inviting = False
        if self._is_over:
            return
        status = 408 if response is None else response.status
        if response is None or status in (408, 481):
            why = f"the session could not be refreshed ({status})"
            self._end(Ending(Outcome.CALLER_LOST, why), says_bye=True)
            return
        timer = self._timer
        if timer is None:
            return
        if status < 300:
            assert self._dialog is not None
            self._dialog.refresh_target(response)
            self._run_timer(timer)
            if response.cseq_method == "INVITE":
                self._take_answer(response)
        else:
            # Once more before time is up, then the other side gives up.
            half = SessionTimer(max(20, timer.interval // 2), True)
            self._run_timer(half)

    # -- transfer --------------------------------------------------------------

    def _refer(self, target: str) -> Deferred[None]:
        uri = target if ":" in target else f"sip:{target}@{self.flow.source.host}"
        transfer: Deferred[None] = Deferred(lambda _: self._transferred("cancelled"))
        self._transfer = transfer
        self._transfer_due = self._context.clock.callLater(
            _TRANSFER_SECONDS, self._transferred, "the other side said nothing of it"
        )
        headers = (self._contact(), ("Refer-To", f"<{uri}>"))
        self._request("REFER", headers, b"", self._referred)
        return transfer

    def _referred(self, response: Response | None) -> None:
        if response is None:
            self._transferred("not answered")
        elif response.status >= 300:
            self._transferred(f"refused with {response.status}")

    def _transferred(self, fault: str | None) -> None:
        transfer, self._transfer = self._transfer, None
        self._forget_transfer_due()
        if transfer is None or transfer.called:
            return
        if fault is None:
            transfer.callback(None)
        else:
            transfer.errback(TransferFailed(f"the transfer was {fault}"))

    def _forget_transfer_due(self) -> None:
        due, self._transfer_due = self._transfer_due, None
        if due is not None and due.active():
            due.cancel()

    # -- the end ---------------------------------------------------------------

    def _end(self, ending: Ending, *, says_bye: bool) -> None:
        """This side is over: tell the call."""
        if self._is_over:
            return
        call, self._call = self._call, None
        if says_bye:
            self._say_bye(ending)
        self._release()
        if call is not None:
            call.leg_ended(ending)

    def _release(self) -> None:
        """Ports, timers and the dialog go; transactions end by themselves."""
        if self._is_over:
            return
        self._is_over = True
        self._call = None
        context = self._context
        for answer in self._two_hundreds.values():
            answer.stop()
        self._two_hundreds.clear()
        self._run_timer(None)
        self._transferred("cut short: the call is over")
        if self._is_ticking:
            context.metronome.remove(self._tick)
        self._close_media()
        context.owner.leg_over(self, self._dialog)

    def _close_media(self) -> None:
        stream, port = self._stream, self._port
        if stream is None or port is None:
            return
        stats = stream.refresh_stats()
        if port.failures:
            stats.dropped["not_sent"] += port.failures
        stream.stop()
        self._port = None
        self._context.ports.take_back(port)
        self._context.finished.add(stats)
        self._log.info(
            "media.ended {carrier_call_id}",
            carrier_call_id=self.info.carrier_call_id,
            packets_in=stats.packets_in,
            packets_out=stats.packets_out,
            packets_lost=stats.lost,
            packets_late=stats.late,
            packets_dropped=dict(stats.dropped),
            jitter_ms=round(stats.jitter_seconds * 1000, 1),
            remote_lost=stats.remote_lost,
            round_trip_ms=None
            if stats.round_trip_seconds is None
            else round(stats.round_trip_seconds * 1000, 1),
        )
        self._stream = None


class ReliableAnswer:
    """
    A 2xx to an INVITE, repeated until its ACK comes (RFC 3261 section
    13.3.1.4), over every transport.
    """

    def __init__(
        self,
        context: SipContext,
        incoming: Incoming,
        to_tag: str,
        headers: tuple[Header, ...],
        body: bytes,
        gave_up: Callable[[], None],
    ) -> None:
        self._context = context
        self._incoming = incoming
        self._to_tag = to_tag
        self._headers = headers
        self._body = body
        self._gave_up = gave_up
        self._interval = context.transactions.timers.t1
        self._waited = 0.0
        self._due: IDelayedCall | None = None

    def send(self) -> None:
        self._due = self._context.clock.callLater(self._interval, self._again)
        self._incoming.respond(
            200, to_tag=self._to_tag, extra=self._headers, body=self._body
        )

    def stop(self) -> None:
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()

    def _again(self) -> None:
        timers = self._context.transactions.timers
        self._due = None
        self._waited += self._interval
        if self._waited >= timers.give_up:
            self._gave_up()
            return
        self._interval = min(
            2 * self._interval, timers.t2, timers.give_up - self._waited
        )
        self.send()


def warning(text: str) -> Header:
    """Why a description was not acceptable (RFC 3261 section 20.43)."""
    return "Warning", f'399 chimegw "{text}"'
