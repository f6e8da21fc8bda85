"""
Splits a byte stream into SIP messages (RFC 3261 section 18.3, RFC 5626 section
3.5.1).

It reads only what is needed to find the length of a message.
"""

from __future__ import annotations

import re
from typing import Final

from chime_gateway.wire.sip.message import BadMessage
from chime_gateway.wire.sip.parser import (
    MAX_HEAD_BYTES,
    MAX_MESSAGE_BYTES,
    answerable,
)

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(
    rb"^(?:content-length|l)[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE
)


class StreamFramer:
    """
    Splits a byte stream into messages by C{Content-Length} (RFC 3261 section 18.3).

    @ivar pings: number of keep-alives received (double CRLF, RFC 5626 section 3.5.1);
        the code that answers them sets it back.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._size = 0
        self.pings = 0

    def feed(self, data: bytes) -> list[bytes]:
        """
        Return the messages that are complete now.

        @raise BadMessage: the boundaries of messages are lost, and the stream must be
            closed.  Complete messages in the same data are lost, too.
        """
        self._buffer += data
        messages: list[bytes] = []
        while True:
            self._skip_blank()
            message = self._cut()
            if message is None:
                return messages
            messages.append(message)

    def _skip_blank(self) -> None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            if buffer[:4] == b"\r\n\r\n":
                self.pings += 1
                del buffer[:4]
            elif len(buffer) >= 4 or (len(buffer) == 3 and buffer[2:3] != b"\r"):
                del buffer[:2]
            else:
                return  # perhaps half a keep-alive

    def _cut(self) -> bytes | None:
        buffer = self._buffer
        # The size is read once for each message, even if it comes in many pieces.
        size = self._size = self._size or self._read_size()
        if not size or len(buffer) < size:
            return None
        message = bytes(buffer[:size])
        del buffer[:size]
        self._searched = self._size = 0
        return message

    def _read_size(self) -> int:
        """
        Read the size of the first message in the buffer.

        @return: 0: its headers are not complete.
        """
        buffer = self._buffer
        end = buffer.find(_END, max(0, self._searched - 3))
        if end < 0:
            self._searched = len(buffer)
            if len(buffer) > MAX_HEAD_BYTES:
                raise BadMessage("the headers are too large", 513)
            return 0
        head = bytes(buffer[:end])
        if len(head) > MAX_HEAD_BYTES:
            raise BadMessage("the headers are too large", 513)
        lengths = {match.strip() for match in _LENGTH.findall(head)}
        if len(lengths) != 1:
            raise BadMessage(
                "no Content-Length, or several different ones",
                400,
                answerable(head + _END),
            )
        text = lengths.pop()
        if not text.isdigit() or len(text) > 9:
            raise BadMessage(
                "Content-Length is not a number", 400, answerable(head + _END)
            )
        size = end + len(_END) + int(text)
        if size > MAX_MESSAGE_BYTES:
            raise BadMessage("the message is too large", 513, answerable(head + _END))
        return size
