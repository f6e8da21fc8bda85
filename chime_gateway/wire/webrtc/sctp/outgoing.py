"""
Sends messages to the peer: split into chunks, as fast as the peer and the network
accept them, and retransmitted until they have arrived (RFC 9260 sections 6 and 7).
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

#: Retransmission timeout in seconds: at first, and the limits of the measured one.  The
#: peer delays an acknowledgement by at most 0.2 s (RFC 9260 section 6.2).
FIRST_RTO: Final = 0.5
_LEAST_RTO: Final = 0.4
_MOST_RTO: Final = 4.0

#: Maximum number of timeouts in a row.
MOST_TRIES: Final = 10

#: Maximum bytes that have not been acknowledged; as for a WebSocket.
MOST_UNSENT_BYTES: Final = 4 << 20

_HEADER_BYTES: Final = 12
_FIRST_CONGESTION_WINDOW: Final = 4 * MOST_PACKET_BYTES

#: A chunk is lost when so many acknowledgements have reported it missing.
_MOST_MISSING: Final = 3

_MASK: Final = 0xFFFFFFFF


@define(eq=False)
class _Piece:
    """
    One chunk.

    @ivar is_in_flight: whether it was sent and may still arrive; otherwise it waits to
        be sent or retransmitted.
    @ivar has_arrived: whether it has arrived, although an earlier one has not.
    @ivar missing: number of acknowledgements that report it missing.
    """

    tsn: int
    chunk: bytes = field(repr=False)
    sent_at: float = 0.0
    transmissions: int = 0
    missing: int = 0
    is_in_flight: bool = False
    has_arrived: bool = False


class Outgoing:
    """
    The sending side of an association.

    @param window: the peer's receive window, in bytes.
    @ivar due: when L{tick} must be called; C{None}: never.
    @ivar unsent_bytes: bytes that have not been acknowledged, and are kept.
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
        self._congestion_window = _FIRST_CONGESTION_WINDOW
        self._slow_start_threshold = window
        self._grown = 0
        # The congestion window was already reduced for losses up to this TSN.
        self._slowed_until: int | None = None
        self._rto = FIRST_RTO
        self._mean: float | None = None
        self._deviation = 0.0

    def add(self, stream: int, ppid: int, payload: bytes) -> None:
        """
        Queue a message.

        @param payload: at least one byte.
        """
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
        Take the chunks that may be sent now.

        @param used_bytes: bytes that the first packet contains already.
        @return: the chunks of each packet; the first one may have none.
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
            piece.is_in_flight = True
            piece.transmissions += 1
            piece.sent_at = now
            self._flight += size
            if self.due is None:
                self.due = now + self._rto
        return packets

    def _next(self) -> _Piece | None:
        """
        Return the next chunk, if it may be sent.  One chunk may always be in flight, to
        find out when a closed window has opened.
        """
        again = self._again
        while again and (again[0].is_in_flight or again[0].has_arrived):
            again.popleft()
        queue = again or self._new
        if not queue:
            return None
        size = len(queue[0].chunk)
        most = min(self._congestion_window, self._window)
        if self._flight and self._flight + size > most:
            return None
        piece = queue.popleft()
        self._pieces[piece.tsn] = piece
        return piece

    def acknowledged(self, now: float, sack: Sack) -> None:
        """
        Process an acknowledgement.

        @raise SctpError: it acknowledges data that was never sent.
        """
        come = (sack.tsn - self._acknowledged) & _MASK
        if come > 1 << 31:
            return  # an older one, which was overtaken
        if come > len(self._pieces):
            raise SctpError("an acknowledgement of data that was never sent")
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
        Retransmit after a timeout.

        @raise SctpError: the peer has not acknowledged anything for too long.
        """
        if self.due is None or now < self.due:
            return
        self.tries += 1
        if self.tries > MOST_TRIES:
            raise SctpError("the peer no longer acknowledges anything")
        self._rto = min(2 * self._rto, _MOST_RTO)
        self._slow_start_threshold = max(
            self._congestion_window // 2, _FIRST_CONGESTION_WINDOW
        )
        self._congestion_window = MOST_PACKET_BYTES
        self._slowed_until = None
        for piece in self._pieces.values():
            self._lose(piece)
        self.due = now + self._rto

    # -- inside ------------------------------------------------------------------

    def _is_behind(self, tsn: int) -> bool:
        """Whether all data up to C{tsn} has arrived."""
        return (self._acknowledged - tsn) & _MASK < 1 << 31

    def _came(self, now: float, piece: _Piece) -> int:
        """
        Note that a chunk has arrived.

        @return: its size; 0 if that was known before.
        """
        if piece.has_arrived:
            return 0
        size = len(piece.chunk)
        piece.has_arrived = True
        if piece.is_in_flight:
            self._flight -= size
            piece.is_in_flight = False
        if piece.transmissions == 1:
            self._measured(now - piece.sent_at)
        return size

    def _came_ahead(self, now: float, sack: Sack) -> int:
        """Note the chunks after gaps, which have arrived, and those missing in gaps."""
        got, last = 0, 0
        for first, end in sack.gaps:
            # In ascending order, and limited to what is in flight.
            for ahead in range(max(first, last + 1), min(end, len(self._pieces)) + 1):
                piece = self._pieces.get((self._acknowledged + ahead) & _MASK)
                if piece is not None:
                    size = self._came(now, piece)
                    got += size
                    last = max(last, ahead)
        if got:
            for ahead in range(1, last):
                piece = self._pieces.get((self._acknowledged + ahead) & _MASK)
                # Retransmitted chunks are always behind later ones: only the timeout
                # shows that they are lost.
                if (
                    piece is not None
                    and piece.is_in_flight
                    and piece.transmissions == 1
                ):
                    piece.missing += 1
                    if piece.missing >= _MOST_MISSING:
                        self._slow_down()
                        self._lose(piece)
        return got

    def _lose(self, piece: _Piece) -> None:
        if piece.is_in_flight:
            piece.is_in_flight = False
            self._flight -= len(piece.chunk)
            self._again.append(piece)

    def _slow_down(self) -> None:
        """Reduce the window, once for all data in flight (RFC 9260 section 7.2.4)."""
        if self._slowed_until is None:
            self._slowed_until = (self._tsn - 1) & _MASK
            self._slow_start_threshold = max(
                self._congestion_window // 2, _FIRST_CONGESTION_WINDOW
            )
            self._congestion_window = self._slow_start_threshold
            self._grown = 0

    def _grow(self, got: int) -> None:
        """Grow the congestion window (RFC 9260 sections 7.2.1 and 7.2.2)."""
        if (
            self._slowed_until is not None
            or self._congestion_window > MOST_UNSENT_BYTES
        ):
            return
        if self._congestion_window <= self._slow_start_threshold:
            self._congestion_window += min(got, MOST_PACKET_BYTES)
            return
        self._grown += got
        if self._grown >= self._congestion_window:
            self._grown = 0
            self._congestion_window += MOST_PACKET_BYTES

    def _measured(self, seconds: float) -> None:
        """Update the timeout with a round-trip time (RFC 9260 section 6.3.1)."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            away = abs(self._mean - seconds)
            self._deviation += (away - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        rto = self._mean + 4 * self._deviation
        self._rto = min(max(rto, _LEAST_RTO), _MOST_RTO)
