"""
The path of a frame over TLS: exchanges application data records with OpenSSL directly,
without Twisted's protocol.

Twisted allocates 32 KiB for each record, ends each read with an exception, and
collects small writes in a delayed call.  It still handles all other records: key
updates, session tickets, alerts, closing.
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

#: A record's header: type, version, length (RFC 8446 section 5.1).
_HEAD_BYTES: Final = 5
_TYPES: Final = range(20, 25)
_MAJOR_VERSION: Final = 3
_MOST_RECORD_BYTES: Final = (1 << 14) + 2048  # TLS 1.2; fewer in TLS 1.3

#: Longer data is not media, and may need more than one record.
_MOST_BYTES: Final = 8192

#: More than any cipher adds to a record of that length.
_OVERHEAD_BYTES: Final = 1024

#: The position within a record is unknown, as it is at the start.
_UNKNOWN: Final = -1


class TlsPath(SocketPath):
    """The path over a Twisted TLS connection over TCP."""

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
        # An incomplete record: how many bytes are missing, or part of its header.
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
            # TLS must read first, or has ended: Twisted handles both.
            self._write_by_twisted(data)
            return
        room = len(data) + _OVERHEAD_BYTES
        record = self._bio_read(room)
        try:
            sent: int = self._send(record)
        except OSError:
            # The socket is full or broken: Twisted's own write handles both.
            sent = 0
        if sent < len(record):
            self._is_clogged = True
            tcp.write(record[sent:])
        if len(record) == room:
            # OpenSSL had more to send already.
            self._is_clogged = True
            inside_twisted.write_records(self._tls)
        if taken < len(data):
            # Each call makes one record, and the peer has limited their length
            # (RFC 6066 section 4).
            self._write_by_twisted(data[taken:])

    def unsent_bytes(self) -> int:
        return super().unsent_bytes() + inside_twisted.waiting_bytes(self._tls)

    def closed(self) -> None:
        super().closed()
        # Release OpenSSL's objects, too.  Twisted ignores later writes.
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
            # Twisted may queue answers.
            self._is_clogged = True
            inside_twisted.receive(self._tls, data)
            return None
        self._bio_write(data)
        while records:
            try:
                plain = self._decrypt(READ_BYTES)
            except Error:
                # Not application data, or no record is left.
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
                # A longer record comes in pieces.  If the last piece has exactly
                # this length, one more is requested, which may not exist.
                records -= 1
        return None

    # -- inside ----------------------------------------------------------------------

    def _completed(self, data: bytes) -> int:
        """
        Count the records that end in C{data}.

        @return: L{_UNKNOWN} if the position within a record is not known.
        """
        at = self._missing
        is_known = at != _UNKNOWN
        if not is_known:
            # It is known again after a read of nothing but whole records.
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
        # Bypass the buffer that gathers small writes.
        TLSMemoryBIOProtocol.write(self._tls, data)

    def _read_by_twisted(self) -> None:
        self._is_clogged = True
        if self._owner is not None:
            inside_twisted.read_records(self._tls)


def _gone(_: object) -> NoReturn:
    """Raises OpenSSL's error; stands in for the methods of a closed connection."""
    raise Error
