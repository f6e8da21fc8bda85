"""
All private attributes of Twisted that paths use: what its connections have still to
write, and how its TLS reads and writes records.

A path that bypasses Twisted must not overtake what waits there.  These attributes are
checked when a socket opens, so another version of Twisted cannot make it lose frames.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol

#: What L{Connection} must have.
_OF_TCP: Final = ("dataBuffer", "_tempDataBuffer", "_tempDataLen")

#: What L{TLSMemoryBIOProtocol} must have; the last one gathers small writes.
_OF_TLS: Final = (
    *("_appSendBuffer", "_flushReceiveBIO", "_flushSendBIO", "_lostTLSConnection"),
    "_aggregator",
)

_log = Logger()
_told: Final[set[str]] = set()


def is_known_tcp(transport: Any) -> bool:
    """Whether a transport is a TCP connection with all attributes used here."""
    return (
        isinstance(transport, Connection)
        and not transport.TLS
        and _has(transport, _OF_TCP)
    )


def is_known_tls(transport: Any) -> bool:
    """Whether a transport is TLS over such a connection, likewise."""
    return (
        isinstance(transport, TLSMemoryBIOProtocol)
        and is_known_tcp(transport.transport)
        and _has(transport, _OF_TLS)
    )


def queued_bytes(tcp: Connection) -> int:
    """The number of bytes that it has still to write."""
    return len(tcp.dataBuffer) + tcp._tempDataLen


def is_queued(tcp: Connection) -> bool:
    """Whether it has anything still to write."""
    return bool(tcp.dataBuffer or tcp._tempDataBuffer)


def waiting_bytes(tls: Any) -> int:
    """The number of bytes that TLS cannot encrypt before it has read."""
    return sum(map(len, tls._appSendBuffer))


def write_gathered(tls: Any) -> None:
    """Write at once what was written in small pieces."""
    tls._aggregator.flush()


def write_records(tls: Any) -> None:
    """Write what OpenSSL has to send."""
    tls._flushSendBIO()


def receive(tls: Any, data: bytes) -> None:
    """Process records of whatever kind, whole or not."""
    tls.dataReceived(data)
    _end(tls)


def read_records(tls: Any) -> None:
    """Process all that OpenSSL has received, and write its answers."""
    tls._flushReceiveBIO()
    _end(tls)


def _end(tls: Any) -> None:
    """
    If TLS is over, have the connection end when all is written.  Twisted forgets that
    of one whose producer waited until it could write on.
    """
    if tls._lostTLSConnection:
        tls.unregisterProducer()


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
