"""
Sends RTP: one packet each ptime, with sequence number and timestamp, and DTMF digits.

Its owner ticks it once each negotiated ptime, but always plays frames of 20 ms.  When
the agent has nothing to say, silence is sent, so that nothing on the path takes the
stream for dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from chime_gateway.audio import PTIME_MS, Codec
from chime_gateway.codec.stream import transcoder
from chime_gateway.media.metronome import MAX_MADE_UP
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp.dtmf import key_packets

if TYPE_CHECKING:
    from chime_gateway.rtp.srtp import SrtpCodec

#: How long a sent DTMF digit lasts, and the pause after it.
KEY_MS: Final = 160
KEY_PAUSE_MS: Final = 80

#: The maximum number of frames that wait to be sent: those that a late beat makes up,
#: and those that a longer packet consists of.  More would stay, and delay all audio
#: after them.
_MAX_WAITING: Final = MAX_MADE_UP + 3


#: Sends by a socket that is connected to the peer; C{None}: there is no such socket.
Settled: TypeAlias = Callable[[bytes], None] | None


def _never_settled(remote: Address | None) -> Settled:
    """All packets go by one socket that is not connected."""
    return None


class RtpSender:
    """
    The sending side of a stream.

    @param codec: the codec of the audio that is played, whatever is sent.
    @param stats: counts sent packets.
    @param random32: for SSRC and the first counters (RFC 3550 section 5.1).
    @ivar ssrc: the SSRC of sent packets.
    @ivar timestamp: the timestamp of the next packet.
    @ivar bytes_out: payload sent with this SSRC.
    @ivar packets_before: packets sent with earlier SSRCs.
    @ivar waiting: frames for the next packets; always the same list.
    """

    __slots__ = (
        *("_codec", "_encode", "_is_plain", "_is_short", "_is_silent", "_key"),
        *("_key_pause", "_key_timestamp", "_keys", "_partial", "_payload_type"),
        *("_protect", "_ptime_ms", "_random32", "_remote", "_samples", "_send_packet"),
        *("_sequence_number", "_settle", "_settled", "_silence", "_stats", "_terms"),
        *("bytes_out", "packets_before", "ssrc", "timestamp", "waiting"),
    )

    def __init__(
        self, codec: Codec, stats: NetworkStats, random32: Callable[[], int]
    ) -> None:
        self.timestamp = random32()
        self._random32 = random32
        self._stats = stats
        self._sequence_number = self.bytes_out = 0
        self._begin()
        self._send_packet: Callable[[bytes, Address], None]
        self._remote: Address = ("", 0)
        self._settle: Callable[[Address | None], Settled] = _never_settled
        # Sends to the address that audio comes from.
        self._settled: Settled = None
        self._terms: Terms | None = None
        self._payload_type = 0
        # Frames are sent as they are played, and there is nothing else to send.
        self._is_plain = False
        self._protect: Callable[[bytes], bytes] | None = None
        self._encode: Callable[[bytes], bytes] | None = None
        # A list, as it is short: a deque is ten times as large.
        self.waiting: list[bytes] = []
        self._partial = b""
        self._is_short = False
        self._is_silent = True
        self._keys = ""
        self._key: Iterator[tuple[bool, bytes]] | None = None
        self._key_timestamp = 0
        self._key_pause = 0
        self.set_codec(codec)

    def attach(self, send: Callable[[bytes, Address], None]) -> None:
        """Set what sends packets.  Call before L{agree}."""
        self._send_packet = send

    def settle_by(self, settle: Callable[[Address | None], Settled]) -> None:
        """
        Use a connected socket when the peer's address is known.

        @param settle: called with the address that audio comes from, or C{None} when it
            is no longer known.  It returns what sends packets there.
        """
        self._settle = settle

    def set_codec(self, codec: Codec) -> None:
        """Set the codec of played audio.  Call before L{agree}."""
        self._codec = codec
        self._ptime_ms = PTIME_MS
        self._samples = codec.frame_bytes // codec.sample_bytes
        self._silence = codec.silence(codec.frame_bytes)

    def agree(self, terms: Terms, srtp: SrtpCodec | None) -> None:
        """Begin, or go on under new terms."""
        before, self._terms = self._terms, terms
        self._payload_type = terms.payload_type
        self._protect = None if srtp is None else srtp.protect
        if before is not None and srtp is not None and before.keys != terms.keys:
            # RFC 3711 (section 3.3.1) and implementations of RFC 4568 differ on
            # whether a new key resets the rollover count.  A new SSRC has none yet.
            self._begin()
        if before is None or before.remote != terms.remote:
            self._remote = terms.remote
            if self._settled is not None:
                self._settled = self._settle(None)
        if terms.telephone_event is None:
            # The peer no longer accepts digits that were not sent yet.
            self._keys, self._key = "", None
        if before is None or before.codec != terms.codec:
            self._encode = transcoder(self._codec, terms.codec)
        if before is None or before.ptime_ms != terms.ptime_ms:
            self._ptime_ms = terms.ptime_ms
            self._samples = self._codec.clock_rate * terms.ptime_ms // 1000
            self._silence = self._codec.silence(
                self._samples * self._codec.sample_bytes
            )
        self._look()

    def _look(self) -> None:
        """Note whether the next packets are usual ones."""
        terms = self._terms
        self._is_plain = (
            terms is not None
            and terms.sends
            and self._ptime_ms == PTIME_MS
            and self._encode is None
            and not self._keys
            and self._key is None
        )

    def follow(self, remote: Address) -> None:
        """Send to the address that the peer's audio comes from."""
        self._remote = remote
        self._settled = self._settle(remote)

    def play(self, frame: bytes) -> None:
        """Play one frame of 20 ms.  It is sent with the next packet."""
        self.waiting.append(frame)
        if len(self.waiting) > _MAX_WAITING:
            del self.waiting[0]
            self._stats.dropped["send_queue_full"] += 1

    def clear(self) -> None:
        self.waiting.clear()
        self._partial = b""

    def send_digits(self, digits: str) -> bool:
        """
        Send DTMF digits, one after the other.

        @return: C{False}: the peer accepts no telephone-events.
        """
        if self._terms is None or self._terms.telephone_event is None:
            return False
        self._keys += digits
        self._look()
        return True

    def send(self, frame: bytes | None) -> None:
        """
        Send one packet.  Called for every packet, when it is due.

        @param frame: its audio; C{None}: silence.
        """
        if not self._is_plain:
            if frame is not None:
                self.waiting.insert(0, frame)
            self._send_other()
            return
        second = self._payload_type
        if frame is None:
            frame = self._silence
            self._is_silent = True
        elif self._is_silent:
            second |= 0x80
            self._is_silent = False
        number, timestamp = self._sequence_number, self.timestamp
        self._sequence_number = (number + 1) & 0xFFFF
        self.timestamp = (timestamp + self._samples) & 0xFFFFFFFF
        packet = rtp.HEADER.pack(0x80, second, number, timestamp, self.ssrc) + frame
        if self._protect is not None:
            packet = self._protect(packet)
        if self._settled is not None:
            self._settled(packet)
        else:
            self._send_packet(packet, self._remote)
        self._stats.packets_out += 1
        self.bytes_out += len(frame)

    def _send_other(self) -> None:
        """Send a packet that is not a usual one: hold, digits, other ptime or codec."""
        terms, waiting, samples = self._terms, self.waiting, self._samples
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
                self._gathered()
            if self._press(terms):
                self.timestamp = (self.timestamp + samples) & 0xFFFFFFFF
                return
        frame: bytes | None
        if self._ptime_ms == PTIME_MS:
            frame = waiting.pop(0) if waiting else None
        else:
            frame = self._gathered()
        if frame is not None:
            marker, self._is_silent = self._is_silent, False
        else:
            frame = self._silence
            marker, self._is_silent = False, True
        if self._encode is not None:
            frame = self._encode(frame)
        self._send(terms.payload_type, marker, self.timestamp, frame)
        self.timestamp = (self.timestamp + samples) & 0xFFFFFFFF

    def pass_over(self, packets: int) -> None:
        """
        Skip packets that are too late to be of use.  The timestamp advances (RFC 3550
        section 5.1), the sequence number does not.
        """
        self.timestamp = (self.timestamp + packets * self._samples) & 0xFFFFFFFF
        self._is_silent = True

    def _gathered(self) -> bytes | None:
        """Return audio for one packet, made of frames; C{None}: there is none."""
        waiting, size = self.waiting, len(self._silence)
        audio = self._partial
        while waiting and len(audio) < size:
            audio += waiting.pop(0)
        if len(audio) < size:
            if not audio or (self._is_silent and not self._is_short):
                # Audio begins with a full packet.  Then it never runs short: while a
                # packet is sent, as much audio comes in.
                self._partial = audio
                self._is_short = bool(audio)
                return None
            audio += self._silence[len(audio) :]
        self._is_short = False
        self._partial = audio[size:]
        return audio[:size]

    def _begin(self) -> None:
        """Begin a new source (SSRC) with new counters."""
        self.ssrc = self._random32()
        # Not near its end (RFC 3711 section 3.3.1): if the packets around the first
        # rollover were lost, the peer would count rollovers wrongly from then on.
        self._sequence_number = self._random32() & 0x7FFF
        self.packets_before = self._stats.packets_out
        self.bytes_out = 0

    def _press(self, terms: Terms) -> bool:
        """
        Send a packet of the current DTMF digit, if there is one.

        @return: whether it was sent in place of audio.
        """
        if self._key_pause > 0:
            self._key_pause -= self._ptime_ms
            return False
        if self._key is None:
            duration = KEY_MS * self._codec.clock_rate // 1000
            key, self._keys = self._keys[0], self._keys[1:]
            self._key = key_packets(key, duration, self._samples)
            self._key_timestamp = self.timestamp
        packet = next(self._key, None)
        if packet is None:
            self._key = None
            self._key_pause = KEY_PAUSE_MS
            self._look()
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
        second = payload_type | 0x80 if marker else payload_type
        packet = rtp.HEADER.pack(0x80, second, number, timestamp, self.ssrc) + payload
        if self._protect is not None:
            packet = self._protect(packet)
        if self._settled is not None:
            self._settled(packet)
        else:
            self._send_packet(packet, self._remote)
        self._stats.packets_out += 1
        self.bytes_out += len(payload)
