"""
The jitter buffer: a caller's packets in their order, gaps filled.

The listener is a model, not an ear: it needs every frame, in order, as soon as
possible, and no steady clock.  So a packet in its turn is passed on at once and
costs no delay.  Only where one is missing are those behind it held back, for as
long as late ones have been late lately; then the gap is concealed.

It owns no timer and knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define

#: How long a missing packet is waited for, in seconds.
MIN_WAIT_SECONDS: Final = 0.02
MAX_WAIT_SECONDS: Final = 0.12

#: What was learnt of late packets is forgotten by so much a second.
_FORGET_PER_SECOND: Final = 0.005

#: A gap longer than this is a pause in the network, which whoever keeps the
#: time fills; inventing sound for it would help nobody.
MAX_CONCEALED_FRAMES: Final = 5

#: Steps that a stream does not make by itself (RFC 3550 appendix A.1).
MAX_DROPOUT: Final = 3000
MAX_MISORDER: Final = 100

#: Packets held back at most.
_MAX_HELD: Final = 64


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
    @param conceal: makes so many bytes in place of a lost packet.
    @param heard: is told of every payload that is passed on.
    @ivar wait_seconds: how long a missing packet is waited for now.
    """

    def __init__(
        self,
        conceal: Callable[[int], bytes],
        heard: Callable[[bytes], None],
        stats: JitterStats | None = None,
    ) -> None:
        self.stats = stats or JitterStats()
        self.wait_seconds = MIN_WAIT_SECONDS
        self._conceal = conceal
        self._heard = heard
        self._next: int | None = None
        self._next_timestamp = 0
        self._held: dict[int, tuple[int, bytes]] = {}
        self._held_since = 0.0
        self._given_up: dict[int, float] = {}
        self._suspect: int | None = None
        self._learnt_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Something is held back: L{due} wants to be called."""
        return bool(self._held)

    def put(
        self, sequence_number: int, timestamp: int, payload: bytes, now: float
    ) -> list[bytes]:
        """
        A packet came.

        @return: what can be passed on, in order.
        """
        expected = self._next
        if sequence_number == expected and not self._held:
            # The usual, and the only thing that must be fast.
            self._next = (sequence_number + 1) & 0xFFFF
            self._next_timestamp = timestamp + len(payload)
            self._heard(payload)
            return [payload]
        if expected is None:
            return self._restart(sequence_number, timestamp, payload)
        ahead = ((sequence_number - expected + 0x8000) & 0xFFFF) - 0x8000
        if ahead < 0:
            return self._late(sequence_number, timestamp, payload, ahead, now)
        if ahead > MAX_DROPOUT:
            return self._jumped(sequence_number, timestamp, payload)
        self._suspect = None
        if sequence_number in self._held:
            self.stats.duplicates += 1
            return []
        if not self._held:
            self._held_since = now
        elif ahead < min(self._ahead(number) for number in self._held):
            self.stats.reordered += 1
        self._held[sequence_number] = (timestamp, payload)
        return self._release(now)

    def due(self, now: float) -> list[bytes]:
        """Time has passed: what is not waited for any longer."""
        return self._release(now) if self._held else []

    def reset(self) -> None:
        """Another stream begins."""
        self._next = None
        self._held.clear()
        self._given_up.clear()

    # -- inside ----------------------------------------------------------------

    def _ahead(self, sequence_number: int) -> int:
        assert self._next is not None
        return (sequence_number - self._next) & 0xFFFF

    def _restart(
        self, sequence_number: int, timestamp: int, payload: bytes
    ) -> list[bytes]:
        self._held.clear()
        self._given_up.clear()
        self._suspect = None
        self._next = (sequence_number + 1) & 0xFFFF
        self._next_timestamp = timestamp + len(payload)
        self._heard(payload)
        return [payload]

    def _jumped(
        self, sequence_number: int, timestamp: int, payload: bytes
    ) -> list[bytes]:
        """A wild step is believed when the next packet makes it again."""
        if self._suspect == sequence_number:
            self.stats.resets += 1
            return self._restart(sequence_number, timestamp, payload)
        self._suspect = (sequence_number + 1) & 0xFFFF
        self.stats.late += 1
        return []

    def _late(
        self,
        sequence_number: int,
        timestamp: int,
        payload: bytes,
        ahead: int,
        now: float,
    ) -> list[bytes]:
        if ahead < -MAX_MISORDER:
            return self._jumped(sequence_number, timestamp, payload)
        given_up_at = self._given_up.pop(sequence_number, None)
        if given_up_at is None:
            self.stats.duplicates += 1
            return []
        self.stats.late += 1
        self.stats.lost -= 1
        # Had it been waited for so much longer, it would have been heard.
        wait = self._wait(now) + (now - given_up_at) + 0.005
        self.wait_seconds = min(MAX_WAIT_SECONDS, wait)
        return []

    def _wait(self, now: float) -> float:
        passed = max(0.0, now - self._learnt_at)
        self._learnt_at = now
        wait = self.wait_seconds - passed * _FORGET_PER_SECOND
        self.wait_seconds = max(MIN_WAIT_SECONDS, wait)
        return self.wait_seconds

    def _release(self, now: float) -> list[bytes]:
        ready: list[bytes] = []
        self._in_turn(ready)
        while self._held and (
            now - self._held_since >= self._wait(now) or len(self._held) > _MAX_HELD
        ):
            self._give_up(ready, now)
            self._in_turn(ready)
            # What is held behind another gap has waited since it came; to keep
            # the time of each packet for that would be more than it is worth.
        return ready

    def _in_turn(self, ready: list[bytes]) -> None:
        held = self._held
        while (entry := held.pop(self._next, None)) is not None:  # type: ignore[arg-type]
            assert self._next is not None
            self._next = (self._next + 1) & 0xFFFF
            self._next_timestamp = entry[0] + len(entry[1])
            self._heard(entry[1])
            ready.append(entry[1])

    def _give_up(self, ready: list[bytes], now: float) -> None:
        """What is missing before the first one held is lost."""
        gap, first = min((self._ahead(number), number) for number in self._held)
        timestamp, payload = self._held[first]
        assert self._next is not None
        for number in range(gap):
            self._given_up[(self._next + number) & 0xFFFF] = now
        while len(self._given_up) > 2 * MAX_MISORDER:
            del self._given_up[next(iter(self._given_up))]
        self.stats.lost += gap
        size = len(payload)
        # Where the stream paused (DTX) less is missing than the numbers say.
        missing = (timestamp - self._next_timestamp) & 0xFFFFFFFF
        frames = min(gap, missing // size) if size and missing < 2**31 else 0
        if 0 < frames <= MAX_CONCEALED_FRAMES:
            self.stats.concealed += frames
            ready.extend(self._conceal(size) for _ in range(frames))
        self._next = first
