"""HTTP clients of a site, without sockets and credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from chime_gateway.http.credentials import AdminToken
from chime_gateway.http.site import GatewaySite, build_site
from chime_gateway.net.strangers.connections import Connections

TOKEN = "admin-token-0123456789"


class TurningClock(Clock):
    """Like the reactor: calls that are scheduled in a turn run in the next one."""

    def turn(self) -> None:
        for call in list(self.calls):
            if call.active() and call.getTime() <= self.seconds():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class HttpPeer:
    """One connection."""

    def __init__(self, site: GatewaySite, address: str = "127.0.0.1") -> None:
        self.transport = StringTransport(
            hostAddress=IPv4Address("TCP", "10.0.0.1", 8080),
            peerAddress=IPv4Address("TCP", address, 40000),
        )
        self.transport.abortConnection = self._aborted  # type: ignore[method-assign]
        self.is_aborted = False
        self.channel: Any = site.buildProtocol(self.transport.getPeer())
        self.channel.makeConnection(self.transport)

    def _aborted(self) -> None:
        self.is_aborted = True
        self.close()

    def say(self, data: bytes) -> None:
        if not self.is_over:
            self.channel.dataReceived(data)

    @property
    def heard(self) -> bytes:
        heard: bytes = self.transport.value()
        return heard

    @property
    def is_over(self) -> bool:
        return self.is_aborted or self.transport.disconnecting

    def close(self) -> None:
        self.channel.connectionLost(Failure(ConnectionError()))


def request(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1"]
    if "Host" not in headers:
        lines.append("Host: 127.0.0.1")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def site_of(
    clock: Clock,
    *,
    metrics: Callable[[], bytes] = lambda: b"chimegw_calls_active 0\n",
    health: tuple[int, Mapping[str, Any]] = (200, {"status": "ok"}),
    ready: tuple[int, Mapping[str, Any]] = (200, {"status": "ready"}),
    api: Any = None,
    token: str = "",
    connections: Connections | None = None,
) -> GatewaySite:
    def known(is_known: bool) -> dict[str, str]:
        return {"more": "details"} if is_known else {}

    if connections is None:
        connections = Connections(clock, 1000, is_scarce=lambda _: False)
    return build_site(
        health=lambda *, is_known: (health[0], {**health[1], **known(is_known)}),
        ready=lambda *, is_known: (ready[0], {**ready[1], **known(is_known)}),
        metrics=metrics,
        stream=Resource(),
        raw_stream=Resource(),
        api=api or Resource(),
        webrtc=None,
        reactor=clock,
        token=AdminToken(token),
        connections=connections,
        public_address="gw.example.com",
    )


def ask(site: GatewaySite, sent: bytes, address: str = "127.0.0.1") -> tuple[int, str]:
    """Send one request; return status and body of the response."""
    peer = HttpPeer(site, address)
    peer.say(sent)
    head, _, body = peer.heard.decode().partition("\r\n\r\n")
    peer.close()
    return int(head.split()[1]), body
