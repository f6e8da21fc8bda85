"""
RTP that goes out: one packet each ptime, numbered and stamped, and keys.

Where the agent has nothing to say there is silence, so that nobody on the way
takes the line for dead.  What comes from the other side is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.registry import transcoder
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp.dtmf import key_packets

#: A key of ours: how long it is pressed, and the pause behind it.
KEY_MS: Final = 160
KEY_PAUSE_MS: Final = 80

#: Agent's frames that wait to be sent; more than these are a bug or a stall.
_MAX_WAITING: Final = 25


class RtpSender:
    """
    @param codec: of the audio that is played, whatever travels.
    @param stats: what is sent is counted there.
    @param random32: for SSRC and the first counters (RFC 3550 section 5.1).
    @ivar ssrc: ours.
    @ivar timestamp: of the next frame.
    @ivar bytes_out: of payload, since the SSRC is ours.
    @ivar packets_before: that went out under another one.
    """

    def __init__(
        self, codec: Codec, stats: NetworkStats, random32: Callable[[], int]
    ) -> None:
        self.timestamp = random32()
        self._random32 = random32
        self._stats = stats
        self._begin()
        self._send_packet: Callable[[bytes, Address], None]
        self._remote: Address = ("", 0)
        self._terms: Terms | None = None
        self._srtp: SrtpCodec | None = None
        self._encode: Callable[[bytes], bytes] | None = None
        self._waiting: deque[bytes] = deque()
        self._partial = b""
        self._is_silent = True
        self._keys: deque[str] = deque()
        self._key: Iterator[tuple[bool, bytes]] | None = None
        self._key_timestamp = 0
        self._key_pause = 0
        self.speak(codec)

    def attach(self, send: Callable[[bytes, Address], None]) -> None:
        """Where packets go out; before anything is agreed on."""
        self._send_packet = send

    def speak(self, codec: Codec) -> None:
        """Play this one; before anything is agreed on."""
        self._codec = codec
        self._samples = codec.frame_bytes // codec.sample_bytes
        self._silence = codec.silence(codec.frame_bytes)

    def agree(self, terms: Terms, srtp: SrtpCodec | None) -> None:
        """Begin, or go on under other terms."""
        before, self._terms = self._terms, terms
        self._srtp = srtp
        if before is not None and srtp is not None and before.keys != terms.keys:
            # Whether a new key counts rollovers anew is told differently by RFC 3711
            # (section 3.3.1) and by those who use RFC 4568.  With a new source there
            # is nothing to count yet.
            self._begin()
        if before is None or before.remote != terms.remote:
            self._remote = terms.remote
        if before is None or before.codec != terms.codec:
            self._encode = transcoder(self._codec, terms.codec)

    def follow(self, remote: Address) -> None:
        """The other side is there, whatever was agreed on."""
        self._remote = remote

    def play(self, frame: bytes) -> None:
        """One frame, sent with the next tick."""
        self._waiting.append(frame)
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft()
            self._stats.dropped["send_queue_full"] += 1

    def clear(self) -> None:
        self._waiting.clear()
        self._partial = b""

    def send_digits(self, digits: str) -> bool:
        """
        Press keys, one after the other.

        @return: C{False}: the other side takes no telephone-events.
        """
        if self._terms is None or self._terms.telephone_event is None:
            return False
        self._keys.extend(digits)
        return True

    def next_frame(self) -> None:
        """The time of one frame has come."""
        terms, waiting, samples = self._terms, self._waiting, self._samples
        if terms is None:
            return
        if not terms.sends:
            if waiting:
                waiting.clear()
                self._stats.dropped["on_hold"] += 1
            self._partial = b""
            self.timestamp = (self.timestamp + samples) & 0xFFFFFFFF
            self._is_silent = True
            return
        if self._keys or self._key is not None:
            if waiting:
                waiting.popleft()
            if self._press(terms):
                self.timestamp = (self.timestamp + samples) & 0xFFFFFFFF
                return
        if waiting:
            frame = waiting.popleft()
            marker, self._is_silent = self._is_silent, False
        else:
            frame = self._silence
            marker, self._is_silent = False, True
        if self._encode is not None:
            frame = self._encode(frame)
        if terms.ptime_ms == 20:
            self._send(terms.payload_type, marker, self.timestamp, frame)
            self.timestamp = (self.timestamp + samples) & 0xFFFFFFFF
            return
        self._partial += frame
        size = terms.codec.bytes_per_second * terms.ptime_ms // 1000
        while len(self._partial) >= size:
            payload, self._partial = self._partial[:size], self._partial[size:]
            self._send(terms.payload_type, marker, self.timestamp, payload)
            self.timestamp = (self.timestamp + size) & 0xFFFFFFFF
            marker = False

    def _begin(self) -> None:
        """A source of its own, with its counters."""
        self.ssrc = self._random32()
        # RFC 3711 section 3.3.1: were it near its end, and the packets lost in which
        # it begins anew, the other side would count rollovers wrongly for good.
        self._sequence_number = self._random32() & 0x7FFF
        self.packets_before = self._stats.packets_out
        self.bytes_out = 0

    def _press(self, terms: Terms) -> bool:
        """Whether this frame's time goes to a key."""
        if self._key_pause:
            self._key_pause -= 1
            return False
        if self._key is None:
            duration = KEY_MS * self._codec.clock_rate // 1000
            self._key = key_packets(self._keys.popleft(), duration, self._samples)
            self._key_timestamp = self.timestamp
        packet = next(self._key, None)
        if packet is None:
            self._key = None
            self._key_pause = KEY_PAUSE_MS // 20
            return False
        assert terms.telephone_event is not None
        marker, payload = packet
        self._send(terms.telephone_event, marker, self._key_timestamp, payload)
        self._is_silent = True
        return True

    def _send(
        self, payload_type: int, marker: bool, timestamp: int, payload: bytes
    ) -> None:
        number = self._sequence_number
        self._sequence_number = (number + 1) & 0xFFFF
        packet = rtp.serialize(
            payload_type, marker, number, timestamp, self.ssrc, payload
        )
        if self._srtp is not None:
            packet = self._srtp.protect(packet)
        self._send_packet(packet, self._remote)
        self._stats.packets_out += 1
        self.bytes_out += len(payload)
