"""
The audio of one call over RTP, both ways, with its RTCP.

Out: one packet each ptime from the first moment on, silence where the agent has
nothing to say, so that nobody on the way takes the line for dead.  In: what
comes from the right place, in order, gaps concealed.

It knows no sockets and no signalling: datagrams come in and go out by plain
functions, time is told by whoever ticks it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from attrs import frozen

from chime_gateway.audio import Codec
from chime_gateway.codec.conceal import Concealment
from chime_gateway.codec.registry import transcoder
from chime_gateway.media.jitter import JitterBuffer, JitterStats
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.srtp import SrtpCodec, SrtpError, SrtpKeys
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp import rtcp
from chime_gateway.wire.rtp.dtmf import Keypad, key_packets

#: Reports go out about every so often (RFC 3550 section 6.2).
RTCP_SECONDS: Final = 5.0

#: Another source is believed when the one before was silent for so long.
MOVE_SECONDS: Final = 1.0

#: A key of ours: how long it is pressed, and the pause behind it.
KEY_MS: Final = 160
KEY_PAUSE_MS: Final = 80

#: Agent's frames that wait to be sent; more than these are a bug or a stall.
_MAX_WAITING: Final = 25


@frozen(kw_only=True)
class Terms:
    """
    What the two sides agreed on.

    @ivar remote: where RTP goes first; C{remote_rtcp}: where RTCP goes.
    @ivar sends: we send; C{receives}: we listen.
    """

    codec: Codec
    payload_type: int
    telephone_event: int | None
    comfort_noise: frozenset[int]
    ptime_ms: int
    remote: Address
    remote_rtcp: Address
    sends: bool = True
    receives: bool = True
    keys: SrtpKeys | None = None


class Listener(Protocol):
    """Who gets what the caller sends."""

    def caller_audio(self, audio: bytes) -> None: ...
    def digit_pressed(self, digit: str) -> None: ...


class RtpStream:
    """
    @param codec: of the audio that is played and reported, whatever travels.
    @param is_allowed: whether media may come from an address.
    @param random32: for SSRC and the first counters (RFC 3550 section 5.1).
    @param wall_time: Unix seconds, for sender reports.
    @ivar heard_at: when something valid last came.
    """

    def __init__(
        self,
        codec: Codec,
        listener: Listener,
        *,
        is_allowed: Callable[[str], bool],
        clock: Callable[[], float],
        wall_time: Callable[[], float],
        random32: Callable[[], int],
        cname: str,
    ) -> None:
        self.stats = NetworkStats()
        self._codec = codec
        self._listener = listener
        self._send_packet: Callable[[bytes, Address], None]
        self._send_rtcp_packet: Callable[[bytes, Address], None]
        self._is_allowed = is_allowed
        self._clock = clock
        self._wall_offset = wall_time() - clock()
        self._random32 = random32
        self._cname = cname
        self._terms: Terms | None = None
        self._srtp: SrtpCodec | None = None
        # out
        self._ssrc = random32()
        self._sequence_number = random32() & 0xFFFF
        self._timestamp = random32()
        self._bytes_out = 0
        self._waiting: deque[bytes] = deque()
        self._partial = b""
        self._is_silent = True
        self._keys: deque[str] = deque()
        self._key: Iterator[tuple[bool, bytes]] | None = None
        self._key_timestamp = 0
        self._key_pause = 0
        self._encode: Callable[[bytes], bytes] | None = None
        self._remote: Address = ("", 0)
        self._remote_rtcp: Address = ("", 0)
        self._report_at = 0.0
        self._reported_packets = -1
        # in
        self._decode: Callable[[bytes], bytes] | None = None
        self._source: Address | None = None
        self._remote_ssrc: int | None = None
        self._other_ssrc: tuple[int, int] = (0, -1)
        self._reception = rtcp.Reception(0)
        self._sender_ntp = 0
        self._sender_ntp_at = 0.0
        self._keypad = Keypad()
        self._jitter_stats = JitterStats()
        self._jitter: JitterBuffer
        self._listen_to(codec)
        self.heard_at = clock()

    def attach(
        self,
        send: Callable[[bytes, Address], None],
        send_rtcp: Callable[[bytes, Address], None],
    ) -> None:
        """Where packets go out; before anything is agreed on."""
        self._send_packet = send
        self._send_rtcp_packet = send_rtcp

    def speak(self, codec: Codec) -> None:
        """Play and report this one; before anything is agreed on."""
        self._codec = codec

    # -- agreement -------------------------------------------------------------

    def agree(self, terms: Terms) -> None:
        """Begin, or go on under other terms (a re-INVITE)."""
        before, self._terms = self._terms, terms
        if before is None or before.remote != terms.remote:
            self._source = None
            self._remote = terms.remote
            self._remote_rtcp = terms.remote_rtcp
        if before is None or before.keys != terms.keys:
            self._srtp = None if terms.keys is None else SrtpCodec(terms.keys)
        if before is None or before.codec != terms.codec:
            self._listen_to(terms.codec)
            self._decode = transcoder(terms.codec, self._codec)
            self._encode = transcoder(self._codec, terms.codec)
        now = self._clock()
        self.heard_at = now
        if before is None:
            self._report_at = now + RTCP_SECONDS / 2

    # -- out ---------------------------------------------------------------------

    def play(self, frame: bytes) -> None:
        """One frame, sent with the next tick."""
        self._waiting.append(frame)
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft()
            self.stats.dropped["send_queue_full"] += 1

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

    def tick(self, now: float, due: int) -> None:
        """Every 20 ms; C{due} frames have become due."""
        terms = self._terms
        if terms is None:
            return
        for _ in range(due):
            self._next_frame(terms)
        if self._jitter.is_waiting:
            self._pass_on(self._jitter.due(now))
        if now >= self._report_at:
            self._report(now)

    def _next_frame(self, terms: Terms) -> None:
        waiting = self._waiting
        samples = self._codec.frame_bytes // self._codec.sample_bytes
        if not terms.sends:
            if waiting:
                waiting.clear()
                self.stats.dropped["on_hold"] += 1
            self._partial = b""
            self._timestamp = (self._timestamp + samples) & 0xFFFFFFFF
            self._is_silent = True
            return
        if self._keys or self._key is not None:
            if waiting:
                waiting.popleft()
            if self._press(terms):
                self._timestamp = (self._timestamp + samples) & 0xFFFFFFFF
                return
        if waiting:
            frame = waiting.popleft()
            marker, self._is_silent = self._is_silent, False
        else:
            frame = self._codec.silence(self._codec.frame_bytes)
            marker, self._is_silent = False, True
        if self._encode is not None:
            frame = self._encode(frame)
        if terms.ptime_ms == 20:
            self._send(terms.payload_type, marker, self._timestamp, frame)
            self._timestamp = (self._timestamp + samples) & 0xFFFFFFFF
            return
        self._partial += frame
        size = terms.codec.bytes_per_second * terms.ptime_ms // 1000
        while len(self._partial) >= size:
            payload, self._partial = self._partial[:size], self._partial[size:]
            self._send(terms.payload_type, marker, self._timestamp, payload)
            self._timestamp = (self._timestamp + size) & 0xFFFFFFFF
            marker = False

    def _press(self, terms: Terms) -> bool:
        """Whether this frame's time goes to a key."""
        rate = self._codec.clock_rate
        if self._key_pause:
            self._key_pause -= 1
            return False
        if self._key is None:
            step = self._codec.frame_bytes // self._codec.sample_bytes
            duration = KEY_MS * rate // 1000
            self._key = key_packets(self._keys.popleft(), duration, step)
            self._key_timestamp = self._timestamp
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
            payload_type, marker, number, timestamp, self._ssrc, payload
        )
        if self._srtp is not None:
            packet = self._srtp.protect(packet)
        self._send_packet(packet, self._remote)
        self.stats.packets_out += 1
        self._bytes_out += len(payload)

    # -- in ------------------------------------------------------------------------

    def rtp_received(self, data: bytes, address: Address) -> None:
        """A datagram on the RTP port."""
        terms = self._terms
        if terms is None:
            self.stats.dropped["early"] += 1
            return
        now = self._clock()
        if address != self._source and not self._may_move(address, now):
            self.stats.dropped["stranger"] += 1
            return
        if rtp.is_rtcp(data):
            self.rtcp_received(data, address)
            return
        try:
            if self._srtp is not None:
                data = self._srtp.unprotect(data)
            packet = rtp.parse(data)
        except (rtp.RtpError, SrtpError) as exc:
            self.stats.dropped[str(exc)] += 1
            return
        payload_type = packet.payload_type
        is_audio = payload_type == terms.payload_type
        if not (
            is_audio
            or payload_type == terms.telephone_event
            or payload_type in terms.comfort_noise
        ):
            self.stats.dropped["payload_type"] += 1
            return
        if packet.ssrc != self._remote_ssrc and not self._is_new_source(packet):
            self.stats.dropped["ssrc"] += 1
            return
        if address != self._source:
            # Valid in every respect: from now on this is where the caller is.
            self._source = self._remote = address
        self.heard_at = now
        stats = self.stats
        stats.packets_in += 1
        number, timestamp = packet.sequence_number, packet.timestamp
        payload = packet.payload
        if is_audio:
            arrived = int(now * self._codec.clock_rate) & 0xFFFFFFFF
            self._reception.packet(number, timestamp, arrived)
        else:
            self._reception.packet(number, timestamp, None)
            if payload_type == terms.telephone_event:
                digit = self._keypad.event_received(timestamp, payload)
                if digit is not None:
                    self._listener.digit_pressed(digit)
            # Its number is in turn, but there is nothing to hear.
            payload = b""
        ready = self._jitter.put(number, timestamp, payload, now)
        if ready and terms.receives:
            self._pass_on(ready)

    def _listen_to(self, codec: Codec) -> None:
        """Another codec: what was heard before helps to conceal nothing."""
        concealment = Concealment(codec)
        self._jitter = JitterBuffer(
            concealment.conceal, concealment.heard, self._jitter_stats
        )

    def _pass_on(self, ready: list[bytes]) -> None:
        decode = self._decode
        for audio in ready:
            if audio:
                self._listener.caller_audio(audio if decode is None else decode(audio))

    def _may_move(self, address: Address, now: float) -> bool:
        """Whether media may come from another place than before."""
        if not self._is_allowed(address[0]):
            return False
        if self._source is None:
            return True
        assert self._terms is not None
        is_declared = address == self._terms.remote
        return is_declared or now - self.heard_at > MOVE_SECONDS

    def _is_new_source(self, packet: rtp.RtpPacket) -> bool:
        """Another SSRC is believed at its second packet, the first one at once."""
        ssrc, number = self._other_ssrc
        is_first = self._remote_ssrc is None
        if not is_first and (packet.ssrc, packet.sequence_number) != (ssrc, number):
            self._other_ssrc = packet.ssrc, (packet.sequence_number + 1) & 0xFFFF
            return False
        self._remote_ssrc = packet.ssrc
        self._reception = rtcp.Reception(packet.sequence_number)
        self._sender_ntp = 0
        self._jitter.reset()
        return True

    # -- reports -------------------------------------------------------------------

    def rtcp_received(self, data: bytes, address: Address) -> None:
        """A datagram on the RTCP port."""
        if not self._is_allowed(address[0]):
            self.stats.dropped["stranger"] += 1
            return
        try:
            if self._srtp is not None:
                data = self._srtp.unprotect_rtcp(data)
            compound = rtcp.parse(data)
        except (rtcp.RtcpError, SrtpError):
            self.stats.dropped["rtcp"] += 1
            return
        now = self._clock()
        self.heard_at = now
        if compound.sender_ntp is not None and compound.ssrc == self._remote_ssrc:
            self._sender_ntp, self._sender_ntp_at = compound.sender_ntp, now
        for report in compound.reports:
            if report.ssrc == self._ssrc:
                self.stats.remote_lost = max(0, report.lost)
                round_trip = rtcp.round_trip(report, self._ntp_time())
                if round_trip is not None:
                    self.stats.round_trip_seconds = round_trip

    def _report(self, now: float) -> None:
        # Between half and one and a half times the interval, or the reports of
        # many calls would fall together.
        spread = 0.5 + self._random32() / 2**32
        self._report_at = now + RTCP_SECONDS * spread
        self._send_rtcp(self._reports(now))

    def _send_rtcp(self, packet: bytes) -> None:
        if self._srtp is not None:
            packet = self._srtp.protect_rtcp(packet)
        self._send_rtcp_packet(packet, self._remote_rtcp)

    def _reports(self, now: float) -> bytes:
        block = b""
        if self._remote_ssrc is not None:
            delay = now - self._sender_ntp_at
            block = rtcp.report_block(
                self._remote_ssrc, self._reception, self._sender_ntp, delay
            )
        if self.stats.packets_out != self._reported_packets:
            self._reported_packets = self.stats.packets_out
            report = rtcp.sender_report(
                self._ssrc,
                self._ntp_time(),
                self._timestamp,
                self.stats.packets_out,
                self._bytes_out,
                block,
            )
        else:
            report = rtcp.receiver_report(self._ssrc, block)
        return report + rtcp.source_description(self._ssrc, self._cname)

    def _ntp_time(self) -> int:
        """
        What the wall clock said when the stream began, and what has passed since: a
        clock that is set in between could measure no round trip.
        """
        return rtcp.ntp_time(self._wall_offset + self._clock())

    def refresh_stats(self) -> NetworkStats:
        """The counts of now."""
        stats, jitter = self.stats, self._jitter_stats
        stats.lost, stats.late = jitter.lost, jitter.late
        stats.reordered, stats.duplicates = jitter.reordered, jitter.duplicates
        stats.concealed = jitter.concealed
        stats.jitter_seconds = self._reception.jitter / self._codec.clock_rate
        return stats

    def stop(self) -> None:
        """Say goodbye to the other side's RTCP."""
        if self._terms is not None:
            packet = self._reports(self._clock()) + rtcp.goodbye(self._ssrc)
            self._send_rtcp(packet)
            self._terms = None
