"""
A SIP dialog with a path to the peer: sends requests, and repeats answers until they are
acknowledged.

L{chime_gateway.wire.sip.dialog} makes headers and routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from chime_gateway.carriers.sip.context import SipContext
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.transactions import Incoming, InviteParts
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.address import is_destination
from chime_gateway.wire.sip.bodies import session_body
from chime_gateway.wire.sip.dialog import Dialog, Hop
from chime_gateway.wire.sip.digest import DigestClient, Exchange
from chime_gateway.wire.sip.message import Header, Response


@frozen
class _OwnRequest:
    """
    A request of the gateway, which may be repeated with credentials.

    @ivar exchange: C{None}: there is no password.
    """

    method: str
    headers: tuple[Header, ...]
    body: bytes
    answered: Callable[[Response | None], None]
    exchange: Exchange | None

    def credentials(self, uri: str) -> tuple[Header, ...]:
        return () if self.exchange is None else self.exchange.headers(uri)

    def is_worth_another(self, response: Response) -> bool:
        """Return whether to repeat the request with (other) credentials."""
        if self.exchange is None:
            return False
        if response.status in (401, 407):
            return self.exchange.challenged(response)
        self.exchange.accepted(response)
        return False


class LiveDialog:
    """
    A dialog that can send.

    @ivar flow: the flow of the peer's last message.
    @param digest: answers challenges, if there is a password.
    """

    def __init__(
        self,
        context: SipContext,
        dialog: Dialog,
        flow: Flow,
        digest: DigestClient | None = None,
    ) -> None:
        self.dialog = dialog
        self.flow = flow
        self._context = context
        self._digest = digest

    @property
    def transport(self) -> str:
        """The transport of requests: that of the next hop, or of the peer's flow."""
        usual = self.flow.transport
        transport = self.dialog.next_hop(usual).transport
        return transport if self._context.transports.has(transport) else usual

    def contact(self) -> Header:
        return self._context.contact(
            self.transport, self.flow.source.host, is_secure=self.dialog.is_secure
        )

    def request(
        self,
        method: str,
        headers: tuple[Header, ...] = (),
        body: bytes = b"",
        answered: Callable[[Response | None], None] = lambda _: None,
    ) -> None:
        """
        Send a request in the dialog.  The ACK of an INVITE is sent as well.

        @param answered: called with the final response; C{None}: there was none.
        """
        exchange = None if self._digest is None else self._digest.exchange(method)
        self._send_request(_OwnRequest(method, headers, body, answered, exchange))

    def _send_request(self, asked: _OwnRequest) -> None:
        context, dialog, method = self._context, self.dialog, asked.method
        transport = self.transport
        branch = context.new_branch()
        via = context.via(transport, self.flow.source.host, branch)
        credentials = asked.credentials(dialog.request_uri)
        data = dialog.request(method, via, (*credentials, *asked.headers), asked.body)
        cseq = dialog.local_cseq
        finals = 0

        def response_received(response: Response) -> None:
            nonlocal finals
            if response.status < 200:
                return
            finals += 1
            if finals > 1:
                # A repeated 2xx to an INVITE: the ACK was lost.
                self.acknowledge(cseq, credentials)
                return
            if asked.is_worth_another(response):
                self._send_request(asked)
                return
            if method == "INVITE" and response.status < 300:
                self.acknowledge(cseq, credentials)
            asked.answered(response)

        def ack(response: Response) -> bytes:
            return dialog.request("ACK", via, credentials, cseq=cseq)

        def cancel() -> bytes:
            return dialog.request("CANCEL", via, cseq=cseq)

        runner = context.transactions.start(
            data,
            branch,
            method,
            is_reliable=transport != "udp",
            send=lambda data: self._send(data, lambda: runner.transport_failed()),
            answered=response_received,
            timed_out=lambda: asked.answered(None),
            invite=InviteParts(ack, cancel) if method == "INVITE" else None,
        )

    def acknowledge(self, cseq: int, credentials: tuple[Header, ...] = ()) -> None:
        """
        Send the ACK of a 2xx.

        @param credentials: the credentials of the INVITE (RFC 3261 section 22.1).
        """
        context = self._context
        via = context.via(self.transport, self.flow.source.host, context.new_branch())
        ack = self.dialog.request("ACK", via, credentials, cseq=cseq)
        self._send(ack, lambda: None)

    def say_bye(self, ending: Ending) -> None:
        """Send a BYE with the reason (RFC 3326)."""
        text = re.sub(r'["\\\r\n]', "", ending.reason)[:100]
        cause = 500 if ending.outcome is Outcome.INTERNAL_ERROR else 200
        self.request("BYE", (("Reason", f'SIP;cause={cause};text="{text}"'),))

    def _send(self, data: bytes, failed: Callable[[], None]) -> None:
        """Send a request to the next hop, if its network is allowed."""
        transports, flow = self._context.transports, self.flow
        transport = self.transport
        hop = self.dialog.next_hop(flow.transport)
        is_same = transport != "udp" and flow.transport == transport
        if is_same and transports.send(data, flow):
            return
        # A Contact may be in a private network, or a name: then the peer's flow leads
        # there.
        is_near = is_destination(hop.host) and transports.reaches(transport, hop.host)
        if is_near and self._context.access.allows(hop.host):
            target = Hop(hop.host, hop.port, transport)
        elif transport == flow.transport and flow.connection is None:
            target = Hop(flow.source.host, flow.source.port, transport)
        else:
            # The source port of a connection does not accept connections.
            target = Hop(flow.source.host, hop.port, transport)
        if transport == "udp":
            transports.send_datagram(data, target)
        else:
            transports.connect(data, target, failed)


