"""
The jitter buffer: puts a caller's packets in order, and decides when a missing packet
is given up.

The listener is a model, not a person: it needs every frame, in order, as soon as
possible, but no steady clock.  So a packet that arrives in order is passed on at once.
Packets after a missing one are held back, for as long as late packets have recently
been late; then the missing one is given up.  The L{Timeline} fills the gap.

The buffer owns no timer and no socket.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from attrs import define

from chime_gateway.media.timeline import Timeline

#: Bounds of the wait for a missing packet.
MIN_WAIT_SECONDS: Final = 0.02
MAX_WAIT_SECONDS: Final = 0.22

#: The wait becomes shorter by this much a second, in seconds.
_FORGET_PER_SECOND: Final = 0.005

#: Larger steps of the sequence number mean a new stream (RFC 3550 appendix A.1).
MAX_DROPOUT: Final = 3000
MAX_MISORDER: Final = 100

#: The maximum number of packets held back.
_MAX_HELD: Final = 64

#: The noise level of a packet that is not comfort noise.
NO_NOISE: Final = -1

#: (timestamp, audio, noise level in -dBov).  Without audio it is a pause; with neither
#: audio nor noise, only its sequence number counts.
_Packet: TypeAlias = tuple[int, bytes, int]


@define
class JitterStats:
    """Counts of packets.  C{resets} are new streams."""

    late: int = 0
    duplicates: int = 0
    lost: int = 0
    reordered: int = 0
    concealed: int = 0
    resets: int = 0


class JitterBuffer:
    """
    @ivar wait_seconds: the current wait for a missing packet.
    @ivar held: packets held back, with their time of arrival, by sequence number, in
        order of arrival.
    """

    __slots__ = (
        *("_given_up", "_learnt_at", "_next", "_suspect", "_timeline"),
        *("held", "stats", "wait_seconds"),
    )

    def __init__(self, timeline: Timeline, stats: JitterStats | None = None) -> None:
        self.stats = stats or JitterStats()
        self.wait_seconds = MIN_WAIT_SECONDS
        self.held: dict[int, tuple[_Packet, float]] = {}
        self._timeline = timeline
        self._next: int | None = None
        self._given_up: dict[int, float] = {}
        self._suspect: tuple[int, _Packet, float] | None = None
        self._learnt_at = 0.0

    def passes(
        self, sequence_number: int, timestamp: int, payload: bytes, now: float
    ) -> bool:
        """
        Take an audio packet that arrived in order.  This is the usual case, and the
        only one that must be fast.

        @return: whether it can be passed on as it is.  If not, give it to L{put}.
        """
        timeline = self._timeline
        if sequence_number != self._next or timestamp != timeline.head or self.held:
            return False
        self._next = (sequence_number + 1) & 0xFFFF
        timeline.head = (timestamp + len(payload)) & 0xFFFFFFFF
        timeline.arrived = now
        timeline.pause = None
        if len(payload) < timeline.frame:
            timeline.heard(payload)
        else:
            timeline.before, timeline.last = timeline.last, payload
        return True

    def put(
        self, sequence_number: int, timestamp: int, payload: bytes, now: float
    ) -> list[bytes]:
        """
        Take any audio packet.

        @return: the audio that can be passed on, in order.
        """
        if self.passes(sequence_number, timestamp, payload, now):
            return [payload]
        return self._put(sequence_number, (timestamp, payload, NO_NOISE), now)

    def put_other(
        self, sequence_number: int, timestamp: int, noise: int, now: float
    ) -> list[bytes]:
        """
        Take a packet that is not audio.

        @param noise: the level of comfort noise, in -dBov.  L{NO_NOISE}: only the
            packet's sequence number counts.
        """
        return self._put(sequence_number, (timestamp, b"", noise), now)

    def due(self, now: float) -> list[bytes]:
        """Give up packets that have been waited for long enough."""
        return self._release(now) if self.held else []

    def fill_pause(self, now: float) -> bytes:
        """Return audio for time in which nothing came.  See L{Timeline.fill_pause}."""
        return b"" if self.held else self._timeline.fill_pause(now, self._wait(now))

    def flush(self, now: float) -> list[bytes]:
        """Give up all missing packets, and return all audio that is held back."""
        ready: list[bytes] = []
        while self.held:
            self._give_up(ready, now)
            self._in_turn(ready, now)
        return ready

    def reset(self) -> None:
        """Begin a new stream.  Call L{flush} first."""
        self._next = None
        self._suspect = None
        self.held.clear()
        self._given_up.clear()

    # -- inside ----------------------------------------------------------------

    def _put(self, sequence_number: int, packet: _Packet, now: float) -> list[bytes]:
        expected = self._next
        if expected is None:
            return self._restart(sequence_number, [(packet, now)])
        ahead = ((sequence_number - expected + 0x8000) & 0xFFFF) - 0x8000
        if ahead < -MAX_MISORDER or ahead > MAX_DROPOUT:
            return self._jumped(sequence_number, packet, now)
        if ahead < 0:
            self._came_late(sequence_number, now)
            return []
        self._suspect = None
        if ahead == 0 and not self.held:
            ready: list[bytes] = []
            self._next = (sequence_number + 1) & 0xFFFF
            self._place(packet, now, ready)
            return ready
        if sequence_number in self.held:
            self.stats.duplicates += 1
            return []
        if self.held and ahead < min(self._ahead(number) for number in self.held):
            self.stats.reordered += 1
        self.held[sequence_number] = packet, now
        return self._release(now)

    def _ahead(self, sequence_number: int) -> int:
        assert self._next is not None
        return (sequence_number - self._next) & 0xFFFF

    def _restart(
        self, sequence_number: int, packets: list[tuple[_Packet, float]]
    ) -> list[bytes]:
        """@param packets: each with its time of arrival."""
        self.reset()
        self._next = (sequence_number + 1) & 0xFFFF
        ready: list[bytes] = []
        for packet, came_at in packets:
            self._place(packet, came_at, ready)
        return ready

    def _jumped(self, sequence_number: int, packet: _Packet, now: float) -> list[bytes]:
        """Take a large step for a new stream once a second packet continues it."""
        suspect = self._suspect
        if suspect is not None:
            if suspect[0] == sequence_number:
                self.stats.resets += 1
                rest = self.flush(now)
                packets = [suspect[1:], (packet, now)]
                return rest + self._restart(sequence_number, packets)
            self.stats.late += 1
        self._suspect = (sequence_number + 1) & 0xFFFF, packet, now
        return []

    def _came_late(self, sequence_number: int, now: float) -> None:
        given_up_at = self._given_up.pop(sequence_number, None)
        if given_up_at is None:
            self.stats.duplicates += 1
            return
        self.stats.late += 1
        self.stats.lost -= 1
        # With a wait this much longer, the packet would have been heard.
        self._learn(now, self._wait(now) + (now - given_up_at))

    def _learn(self, now: float, seconds: float) -> None:
        self._learnt_at = now
        self.wait_seconds = min(MAX_WAIT_SECONDS, seconds + 0.005)

    def _wait(self, now: float) -> float:
        passed = max(0.0, now - self._learnt_at)
        self._learnt_at = now
        wait = self.wait_seconds - passed * _FORGET_PER_SECOND
        self.wait_seconds = max(MIN_WAIT_SECONDS, wait)
        return self.wait_seconds

    def _place(
        self, packet: _Packet, now: float, ready: list[bytes], *, lost: bool = False
    ) -> None:
        timestamp, payload, noise = packet
        timeline = self._timeline
        if payload:
            late = timeline.place(timestamp, payload, now, ready, lost=lost)
            if late:
                self._learn(now, self._wait(now) + late)
        elif noise != NO_NOISE:
            timeline.paused(timestamp, noise, now, ready, lost=lost)
        # All packets of a DTMF event have the same timestamp, and not always of the
        # audio's clock.

    def _release(self, now: float) -> list[bytes]:
        ready: list[bytes] = []
        self._in_turn(ready, now)
        while self.held:
            # The wait began when the first packet after the missing one came.
            _, missed_at = next(iter(self.held.values()))
            if now - missed_at < self._wait(now) and len(self.held) <= _MAX_HELD:
                break
            self._give_up(ready, now)
            self._in_turn(ready, now)
        return ready

    def _in_turn(self, ready: list[bytes], now: float) -> None:
        held = self.held
        while (one := held.pop(self._next, None)) is not None:  # type: ignore[arg-type]
            assert self._next is not None
            self._next = (self._next + 1) & 0xFFFF
            self._place(one[0], now, ready)

    def _give_up(self, ready: list[bytes], now: float) -> None:
        """Give up the packets missing before the first one that is held back."""
        gap, first = min((self._ahead(number), number) for number in self.held)
        assert self._next is not None
        for number in range(gap):
            self._given_up[(self._next + number) & 0xFFFF] = now
        while len(self._given_up) > 2 * MAX_MISORDER:
            del self._given_up[next(iter(self._given_up))]
        self.stats.lost += gap
        self._next = (first + 1) & 0xFFFF
        before = len(ready)
        self._place(self.held.pop(first)[0], now, ready, lost=True)
        if len(ready) - before > 1:
            self.stats.concealed += gap
