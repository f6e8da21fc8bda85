"""
Resolves host names with the system's resolver, in threads of its own.

The system's resolver blocks, for up to half a minute if the name's servers are silent.
One thread asks for a name, for all requests of that name.  No request waits longer than
the deadline; without an answer by then, the last known addresses are used.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from attrs import Factory, define, field
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chime_gateway.net.timer import Timer

#: Maximum time that a request waits.
DEADLINE_SECONDS: Final = 5.0

#: Addresses are asked for again after this time.  The system's resolver does not say
#: for how long an answer is good; providers that move names say a minute or less.
FRESH_SECONDS: Final = 30.0

#: Without an answer, addresses of up to this age are used.
STALE_SECONDS: Final = 3600.0

#: A look-up that has taken this long is considered lost: another one is started.
LOST_SECONDS: Final = 60.0

#: Maximum number of names that are cached.
MOST_NAMES: Final = 256

#: As returned by C{getaddrinfo}: the family, and an address without its port.
Found: TypeAlias = tuple[int, tuple[Any, ...]]

_FAMILIES: Final = {IPv4Address: socket.AF_INET, IPv6Address: socket.AF_INET6}


def system_addresses(name: str) -> list[Found]:
    """
    Look up the addresses of a name; blocks.

    @raise OSError: there are none.
    @raise UnicodeError: the text cannot be a host name.
    """
    found = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
    return [
        (int(family), (address[0], *address[2:]))
        for family, _, _, _, address in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


@define(eq=False)
class _Name:
    """
    The last known addresses of one name, and the requests that wait for it.

    @ivar known_at: when C{addresses} were looked up.
    @ivar asked_at: when the current look-up began; C{None}: there is none.
    """

    addresses: list[Found] = Factory(list)
    known_at: float = 0.0
    asked_at: float | None = None
    waiting: dict[_Resolution, None] = field(factory=dict)


@implementer(IHostResolution)
class _Resolution:
    """One request for a name."""

    def __init__(
        self,
        name: str,
        tell: Callable[[Sequence[Found]], None],
        gone: Callable[[_Resolution], None],
        clock: IReactorTime,
    ) -> None:
        self.name = name
        self.deadline = Timer(clock)
        self._tell = tell
        self._gone = gone
        self._is_over = False

    def answer(self, addresses: Sequence[Found]) -> None:
        """Answer the request; only the first answer counts."""
        if not self._is_over:
            self._is_over = True
            self._gone(self)
            self._tell(addresses)

    def cancel(self) -> None:
        self.answer(())


@implementer(IHostnameResolver)
class Resolver:
    """
    The resolver of the reactor.

    @param ask: looks up the addresses of a name, in another thread
        (L{system_addresses}).
    """

    _log = Logger()

    def __init__(
        self, ask: Callable[[str], Deferred[list[Found]]], clock: IReactorTime
    ) -> None:
        self._ask_system = ask
        self._clock = clock
        self._names: dict[str, _Name] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        families = {_FAMILIES[kind] for kind in addressTypes or _FAMILIES}

        def tell(addresses: Sequence[Found]) -> None:
            for family, (host, *rest) in addresses:
                if family in families:
                    kind = IPv4Address if family == socket.AF_INET else IPv6Address
                    resolutionReceiver.addressResolved(
                        kind(transportSemantics, host, portNumber, *rest)  # type: ignore[arg-type]
                    )
            resolutionReceiver.resolutionComplete()

        resolution = _Resolution(hostName, tell, self._forget, self._clock)
        resolutionReceiver.resolutionBegan(resolution)
        self._resolve(resolution)
        return resolution

    # -- inside ----------------------------------------------------------------

    def _resolve(self, resolution: _Resolution) -> None:
        text = resolution.name
        if isIPAddress(text):
            resolution.answer([(socket.AF_INET, (text,))])
            return
        if isIPv6Address(text) and "%" not in text:
            resolution.answer([(socket.AF_INET6, (text,))])
            return
        now = self._clock.seconds()
        name = self._names.pop(text, None) or _Name()
        self._names[text] = name  # at the end, as the most recently used
        if name.addresses and now < name.known_at + FRESH_SECONDS:
            resolution.answer(name.addresses)
            return
        name.waiting[resolution] = None
        resolution.deadline.start(DEADLINE_SECONDS, self._overdue, resolution)
        if name.asked_at is None or now >= name.asked_at + LOST_SECONDS:
            self._ask(text, name, now)
        self._forget_old()

    def _ask(self, text: str, name: _Name, now: float) -> None:
        name.asked_at = now
        asking = self._ask_system(text)
        asking.addCallbacks(
            self._answered,
            self._failed,
            (text, name, now),
            errbackArgs=(text, name, now),
        )
        asking.addErrback(
            lambda failure: self._log.failure("a bug in resolving names", failure)
        )

    def _answered(
        self, addresses: list[Found], text: str, name: _Name, asked_at: float
    ) -> None:
        if asked_at == name.asked_at:
            name.asked_at = None
        if addresses:
            name.addresses = addresses
            name.known_at = self._clock.seconds()
        for resolution in list(name.waiting):
            resolution.answer(self._usable_addresses(name))

    def _failed(
        self, failure: Failure, text: str, name: _Name, asked_at: float
    ) -> None:
        self._log.warn(
            "the name {name} does not resolve: {why}",
            name=text,
            why=failure.getErrorMessage(),
        )
        self._answered([], text, name, asked_at)

    def _overdue(self, resolution: _Resolution) -> None:
        name = self._names.get(resolution.name)
        resolution.answer(self._usable_addresses(name) if name is not None else ())

    def _usable_addresses(self, name: _Name) -> Sequence[Found]:
        is_old = self._clock.seconds() > name.known_at + STALE_SECONDS
        return () if is_old else name.addresses

    def _forget(self, resolution: _Resolution) -> None:
        resolution.deadline.stop()
        name = self._names.get(resolution.name)
        if name is not None:
            name.waiting.pop(resolution, None)

    def _forget_old(self) -> None:
        """Forget surplus names for which no request waits, the longest unused first."""
        for text in list(self._names)[: max(0, len(self._names) - MOST_NAMES)]:
            if not self._names[text].waiting:
                del self._names[text]


@implementer(IReactorPluggableNameResolver)
class ReactorWithNames:
    """A reactor with another name resolver."""

    def __init__(self, reactor: Any, names: Resolver) -> None:
        self._reactor = reactor
        self.nameResolver = names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError("the name resolver cannot be replaced")
