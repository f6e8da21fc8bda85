"""
Sends messages to the peer: cut into chunks, as fast as the peer and the network
accept them, and repeated until they have arrived (RFC 9260 section 6 and 7).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

from chime_gateway.wire.webrtc.sctp.packet import (
    MOST_FRAGMENT_BYTES,
    MOST_PACKET_BYTES,
    Data,
    Sack,
    SctpError,
    encode_data,
)

#: Seconds without an answer: at first, and within what is measured.  Whoever answers
#: waits 0.2 s at most (RFC 9260 section 6.2).
FIRST_RTO: Final = 0.5
_LEAST_RTO: Final = 0.4
_MOST_RTO: Final = 4.0

#: Sendings in a row of which nothing has come.
MOST_TRIES: Final = 10

#: Bytes that are written and have not come, at most: as of a WebSocket.
MOST_UNSENT_BYTES: Final = 4 << 20

_HEADER_BYTES: Final = 12
_FIRST_FLIGHT: Final = 4 * MOST_PACKET_BYTES

#: So many times something behind it has come, and it has not.
_MOST_MISSING: Final = 3

_MASK: Final = 0xFFFFFFFF


@define(eq=False)
class _Piece:
    """
    @ivar is_flying: it may still come; C{False}: it is to be sent (again).
    @ivar is_there: it has come, and something before it has not.
    """

    tsn: int
    chunk: bytes = field(repr=False)
    sent_at: float = 0.0
    sendings: int = 0
    missing: int = 0
    is_flying: bool = False
    is_there: bool = False


class Outgoing:
    """
    @param window: bytes that the other side has room for.
    @ivar due: when L{tick} wants to be called; C{None}: not at all.
    @ivar unsent_bytes: of all that is kept, as it may have to be sent again.
    """

    def __init__(self, first_tsn: int, window: int) -> None:
        self.due: float | None = None
        self.unsent_bytes = 0
        self.tries = 0
        self._tsn = first_tsn
        self._sequences: dict[int, int] = {}
        self._window = window
        self._pieces: dict[int, _Piece] = {}
        self._again: deque[_Piece] = deque()
        self._new: deque[_Piece] = deque()
        self._acknowledged = (first_tsn - 1) & _MASK
        self._flight = 0
        self._most_flight = _FIRST_FLIGHT
        self._threshold = window
        self._grown = 0
        # Losses up to this one have slowed it down already.
        self._slowed_until: int | None = None
        self._rto = FIRST_RTO
        self._mean: float | None = None
        self._deviation = 0.0

    def add(self, stream: int, ppid: int, payload: bytes) -> None:
        """@param payload: at least a byte."""
        sequence = self._sequences.get(stream, 0)
        self._sequences[stream] = (sequence + 1) & 0xFFFF
        for at in range(0, len(payload), MOST_FRAGMENT_BYTES):
            part = payload[at : at + MOST_FRAGMENT_BYTES]
            is_last = at + MOST_FRAGMENT_BYTES >= len(payload)
            data = Data(self._tsn, stream, sequence, ppid, part, at == 0, is_last)
            piece = _Piece(self._tsn, encode_data(data))
            self._tsn = (self._tsn + 1) & _MASK
            self._new.append(piece)
            self.unsent_bytes += len(piece.chunk)

    def take(self, now: float, used_bytes: int = 0) -> list[list[bytes]]:
        """
        What may go now.

        @param used_bytes: that are in the first packet already.
        @return: chunks, of a packet each; the first one may have none.
        """
        packets: list[list[bytes]] = [[]]
        room = MOST_PACKET_BYTES - _HEADER_BYTES - used_bytes
        while (piece := self._next()) is not None:
            size = len(piece.chunk)
            if size > room:
                packets.append([])
                room = MOST_PACKET_BYTES - _HEADER_BYTES
            room -= size
            packets[-1].append(piece.chunk)
            piece.is_flying = True
            piece.sendings += 1
            piece.sent_at = now
            self._flight += size
            if self.due is None:
                self.due = now + self._rto
        return packets

    def _next(self) -> _Piece | None:
        """One may always be on its way: so a window that was closed is found open."""
        again = self._again
        while again and (again[0].is_flying or again[0].is_there):
            again.popleft()
        queue = again or self._new
        if not queue:
            return None
        size = len(queue[0].chunk)
        most = min(self._most_flight, self._window)
        if self._flight and self._flight + size > most:
            return None
        piece = queue.popleft()
        self._pieces[piece.tsn] = piece
        return piece

    def acknowledged(self, now: float, sack: Sack) -> None:
        """
        @raise SctpError: of what was never sent.
        """
        come = (sack.tsn - self._acknowledged) & _MASK
        if come > 1 << 31:
            return  # an older one, overtaken
        if come > len(self._pieces):
            raise SctpError("what was never sent is acknowledged")
        before = self._acknowledged
        got = 0
        for _ in range(come):
            self._acknowledged = (self._acknowledged + 1) & _MASK
            piece = self._pieces.pop(self._acknowledged)
            self.unsent_bytes -= len(piece.chunk)
            got += self._came(now, piece)
        got += self._came_ahead(now, sack)
        self._window = sack.window
        if self._slowed_until is not None and self._is_behind(self._slowed_until):
            self._slowed_until = None
        if got:
            self.tries = 0
        if self._acknowledged != before:
            self._grow(got)
            self.due = now + self._rto if self._pieces else None

    def tick(self, now: float) -> None:
        """
        @raise SctpError: nothing has come for too long.
        """
        if self.due is None or now < self.due:
            return
        self.tries += 1
        if self.tries > MOST_TRIES:
            raise SctpError("the other side acknowledges nothing any more")
        self._rto = min(2 * self._rto, _MOST_RTO)
        self._threshold = max(self._most_flight // 2, _FIRST_FLIGHT)
        self._most_flight = MOST_PACKET_BYTES
        self._slowed_until = None
        for piece in self._pieces.values():
            self._lose(piece)
        self.due = now + self._rto

    # -- inside ------------------------------------------------------------------

    def _is_behind(self, tsn: int) -> bool:
        """Whether all up to it has come."""
        return (self._acknowledged - tsn) & _MASK < 1 << 31

    def _came(self, now: float, piece: _Piece) -> int:
        """@return: its bytes, if that is news."""
        if piece.is_there:
            return 0
        size = len(piece.chunk)
        piece.is_there = True
        if piece.is_flying:
            self._flight -= size
            piece.is_flying = False
        if piece.sendings == 1:
            self._measured(now - piece.sent_at)
        return size

    def _came_ahead(self, now: float, sack: Sack) -> int:
        """What has come behind gaps, and what is missing in them."""
        got, last = 0, 0
        for first, end in sack.gaps:
            # In their order, and none longer than what is on its way.
            for ahead in range(max(first, last + 1), min(end, len(self._pieces)) + 1):
                piece = self._pieces.get((self._acknowledged + ahead) & _MASK)
                if piece is not None:
                    size = self._came(now, piece)
                    got += size
                    last = max(last, ahead)
        if got:
            for ahead in range(1, last):
                piece = self._pieces.get((self._acknowledged + ahead) & _MASK)
                # What is sent again is missed by those sent before it: only time tells.
                if piece is not None and piece.is_flying and piece.sendings == 1:
                    piece.missing += 1
                    if piece.missing >= _MOST_MISSING:
                        self._slow_down()
                        self._lose(piece)
        return got

    def _lose(self, piece: _Piece) -> None:
        if piece.is_flying:
            piece.is_flying = False
            self._flight -= len(piece.chunk)
            self._again.append(piece)

    def _slow_down(self) -> None:
        """Once for all that was on its way (RFC 9260 section 7.2.4)."""
        if self._slowed_until is None:
            self._slowed_until = (self._tsn - 1) & _MASK
            self._threshold = max(self._most_flight // 2, _FIRST_FLIGHT)
            self._most_flight = self._threshold
            self._grown = 0

    def _grow(self, got: int) -> None:
        """RFC 9260 section 7.2.1 and 7.2.2."""
        if self._slowed_until is not None or self._most_flight > MOST_UNSENT_BYTES:
            return
        if self._most_flight <= self._threshold:
            self._most_flight += min(got, MOST_PACKET_BYTES)
            return
        self._grown += got
        if self._grown >= self._most_flight:
            self._grown = 0
            self._most_flight += MOST_PACKET_BYTES

    def _measured(self, seconds: float) -> None:
        """RFC 9260 section 6.3.1."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            away = abs(self._mean - seconds)
            self._deviation += (away - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        rto = self._mean + 4 * self._deviation
        self._rto = min(max(rto, _LEAST_RTO), _MOST_RTO)
