"""
The path of a frame over TLS: plain records go to OpenSSL and back here, without
Twisted's protocol.

Twisted allocates 32 KiB for each record, ends each read with an exception, and
collects small writes by a delayed call.  It still handles whatever is not a plain
record: key updates, tickets, alerts, the closing.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from OpenSSL.SSL import Error
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.protocols.tls import TLSMemoryBIOProtocol

from chime_gateway.net.path import inside_twisted
from chime_gateway.net.path.inside_twisted import is_queued
from chime_gateway.net.path.socket_path import (
    READ_BYTES,
    PathOwner,
    Receive,
    SocketPath,
)
from chime_gateway.wire.websocket_frame import BINARY

#: Of a record: its type, its version, its length (RFC 8446 section 5.1).
_HEAD_BYTES: Final = 5
_TYPES: Final = range(20, 25)
_MAJOR_VERSION: Final = 3
_MOST_RECORD_BYTES: Final = (1 << 14) + 2048  # of TLS 1.2; 1.3 has less

#: What is longer is not a frame of media, and may need more than one record.
_MOST_BYTES: Final = 8192

#: More than a record of such a length adds to it, with any cipher.
_OVERHEAD_BYTES: Final = 1024

#: Where in a record the stream is when we come to it is not to be seen.
_UNKNOWN: Final = -1


class TlsPath(SocketPath):
    """A TCP connection of Twisted's with TLS of Twisted's over it."""

    __slots__ = (
        *("_bio_read", "_bio_write", "_decrypt", "_encrypt", "_head", "_missing"),
        "_tls",
    )

    def __init__(
        self,
        transport: TLSMemoryBIOProtocol,
        owner: PathOwner,
        receive: Receive,
        *,
        masks: bool,
        max_payload_bytes: int,
    ) -> None:
        tcp: Any = transport.transport
        super().__init__(
            tcp, owner, receive, masks=masks, max_payload_bytes=max_payload_bytes
        )
        connection = transport.getHandle()
        self._tls: Any = transport
        self._bio_read: Any = connection.bio_read
        self._bio_write: Any = connection.bio_write
        self._decrypt: Any = connection.recv
        self._encrypt: Any = connection.send
        # Of the record that has come in part: what is missing, or some of its head.
        self._missing = _UNKNOWN
        self._head = b""
        inside_twisted.write_gathered(transport)

    def flush(self) -> None:
        data, self._unsent = self._unsent, b""
        if not data:
            return
        tcp = self._transport
        if self._is_clogged:
            self._is_clogged = is_queued(tcp) or self._is_plain_waiting()
        if self._is_clogged or len(data) > _MOST_BYTES:
            self._write_by_twisted(data)
            return
        try:
            taken: int = self._encrypt(data)
        except Error:
            # Not now, or never again: Twisted meets it, too.
            self._write_by_twisted(data)
            return
        room = len(data) + _OVERHEAD_BYTES
        record = self._bio_read(room)
        try:
            sent: int = self._send(record)
        except OSError:
            # Full, or broken: Twisted's own write will tell which.
            sent = 0
        if sent < len(record):
            self._is_clogged = True
            tcp.write(record[sent:])
        if len(record) == room:
            # Much was waiting there before it.
            self._is_clogged = True
            inside_twisted.write_records(self._tls)
        if taken < len(data):
            # It is one record for each call, and the peer wants short ones (RFC 6066
            # section 4).
            self._write_by_twisted(data[taken:])

    def unsent_bytes(self) -> int:
        return super().unsent_bytes() + inside_twisted.waiting_bytes(self._tls)

    def closed(self) -> None:
        super().closed()
        # OpenSSL's side is let go, too; what is still written is Twisted's to ignore.
        self._bio_read = self._bio_write = self._decrypt = self._encrypt = _gone

    def doRead(self) -> Exception | None:
        try:
            data = self._recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        size = len(data)
        if not size:
            return CONNECTION_DONE
        if (
            not self._missing
            and not self._head
            and size > _HEAD_BYTES
            and data[3] << 8 | data[4] == size - _HEAD_BYTES
        ):
            records = 1
        else:
            records = self._completed(data)
        if (
            records == _UNKNOWN
            or not self.is_open
            or (self._is_clogged and self._is_plain_waiting())
        ):
            # What it has to say is queued there.
            self._is_clogged = True
            inside_twisted.receive(self._tls, data)
            return None
        self._bio_write(data)
        while records:
            try:
                plain = self._decrypt(READ_BYTES)
            except Error:
                # Not a plain record, or none any more.
                self._read_by_twisted()
                return None
            payload = self.reader.whole(plain)
            if payload is None:
                self._tls.wrappedProtocol.dataReceived(plain)
            else:
                try:
                    self.receive(payload, plain[0] == BINARY)
                except Exception:
                    if self._owner is None:
                        raise
                    self._owner.receive_failed()
            if not self.is_open:
                self._read_by_twisted()
                return None
            if len(plain) < READ_BYTES:
                # A longer one comes in pieces; the last may be as long.  Then
                # another is asked for, of which there may be none.
                records -= 1
        return None

    # -- inside ----------------------------------------------------------------------

    def _completed(self, data: bytes) -> int:
        """How many records end in C{data}; or that it begins in an unknown place."""
        at = self._missing
        is_known = at != _UNKNOWN
        if not is_known:
            # It is found again by a read of whole records and nothing else.
            at = 0
        if self._head:
            data = self._head + data
        end = len(data)
        count = 1 if 0 < at <= end else 0
        while end - at >= _HEAD_BYTES:
            size = data[at + 3] << 8 | data[at + 4]
            if (
                data[at] not in _TYPES
                or data[at + 1] != _MAJOR_VERSION
                or size > _MOST_RECORD_BYTES
            ):
                self._missing, self._head = _UNKNOWN, b""
                return _UNKNOWN
            at += _HEAD_BYTES + size
            count += at <= end
        if not is_known and at != end:
            return _UNKNOWN
        self._missing = max(0, at - end)
        self._head = data[at:]
        return count if is_known else _UNKNOWN

    def _is_plain_waiting(self) -> bool:
        return inside_twisted.waiting_bytes(self._tls) > 0

    def _write_by_twisted(self, data: bytes) -> None:
        self._is_clogged = True
        # Not by what gathers small writes.
        TLSMemoryBIOProtocol.write(self._tls, data)

    def _read_by_twisted(self) -> None:
        self._is_clogged = True
        if self._owner is not None:
            inside_twisted.read_records(self._tls)


def _gone(_: object) -> NoReturn:
    """Does nothing, for a socket that is gone."""
    raise Error
