"""
Receives RTP: accepts packets from the right source, in order and in time.

The source may change during a call.  A new one must be allowed, send valid packets,
and not talk over a source that is still active.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from chime_gateway.audio import Codec
from chime_gateway.codec.conceal import Concealment
from chime_gateway.codec.stream import transcoder
from chime_gateway.media.jitter import NO_NOISE, JitterBuffer, JitterStats
from chime_gateway.media.stats import NetworkStats
from chime_gateway.media.timeline import PAUSE_SECONDS, Timeline
from chime_gateway.rtp.keys import SrtpError
from chime_gateway.rtp.latch import Latch
from chime_gateway.rtp.ports import Address, Received
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp.dtmf import DtmfReceiver
from chime_gateway.wire.rtp.rtcp import Reception

if TYPE_CHECKING:
    from chime_gateway.rtp.srtp import SrtpCodec


class Listener(Protocol):
    """Receives what the caller sends."""

    def caller_audio(self, audio: bytes) -> None: ...
    def digit_pressed(self, digit: str) -> None: ...


class RtpReceiver:
    """
    The receiving side of a stream.

    @param codec: the codec of the audio that is reported, whatever is received.
    @param stats: counts received packets.
    @param is_allowed: returns whether media may come from an address.
    @param moved: called with the peer's address when it has changed.
    @param rtcp_received: receives RTCP that comes to this port (RFC 5761).
    @param gap_filled: receives audio for time in which nothing came.
    @ivar heard_at: when the last valid packet came.
    @ivar jitter: the jitter buffer.
    @ivar ssrc: the peer's SSRC; C{None}: nothing came yet.
    @ivar reception: statistics of this SSRC.
    @ivar sender_report: the NTP time in its last sender report, and when that came; 0:
        none came.
    """

    __slots__ = (
        *("_clock", "_codec", "_decode", "_events", "_gap_filled", "_is_allowed"),
        *("_jitter_stats", "_dtmf", "_latch", "_listener", "_moved", "_others"),
        *("_rate", "_rtcp_received", "_srtp", "_stats", "_terms", "_timeline"),
        *("_usual", "heard_at", "jitter", "reception", "sender_report", "ssrc"),
    )

    def __init__(
        self,
        codec: Codec,
        listener: Listener,
        stats: NetworkStats,
        *,
        is_allowed: Callable[[str], bool],
        clock: Callable[[], float],
        moved: Callable[[Address], None],
        rtcp_received: Received,
        gap_filled: Callable[[bytes], None],
    ) -> None:
        self.heard_at = clock()
        self.ssrc: int | None = None
        self.reception = Reception(0)
        self.sender_report = (0, 0.0)
        self._codec = codec
        self._rate = codec.clock_rate
        self._listener = listener
        self._stats = stats
        self._is_allowed = is_allowed
        self._clock = clock
        self._moved = moved
        self._rtcp_received = rtcp_received
        self._gap_filled = gap_filled
        self._terms: Terms | None = None
        # The first bytes of a usual packet; -1: no packet is usual.
        self._usual = -1
        self._srtp: SrtpCodec | None = None
        self._decode: Callable[[bytes], bytes] | None = None
        self._latch = Latch()
        self._events: frozenset[int | None] = frozenset()
        self._others: Mapping[int, Callable[[bytes], bytes]] = {}
        self._dtmf = DtmfReceiver()
        self._jitter_stats = JitterStats()
        self._timeline = Timeline(Concealment(codec), codec.clock_rate)
        self.jitter = JitterBuffer(self._timeline, self._jitter_stats)

    def set_codec(self, codec: Codec) -> None:
        """Set the codec of reported audio.  Call before L{agree}."""
        self._codec = codec
        self._rate = codec.clock_rate

    def agree(self, terms: Terms, srtp: SrtpCodec | None) -> None:
        """Begin, or go on under new terms."""
        before, self._terms = self._terms, terms
        self._srtp = srtp
        self.heard_at = now = self._clock()
        if before is not None and _listening(before) != _listening(terms):
            # Packets in the buffer were sent under the old terms, in the old codec.
            self._pass_on(self.jitter.flush(now))
        if before is None or before.remote != terms.remote:
            was_heard = before is not None and before.receives
            self._latch.expect(terms.remote, now, was_heard=was_heard)
        if before is None or before.codec != terms.codec:
            self._timeline.set_filling(Concealment(terms.codec))
            self._decode = transcoder(terms.codec, self._codec)
        self._events = terms.other_events | {terms.telephone_event}
        self._others = {
            payload_type: transcoder(codec, terms.codec) or bytes
            for payload_type, codec in terms.other_codecs.items()
        }
        if before is not None and before.receives != terms.receives:
            # Sequence numbers advanced while packets were ignored.
            self.jitter.reset()
        self._timeline.expect(now)
        is_usual = terms.receives and terms.payload_type not in self._others
        self._usual = rtp.plain_head(terms.payload_type) if is_usual else -1

    @property
    def source(self) -> Address | None:
        """The address that audio comes from; C{None}: none came yet."""
        return self._latch.source

    @property
    def voice(self) -> int | None:
        """Its SSRC; C{None}: no audio came since the last description."""
        return self._latch.ssrc

    @property
    def is_elsewhere(self) -> bool:
        """Whether audio comes from another address than the description names."""
        terms, source = self._terms, self._latch.source
        return terms is not None and source is not None and source != terms.remote

    def stop(self) -> None:
        """Stop receiving."""
        self._terms = None
        self._usual = -1

    def received(self, data: bytes, address: Address) -> None:
        """
        Take a datagram of the RTP port.

        A usual packet is plain audio of the current source, from its address.  It is
        parsed in place.  L{_received} takes all others.
        """
        if len(data) <= rtp.HEADER_BYTES:
            self._received(data, address)
            return
        head, number, timestamp, ssrc = rtp.HEAD.unpack_from(data)
        latch = self._latch
        if (
            head != self._usual
            or ssrc != latch.ssrc
            or address != latch.source
            or latch.is_contested
        ):
            self._received(data, address)
            return
        srtp = self._srtp
        if srtp is not None:
            try:
                data = srtp.unprotect_usual(data) or srtp.unprotect(data)
            except SrtpError as exc:
                self._stats.dropped[str(exc)] += 1
                return
        payload = data[rtp.HEADER_BYTES :]
        now = latch.heard_at = self.heard_at = self._clock()
        latch.number = number
        self._stats.packets_in += 1
        self.reception.packet(number, timestamp, int(now * self._rate) & 0xFFFFFFFF)
        if not self.jitter.passes(number, timestamp, payload, now):
            self._pass_on(self.jitter.put(number, timestamp, payload, now))
        elif payload:
            decode = self._decode
            if decode is not None:
                payload = decode(payload)
            self._listener.caller_audio(payload)

    def _received(self, data: bytes, address: Address) -> None:
        """Take a datagram that is not a usual packet."""
        terms = self._terms
        if terms is None:
            self._stats.dropped["early"] += 1
            return
        latch = self._latch
        if address != latch.source and not self._is_allowed(address[0]):
            self._stats.dropped["stranger"] += 1
            return
        if rtp.is_rtcp(data):
            self._rtcp_received(data, address)
            return
        try:
            if self._srtp is not None:
                data = self._srtp.unprotect(data)
            packet = rtp.parse(data)
        except (rtp.RtpError, SrtpError) as exc:
            self._stats.dropped[str(exc)] += 1
            return
        payload_type = packet.payload_type
        if not (
            payload_type == terms.payload_type
            or payload_type in self._events
            or payload_type in terms.comfort_noise
            or payload_type in self._others
        ):
            self._stats.dropped["payload_type"] += 1
            return
        now = self._clock()
        if packet.ssrc == latch.ssrc and address == latch.source:
            latch.number, latch.heard_at = packet.sequence_number, now
            if latch.is_contested:
                latch.settle()
            self._take(packet, terms, now)
            return
        believed = latch.consider(
            packet, address, now, is_authentic=self._srtp is not None
        )
        if not believed and latch.is_still_heard(packet, address):
            self._take(packet, terms, now)
            return
        if not believed:
            is_place = address == latch.source
            self._stats.dropped["ssrc" if is_place else "stranger"] += 1
            return
        if packet.ssrc != self.ssrc:
            self._begin(believed[0], now)
        self._moved(address)
        for packet in believed:
            self._take(packet, terms, now)

    def _take(self, packet: rtp.RtpPacket, terms: Terms, now: float) -> None:
        """Take a packet of the peer."""
        self.heard_at = now
        self._stats.packets_in += 1
        number, timestamp = packet.sequence_number, packet.timestamp
        payload_type, payload = packet.payload_type, packet.payload
        if payload_type in self._others:
            payload = self._others[payload_type](payload)
            payload_type = terms.payload_type
        if payload_type == terms.payload_type:
            arrived = int(now * self._rate) & 0xFFFFFFFF
            self.reception.packet(number, timestamp, arrived)
            if terms.receives:
                ready = self.jitter.put(number, timestamp, payload, now)
                if ready:
                    self._pass_on(ready)
            return
        self.reception.packet(number, timestamp, None)
        noise = NO_NOISE
        if payload_type in self._events:
            digit = self._dtmf.event_received(number, timestamp, payload)
            if digit is not None:
                self._listener.digit_pressed(digit)
        else:
            # RFC 3389 section 3: the first byte, without its reserved bit.
            noise = payload[0] & 0x7F if payload else 0x7F
        if terms.receives:
            self._pass_on(self.jitter.put_other(number, timestamp, noise, now))

    def stalled(self, now: float, seconds: float) -> None:
        """This process stalled for C{seconds}."""
        self._timeline.stalled(now, seconds)

    def tick(self, now: float) -> None:
        """Give up packets that are too late, and fill gaps."""
        jitter, timeline = self.jitter, self._timeline
        if jitter.held:
            self._pass_on(jitter.due(now))
        elif timeline.pause is not None or (
            timeline.arrived is not None and now - timeline.arrived >= PAUSE_SECONDS
        ):
            audio = jitter.fill_pause(now)
            if audio:
                decode = self._decode
                self._gap_filled(audio if decode is None else decode(audio))

    def refresh_stats(self) -> None:
        """Update the counters that are not kept per packet."""
        stats, jitter = self._stats, self._jitter_stats
        stats.lost, stats.late = jitter.lost, jitter.late + self._timeline.late
        stats.clock_resets = self._timeline.resets
        stats.reordered, stats.duplicates = jitter.reordered, jitter.duplicates
        stats.concealed = jitter.concealed
        stats.jitter_seconds = self.reception.jitter / self._rate

    # -- inside ------------------------------------------------------------------

    def _pass_on(self, ready: list[bytes]) -> None:
        decode = self._decode
        for audio in ready:
            if audio:
                self._listener.caller_audio(audio if decode is None else decode(audio))

    def _begin(self, first: rtp.RtpPacket, now: float) -> None:
        """Change to another source.  Its counters begin anywhere."""
        self._pass_on(self.jitter.flush(now))
        self.ssrc = first.ssrc
        self.reception = Reception(first.sequence_number)
        self.sender_report = (0, 0.0)
        self.jitter.reset()
        self._dtmf.source_changed()


def _listening(terms: Terms) -> tuple[bool, Codec]:
    return terms.receives, terms.codec
