"""
The HTTP transport of azure-identity, with limits on time and size.

The requests library limits the time of one read, but neither the number of reads nor
the size of the answer: a service that sends slowly, or never ends, would occupy a
thread forever.  So time and size are checked where bytes are read from the socket.
This module is imported on first use, like azure-identity.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any, Final

import requests
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

#: Maximum size of one answer, head and body; a token has a few thousand bytes.
MOST_BYTES: Final = 256 << 10

#: The shortest timeout: 0 would make the socket non-blocking.
_LEAST_SECONDS: Final = 0.001


class TimeLeft(threading.local):
    """
    The time that this thread has left for its request.

    @ivar why: why no time is left; empty: there is some.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = self._given = float("inf")
        self.why = ""

    def begin(self, seconds: float) -> None:
        self._given = seconds
        self._until = self._clock() + seconds
        self.why = ""

    def end(self, why: str) -> None:
        self._until = self._clock()
        self.why = why

    def seconds(self) -> float:
        """
        Return the time that is left.

        @raise TimeoutError: there is none.
        """
        left = self._until - self._clock()
        if left <= 0:
            self.why = self.why or f"no answer within {self._given:g} s"
            raise TimeoutError(self.why)
        return max(left, _LEAST_SECONDS)


class _Incoming(io.RawIOBase):
    """The stream that one answer reads from its socket, with limits."""

    def __init__(self, sock: socket.socket, left: TimeLeft) -> None:
        self._sock = sock
        self._left = left
        self._patience = sock.gettimeout()
        self._room = MOST_BYTES
        # Keeps the socket open as long as this object.
        self._held = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._left.seconds()
        patience = self._patience
        self._sock.settimeout(left if patience is None else min(left, patience))
        count = self._sock.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise OSError(f"an answer of more than {MOST_BYTES} bytes")
        return count

    def close(self) -> None:
        self._held.close()
        super().close()


def response_class(left: TimeLeft) -> type[HTTPResponse]:
    """Return a class of HTTP answers with limits on time and size."""

    class Response(HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
            super().__init__(sock, *args, **named)
            self.fp.close()
            self.fp = io.BufferedReader(_Incoming(sock, left))

        def begin(self) -> None:
            super().begin()
            if self.length is not None and self.length > MOST_BYTES:
                # Memory for all of it would be allocated at once.
                raise HTTPException(f"an answer of {self.length} bytes")
            encoding = self.headers.get("Content-Encoding", "identity")
            if encoding.strip().lower() != "identity":
                # It was not requested, and the decoded size is unlimited.
                raise HTTPException(f"an answer in the encoding {encoding[:40]!r}")

    return Response


class _Adapter(HTTPAdapter):
    """Connections with limited answers, also through a proxy."""

    def __init__(self, left: TimeLeft) -> None:
        answer = response_class(left)

        class Plain(HTTPConnection):
            response_class = answer

        class Tls(HTTPSConnection):
            response_class = answer

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        self._pools = {"http": PlainPool, "https": TlsPool}
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **named: Any) -> Any:
        found = super().proxy_manager_for(*args, **named)
        found.pool_classes_by_scheme = self._pools
        return found


class TokenTransport(RequestsTransport):  # type: ignore[misc]
    """
    The transport that all credentials of a chain share; none of them closes it.

    @param left: L{TimeLeft.begin} must be called before each request for a token.
    @param patience: seconds for C{connection_timeout} and C{read_timeout}.
    """

    def __init__(self, left: TimeLeft, patience: Mapping[str, float]) -> None:
        session = requests.Session()
        session.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(left))
        super().__init__(session=session, session_owner=False)
        self._left = left
        self._patience = patience

    def send(self, request: Any, **options: Any) -> Any:
        try:
            left = self._left.seconds()
            for name, patience in self._patience.items():
                options[name] = min(left, options.get(name, patience))
            return super().send(request, **options)
        except (OSError, HTTPException) as exc:
            raise ServiceResponseError(str(exc), error=exc) from exc

    def sleep(self, duration: float) -> None:
        """Wait between two tries; a service may ask for days (C{Retry-After})."""
        if duration < self._left.seconds():
            super().sleep(duration)
        else:
            self._left.end(f"the token service asked for a pause of {duration:g} s")

    def close(self) -> None:
        pass
