"""
The floor: the least a relay on stock Autobahn can do.

It slices the payload out of each message instead of parsing it, checks nothing
and paces nothing, so that what it costs is the library and the event loop.  The
no-delay option, which Autobahn never applies, is set by hand.
"""

from __future__ import annotations

import sys
from typing import Any

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)

MARKER = b'"payload":"'
DELTA = b'"delta":"'
APPEND = b'{"type":"input_audio_buffer.append","audio":"'
MEDIA = b'{"event":"media","streamSid":"MZ","media":{"payload":"'


def text_after(marker: bytes, payload: bytes) -> bytes:
    start = payload.find(marker)
    if start < 0:
        return b""
    start += len(marker)
    return payload[start : payload.index(b'"', start)]


class Agent(WebSocketClientProtocol):  # type: ignore[misc]
    carrier: Carrier

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.carrier = self.factory.carrier
        self.carrier.agent = self

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        audio = text_after(DELTA, payload)
        if audio:
            self.carrier.sendMessage(MEDIA + audio + b'"}}')


class Carrier(WebSocketServerProtocol):  # type: ignore[misc]
    agent: Agent | None = None

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        from twisted.internet import reactor

        headers = {"api-key": "benchmark"}
        factory = WebSocketClientFactory(
            self.factory.agent_url, headers=headers, reactor=reactor
        )
        factory.protocol = Agent
        factory.carrier = self
        reactor.connectTCP(factory.host, factory.port, factory)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.agent is not None:
            audio = text_after(MARKER, payload)
            if audio:
                self.agent.sendMessage(APPEND + audio + b'"}')

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        if self.agent is not None:
            self.agent.sendClose()


def main() -> None:
    from twisted.internet import reactor

    port, agent_url = sys.argv[1:]
    factory: Any = WebSocketServerFactory(reactor=reactor)
    factory.protocol = Carrier
    factory.agent_url = agent_url
    reactor.listenTCP(int(port), factory, interface="127.0.0.1")
    print("listening", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
