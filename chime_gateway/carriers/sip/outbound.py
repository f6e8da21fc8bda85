"""
Calls of ours over SIP: dial, answer a challenge, wait, or give up.

The agent is there before anybody is called, so whoever answers is greeted at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.carriers.sip.audio import LegAudio
from chime_gateway.carriers.sip.context import ALLOW, SDP_TYPE, SUPPORTED, SipContext
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.carriers.sip.leg import SipLeg
from chime_gateway.carriers.sip.offer_answer import NotAcceptable
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.transactions import Runner
from chime_gateway.interfaces import LegEvents
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.rtp.ports import NoPortFree
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.address import is_destination
from chime_gateway.wire.sip import sdp
from chime_gateway.wire.sip.dialog import Dialog, Hop, dialog_of_response
from chime_gateway.wire.sip.digest import Exchange
from chime_gateway.wire.sip.format import format_request, host_port, uri_host
from chime_gateway.wire.sip.message import (
    BadMessage,
    Header,
    Response,
    Source,
    content_type,
    tokens,
)
from chime_gateway.wire.sip.session_timer import accepted_timer, min_se

#: Somebody may look for the telephone for so long.
RING_SECONDS: Final = 60.0


class _State(Enum):
    WAITING = "waiting"  # for the agent
    DIALLING = "dialling"
    GIVING_UP = "giving up"  # a CANCEL is out, or waits for a first answer
    CONFIRMED = "confirmed"
    OVER = "over"


class OutboundLeg(SipLeg):
    """
    One call to C{number} through the trunk.

    @param agent: name of the profile that talks.
    """

    def __init__(
        self,
        context: SipContext,
        trunk: SipTrunk,
        number: str,
        agent: str,
        parameters: Mapping[str, str],
    ) -> None:
        call_id = context.new_token()
        info = CallerInfo(
            carrier_call_id=call_id,
            caller=trunk.from_number,
            called=number,
            agent=agent,
            parameters=parameters,
        )
        super().__init__(context, info)
        self._trunk = trunk
        self._number = number
        self._call_id = call_id
        self._state = _State.WAITING
        self._tag = context.new_token()
        self._cseq = 0
        self._interval = context.settings.session_expires_seconds
        self._min_se: int | None = None
        self._answered: Deferred[None] | None = None
        self._target: Hop
        self._offer = b""
        self._branch = ""
        self._is_proceeding = False
        self._invite: Runner | None = None
        self._ringing = Timer(context.clock)
        self._has_answer = False
        self._digest = context.new_digest()
        self._exchange: Exchange | None = None
        self._credentials: tuple[Header, ...] = ()

    def reports_to(self, call: LegEvents) -> None:
        """Whom to tell."""
        if self._state is not _State.OVER:
            self._call = call

    # -- OutboundLeg -----------------------------------------------------------

    def dial(self) -> Deferred[None]:
        answered = self._answered = Deferred(lambda _: self._give_up())
        self._state = _State.DIALLING
        host = self._trunk.host.strip("[]")
        if is_destination(host):
            # What the reactor resolves is IPv4.
            self._resolved(host)
            return answered
        self._context.reactor.resolve(host).addCallbacks(
            self._resolved,
            lambda _: self._failed(f"there is no host {host}"),
        )
        return answered

    def answer(self) -> None:
        """It was answered by the other side, or nobody would ask for this."""

    def hang_up(self, ending: Ending) -> None:
        self._call = None
        if self._state is _State.CONFIRMED:
            assert self._dialog is not None
            self._state = _State.OVER
            self._dialog.say_bye(ending)
            self._release()
        else:
            self._give_up()

    # -- dialling ----------------------------------------------------------------

    def _resolved(self, address: str) -> None:
        if self._state is not _State.DIALLING:
            return
        context, trunk = self._context, self._trunk
        if not context.access.allows(address):
            self._failed(f"{trunk.host} is {address}, which sip.allow does not have")
            return
        if not context.transports.has(trunk.transport):
            self._failed(f"nothing listens on {trunk.transport} for the answers")
            return
        self._target = Hop(address, trunk.port, trunk.transport)
        try:
            self._audio = LegAudio(context, self.codec, self, address)
        except NoPortFree as exc:
            self._failed(str(exc))
            return
        self._offer = self._audio.descriptions.make_offer()
        self._ringing.start(RING_SECONDS, self._rang_out)
        if self._digest is not None:
            self._exchange = self._digest.exchange("INVITE")
        self._send_invite()

    def _uri(self) -> str:
        trunk = self._trunk
        host = host_port(trunk.host.strip("[]"), trunk.port)
        parameter = "" if trunk.transport == "udp" else f";transport={trunk.transport}"
        return f"sip:{self._number}@{host}{parameter}"

    def _head(self, method: str) -> list[Header]:
        """What INVITE and its CANCEL have in common."""
        context, trunk = self._context, self._trunk
        host, _ = context.transports.address(trunk.transport, self._target.host)
        via = context.via(trunk.transport, self._target.host, self._branch)
        user = f"{trunk.from_number}@" if trunk.from_number else "anonymous@"
        return [
            ("Via", via),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{user}{uri_host(host)}>;tag={self._tag}"),
            ("To", f"<sip:{self._number}@{uri_host(trunk.host.strip('[]'))}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} {method}"),
        ]

    def _send_invite(self) -> None:
        context, trunk = self._context, self._trunk
        exchange = self._exchange
        credentials = () if exchange is None else exchange.headers(self._uri())
        self._credentials = credentials
        self._cseq += 1
        self._branch = context.new_branch()
        self._is_proceeding = False
        head = self._head("INVITE")
        local = head[2][1]
        headers = [
            *head,
            context.contact(trunk.transport, self._target.host),
            ALLOW,
            SUPPORTED,
            ("Session-Expires", str(self._interval)),
            *(() if self._min_se is None else (("Min-SE", str(self._min_se)),)),
            *credentials,
            SDP_TYPE,
        ]
        data = format_request("INVITE", self._uri(), headers, self._offer)

        def ack(response: Response) -> bytes:
            # RFC 3261 section 17.1.1.3: as the INVITE, with the To of the answer.
            lines = [*head[:3], ("To", response.headers["To"]), head[4]]
            cseq = head[5][1].partition(" ")[0]
            lines += [("CSeq", f"{cseq} ACK"), *credentials]
            return format_request("ACK", self._uri(), lines)

        self._invite = runner = context.transactions.start(
            data,
            self._branch,
            "INVITE",
            is_reliable=trunk.transport != "udp",
            send=lambda data: self._send_to_trunk(data, lambda: runner),
            answered=lambda response: self._response(response, local),
            timed_out=lambda: self._failed("408 nobody answered"),
            ack=ack,
        )

    def _send_to_trunk(self, data: bytes, runner: Callable[[], Runner]) -> None:
        transports = self._context.transports
        if self._trunk.transport == "udp":
            transports.send_datagram(data, self._target)
        else:
            transports.connect(
                data,
                self._target,
                lambda: runner().transport_failed(),
                tls_name=self._trunk.host,
            )

    def _response(self, response: Response, local: str) -> None:
        status = response.status
        if status < 200:
            self._is_proceeding = True
            if self._state is _State.GIVING_UP:
                self._cancel()
            elif self._state is _State.DIALLING and status > 100:
                self._progress(response)
        elif status < 300:
            self._accepted(response, local)
        elif self._state is _State.DIALLING:
            self._refused(response)

    def _progress(self, response: Response) -> None:
        """Early media is received and thrown away: it is no caller speaking."""
        if content_type(response) != sdp.CONTENT_TYPE or self._has_answer:
            return
        assert self._audio is not None
        try:
            terms = self._audio.descriptions.take_answer(response.body)
        except NotAcceptable:
            return  # the 2xx has the last word
        self._has_answer = True
        self._audio.agree(evolve(terms, receives=False))

    def _refused(self, response: Response) -> None:
        status = response.status
        if status in (401, 407) and self._is_answerable(response):
            self._send_invite()
            return
        least = min_se(response)
        if status == 422 and least is not None and least > self._interval:
            self._interval = self._min_se = least
            self._send_invite()
            return
        self._failed(f"{status} {response.phrase[:80]}")

    def _is_answerable(self, challenge: Response) -> bool:
        return self._exchange is not None and self._exchange.challenged(challenge)

    def _accepted(self, response: Response, local: str) -> None:
        if self._exchange is not None:
            self._exchange.accepted(response)
        try:
            dialog = dialog_of_response(response, local)
        except BadMessage as exc:
            self._failed(f"the answer is malformed: {exc}")
            return
        mine = self._dialog
        if mine is not None:
            # The same answer again, or that of another branch of a fork.
            if dialog.key == mine.dialog.key:
                mine.acknowledge(response.cseq, self._credentials)
            else:
                self._dismiss(dialog, response.cseq)
            return
        if self._state is not _State.DIALLING:
            self._dismiss(dialog, response.cseq)  # answered while we gave up
            return
        self._ringing.stop()
        self._dialog = self._live(dialog)
        self._context.owner.dialog_made(self, dialog)
        self._dialog.acknowledge(response.cseq, self._credentials)
        self._peer_allows = tokens(response, "Allow")
        self._state = _State.CONFIRMED
        if not self._settle(response):
            return
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(None)

    def _settle(self, response: Response) -> bool:
        assert self._audio is not None
        terms = self._audio.descriptions.terms
        if content_type(response) != sdp.CONTENT_TYPE and terms is not None:
            self._audio.agree(terms)  # it was in the 183
        elif not self._take_answer(response):
            return False
        try:
            self._session.run(accepted_timer(response))
        except BadMessage as exc:
            self._end(Ending(Outcome.CALLER_PROTOCOL_ERROR, str(exc)), says_bye=True)
            return False
        return True

    def _live(self, dialog: Dialog) -> LiveDialog:
        hop = self._target
        flow = Flow(hop.transport, Source(hop.host, hop.port))
        return LiveDialog(self._context, dialog, flow, self._digest)

    def _dismiss(self, dialog: Dialog, cseq: int) -> None:
        """An answer nobody waits for: acknowledge it and hang up."""
        unwanted = self._live(dialog)
        unwanted.acknowledge(cseq, self._credentials)
        unwanted.request("BYE")

    # -- giving up -----------------------------------------------------------------

    def _rang_out(self) -> None:
        why = f"nobody answered within {RING_SECONDS:g} s"
        call = self._call
        self._give_up()
        if call is not None:
            call.leg_ended(Ending(Outcome.UNANSWERED, why))

    def _give_up(self) -> None:
        if self._state is _State.DIALLING and self._invite is not None:
            self._state = _State.GIVING_UP
            if self._is_proceeding:
                self._cancel()
            # Else the CANCEL waits for the first answer (section 9.1).
        elif self._state is not _State.GIVING_UP:
            self._state = _State.OVER
        self._ringing.stop()
        self._answered = None
        self._release()

    def _cancel(self) -> None:
        self._state = _State.OVER
        context = self._context
        data = format_request("CANCEL", self._uri(), self._head("CANCEL"))
        runner = context.transactions.start(
            data,
            self._branch,
            "CANCEL",
            is_reliable=self._trunk.transport != "udp",
            send=lambda data: self._send_to_trunk(data, lambda: runner),
            answered=lambda _: None,
            timed_out=lambda: None,
        )

    def _failed(self, why: str) -> None:
        if self._state in (_State.GIVING_UP, _State.OVER):
            self._state = _State.OVER
            return
        self._state = _State.OVER
        self._ringing.stop()
        self._answered = None
        self._end(Ending(Outcome.UNANSWERED, why), says_bye=False)
