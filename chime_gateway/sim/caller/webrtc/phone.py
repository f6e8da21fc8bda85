"""
An application that calls with C{POST /webrtc/offer}: the socket and the HTTP requests
of a L{WebRtcCall}.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from chime_gateway.audio import Codec
from chime_gateway.net.http_body import read_body
from chime_gateway.net.http_client import HttpClient
from chime_gateway.net.http_failures import why
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter
from chime_gateway.sim.caller.webrtc.checks import Address
from chime_gateway.sim.caller.webrtc.line import PAYLOAD_TYPES, WebRtcCall

#: The maximum size of an answer or of the text of a refusal.
_MAX_BYTES: Final = 65536


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self, phone: _Phone) -> None:
        self._phone = phone

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._phone.call.received(datagram, (addr[0], addr[1]))


class _Phone:
    """
    The socket and the HTTP requests of one call.

    @ivar call: the call.
    """

    def __init__(
        self,
        url: str,
        plan: CallPlan,
        codec: Codec,
        *,
        reactor: Any,
        headers: Mapping[str, str],
        meter: Meter | None,
        done: Deferred[CallReport],
    ) -> None:
        self._url = url
        self._headers = headers
        self._done = done
        self._http = HttpClient(reactor, 1)
        self._place = ""
        split = urlsplit(url)
        host, port = split.hostname or "", split.port or 443
        family, _, _, _, there = socket.getaddrinfo(host, port)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(there)
            local_host = probe.getsockname()[0]
        # The gateway's media address may differ from its HTTP address.
        interface = "::" if family == socket.AF_INET6 else ""
        self._socket = _Datagrams(self)
        self._port = reactor.listenUDP(0, self._socket, interface=interface)
        self.call = WebRtcCall(
            plan,
            codec,
            reactor,
            local=(local_host, self._port.getHost().port),
            send=self._send,
            delete=lambda: self._run(self._delete()),
            meter=meter,
            finished=self._finished,
        )

    def place(self) -> None:
        self._run(self._offer())

    def _run(self, doing: Any) -> None:
        running: Deferred[None] = Deferred.fromCoroutine(doing)
        running.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        assert failure.value is not None
        self.call.refused(0, why(failure.value))

    async def _offer(self) -> None:
        status, text = await self._ask(
            "POST", self._url, self.call.offer(), {"Content-Type": "application/sdp"}
        )
        if status == 201:
            self.call.answered(text)
        else:
            self.call.refused(status, _line(text))

    async def _delete(self) -> None:
        status, text = await self._ask("DELETE", urljoin(self._url, self._place))
        self.call.deleted("" if status == 200 else f"DELETE: {status} {_line(text)}")

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        answer = await self._http.request(
            method, url, {**self._headers, **(headers or {})}, body
        )
        location = answer.headers.getRawHeaders("location")
        if location:
            self._place = location[0]
        content = await read_body(answer, _MAX_BYTES)
        return answer.code, content.decode("utf-8", "replace")

    def _send(self, data: bytes, place: Address) -> None:
        if self._socket.transport is not None:
            self._socket.transport.write(data, place)

    def _finished(self, report: CallReport) -> None:
        self._port.stopListening()
        closing = self._http.close()
        if not self._done.called:
            closing.addBoth(lambda _: self._done.callback(report))


def _line(text: str) -> str:
    """Return the text of a refusal as one line; nothing of an HTML page."""
    return "" if text.lstrip().startswith("<") else " ".join(text.split())[:200]


def place_webrtc_call(
    url: str,
    plan: CallPlan,
    codec: Codec,
    *,
    reactor: Any,
    headers: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> Deferred[CallReport]:
    """
    Offer a call to C{http://HOST:PORT/webrtc/offer} and follow C{plan}.

    @return: fires with the report when the call is over, even if it failed;
        C{report.error} says why there was no call.  Cancelling hangs up.
    """
    done: Deferred[CallReport] = Deferred(lambda _: phone.call.hang_up())
    if codec.name not in PAYLOAD_TYPES:
        error = f"this caller does not support {codec.name} over RTP"
        done.callback(CallReport(codec, error=error))
        return done
    split = urlsplit(url)
    query = "&".join(filter(None, (split.query, urlencode(dict(plan.parameters)))))
    phone = _Phone(
        urlunsplit(split._replace(query=query)),
        plan,
        codec,
        reactor=reactor,
        headers=headers or {},
        meter=meter,
        done=done,
    )
    phone.place()
    return done
