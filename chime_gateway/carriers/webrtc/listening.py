"""
The ports that all WebRTC calls share, and the candidates that announce them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from chime_gateway.errors import ConfigError
from chime_gateway.net.generations.inheritance import Listening
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.system.own_address import local_address_to
from chime_gateway.rtp.ports import DUAL_STACK
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.webrtc.shared_port import SharedPort
from chime_gateway.webrtc.sockets import Sockets
from chime_gateway.webrtc.tcp import PassiveTcp
from chime_gateway.webrtc.udp import Batch
from chime_gateway.wire.address import canonical
from chime_gateway.wire.webrtc.candidate import (
    TCP_PASSIVE_PREFERENCE,
    Candidate,
    priority,
)

#: Interfaces that do not say where the gateway is reached.
_ANY: Final = ("", "0.0.0.0", DUAL_STACK)

#: Remote addresses of both families, to find a local one (RFC 5737, RFC 3849).
_SOMEWHERE: Final = ("192.0.2.1", "2001:db8::1")


class WebRtcPorts:
    """
    The shared ports.

    @param reactor: its sockets are shared with the processes before and after this one.
    @param strangers: counts connections that belong to no call yet.
    @ivar ports: each listener with its port, once started.
    @ivar sockets: the sockets of all peers: C{udp} and C{tcp}, if they exist.
    """

    _log = Logger()

    def __init__(
        self,
        settings: WebRtcSettings,
        reactor: Any,
        batch: Batch,
        strangers: Connections,
    ) -> None:
        self.ports: list[tuple[Listener, Any]] = []
        self.udp: SharedPort | None = None
        self.tcp: PassiveTcp | None = None
        self.sockets: list[Sockets] = []
        self._settings = settings
        self._reactor = reactor
        self._batch = batch
        self._strangers = strangers

    def start(self) -> None:
        """
        Open the ports.

        @raise ConfigError: a port cannot be used.
        """
        for listener in self._settings.listen:
            try:
                self._listen(listener)
            except (CannotListenError, OSError) as exc:
                name = f"CHIMEGW_WEBRTC_LISTEN {listener.transport}:{listener.port}"
                raise ConfigError(f"{name}: {exc}") from exc

    def _listen(self, listener: Listener) -> None:
        if listener.transport == "udp":
            self._share(listener)
            return
        factory = PassiveTcp(self._reactor, (), self._strangers)
        port = self._reactor.listenTCP(
            listener.port, factory, interface=listener.interface
        )
        self.tcp = factory
        self.sockets.append(factory)
        self.ports.append((listener, port))

    def _share(self, listener: Listener) -> None:
        host, number = listener.interface or "0.0.0.0", listener.port

        def opened(descriptor: int | None) -> SharedPort:
            # No public hosts: L{candidates} announces them.
            return SharedPort(host, number, self._batch, (), descriptor)

        what = Listening("udp", listener.interface, number)
        self.udp = port = self._reactor.share(what, opened)
        self.sockets.append(port)
        self.ports.append((listener, port))

    def stop(self) -> list[Any]:
        """Close everything.  Deferreds among the results have to be waited for."""
        waiting = [port.stopListening() for _, port in self.ports]
        self.ports.clear()
        return waiting

    # -- state ---------------------------------------------------------------------

    def counts(self) -> Mapping[str, int]:
        """Return the numbers of addresses and connections that belong to calls."""
        found = {}
        if self.udp is not None:
            found["addresses"] = len(self.udp)
        if self.tcp is not None:
            found["connections"] = len(self.tcp)
        return found

    def dropped(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for one in (self.udp, self.tcp):
            if one is not None:
                total.update(one.dropped)
        return total

    # -- candidates ----------------------------------------------------------------

    def candidates(self, reached_at: str) -> tuple[Candidate, ...]:
        """
        Return the candidates for an answer.

        @param reached_at: the gateway's address on the connection of the request.
        """
        found: list[Candidate] = []
        for listener, port in self.ports:
            address: Any = port.getHost()
            for at, host in enumerate(self._hosts(listener, canonical(reached_at))):
                found.append(_candidate(listener.transport, host, address.port, at))
        return tuple(found)

    def _hosts(self, listener: Listener, reached_at: str) -> Sequence[str]:
        if self._settings.public_address:
            return [self._settings.public_address]
        if listener.interface not in _ANY:
            return [listener.interface.partition("%")[0]]
        takes_ipv6 = listener.interface == DUAL_STACK
        if ":" in reached_at and not takes_ipv6:
            reached_at = ""
        hosts = dict.fromkeys((reached_at, *self._own(reached_at)))
        fitting = [one for one in hosts if one and (takes_ipv6 or ":" not in one)]
        return fitting or ["127.0.0.1"]

    @staticmethod
    def _own(reached_at: str) -> Iterator[str]:
        """
        Return other addresses of this machine: a proxy or a browser on it connects to
        the loopback address, which cannot receive media from elsewhere.
        """
        if reached_at not in _ANY and not reached_at.startswith(("127.", "::1")):
            return
        for somewhere in _SOMEWHERE:
            found = local_address_to(somewhere)
            if not found.startswith(("127.", "::1")):
                yield found


def _candidate(transport: str, host: str, port: int, at: int) -> Candidate:
    """
    Return a candidate.

    @param at: its index among those of this transport, best first.
    """
    if transport == "udp":
        return Candidate(host, port, priority("host", 65535 - at), f"{at + 1}")
    return Candidate(
        host,
        port,
        priority("host", TCP_PASSIVE_PREFERENCE - at),
        f"{at + 9}",
        transport="tcp",
        tcp_type="passive",
    )
