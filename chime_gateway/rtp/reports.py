"""
The RTCP of one stream: every few seconds, each side reports what it received.

Reports are made from the counters of the sender and the receiver.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.keys import SrtpError
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.receiver import RtpReceiver
from chime_gateway.rtp.sender import RtpSender
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.address import is_destination
from chime_gateway.wire.rtp import rtcp

if TYPE_CHECKING:
    from chime_gateway.rtp.srtp import SrtpCodec

#: The average interval between reports (RFC 3550 section 6.2).
RTCP_SECONDS: Final = 5.0


#: The length of an empty report.  RFC 3550 section 6.1 requires a source description
#: after it.
_BARE_BYTES: Final = 8


class RtcpReports:
    """
    Sends and receives RTCP reports.

    @param stats: receives what the peer reports about the sent stream.
    @param is_allowed: returns whether reports may come from an address.
    @param wall_time: Unix seconds, for sender reports.
    @param random32: spreads the reports of many calls.
    @param cname: the canonical name in reports (RFC 3550 section 6.5.1).
    @ivar due_at: when to call L{report}.
    """

    __slots__ = (
        *("_clock", "_cname", "_is_allowed", "_random32", "_receiver", "_remote"),
        *("_reported_packets", "_send_packet", "_sender", "_srtp", "_ssrc", "_stats"),
        *("_terms", "_wall_offset", "due_at"),
    )

    def __init__(
        self,
        sender: RtpSender,
        receiver: RtpReceiver,
        stats: NetworkStats,
        *,
        is_allowed: Callable[[str], bool],
        clock: Callable[[], float],
        wall_time: Callable[[], float],
        random32: Callable[[], int],
        cname: str,
    ) -> None:
        self.due_at = inf
        self._sender = sender
        self._receiver = receiver
        self._stats = stats
        self._send_packet: Callable[[bytes, Address], None]
        self._is_allowed = is_allowed
        self._clock = clock
        self._wall_offset = wall_time() - clock()
        self._random32 = random32
        self._cname = cname
        self._terms: Terms | None = None
        self._srtp: SrtpCodec | None = None
        self._remote: Address = ("", 0)
        self._ssrc: int | None = None
        self._reported_packets = -1

    def attach(self, send: Callable[[bytes, Address], None]) -> None:
        """Set what sends reports.  Call before L{agree}."""
        self._send_packet = send

    def agree(self, terms: Terms, srtp: SrtpCodec | None) -> None:
        """Begin, or go on under new terms."""
        before, self._terms = self._terms, terms
        self._srtp = srtp
        if before is None or _places(before) != _places(terms):
            self._remote = terms.remote_rtcp
            self._ssrc = None
        if before is None:
            self.due_at = self._clock() + RTCP_SECONDS / 2

    def received(self, data: bytes, address: Address) -> None:
        """Take a datagram of the RTCP port, or RTCP that came to the RTP port."""
        if not self._is_allowed(address[0]):
            self._stats.dropped["stranger"] += 1
            return
        try:
            if self._srtp is not None:
                data = self._srtp.unprotect_rtcp(data)
            compound = rtcp.parse(data)
        except (rtcp.RtcpError, SrtpError):
            self._stats.dropped["rtcp"] += 1
            return
        terms = self._terms
        if terms is None:
            self._stats.dropped["early"] += 1
            return
        if self._srtp is None and not self._is_known(compound.ssrc, address, terms):
            self._stats.dropped["stranger"] += 1
            return
        now = self._clock()
        receiver = self._receiver
        if len(data) > _BARE_BYTES and not compound.goodbye:
            receiver.heard_at = now
        # Behind NAT, reports go to where the peer's reports come from.
        self._remote = address if receiver.is_elsewhere else terms.remote_rtcp
        if compound.sender_ntp is not None and compound.ssrc == receiver.ssrc:
            receiver.sender_report = compound.sender_ntp, now
        for report in compound.reports:
            if report.ssrc == self._sender.ssrc:
                self._stats.remote_lost = max(0, report.lost)
                round_trip = rtcp.round_trip(report, self._ntp_time())
                if round_trip is not None:
                    self._stats.round_trip_seconds = round_trip

    def _is_known(self, ssrc: int | None, address: Address, terms: Terms) -> bool:
        """
        Return whether address and SSRC are the peer's.  Many calls may share a host of
        a carrier, so the port has to match as well, unless a NAT has chosen the port
        of the audio: then it chooses this one, too.
        """
        receiver = self._receiver
        source = receiver.source
        is_place = address in (terms.remote_rtcp, source or terms.remote) or (
            receiver.is_elsewhere and source is not None and address[0] == source[0]
        )
        if not is_place or ssrc is None:
            return False
        # At a new address there may be another source, which may never send audio.
        voice = receiver.voice
        if voice is None and self._ssrc is None:
            self._ssrc = ssrc
        return ssrc == (self._ssrc if voice is None else voice)

    def report(self, now: float) -> None:
        """Send a report, and set when the next is due."""
        # Between 0.5 and 1.5 times the interval, so that the reports of many calls do
        # not coincide.
        spread = 0.5 + self._random32() / 2**32
        self.due_at = now + RTCP_SECONDS * spread
        self._send(self._compound(now))

    def stop(self) -> None:
        """Send the last report, with a BYE."""
        goodbye = rtcp.goodbye(self._sender.ssrc)
        self._send(self._compound(self._clock()) + goodbye)
        self._terms = None

    # -- inside ------------------------------------------------------------------

    def _send(self, packet: bytes) -> None:
        if not is_destination(self._remote[0]):
            return  # on hold from the start: there is no address yet
        if self._srtp is not None:
            packet = self._srtp.protect_rtcp(packet)
        self._send_packet(packet, self._remote)

    def _compound(self, now: float) -> bytes:
        sender, receiver, stats = self._sender, self._receiver, self._stats
        block = b""
        if receiver.ssrc is not None:
            ntp, came_at = receiver.sender_report
            block = rtcp.report_block(
                receiver.ssrc, receiver.reception, ntp, now - came_at
            )
        if stats.packets_out != self._reported_packets:
            self._reported_packets = stats.packets_out
            report = rtcp.sender_report(
                sender.ssrc,
                self._ntp_time(),
                sender.timestamp,
                stats.packets_out - sender.packets_before,
                sender.bytes_out,
                block,
            )
        else:
            report = rtcp.receiver_report(sender.ssrc, block)
        return report + rtcp.source_description(sender.ssrc, self._cname)

    def _ntp_time(self) -> int:
        """
        Return the wall time at the beginning of the stream plus the time that has
        passed.  If the wall clock were set meanwhile, round trips would be wrong.
        """
        return rtcp.ntp_time(self._wall_offset + self._clock())


def _places(terms: Terms) -> tuple[Address, Address]:
    return terms.remote, terms.remote_rtcp
