"""
Two sides of ICE on a network that loses, repeats, delays and reorders packets, under a
virtual clock; and an eavesdropper.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from chime_gateway.wire.webrtc.candidate import (
    Credentials,
    Path,
    priority,
)
from chime_gateway.wire.webrtc.ice import IceAgent, IceState

Address = tuple[str, int]


@frozen(kw_only=True)
class Weather:
    """
    The properties of the network.

    @ivar loss: the share of lost packets, by direction.
    @ivar delays: shortest and longest, in seconds; packets may overtake each other.
    """

    loss: tuple[float, float] = (0.0, 0.0)
    repeats: float = 0.0
    delays: tuple[float, float] = (0.01, 0.03)


def credentials(name: str) -> Credentials:
    return Credentials(f"{name}/+{name}", name * 22)


@define(eq=False)
class Side:
    """
    One side.

    @ivar sockets: their names, with their addresses as others see them: a NAT may
        change them.
    @ivar most_checks: the most checks in progress so far.
    """

    name: str
    agent: IceAgent
    sockets: dict[str, Address]
    log: list[tuple[float, IceState]] = field(factory=list)
    most_checks: int = 0

    @property
    def credentials(self) -> Credentials:
        return self.agent.local

    def socket_at(self, address: Address) -> str | None:
        found = [name for name, there in self.sockets.items() if there == address]
        return found[0] if found else None


class Network:
    """
    The network.

    @ivar wiretap: receives every packet with its sender, time and destination.
    @ivar turns: how often there was something to do.
    """

    def __init__(self, seed: int, weather: Weather) -> None:
        self.random = random.Random(seed)
        self.weather = weather
        self.now = 0.0
        self.turns = 0
        self.sides: list[Side] = []
        self.wiretap: Callable[[Side, bytes, Path], None] = lambda *_: None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def add(
        self,
        name: str,
        *,
        is_controlling: bool,
        is_lite: bool,
        sockets: int = 1,
        tie_breaker: int | None = None,
    ) -> Side:
        agent = IceAgent(
            credentials(name),
            is_controlling=is_controlling,
            is_lite=is_lite,
            tie_breaker=(
                self.random.getrandbits(64) if tie_breaker is None else tie_breaker
            ),
            new_transaction=lambda: self.random.randbytes(12),
        )
        number = len(self.sides) + 1
        names = [f"{name}{count}" for count in range(sockets)]
        addresses = {
            one: (f"198.51.100.{number}", 1000 + count)
            for count, one in enumerate(names)
        }
        side = Side(name, agent, addresses)
        self.sides.append(side)
        return side

    def introduce(
        self, side: Side, other: Side, others: Sequence[tuple[Address, int]] = ()
    ) -> None:
        """
        Exchange the candidates.

        @param others: further candidates, which do not answer.
        """
        known = [
            (address, priority("host", 65535 - number))
            for number, address in enumerate(other.sockets.values())
        ]
        paths = [
            (Path(local, *address), level)
            for local in side.sockets
            for address, level in (*known, *others)
        ]
        side.agent.set_remote(
            self.now, other.credentials, paths, is_lite=other.agent.is_lite
        )
        self.flush()

    def at(self, delay: float, what: Callable[[], None]) -> None:
        entry = self.now + delay, next(self._numbers), what
        heapq.heappush(self._queue, entry)

    def inject(self, side: Side, data: bytes, source: Address, to: Address) -> None:
        """Deliver a packet to one side, with a given source."""
        local = side.socket_at(to)
        if local is not None:
            side.agent.received(self.now, data, Path(local, *source))
            self.flush()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            dues = [s.agent.due for s in self.sides if s.agent.due is not None]
            first = min(dues, default=end)
            if self._queue:
                first = min(first, self._queue[0][0])
            if first >= end:
                self.now = end
                return
            self.now = max(self.now, first)
            self.turns += 1
            assert self.turns < 20_000, "a side is woken for nothing"
            if self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            for side in self.sides:
                due = side.agent.due
                if due is not None and due <= self.now:
                    side.agent.tick(self.now)
            self.flush()

    def flush(self) -> None:
        for side in self.sides:
            agent = side.agent
            for path, data in agent.outbox:
                self._send(side, path, data)
            agent.outbox.clear()
            if not side.log or side.log[-1][1] is not agent.state:
                side.log.append((self.now, agent.state))

    def _send(self, side: Side, path: Path, data: bytes) -> None:
        self.wiretap(side, data, path)
        weather, chance = self.weather, self.random.random
        source = side.sockets[str(path.local)]
        for _ in range(2 if chance() < weather.repeats else 1):
            if chance() >= weather.loss[self.sides.index(side)]:
                self.at(
                    self.random.uniform(*weather.delays),
                    lambda: self._arrive(data, source, (path.host, path.port)),
                )

    def _arrive(self, data: bytes, source: Address, to: Address) -> None:
        for side in self.sides:
            self.inject(side, data, source, to)
