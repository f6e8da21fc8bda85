"""
Certificates of listeners, reloaded when their files change.

When a certificate and its key do not match, or a file is incomplete or missing, new
connections still get the old certificate.  Open connections keep theirs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

from OpenSSL.SSL import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.threads import NoThreadFree
from chime_gateway.net.timer import Timer

#: Interval of looking for changes.  A changed file is read when it is still the same at
#: the next look, as a renewal writes two files, one after the other.
LOOK_SECONDS: Final = 2.0

_Signature: TypeAlias = tuple[tuple[int, ...] | None, ...]


class Contexts(Protocol):
    """Returns the TLS context of each new connection."""

    def getContext(self) -> Any: ...


@implementer(IOpenSSLServerConnectionCreator)
class Certificate:
    """
    The certificate of one listener; it implements L{Contexts}.

    @param name: the setting that it comes from, for the log.
    @param files: returns the paths that it is read from; called each time.
    @param read: reads them; blocks, and raises L{ConfigError}.
    @raise ConfigError: it cannot be used.
    """

    def __init__(
        self,
        name: str,
        files: Callable[[], Iterable[str]],
        read: Callable[[], Contexts],
    ) -> None:
        self.name = name
        self._files = files
        self._read = read
        self._seen = self._tried = self._signature()
        self._contexts = read()

    def getContext(self) -> Any:
        return self._contexts.getContext()

    def serverConnectionForTLS(self, protocol: object) -> Connection:
        return Connection(self.getContext(), None)

    # -- blocking ----------------------------------------------------------------

    def has_changed(self) -> bool:
        """
        Whether the files differ from those read last, and are no longer being written.
        """
        before, self._seen = self._seen, self._signature()
        return self._seen == before and self._seen != self._tried

    def read_again(self) -> None:
        """
        Read the files now.

        @raise ConfigError: they cannot be used; the old certificate stays.
        """
        self._seen = self._tried = self._signature()
        self._contexts = self._read()

    def _signature(self) -> _Signature:
        return tuple(map(_signature_of, self._files()))


def _signature_of(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Certificates:
    """
    The certificates of all listeners, reloaded when they change.

    @param in_thread: runs a function in a thread, as it blocks and may hang.
    """

    _log = Logger()

    def __init__(
        self, in_thread: Callable[..., Deferred[object]], clock: IReactorTime
    ) -> None:
        self._in_thread = in_thread
        self._timer = Timer(clock)
        self._all: list[Certificate] = []

    def add(self, certificate: Certificate) -> None:
        self._all.append(certificate)

    def start(self) -> None:
        if self._all:
            self._timer.start(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        self._all.clear()
        self._timer.stop()

    def read_again(self) -> Deferred[None]:
        """Read all of them now.  Those that cannot be used are logged."""
        return self._read(lambda _: True)

    def _look(self) -> None:
        self._read(Certificate.has_changed).addBoth(lambda _: self.start())

    def _read(self, which: Callable[[Certificate], bool]) -> Deferred[None]:
        reading = self._in_thread(_read_those, list(self._all), which)
        return reading.addCallbacks(self._tell, self._failed)

    def _tell(self, results: list[tuple[str, str]]) -> None:
        for name, why in results:
            if why:
                self._log.error(
                    "could not reload the certificate of {name}, the old one stays:"
                    " {why}",
                    name=name,
                    why=why,
                )
            else:
                self._log.info("the certificate of {name} was reloaded", name=name)

    def _failed(self, failure: Failure) -> None:
        if failure.check(NoThreadFree) is None:
            self._log.failure("a bug in certificates", failure)


def _read_those(
    certificates: list[Certificate], which: Callable[[Certificate], bool]
) -> list[tuple[str, str]]:
    """@return: of each one that was read: its name and its error, or an empty text."""
    results = []
    for certificate in certificates:
        if which(certificate):
            try:
                certificate.read_again()
            except ConfigError as exc:
                results.append((certificate.name, str(exc)))
            else:
                results.append((certificate.name, ""))
    return results