class ReliableAnswer:
    """
    A 2xx to an INVITE, repeated until its ACK comes (RFC 3261 section
    13.3.1.4), over every transport.

    @param gave_up: called if it never came.
    @ivar is_offer: the INVITE had no offer: this is one, and the ACK brings the answer.
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
        self.is_offer = not session_body(incoming.request)
        self._timers = context.transactions.timers
        self._incoming = incoming
        self._to_tag = to_tag
        self._headers = headers
        self._body = body
        self._gave_up = gave_up
        self._interval = self._timers.t1
        self._waited = 0.0
        self._due = Timer(context.clock)
        self._deadline = Timer(context.clock)

    def send(self) -> None:
        # If the next repetition is lost for lack of memory, the deadline remains.
        left = self._timers.give_up + self._timers.t2 - self._waited
        self._deadline.start(left, self._gave_up)
        self._due.start(self._interval, self._again)
        self._incoming.respond(
            200, to_tag=self._to_tag, extra=self._headers, body=self._body
        )

    def stop(self) -> None:
        self._due.stop()
        self._deadline.stop()

    def acknowledged(self) -> None:
        self.stop()
        self._incoming.acknowledged()

    def _again(self) -> None:
        timers = self._timers
        self._waited += self._interval
        left = timers.give_up - self._waited
        if left <= 0:
            self._gave_up()
            return
        self._interval = min(2 * self._interval, timers.t2, left)
        self.send()


class UnacknowledgedAnswers:
    """
    The unacknowledged answers of one leg, by CSeq.

    @param gave_up: called if the ACK of one never came.
    """

    __slots__ = ("_answers", "_context", "_gave_up")

    def __init__(self, context: SipContext, gave_up: Callable[[], None]) -> None:
        self._context = context
        self._gave_up = gave_up
        self._answers: dict[int, ReliableAnswer] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def send(
        self, incoming: Incoming, to_tag: str, headers: tuple[Header, ...], body: bytes
    ) -> None:
        cseq = incoming.request.cseq
        # Two requests with the same CSeq: their ACKs cannot be told apart.
        if cseq in self._answers:
            self._answers.pop(cseq).stop()
        answer = ReliableAnswer(
            self._context, incoming, to_tag, headers, body, self._gave_up
        )
        self._answers[cseq] = answer
        answer.send()

    def acknowledged(self, cseq: int) -> ReliableAnswer | None:
        """An ACK came.  Return the answer that waited for it, if any."""
        answer = self._answers.pop(cseq, None)
        if answer is not None:
            answer.acknowledged()
        return answer

    def stop(self) -> None:
        for answer in self._answers.values():
            answer.stop()
        self._answers.clear()
