"""
Listens for HTTP at Twisted endpoint strings, and starts the embedded simulator.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.tls import TlsReactor
from chime_gateway.settings.values import DeploymentSettings

_log = Logger()


def listen(
    reactor: Any,
    description: str,
    factory: Any,
    watch_certificate: Callable[[Any], object],
) -> IListeningPort:
    """
    Listen at an endpoint.

    @param watch_certificate: called with the endpoint's certificate, if it has one.
    @raise ConfigError: that is not possible.
    """
    try:
        over_tls = TlsReactor(reactor, description, watch_certificate)
        endpoint = serverFromString(over_tls, description)
        listening = endpoint.listen(factory)
    except (ValueError, TypeError, KeyError, OSError) as exc:
        raise ConfigError(f"--listen {description}: {exc}") from exc
    found: list[IListeningPort] = []
    failures: list[Any] = []
    listening.addCallbacks(found.append, failures.append)
    if failures:
        failures[0].trap(CannotListenError, OSError, ConfigError)
        raise ConfigError(f"--listen {description}: {failures[0].value}")
    return found[0]


def start_simulator(
    reactor: Any, transport: str
) -> tuple[IListeningPort, DeploymentSettings]:
    """
    Start a simulator of Azure on loopback, with a random key.

    @param reactor: not one that shares sockets: a successor starts its own simulator.
    @param transport: the transport of the audio.
    """
    from chime_gateway.sim.realtime.server import SimulatorFactory
    from chime_gateway.sim.realtime.voices import Parrot

    key = secrets.token_hex(16)
    factory = SimulatorFactory(Parrot, reactor=reactor, api_keys=frozenset({key}))
    port: Any = listen(reactor, "tcp:0:interface=127.0.0.1", factory, lambda _: None)
    _log.warn("callers talk to the embedded simulator, not to Azure")
    deployment = DeploymentSettings(
        name="simulator",
        endpoint=f"http://127.0.0.1:{port.getHost().port}",
        deployment="simulator",
        api_key=key,
        transport=transport,
    )
    return port, deployment
