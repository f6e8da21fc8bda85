"""
Reassembles the peer's messages, in order (RFC 9260 section 6.2 and 6.9).

All data is delivered in the order of the transmission sequence numbers (TSN), which is
also the order in each stream.  Unordered messages wait for lost data before them, too.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.wire.webrtc.sctp.packet import MOST_GAPS, Data, Sack, SctpError

#: Maximum bytes that are kept while data before them is missing.
WINDOW: Final = 256 << 10

#: Memory that each kept chunk needs besides its data.
_OVERHEAD_BYTES: Final = 128

#: Offsets in a SACK have 16 bits.
_MOST_AHEAD: Final = 0xFFFF

_MASK: Final = 0xFFFFFFFF


@frozen
class Message:
    stream: int
    ppid: int
    payload: bytes


class Incoming:
    """
    The receiving side of an association.

    @param first_tsn: the peer's first TSN.
    @ivar messages: complete messages; the owner removes them.
    """

    def __init__(self, first_tsn: int, most_message_bytes: int) -> None:
        self.messages: list[Message] = []
        self._tsn = (first_tsn - 1) & _MASK
        self._most = most_message_bytes
        self._held: dict[int, Data] = {}
        self._held_bytes = 0
        # The first chunk of an incomplete message, and the data of its chunks.
        self._begun: Data | None = None
        self._pieces = bytearray()

    def add(self, data: Data) -> None:
        """
        Process a chunk of data.

        @raise SctpError: a message is too long, or its fragments are inconsistent.
        """
        ahead = (data.tsn - self._tsn) & _MASK
        if ahead == 1:
            self._take(data)
            while (held := self._held.pop((self._tsn + 1) & _MASK, None)) is not None:
                self._held_bytes -= len(held.payload) + _OVERHEAD_BYTES
                self._take(held)
            return
        size = len(data.payload) + _OVERHEAD_BYTES
        if not 1 < ahead <= _MOST_AHEAD or data.tsn in self._held:
            return  # a duplicate, or out of range
        if self._held_bytes + size <= WINDOW:
            self._held[data.tsn] = data
            self._held_bytes += size

    def sack(self) -> Sack:
        gaps: list[tuple[int, int]] = []
        for ahead in sorted((tsn - self._tsn) & _MASK for tsn in self._held):
            if gaps and ahead == gaps[-1][1] + 1:
                gaps[-1] = gaps[-1][0], ahead
            elif len(gaps) < MOST_GAPS:
                gaps.append((ahead, ahead))
            else:
                break
        return Sack(self._tsn, WINDOW - self._held_bytes, gaps)

    def _take(self, data: Data) -> None:
        """Process the chunk with the next TSN."""
        self._tsn = data.tsn
        begun = self._begun
        if data.is_first is not (begun is None):
            raise SctpError("the fragments of a message are out of order")
        if begun is None:
            begun = data
        elif begun.stream != data.stream:
            raise SctpError("a message continues in another stream")
        if len(self._pieces) + len(data.payload) > self._most:
            raise SctpError("a message is too long")
        if not data.is_last:
            self._begun = begun
            self._pieces += data.payload
            return
        payload = bytes(self._pieces) + data.payload if self._pieces else data.payload
        self._begun = None
        self._pieces = bytearray()
        self.messages.append(Message(begun.stream, begun.ppid, payload))
