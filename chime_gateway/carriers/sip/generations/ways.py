"""
Connections that other processes of this gateway hold: responses go by them, through
those processes.

Each connection has a name, which begins with the generation of its process.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from itertools import count
from typing import TypeAlias

from chime_gateway.carriers.sip.generations.marks import generation_of
from chime_gateway.carriers.sip.transport.connections import Way

#: Sends by the connection of another process.
SendBy: TypeAlias = Callable[["DistantConnection", bytes], object]


class DistantConnection:
    """
    A connection that another process holds.

    @ivar is_open: whether it is open, as far as is known here.
    """

    is_open = True

    def __init__(self, name: str, transport: str, host: str, send_by: SendBy) -> None:
        self.name = name
        self.transport = transport
        self.host = host
        self._send_by = send_by

    def send(self, data: bytes) -> None:
        """Send.  Never raises, as over UDP."""
        self._send_by(self, data)


class Ways:
    """
    The named connections of all processes.

    @param generation: the generation of this process.
    @param send_by: as for L{DistantConnection}.
    """

    def __init__(self, generation: str, send_by: SendBy) -> None:
        self._generation = generation
        self._send_by = send_by
        self._numbers = count(1)
        self._names: dict[Way, str] = {}
        self._ours: dict[str, Way] = {}
        self._distant: dict[str, DistantConnection] = {}

    def __len__(self) -> int:
        return len(self._ours) + len(self._distant)

    def name(self, way: Way) -> str:
        """Return the name of a connection, for another process."""
        if isinstance(way, DistantConnection):
            return way.name
        name = self._names.get(way)
        if name is None:
            name = self._names[way] = f"{self._generation}.{next(self._numbers)}"
            self._ours[name] = way
        return name

    def ours(self, name: str) -> Way | None:
        """Return the connection of this process with a name; C{None}: it is closed."""
        return self._ours.get(name)

    def distant(self, name: str, transport: str, host: str) -> DistantConnection:
        """Return the connection of another process with a name."""
        found = self._distant.get(name)
        if found is None:
            found = DistantConnection(name, transport, host, self._send_by)
            self._distant[name] = found
        return found

    def closed(self, way: Way) -> str:
        """
        A connection of this process is closed.

        @return: its name; empty: it has none, so no other process knows it.
        """
        name = self._names.pop(way, "")
        self._ours.pop(name, None)
        return name

    def lost(self, name: str) -> None:
        """A connection of another process is closed."""
        found = self._distant.pop(name, None)
        if found is not None:
            found.is_open = False

    def gone(self, generation: str) -> None:
        """All connections of a process are closed."""
        for name in [one for one in self._distant if generation_of(one) == generation]:
            self.lost(name)

    def only_of(self, generations: Container[str]) -> None:
        """All connections of other processes than these are closed."""
        for name in list(self._distant):
            if generation_of(name) not in generations:
                self.lost(name)
