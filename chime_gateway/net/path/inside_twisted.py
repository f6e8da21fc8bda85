"""
The only module that uses private attributes of Twisted: the write buffers of its
connections, and how its TLS reads and writes records.

A path that bypasses Twisted must not overtake data that Twisted has buffered.  These
attributes are checked when a socket opens, so a different version of Twisted cannot
make it lose frames.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol

#: Attributes that L{Connection} must have.
_OF_TCP: Final = ("dataBuffer", "_tempDataBuffer", "_tempDataLen")

#: Attributes that L{TLSMemoryBIOProtocol} must have; the last one gathers small writes.
_OF_TLS: Final = (
    *("_appSendBuffer", "_flushReceiveBIO", "_flushSendBIO", "_lostTLSConnection"),
    "_aggregator",
)

_log = Logger()
_reported: Final[set[str]] = set()


def is_known_tcp(transport: Any) -> bool:
    """Whether a transport is a TCP connection with all attributes used here."""
    return (
        isinstance(transport, Connection)
        and not transport.TLS
        and _has(transport, _OF_TCP)
    )


def is_known_tls(transport: Any) -> bool:
    """Whether a transport is TLS over TCP with all attributes used here."""
    return (
        isinstance(transport, TLSMemoryBIOProtocol)
        and is_known_tcp(transport.transport)
        and _has(transport, _OF_TLS)
    )


def queued_bytes(tcp: Connection) -> int:
    """The number of bytes that the connection has still to write."""
    return len(tcp.dataBuffer) + tcp._tempDataLen


def is_queued(tcp: Connection) -> bool:
    """Whether the connection has anything still to write."""
    return bool(tcp.dataBuffer or tcp._tempDataBuffer)


def waiting_bytes(tls: Any) -> int:
    """The number of bytes that TLS cannot encrypt until it has read."""
    return sum(map(len, tls._appSendBuffer))


def write_gathered(tls: Any) -> None:
    """Write the gathered small writes at once."""
    tls._aggregator.flush()


def write_records(tls: Any) -> None:
    """Write the records that OpenSSL has to send."""
    tls._flushSendBIO()


def receive(tls: Any, data: bytes) -> None:
    """Process received records of any kind, complete or not."""
    tls.dataReceived(data)
    _end(tls)


def read_records(tls: Any) -> None:
    """Process what OpenSSL has received, and write its answers."""
    tls._flushReceiveBIO()
    _end(tls)


def _end(tls: Any) -> None:
    """
    If TLS has ended, close the connection when everything is written.  Twisted does
    not do that for a connection whose producer was paused.
    """
    if tls._lostTLSConnection:
        tls.unregisterProducer()


def write_at_once(tcp: Connection, data: bytes) -> None:
    """
    Write to the socket now if nothing is queued.

    Twisted waits until the socket is writable: two calls to epoll for each write of
    300 bytes, which nearly always fits.
    """
    if tcp.connected and not tcp.disconnecting and not is_queued(tcp):
        try:
            sent = tcp.socket.send(data)
        except OSError:
            # The socket is full or broken: Twisted's own write handles both.
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    tcp.write(data)


def _has(one: object, attributes: tuple[str, ...]) -> bool:
    missing = [name for name in attributes if not hasattr(one, name)]
    for name in missing:
        if name not in _reported:
            _reported.add(name)
            _log.warn(
                "this Twisted has no {name}: media sockets are not read directly,"
                " which takes more CPU",
                name=name,
            )
    return not missing
