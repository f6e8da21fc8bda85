"""
Latching: finds the address of the other side, and chooses among the sources that
send.

The description says where media will come from, but NAT, session border controllers
and transfers change that, and strangers may send as well.  RFC 7362 calls it
latching; docs/decisions/0021 has the rule and its reasons.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias

from attrs import Factory, define

from chime_gateway.rtp.ports import Address
from chime_gateway.wire.rtp.packet import RtpPacket, sequence_delta

#: Packets in a row that show whose they are where their place or their numbers do.
KNOWN_PACKETS: Final = 2

#: Where a stream goes on from another place, the old one must be still for so long.
QUIET_SECONDS: Final = 0.05

#: As long the place that the description names goes before any other.
START_SECONDS: Final = 0.2

#: Somebody of whom nothing is known but the named host: so much silence, and packets
#: in a row.
STRANGER_SECONDS: Final = 3.0
STRANGER_PACKETS: Final = 5

#: Numbers in a row may lack some that were lost, but no more at once.
_MAX_STEP: Final = 10

#: Packets a second at most (a ptime of 10 ms), and some to spare: how far a stream
#: can have gone on while nothing of it came.
_PACKETS_PER_SECOND: Final = 100
_SPARE_PACKETS: Final = 100

#: Places and sources that are looked at, at once.
_MAX_RIVALS: Final = 16

_Key: TypeAlias = tuple[Address, int]


@define
class _Run:
    """Packets in a row, the last ones of them."""

    packets: list[RtpPacket] = Factory(list)

    def add(self, packet: RtpPacket) -> None:
        packets = self.packets
        if packets:
            step = sequence_delta(packet.sequence_number, packets[-1].sequence_number)
            if step == 0:
                return  # the same again proves nothing
            if not 0 < step <= _MAX_STEP:
                packets.clear()
        packets.append(packet)
        del packets[:-STRANGER_PACKETS]


class Latch:
    """
    @ivar source: where the other side is; C{None}: nothing came since a description
        said where it would be.
    @ivar ssrc: of its voice; C{None} likewise.
    @ivar number: sequence number of its last packet.
    @ivar heard_at: when that came.
    @ivar is_contested: others have spoken since then; the next packet of the source
        wants L{settle} to be called.
    """

    __slots__ = (
        *("_before", "_going_on", "_is_told_truth", "_left", "_named", "_named_runs"),
        *("_rivals", "heard_at", "is_contested", "number", "source", "ssrc"),
    )

    def __init__(self) -> None:
        self.source: Address | None = None
        self.ssrc: int | None = None
        self.number = 0
        self.heard_at = 0.0
        self.is_contested = False
        self._rivals: OrderedDict[_Key, _Run] = OrderedDict()
        self._going_on: OrderedDict[_Key, _Run] = OrderedDict()
        self._named: Address | None = None
        self._named_runs: OrderedDict[_Key, _Run] = OrderedDict()
        self._left: Address | None = None
        self._before: _Key | None = None
        self._is_told_truth = False

    def expect(self, address: Address, now: float, *, was_heard: bool) -> None:
        """
        A description names another place: what was learnt before is void.

        @param was_heard: the voice of before was listened to; one that was not, as
            music on hold, is not heard now.
        """
        # Where it was as named it is no more.  Where it was learnt it may still be:
        # a new description knows of the NAT as little as the one before.
        self._left = self.source if self.source == self._named else None
        if self.source is not None and self._named is not None:
            self._is_told_truth = self.source[0] == self._named[0]
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
        """The source goes on where it was: what others said meanwhile is void."""
        self.is_contested = False
        self._rivals.clear()
        self._going_on.clear()

    def consider(
        self, packet: RtpPacket, address: Address, now: float, *, is_authentic: bool
    ) -> Sequence[RtpPacket]:
        """
        A packet of another source, or from another place.

        @param is_authentic: only who has the key can have made it (SRTP).
        @return: it and those before it, if they are believed from now on.
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
                self._is_told_truth and not is_authentic and not self._is_host(address)
            ):
                # Who was where he said will be, and need not be looked for.
                return ()
            else:
                count, seconds = KNOWN_PACKETS, START_SECONDS
        elif address == self.source:
            count, seconds = KNOWN_PACKETS, 0.0
        elif is_same or is_authentic:
            # A run of its own: strangers must not crowd it out.
            runs = self._going_on
            count, seconds = KNOWN_PACKETS, QUIET_SECONDS
        elif is_named:
            # What others say in between does not count.
            runs = self._named_runs
            count, seconds = KNOWN_PACKETS, 0.0
        elif self._is_host(address):
            count, seconds = STRANGER_PACKETS, STRANGER_SECONDS
        else:
            # Only with its first packets is a caller learnt on a host nobody named.
            return ()
        self.is_contested = True
        packets = self._run(runs, address, packet)
        if len(packets) < count or quiet < seconds:
            return ()
        self.source, self.ssrc = address, packet.ssrc
        self.number, self.heard_at = packet.sequence_number, now
        if self._before == (address, packet.ssrc):
            packets = [packet]  # those before it were heard
        self._before = None
        self._named_runs.clear()
        self.settle()
        return packets

    def is_still_heard(self, packet: RtpPacket, address: Address) -> bool:
        """
        Whether it is the voice of before the last description, which is the rightful
        one until another is believed.  It is not sent to any more.
        """
        return self.source is None and self._before == (address, packet.ssrc)

    # -- inside ------------------------------------------------------------------

    def _is_host(self, address: Address) -> bool:
        """Whether the description names its host."""
        return self._named is not None and address[0] == self._named[0]

    def _goes_on(self, packet: RtpPacket, quiet: float) -> bool:
        """Whether its number is one that the source can have got to."""
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
