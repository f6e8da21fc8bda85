"""
The jitter buffer: puts a caller's packets in order, and decides when a missing one is
given up.

The listener is a model, not an ear: it needs every frame, in order, as soon as
possible, and no steady clock.  So a packet that comes in order is passed on at once,
with no delay.  Only behind a missing packet the later ones are held back, for as long
as late packets have recently been late; then the missing one is given up.  The
L{Timeline} fills the gap.

It owns no timer and no socket.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from attrs import define

from chime_gateway.media.timeline import Timeline

#: How long a missing packet is waited for, in seconds.
MIN_WAIT_SECONDS: Final = 0.02
MAX_WAIT_SECONDS: Final = 0.22

#: What was learnt of late packets is forgotten by so much a second.
_FORGET_PER_SECOND: Final = 0.005

#: Steps that a stream does not make by itself (RFC 3550 appendix A.1).
MAX_DROPOUT: Final = 3000
MAX_MISORDER: Final = 100

#: Packets held back at most.
_MAX_HELD: Final = 64

#: What a packet that is no audio has in place of a level of noise.
NO_NOISE: Final = -1

#: (timestamp, audio, level of noise in -dBov): without audio it is a pause, and
#: without both it has a number and nothing else.
_Packet: TypeAlias = tuple[int, bytes, int]


@define
class JitterStats:
    """Plain counts, of packets."""

    late: int = 0
    duplicates: int = 0
    lost: int = 0
    reordered: int = 0
    concealed: int = 0
    resets: int = 0


class JitterBuffer:
    """
    @ivar wait_seconds: how long a missing packet is waited for now.
    @ivar held: what is held back and when it came, by number, in the order in which
        it came.
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
        Audio came; the usual, and the only thing that must be fast.

        @return: it is its turn, and it can be passed on as it is; if not, it has to be
            L{put}.
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
        Audio came, of whatever kind.

        @return: what can be passed on, in order.
        """
        if self.passes(sequence_number, timestamp, payload, now):
            return [payload]
        return self._put(sequence_number, (timestamp, payload, NO_NOISE), now)

    def put_other(
        self, sequence_number: int, timestamp: int, noise: int, now: float
    ) -> list[bytes]:
        """
        A packet that is no audio.

        @param noise: of comfort noise its level, in -dBov; L{NO_NOISE}: what it is
            does not matter, but its number is in turn.
        """
        return self._put(sequence_number, (timestamp, b"", noise), now)

    def due(self, now: float) -> list[bytes]:
        """Time has passed: what is not waited for any longer."""
        return self._release(now) if self.held else []

    def keep(self, now: float) -> bytes:
        """Time has passed and nothing came: what stands for it; see L{Timeline}."""
        return b"" if self.held else self._timeline.keep(now, self._wait(now))

    def rest(self, now: float) -> list[bytes]:
        """Give up what is missing, and return all that is held back."""
        ready: list[bytes] = []
        while self.held:
            self._give_up(ready, now)
            self._in_turn(ready, now)
        return ready

    def reset(self) -> None:
        """Begin another stream; call L{rest} first."""
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
        """
        @param packets: and when each came.
        """
        self.reset()
        self._next = (sequence_number + 1) & 0xFFFF
        ready: list[bytes] = []
        for packet, came_at in packets:
            self._place(packet, came_at, ready)
        return ready

    def _jumped(self, sequence_number: int, packet: _Packet, now: float) -> list[bytes]:
        """A wild step is believed when the next packet makes it again."""
        suspect = self._suspect
        if suspect is not None:
            if suspect[0] == sequence_number:
                self.stats.resets += 1
                rest = self.rest(now)
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
        # Had it been waited for so much longer, it would have been heard.
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
        # Keys of one event have one timestamp, of a clock that may be another.

    def _release(self, now: float) -> list[bytes]:
        ready: list[bytes] = []
        self._in_turn(ready, now)
        while self.held:
            # What is missing was missed when the first of those behind it came.
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
        """Give up what is missing before the first packet that is held back."""
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
