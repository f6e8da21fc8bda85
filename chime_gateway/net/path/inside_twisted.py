"""
Everything of Twisted's that is private and read here: what its connections have
still to write.

Who is past Twisted must not be past what waits in it.  A version that keeps it
somewhere else is noticed when a socket opens, not when frames get lost.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.tcp import Connection
from twisted.logger import Logger

#: What L{Connection} must have.
_OF_TCP: Final = ("dataBuffer", "_tempDataBuffer", "_tempDataLen")

_log = Logger()
_told: Final[set[str]] = set()


def tcp_of(transport: Any) -> Connection | None:
    """The connection that C{transport} is, if all that is needed of it is there."""
    if not isinstance(transport, Connection) or transport.TLS:
        return None
    return transport if _has(transport, _OF_TCP) else None


def queued_bytes(tcp: Connection) -> int:
    """What it has still to write."""
    return len(tcp.dataBuffer) + tcp._tempDataLen


def is_queued(tcp: Connection) -> bool:
    """Whether it has anything still to write."""
    return bool(tcp.dataBuffer or tcp._tempDataBuffer)


def write_at_once(tcp: Connection, data: bytes) -> None:
    """
    Put bytes on the socket now if none are queued.

    Twisted waits until the socket says it is writable: two calls to epoll for
    each write of 300 bytes that nearly always fits.
    """
    if tcp.connected and not tcp.disconnecting and not is_queued(tcp):
        try:
            sent = tcp.socket.send(data)
        except OSError:
            # Full, or broken: Twisted's own write will tell which.
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    tcp.write(data)


def _has(one: Any, attributes: tuple[str, ...]) -> bool:
    missing = [name for name in attributes if not hasattr(one, name)]
    for name in missing:
        if name not in _told:
            _told.add(name)
            _log.warn(
                "this Twisted has no {name}: media sockets go its own way, which"
                " takes more CPU",
                name=name,
            )
    return not missing
