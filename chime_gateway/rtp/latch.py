"""
Latching (RFC 7362): finds the address of the peer's media, and chooses among the
sources that send.

The session description says where media will come from, but NAT, session border
controllers and transfers change that, and strangers may send as well.
docs/decisions/0021 has the rule and its reasons.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias

from attrs import Factory, define

from chime_gateway.rtp.ports import Address
from chime_gateway.wire.rtp.packet import RtpPacket, sequence_delta

#: This many packets in a row are accepted if their address or their sequence numbers
#: are those of the peer.
KNOWN_PACKETS: Final = 2

#: Before a stream continues from another address, the old one must be silent for this
#: long.
QUIET_SECONDS: Final = 0.05

#: For this long, the address in the description takes precedence over any other.
START_SECONDS: Final = 0.2

#: For a source of which only the host is known: the silence before it, and the number
#: of its packets in a row.
STRANGER_SECONDS: Final = 3.0
STRANGER_PACKETS: Final = 5

#: The largest step between sequence numbers in a row: packets may be lost.
_MAX_STEP: Final = 10

#: How far a stream can have advanced while none of it came: the highest packet rate (a
#: ptime of 10 ms), and some to spare.
_PACKETS_PER_SECOND: Final = 100
_SPARE_PACKETS: Final = 100

#: The most sources, each with its address, that are considered at the same time.
_MAX_RIVALS: Final = 16

_Key: TypeAlias = tuple[Address, int]


@define
class _Run:
    """The last packets of one source, in a row."""

    packets: list[RtpPacket] = Factory(list)

    def add(self, packet: RtpPacket) -> None:
        packets = self.packets
        if packets:
            step = sequence_delta(packet.sequence_number, packets[-1].sequence_number)
            if step == 0:
                return  # a duplicate proves nothing
            if not 0 < step <= _MAX_STEP:
                packets.clear()
        packets.append(packet)
        del packets[:-STRANGER_PACKETS]


class Latch:
    """
    Decides which packets are accepted as the peer's.

    @ivar source: the address of the peer's media; C{None}: nothing was accepted since
        the last description.
    @ivar ssrc: its SSRC, or C{None} as well.
    @ivar number: the sequence number of its last packet.
    @ivar heard_at: when that came.
    @ivar is_contested: other sources have sent since then.  The next packet of this
        source has to call L{settle}.
    """

    __slots__ = (
        *("_before", "_continuing", "_left", "_named", "_named_runs", "_rivals"),
        *("_was_named_right", "heard_at", "is_contested", "number", "source", "ssrc"),
    )

    def __init__(self) -> None:
        self.source: Address | None = None
        self.ssrc: int | None = None
        self.number = 0
        self.heard_at = 0.0
        self.is_contested = False
        self._rivals: OrderedDict[_Key, _Run] = OrderedDict()
        self._continuing: OrderedDict[_Key, _Run] = OrderedDict()
        self._named: Address | None = None
        self._named_runs: OrderedDict[_Key, _Run] = OrderedDict()
        self._left: Address | None = None
        self._before: _Key | None = None
        self._was_named_right = False

    def expect(self, address: Address, now: float, *, was_heard: bool) -> None:
        """
        A description names another address: what was learnt before is void.

        @param was_heard: the previous source was listened to.  One that was not, such
            as music on hold, is not listened to now.
        """
        # A source at its named address is gone from there.  One at a learnt address may
        # still be there: the new description knows nothing of the NAT either.
        self._left = self.source if self.source == self._named else None
        if self.source is not None and self._named is not None:
            self._was_named_right = self.source[0] == self._named[0]
        self._named = address
        if not was_heard:
            self._before = None
        elif self.source is not None and self.ssrc is not None:
            self._before = self.source, self.ssrc
        self.source = self.ssrc = None
        self.heard_at = now
        self._named_runs.clear()
        self.settle()

    def settle(self) -> None:
        """The source goes on: forget what others sent meanwhile."""
        self.is_contested = False
        self._rivals.clear()
        self._continuing.clear()

    def consider(
        self, packet: RtpPacket, address: Address, now: float, *, is_authentic: bool
    ) -> Sequence[RtpPacket]:
        """
        Take a packet of another source, or from another address.

        @param is_authentic: it was made with the negotiated key (SRTP).
        @return: if its source is accepted now: this packet and those before it.
        """
        quiet = now - self.heard_at
        is_same = packet.ssrc == self.ssrc and self._goes_on(packet, quiet)
        is_named = address == self._named
        runs = self._rivals
        if self.source is None:
            if is_named:
                count, seconds = 1, 0.0
            elif address == self._left:
                count, seconds = STRANGER_PACKETS, STRANGER_SECONDS
            elif (
                self._was_named_right
                and not is_authentic
                and not self._is_host(address)
            ):
                # A peer whose last description was right needs no search.
                return ()
            else:
                count, seconds = KNOWN_PACKETS, START_SECONDS
        elif address == self.source:
            count, seconds = KNOWN_PACKETS, 0.0
        elif is_same or is_authentic:
            # Kept apart, so that strangers cannot crowd it out.
            runs = self._continuing
            count, seconds = KNOWN_PACKETS, QUIET_SECONDS
        elif is_named:
            # Packets of others in between do not count.
            runs = self._named_runs
            count, seconds = KNOWN_PACKETS, 0.0
        elif self._is_host(address):
            count, seconds = STRANGER_PACKETS, STRANGER_SECONDS
        else:
            # After the first packets, no host is learnt that no description named.
            return ()
        self.is_contested = True
        packets = self._run(runs, address, packet)
        if len(packets) < count or quiet < seconds:
            return ()
        self.source, self.ssrc = address, packet.ssrc
        self.number, self.heard_at = packet.sequence_number, now
        if self._before == (address, packet.ssrc):
            packets = [packet]  # those before it were passed on already
        self._before = None
        self._named_runs.clear()
        self.settle()
        return packets

    def is_still_heard(self, packet: RtpPacket, address: Address) -> bool:
        """
        Return whether the packet is of the source before the last description.  It is
        listened to until another one is accepted, but no longer sent to.
        """
        return self.source is None and self._before == (address, packet.ssrc)

    # -- inside ------------------------------------------------------------------

    def _is_host(self, address: Address) -> bool:
        """Return whether the description names its host."""
        return self._named is not None and address[0] == self._named[0]

    def _goes_on(self, packet: RtpPacket, quiet: float) -> bool:
        """Return whether the source can have reached its sequence number."""
        ahead = sequence_delta(packet.sequence_number, self.number)
        most = _SPARE_PACKETS + quiet * _PACKETS_PER_SECOND
        return -_MAX_STEP < ahead <= most

    def _run(
        self, runs: OrderedDict[_Key, _Run], address: Address, packet: RtpPacket
    ) -> Sequence[RtpPacket]:
        key = address, packet.ssrc
        run = runs.get(key)
        if run is None:
            run = runs[key] = _Run()
            if len(runs) > _MAX_RIVALS:
                runs.popitem(last=False)
        else:
            runs.move_to_end(key)
        run.add(packet)
        return run.packets
