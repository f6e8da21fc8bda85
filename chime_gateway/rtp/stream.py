"""
The audio of one call over RTP, in both directions, with its RTCP.

Datagrams are passed in and out by plain functions, and the owner's ticks give the
time.  The sender, the receiver and the reports do the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from chime_gateway.audio import PTIME_MS, Codec
from chime_gateway.media.metronome import MAX_MADE_UP
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address, Received
from chime_gateway.rtp.receiver import Listener, RtpReceiver
from chime_gateway.rtp.reports import RtcpReports
from chime_gateway.rtp.sender import RtpSender, Settled
from chime_gateway.rtp.terms import Terms

if TYPE_CHECKING:
    from chime_gateway.rtp.srtp import SrtpCodec

#: How often a stream is checked, apart from RTCP reports.
LOOK_SECONDS: Final = 0.5


class RtpStream:
    """
    One RTP stream.

    @param codec: the codec of played and reported audio, whatever is sent and received.
    @param is_allowed: returns whether media may come from an address.
    @param random32: for SSRC and the first counters (RFC 3550 section 5.1).
    @param wall_time: Unix seconds, for sender reports.
    @param gap_filled: receives audio for time in which nothing came.
    @param look: called every half second, with the time.
    @ivar play: takes one frame, which is sent with the next tick.
    @ivar send: sends a frame, or silence for C{None}, at once.  For owners that do
        their own pacing.
    @ivar clear: drops audio that was played and not sent.
    @ivar send_digits: sends DTMF digits; C{False}: the peer accepts none.
    @ivar rtp_received: takes a datagram of the RTP port.
    @ivar rtcp_received: takes a datagram of the RTCP port.
    """

    __slots__ = (
        *("_look", "_look_at", "_receiver", "_reports", "_sender"),
        *("_srtcp", "_srtp", "_terms", "_waiting", "clear", "play"),
        *("rtcp_received", "rtp_received", "send", "send_digits", "stats"),
    )

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
        gap_filled: Callable[[bytes], None],
        look: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._look = look
        self._look_at = 0.0
        self.stats = NetworkStats()
        self._terms: Terms | None = None
        self._srtp: SrtpCodec | None = None
        self._srtcp: SrtpCodec | None = None
        self._sender = RtpSender(codec, self.stats, random32)
        self._receiver = RtpReceiver(
            codec,
            listener,
            self.stats,
            is_allowed=is_allowed,
            clock=clock,
            moved=self._sender.follow,
            rtcp_received=lambda data, address: self.rtcp_received(data, address),
            gap_filled=gap_filled,
        )
        self._reports = RtcpReports(
            self._sender,
            self._receiver,
            self.stats,
            is_allowed=is_allowed,
            clock=clock,
            wall_time=wall_time,
            random32=random32,
            cname=cname,
        )
        # Called for every packet, so bound directly.
        self.play: Callable[[bytes], None] = self._sender.play
        self.clear: Callable[[], None] = self._sender.clear
        self.send: Callable[[bytes | None], None] = self._sender.send
        self._waiting = self._sender.waiting
        self.send_digits: Callable[[str], bool] = self._sender.send_digits
        self.rtp_received: Received = self._receiver.received
        self.rtcp_received: Received = self._reports.received

    def attach(
        self,
        send: Callable[[bytes, Address], None],
        send_rtcp: Callable[[bytes, Address], None],
    ) -> None:
        """Set what sends packets.  Call before L{agree}."""
        self._sender.attach(send)
        self._reports.attach(send_rtcp)

    def settle_by(self, settle: Callable[[Address | None], Settled]) -> None:
        """
        Send RTP by a connected socket when the peer's address is known.

        @param settle: see L{RtpSender.settle_by}.
        """
        self._sender.settle_by(settle)

    def set_codec(self, codec: Codec) -> None:
        """Set the codec of played and reported audio.  Call before L{agree}."""
        self._sender.set_codec(codec)
        self._receiver.set_codec(codec)

    def agree(self, terms: Terms) -> None:
        """Begin, or go on under new terms (a re-INVITE)."""
        before, self._terms = self._terms, terms
        if before is None or before.keys != terms.keys:
            self._srtp = None if terms.keys is None else self._new_srtp(terms.keys)
        if terms.rtcp_keys is None:
            self._srtcp = self._srtp
        elif before is None or before.rtcp_keys != terms.rtcp_keys:
            self._srtcp = _codec(terms.rtcp_keys)
        for part in (self._sender, self._receiver):
            part.agree(terms, self._srtp)
        self._reports.agree(terms, self._srtcp)

    def _new_srtp(self, keys: SrtpKeys) -> SrtpCodec:
        receiver = self._receiver
        return _codec(keys, receiver.ssrc, receiver.reception.highest >> 16)

    @property
    def ssrc(self) -> int:
        """The SSRC of sent packets.  It changes when a key is replaced."""
        return self._sender.ssrc

    def tick(self, now: float, due: int) -> None:
        """Called once each ptime.  C{due} packets have become due."""
        terms = self._terms
        if terms is None:
            return
        waiting = self._waiting
        if due != 1:
            if self._has_stalled(terms, now, due):
                self._sender.pass_over(due - 1)
                due = 1
            for _ in range(due - 1):
                self.send(waiting.pop(0) if waiting else None)
        self.send(waiting.pop(0) if waiting else None)
        self._receiver.tick(now)
        if now >= self._look_at:
            self._look_around(now)

    def listen(self, now: float, due: int) -> None:
        """As L{tick}, for owners that send packets themselves (L{send})."""
        terms = self._terms
        if terms is None:
            return
        if due != 1:
            self._has_stalled(terms, now, due)
        self._receiver.tick(now)
        if now >= self._look_at:
            self._look_around(now)

    def _has_stalled(self, terms: Terms, now: float, due: int) -> bool:
        """Return whether more packets are due than the peer's buffer bridges."""
        if due * terms.ptime_ms <= MAX_MADE_UP * PTIME_MS:
            return False
        self._receiver.stalled(now, (due - 1) * terms.ptime_ms / 1000)
        return True

    def _look_around(self, now: float) -> None:
        """Do what need not be done on every beat."""
        reports = self._reports
        if now >= reports.due_at:
            reports.report(now)
        self._look_at = min(now + LOOK_SECONDS, reports.due_at)
        self._look(now)

    def pass_over(self, packets: int) -> None:
        """Skip packets that are too late to be of use."""
        self._sender.pass_over(packets)

    @property
    def heard_at(self) -> float:
        """When the last valid packet came."""
        return self._receiver.heard_at

    def refresh_stats(self) -> NetworkStats:
        """Update and return the counters."""
        self._receiver.refresh_stats()
        return self.stats

    def stop(self) -> None:
        """Stop, and send an RTCP BYE."""
        if self._terms is not None:
            self._terms = None
            self._receiver.stop()
            self._reports.stop()


def _codec(keys: SrtpKeys, ssrc: int | None = None, rollovers: int = 0) -> SrtpCodec:
    # Imported late.  If no carrier has imported it before, the first call with keys
    # waits some 10 ms for it.
    from chime_gateway.rtp.srtp import SrtpCodec

    return SrtpCodec(keys, ssrc, rollovers)
