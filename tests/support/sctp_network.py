"""Two SCTP associations, and a network that loses, repeats and reorders packets."""

from __future__ import annotations

import random
from collections.abc import Callable

from chime_gateway.wire.webrtc.sctp.association import Association, State
from chime_gateway.wire.webrtc.sctp.incoming import Message

MOST_BYTES = 1 << 20


class SctpNetwork:
    """
    A virtual clock, and two sides.

    @ivar passes: whether a packet passes, given its side, number and bytes.
    @ivar heard: what each side has received.
    """

    def __init__(self, seed: int = 0, loss: float = 0.0, repeated: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss, self.repeated = loss, repeated
        self.now = 0.0
        self.passes: Callable[[int, bytes], bool] = lambda side, packet: True
        self.sides = [
            Association((5000, 5000), MOST_BYTES, self.random.randbytes)
            for _ in range(2)
        ]
        self.heard: list[list[Message]] = [[], []]
        self.sent: list[list[bytes]] = [[], []]
        self._flying: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def carry(self) -> None:
        for at, side in enumerate(self.sides):
            outbox, side.outbox = side.outbox, []
            self.sent[at] += outbox
            for packet in outbox:
                if not self.passes(at, packet):
                    continue
                for _ in range(1 + (self.random.random() < self.repeated)):
                    if self.random.random() >= self.loss:
                        self._count += 1
                        due = self.now + 0.01 + 0.03 * self.random.random()
                        self._flying.append((due, self._count, 1 - at, packet))
            self.heard[at] += side.messages
            side.messages.clear()

    def run(self, until: Callable[[], bool], seconds: float = 300.0) -> None:
        """Run until the condition is true, or nothing more happens."""
        end = self.now + seconds
        self.carry()
        while not until():
            dues = [side.due for side in self.sides if side.due is not None]
            self._flying.sort()
            dues += [one[0] for one in self._flying[:1]]
            if not dues or min(dues) > end:
                self.now = end
                return
            self.now = max(self.now, min(dues))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, at, packet = self._flying.pop(0)
                self.sides[at].received(self.now, packet)
                self.carry()
            for side in self.sides:
                side.tick(self.now)
            self.carry()

    def open(self) -> None:
        for side in self.sides:
            side.start(self.now)
        self.run(lambda: all(side.state is State.OPEN for side in self.sides))
