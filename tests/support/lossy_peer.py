"""
The other side of SIP calls, caller and callee, also a fork with several branches.  Its
network loses, delays, duplicates and reorders messages, and it may die at any moment.

Until then it follows RFC 3261; what it does, and when, is random.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.sip.parser import parse
from tests.support.sip_peer import SDP, SipWorld

HELD = SDP.replace("c=IN IP4 198.51.100.9", "c=IN IP4 0.0.0.0")

#: No transaction waits longer (64*T1).
GIVE_UP = 32.0


class LossyPeer:
    """
    The peer.

    @ivar heard: messages that the gateway has sent, with the time.
    @ivar reached: messages that the gateway has received, with the time.
    """

    def __init__(self, world: SipWorld, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.clock = world.reactor
        self.loss = rng.choice((0.0, 0.1, 0.4))
        self.delay = rng.choice((0.0, 0.3, 3.0))
        self.dies_at = rng.choice((1e9, 1e9, rng.uniform(0, 60)))
        self.heard: list[tuple[float, Request | Response]] = []
        self.reached: list[tuple[float, Request | Response]] = []
        self._taken: set[tuple[str, str]] = set()
        self._finals: dict[str, tuple[int, str]] = {}
        self._acked: set[tuple[str, int]] = set()
        self._seen = 0
        self._cseq = 1
        self.remote_tag = ""

    # -- the network -------------------------------------------------------------

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        if self.clock.seconds() + seconds < self.dies_at:
            self.clock.callLater(seconds, function)

    def say(self, text: str) -> None:
        """Send a message, which may get lost, to the gateway."""
        if self.rng.random() < self.loss:
            return
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            self.later(self.rng.random() * self.delay, lambda: self._arrive(text))

    def _arrive(self, text: str) -> None:
        self.reached.append((self.clock.seconds(), parse(text.encode())))
        self.world.say(text)

    def listen(self) -> None:
        """Receive what was sent since the last time."""
        sent = self.world.reactor.sent
        while self._seen < len(sent):
            message = parse(sent[self._seen][0])
            self._seen += 1
            self.heard.append((self.clock.seconds(), message))
            if self.rng.random() >= self.loss:
                wait = self.rng.random() * self.delay
                self.later(wait, partial(self._take, message))

    def _take(self, message: Request | Response) -> None:
        if isinstance(message, Response):
            self._response(message)
        elif message.method == "ACK":
            self._acked.add((message.to_tag, message.cseq))
        elif message.method == "INVITE" and not message.to_tag:
            self._invited(message)
        elif message.method == "CANCEL":
            self._cancelled(message)
        else:
            self._asked(message)

    # -- called --------------------------------------------------------------------

    def _reply(
        self, request: Request, status: int, tag: str, headers: str = "", body: str = ""
    ) -> None:
        via = "".join(f"Via: {v}\r\n" for v in request.headers.getlist("Via"))
        to = request.headers["To"]
        to += "" if not tag or ";tag=" in to else f";tag={tag}"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        self.say(
            f"SIP/2.0 {status} Whatever\r\n{via}From: {request.headers['From']}\r\n"
            f"To: {to}\r\nCall-ID: {request.call_id}\r\n"
            f"CSeq: {request.cseq} {request.cseq_method}\r\n{headers}{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def _invited(self, invite: Request) -> None:
        if ("INVITE", invite.branch) in self._taken:
            return
        self._taken.add(("INVITE", invite.branch))
        rng, contact = self.rng, "Contact: <sip:callee@198.51.100.7>\r\n"
        if rng.random() < 0.7:
            self._reply(invite, 100, "")
        at = 0.0
        tags = [f"t{number}-{invite.branch}" for number in range(rng.choice((1, 1, 3)))]
        for _ in range(rng.randrange(4)):
            at += rng.choice((0.1, 2.0, 20.0))
            status, tag = rng.choice((180, 183)), rng.choice(tags)
            body = SDP if status == 183 and rng.random() < 0.5 else ""
            self.later(at, partial(self._reply, invite, status, tag, contact, body))
            if rng.random() < 0.5:
                self._later_request(at + 0.1, invite, tag)
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            at += rng.choice((0.0, 0.1, 5.0, 30.0))
            status = rng.choice((200, 200, 200, 302, 302, 422, 486, 603))
            headers, body = contact, ""
            if status == 200:
                headers += rng.choice(("", "Session-Expires: 90;refresher=uac\r\n"))
                headers += rng.choice(("", "Allow: UPDATE, REFER\r\n"))
                body = rng.choice((SDP, SDP, SDP, HELD, ""))
            elif status == 302:
                headers = "".join(
                    f"Contact: <{rng.choice(('sip', 'sips', 'tel'))}:u{n}"
                    f"@{rng.choice(('198.51.100.8', '203.0.113.1', 'no.test'))}>"
                    f"{rng.choice(('', ';q=0.5', ';q=1.0'))}\r\n"
                    for n in range(rng.randrange(4))
                )
            elif status == 422:
                headers = f"Min-SE: {invite.headers['Session-Expires']}0\r\n"
            self._repeat_final(at, invite, status, rng.choice(tags), headers, body)
            if status >= 300:
                break

    def _repeat_final(
        self,
        at: float,
        invite: Request,
        status: int,
        tag: str,
        headers: str,
        body: str,
    ) -> None:
        waited, interval = 0.0, 0.5

        def again() -> None:
            nonlocal waited, interval
            if (tag, invite.cseq) in self._acked or waited > GIVE_UP:
                return
            first = self._finals.setdefault(invite.branch, (status, tag))
            if first != (status, tag) and max(first[0], status) >= 300:
                return  # only answering branches may be several
            self._reply(invite, status, tag, headers, body)
            waited += interval
            self.later(interval, again)
            interval = min(2 * interval, 4.0)

        self.later(at, again)

    def _later_request(self, at: float, invite: Request, tag: str) -> None:
        method = self.rng.choice(("UPDATE", "INFO", "OPTIONS", "BYE", "INVITE"))
        body = self.rng.choice(("", SDP)) if method in ("UPDATE", "INVITE") else ""
        self._cseq += 1
        text = self.world.request(
            method,
            to_tag=invite.from_tag,
            from_tag=tag,
            call_id=invite.call_id,
            cseq=self._cseq,
            body=body,
        )
        self.later(at, lambda: self.say(text))

    def _cancelled(self, cancel: Request) -> None:
        what = self.rng.choice(("487", "487", "487", "only 200", "nothing"))
        if what == "nothing":
            return
        self._reply(cancel, 200, "cancelled")
        if what == "487":
            invite = next(
                message
                for _, message in self.heard
                if isinstance(message, Request)
                and (message.method, message.branch) == ("INVITE", cancel.branch)
            )
            self._repeat_final(0.0, invite, 487, "cancelled", "", "")

    def _asked(self, request: Request) -> None:
        """Answer a request in a dialog."""
        status = self.rng.choice((200, 200, 200, 100, 422, 491, 500, 481, 0))
        headers = "Min-SE: 100\r\n" if status == 422 else ""
        if request.method == "BYE":
            status = self.rng.choice((200, 200, 481, 0))
        if status == 0:
            return
        body = ""
        if request.method == "INVITE":
            body = SDP if status == 200 else ""
            tag = request.to_tag
            if status >= 200:
                self._repeat_final(0.0, request, status, tag, headers, body)
                return
        self._reply(request, status, "", headers, body)

    # -- calling -------------------------------------------------------------------

    def call(self) -> None:
        """Send an INVITE, and act in that call afterwards."""
        rng = self.rng
        timers = "Supported: timer\r\nSession-Expires: 90\r\n"
        headers = rng.choice(("", timers, "Session-Expires: 90;refresher=uas\r\n"))
        headers += rng.choice(("", "Allow: REFER, UPDATE\r\n", "Allow: REFER\r\n"))
        text = self.world.request(
            "INVITE", headers=headers, body=rng.choice((SDP, SDP, HELD)), cseq=1
        )
        self._insist(text, "INVITE")
        if rng.random() < 0.4:
            cancel = self.world.request("CANCEL", branch="z9hG4bK-INVITE-1-", cseq=1)
            self.later(rng.uniform(0, 5), lambda: self.say(cancel))
        at = 1.0
        for _ in range(rng.randrange(4)):
            at += rng.choice((0.1, 3.0, 40.0))
            self.later(at, self._ask)

    def _ask(self) -> None:
        if not self.remote_tag:
            return
        self._cseq += 1
        method = self.rng.choice(("UPDATE", "INFO", "OPTIONS", "BYE", "INVITE"))
        body = SDP if method == "INVITE" else ""
        text = self.world.request(
            method, to_tag=self.remote_tag, cseq=self._cseq, body=body
        )
        self._insist(text, method)

    def _insist(self, text: str, method: str) -> None:
        """Retransmit until there is an answer, as over UDP."""
        branch = text.partition("branch=")[2].partition("\r\n")[0]
        for at in (0.0, 0.5, 1.5, 3.5, 7.5):

            def again() -> None:
                if (branch, method) not in self._taken:
                    self.say(text)

            self.later(at, again)

    def _response(self, response: Response) -> None:
        self._taken.add((response.branch, response.cseq_method))
        if response.cseq_method != "INVITE" or response.status < 200:
            return
        branch = ""
        if response.status < 300:
            self.remote_tag = response.to_tag
        else:
            branch = response.branch
        if self.rng.random() < 0.8:
            ack = self.world.request(
                "ACK", to_tag=response.to_tag, cseq=response.cseq, branch=branch
            )
            wait = self.rng.choice((0.0, 0.0, 0.0, 8.0))
            self.later(wait, lambda: self.say(ack))
