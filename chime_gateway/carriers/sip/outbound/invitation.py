"""
Makes the INVITEs of one outbound call: From, To and Call-ID stay the same for every
attempt and target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chime_gateway.carriers.sip.context import ALLOW, SDP_TYPE, SUPPORTED, SipContext
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.carriers.sip.outbound.target import Target
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.runner import Runner
from chime_gateway.carriers.sip.transport.transactions import InviteParts
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.dialog import Dialog, dialog_of_response
from chime_gateway.wire.sip.digest import Exchange
from chime_gateway.wire.sip.format import format_request, uri_host
from chime_gateway.wire.sip.message import BadMessage, Header, Response, Source
from chime_gateway.wire.sip.session_timer import min_se

#: How often a longer session interval is accepted from a 422.
_MOST_INTERVALS: Final = 2


class Invitation:
    """
    The INVITE of one call, with its repetitions.

    @ivar credentials: the credentials of the current INVITE.
    @param answered: called with every response.
    @param timed_out: called if there was no final response.
    """

    def __init__(
        self,
        context: SipContext,
        trunk: SipTrunk,
        number: str,
        call_id: str,
        *,
        answered: Callable[[Response], None],
        timed_out: Callable[[], None],
    ) -> None:
        self.credentials: tuple[Header, ...] = ()
        self._context = context
        self._trunk = trunk
        self._number = number
        self._call_id = call_id
        self._answered = answered
        self._timed_out = timed_out
        self._tag = context.new_token()
        self._cseq = 0
        self._interval = context.settings.session_expires_seconds
        self._min_se: int | None = None
        self._intervals = 0
        self._digest = context.new_digest()
        self._exchange: Exchange | None = None
        self._target: Target
        self._offer = b""
        self._from = ""
        self._runner: Runner | None = None

    def send(self, target: Target, offer: bytes) -> None:
        """
        Send it to a new target.

        @param target: the target, with the address of its host.
        """
        self._target, self._offer = target, offer
        if self._digest is not None:
            self._exchange = self._digest.exchange("INVITE")
        self._send()

    def sent_again(self, response: Response) -> bool:
        """
        Repeat the INVITE if a refusal asks for credentials or a longer interval.

        @return: whether it was repeated.
        """
        status, exchange = response.status, self._exchange
        if status in (401, 407) and exchange is not None:
            if not exchange.challenged(response):
                return False
        elif status == 422:
            least = min_se(response)
            self._intervals += 1
            is_longer = least is not None and least > self._interval
            if not is_longer or self._intervals > _MOST_INTERVALS:
                return False
            assert least is not None
            self._interval = self._min_se = least
        else:
            return False
        self._send()
        return True

    def cancel(self) -> None:
        """Cancel the INVITE."""
        if self._runner is not None:
            self._runner.cancel()

    # -- dialogs -----------------------------------------------------------------

    def live(self, dialog: Dialog) -> LiveDialog:
        hop = self._target.hop
        flow = Flow(hop.transport, Source(hop.host, hop.port))
        return LiveDialog(self._context, dialog, flow, self._digest)

    def early_dialog(self, response: Response) -> Dialog | None:
        """Return the dialog of a provisional response; C{None}: it has no valid one."""
        try:
            return self._dialog(response)
        except BadMessage:
            return None

    def dialog(self, response: Response) -> tuple[Dialog, str]:
        """
        Return the dialog of a 2xx, and what is wrong with it.  Even a malformed one
        means that a telephone was answered, so it has to be sent a BYE.
        """
        if self._exchange is not None:
            self._exchange.accepted(response)
        try:
            return self._dialog(response), ""
        except BadMessage as exc:
            dialog = Dialog(
                call_id=self._call_id,
                local_tag=self._tag,
                remote_tag=response.to_tag,
                local=self._from,
                remote=response.headers["To"],
                remote_target=self._target.uri,
                route_set=(),
                local_cseq=response.cseq,
                remote_cseq=None,
                is_secure=self._target.is_secure,
            )
            return dialog, str(exc)

    def _dialog(self, response: Response) -> Dialog:
        return dialog_of_response(
            response, self._from, self._target.uri, is_secure=self._target.is_secure
        )

    # -- inside ------------------------------------------------------------------

    def _send(self) -> None:
        context, target = self._context, self._target
        exchange, transport = self._exchange, target.hop.transport
        credentials = () if exchange is None else exchange.headers(target.uri)
        self.credentials = credentials
        self._cseq += 1
        branch = context.new_branch()
        head = self._head(branch)
        self._from = head[2][1]
        host = uri_host(self._trunk.host.strip("[]"))
        to, call_id = ("To", f"<sip:{self._number}@{host}>"), head[3]
        cseq = self._cseq

        def request(method: str, to: Header, *rest: Header, body: bytes = b"") -> bytes:
            lines = [*head[:3], to, call_id, ("CSeq", f"{cseq} {method}"), *rest]
            return format_request(method, target.uri, lines, body)

        def make_ack(response: Response) -> bytes:
            # RFC 3261 section 17.1.1.3: as the INVITE, with the To of the answer.
            return request("ACK", ("To", response.headers["To"]), *credentials)

        least = () if self._min_se is None else (("Min-SE", str(self._min_se)),)
        data = request(
            "INVITE",
            to,
            context.contact(transport, target.hop.host, is_secure=target.is_secure),
            ALLOW,
            SUPPORTED,
            ("Session-Expires", str(self._interval)),
            *least,
            *credentials,
            SDP_TYPE,
            body=self._offer,
        )
        self._runner = runner = context.transactions.start(
            data,
            branch,
            "INVITE",
            is_reliable=transport != "udp",
            send=lambda data: self._deliver(data, target, lambda: runner),
            answered=self._answered,
            timed_out=self._timed_out,
            invite=InviteParts(make_ack, lambda: request("CANCEL", to)),
        )

    def _head(self, branch: str) -> list[Header]:
        """Return the headers that INVITE, ACK and CANCEL share, without To and CSeq."""
        context, hop = self._context, self._target.hop
        host, _ = context.transports.address(hop.transport, hop.host)
        user = self._trunk.from_number or "anonymous"
        return [
            ("Via", context.via(hop.transport, hop.host, branch)),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{user}@{uri_host(host)}>;tag={self._tag}"),
            ("Call-ID", self._call_id),
        ]

    def _deliver(
        self, data: bytes, target: Target, runner: Callable[[], Runner]
    ) -> None:
        transports = self._context.transports
        if target.hop.transport == "udp":
            transports.send_datagram(data, target.hop)
        else:
            transports.connect(
                data,
                target.hop,
                lambda: runner().transport_failed(),
                tls_name=target.name,
            )
