"""Runs the gateway as a C{twistd} process, as in production, on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError, ProcessTerminated
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chime_gateway.errors import ConfigError
from chime_gateway.settings.load import DEFAULT_PORT

_START_SECONDS: Final = 20.0


class GatewayProcess(ProcessProtocol):
    """
    The process of a gateway.

    @ivar records: the records of ended calls in its log.
    @ivar errors: its standard error, and the errors in its log.
    @param say: called with its log lines about calls.
    """

    transport: Any

    def __init__(self, reactor: Any, say: Callable[[str], None]) -> None:
        self.records: list[dict[str, Any]] = []
        self.errors = ""
        self._reactor = reactor
        self._say = say
        self._ended: Deferred[int] = Deferred()
        self._port = 0
        self._rest = b""

    def start(self, port: int, environ: Mapping[str, str]) -> None:
        """
        Start it.

        @raise ConfigError: C{twistd} is not installed.
        """
        self._port = port
        self._reactor.spawnProcess(
            self, sys.executable, _command(port), env=environ, path=None
        )

    async def listening(self) -> None:
        """
        Wait until it accepts connections.

        @raise ConfigError: it does not.
        """
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port, timeout=1)
        deadline = self._reactor.seconds() + _START_SECONDS
        while True:
            try:
                probe: Any = await endpoint.connect(Factory.forProtocol(Protocol))
            except ConnectError as exc:
                if self._ended.called or self._reactor.seconds() > deadline:
                    raise ConfigError(
                        f"the gateway did not start:\n{self.errors.strip()}"
                    ) from exc
                await deferLater(self._reactor, 0.1)
            else:
                probe.transport.loseConnection()
                return

    async def stop(self) -> None:
        """Stop the process, and wait for its end."""
        if not self._ended.called:
            self.transport.signalProcess("TERM")
            await self._ended

    # -- ProcessProtocol ---------------------------------------------------------

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                self.errors += line.decode(errors="replace") + "\n"
                continue
            text = str(event.get("event", ""))
            if text.startswith("call."):
                self._say(f"          gateway: {text}")
            if text.startswith("call.ended"):
                self.records.append(event)
            if event.get("level") in ("error", "critical"):
                self.errors += text + "\n"

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode(errors="replace")

    def processEnded(self, reason: Failure) -> None:
        end: Any = reason.value
        self._ended.callback(
            end.exitCode or 0 if isinstance(end, ProcessTerminated) else 0
        )


def _command(port: int) -> list[str]:
    beside = Path(sys.executable).with_name("twistd")
    twistd = str(beside) if beside.exists() else shutil.which("twistd")
    if twistd is None:
        raise ConfigError(
            f"there is no twistd beside {sys.executable}; install chime-gateway into"
            " that environment with pip"
        )
    options = ["-n", "--pidfile=", "chimegw", "--port", str(port)]
    return [sys.executable, twistd, *options]


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def free_port() -> int:
    """Return the default port if it is free, or else any free port."""
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise ConfigError("there is no free TCP port on 127.0.0.1")
