"""
RTCP (RFC 3550 section 6): each side's reports on the stream that it receives.

L{Reception} keeps the statistics of RFC 3550 appendix A for one source; the rest of the
module reads and writes packets.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import Factory, define, frozen

from chime_gateway.errors import RemoteProtocolError

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203

#: Packet types that begin with the sender's SSRC, feedback and extended reports
#: included.
_SENDERS: Final = range(SENDER_REPORT, 208)

#: Seconds between the epochs of NTP (1900) and Unix (1970).
_NTP_EPOCH_SECONDS: Final = 2208988800

_REPORT_BYTES: Final = 24


class RtcpError(RemoteProtocolError):
    """The data is not RTCP."""


@define
class Reception:
    """
    Statistics of the packets received from one source (RFC 3550 appendices A.1, A.3 and
    A.8).

    @ivar base: the first sequence number.
    @ivar highest: the highest sequence number, extended beyond 16 bits.
    @ivar jitter: in timestamp units, smoothed.
    """

    base: int
    highest: int = 0
    received: int = 0
    jitter: float = 0.0
    _transit: int | None = None
    _expected_before: int = 0
    _received_before: int = 0

    def packet(self, sequence_number: int, timestamp: int, arrived: int | None) -> None:
        """
        Count a packet.

        @param arrived: arrival time in timestamp units, from any origin; C{None}: the
            packet was not sent at the time of its timestamp (a telephone-event).
        """
        if self.received == 0:
            self.highest = self.base = sequence_number
        self.received += 1
        ahead = (sequence_number - self.highest) & 0xFFFF
        if ahead < 0x8000:
            self.highest += ahead
        if arrived is None:
            return
        transit = (arrived - timestamp) & 0xFFFFFFFF
        if self._transit is not None:
            wander = (transit - self._transit) & 0xFFFFFFFF
            if wander > 0x7FFFFFFF:
                wander = 0x100000000 - wander
            self.jitter += (wander - self.jitter) / 16
        self._transit = transit

    @property
    def expected(self) -> int:
        return self.highest - self.base + 1 if self.received else 0

    @property
    def lost(self) -> int:
        """The number of lost packets; negative if packets came twice."""
        return self.expected - self.received

    def fraction_lost(self) -> int:
        """Return the fraction lost since the last call, in 1/256."""
        expected = self.expected - self._expected_before
        received = self.received - self._received_before
        self._expected_before, self._received_before = self.expected, self.received
        lost = expected - received
        return 0 if expected <= 0 or lost <= 0 else min(255, lost * 256 // expected)


@frozen
class Report:
    """
    The peer's report about our stream.

    @ivar fraction_lost: in the last interval, 0 to 1.
    @ivar jitter: in timestamp units.
    @ivar last_sr: the middle 32 bits of the NTP time in our last report that it has
        received.
    @ivar delay: time since it received that report, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: float
    lost: int
    jitter: int
    last_sr: int
    delay: int


@define
class Compound:
    """
    The content of one compound packet.

    @ivar ssrc: the sender's SSRC; C{None}: the packet does not contain it.
    @ivar sender_ntp: NTP time of the sender report, 64 bit; C{None}: there is none.
    @ivar goodbye: whether the source has left (BYE).
    """

    ssrc: int | None = None
    sender_ntp: int | None = None
    reports: list[Report] = Factory(list)
    goodbye: bool = False


def parse(data: bytes) -> Compound:
    """
    Parse a compound packet.

    @raise RtcpError: it is not RTCP.
    """
    compound = Compound()
    at = 0
    if len(data) < 8 or len(data) % 4:
        raise RtcpError("short")
    while at < len(data):
        if at + 4 > len(data):
            raise RtcpError("short")
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise RtcpError("malformed")
        # The first packet need not be a report (RFC 5506), but all must be RTCP.
        if not 192 <= kind <= 223:
            raise RtcpError("malformed")
        body = data[at + 4 : end]
        count = first & 0x1F
        # All known types begin with the sender's SSRC: SR, RR, SDES, BYE, APP, feedback
        # and extended reports (RFC 3550, 4585, 3611).
        if compound.ssrc is None and len(body) >= 4 and kind in _SENDERS:
            compound.ssrc = struct.unpack_from("!I", body)[0]
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            _reports(compound, kind, count, body)
        elif kind == GOODBYE and count:
            compound.goodbye = True
        at = end
    return compound


def _reports(compound: Compound, kind: int, count: int, body: bytes) -> None:
    at = 24 if kind == SENDER_REPORT else 4
    if len(body) < at + count * _REPORT_BYTES:
        raise RtcpError("short")
    compound.ssrc = struct.unpack_from("!I", body)[0]
    if kind == SENDER_REPORT:
        compound.sender_ntp = struct.unpack_from("!Q", body, 4)[0]
    for _ in range(count):
        ssrc, lost, _, jitter, last, delay = struct.unpack_from("!IIIIII", body, at)
        total = lost & 0xFFFFFF
        if total & 0x800000:
            total -= 0x1000000
        share = (lost >> 24) / 256
        compound.reports.append(Report(ssrc, share, total, jitter, last, delay))
        at += _REPORT_BYTES


def ntp_time(unix_seconds: float) -> int:
    """Convert Unix time to NTP time, in 64-bit fixed point."""
    return int((unix_seconds + _NTP_EPOCH_SECONDS) * 2**32) & 0xFFFFFFFFFFFFFFFF


def middle(ntp: int) -> int:
    """Return the middle 32 bits of an NTP time, by which reports refer to it."""
    return (ntp >> 16) & 0xFFFFFFFF


def round_trip(report: Report, now_ntp: int) -> float | None:
    """
    Return the round-trip time in seconds (section 6.4.1); C{None}: the report does not
    refer to a report of ours.
    """
    if report.last_sr == 0:
        return None
    units = (middle(now_ntp) - report.last_sr - report.delay) & 0xFFFFFFFF
    return None if units > 0x7FFFFFFF else units / 65536


def report_block(
    ssrc: int, reception: Reception, last_sr_ntp: int, delay_seconds: float
) -> bytes:
    """
    Write a report block about the stream of C{ssrc}.

    @param last_sr_ntp: NTP time of its last sender report; 0: none has come.
    @param delay_seconds: time since that report.
    """
    lost = max(-0x800000, min(0x7FFFFF, reception.lost)) & 0xFFFFFF
    return struct.pack(
        "!IIIIII",
        ssrc,
        reception.fraction_lost() << 24 | lost,
        reception.highest & 0xFFFFFFFF,
        int(reception.jitter),
        middle(last_sr_ntp),
        int(delay_seconds * 65536) & 0xFFFFFFFF if last_sr_ntp else 0,
    )


def sender_report(
    ssrc: int, ntp: int, timestamp: int, packets: int, byte_count: int, block: bytes
) -> bytes:
    """
    Write a sender report.

    @param block: a L{report_block}, or empty.
    """
    body = struct.pack(
        "!IQIII",
        ssrc,
        ntp,
        timestamp,
        packets & 0xFFFFFFFF,
        byte_count & 0xFFFFFFFF,
    )
    return _packet(SENDER_REPORT, 1 if block else 0, body + block)


def receiver_report(ssrc: int, block: bytes) -> bytes:
    return _packet(RECEIVER_REPORT, 1 if block else 0, struct.pack("!I", ssrc) + block)


def source_description(ssrc: int, cname: str) -> bytes:
    """Write an SDES packet with the one mandatory item, CNAME (section 6.5.1)."""
    name = cname.encode("utf-8")[:255]
    chunk = struct.pack("!IBB", ssrc, 1, len(name)) + name
    # At least one zero ends the list; zeros pad it to a multiple of four bytes.
    return _packet(SOURCE_DESCRIPTION, 1, chunk + bytes(4 - len(chunk) % 4))


def goodbye(ssrc: int) -> bytes:
    return _packet(GOODBYE, 1, struct.pack("!I", ssrc))


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
