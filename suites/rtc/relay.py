"""
A network between two peers: a NAT that loses, duplicates and reorders packets.

The candidates of both session descriptions are replaced, so that each peer sends to the
relay.  Packets can be written to a file for tshark.
"""

from __future__ import annotations

import asyncio
import random
import re
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import frozen

Place = tuple[str, int]

_CANDIDATE = re.compile(r"^a=(candidate:.*|end-of-candidates)\r?\n", re.MULTILINE)
_UDP = re.compile(
    r"^a=candidate:\S+ 1 udp \d+ (127\.\d+\.\d+\.\d+) (\d+) typ host",
    re.MULTILINE | re.IGNORECASE,
)
_PCAP = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct("!HHHH")

#: DLT_RAW of libpcap: a packet begins with its IP header.
_LINK_RAW = 101


@frozen
class Weather:
    """
    The quality of the network.

    @ivar loss: the share of packets that are lost.
    @ivar double: the share that arrive twice.
    @ivar late: the share that are overtaken by later ones.
    """

    loss: float = 0.0
    double: float = 0.0
    late: float = 0.0


CALM = Weather()

#: A bad network.
ROUGH = Weather(loss=0.1, double=0.03, late=0.05)

#: During this time, checks are answered with or without USE-CANDIDATE.
STRICT_AFTER_SECONDS = 3.0

_USE_CANDIDATE = 0x0025

_LATE_SECONDS = 0.02, 0.06


def place_of(description: str) -> Place:
    """Return the address of the first UDP candidate on loopback."""
    found = _UDP.search(description)
    if found is None:
        raise ValueError("no UDP candidate on loopback: " + description[:2000])
    return found[1], int(found[2])


def placed(description: str, place: Place) -> str:
    """Replace all candidates by a single one."""
    bare = _CANDIDATE.sub("", description)
    host, port = place
    line = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n"
    head, *sections = re.split(r"(?m)^(?=m=)", bare)
    return head + "".join(
        section.rstrip("\r\n") + "\r\n" + line for section in sections
    )


def _is_check(data: bytes) -> bool:
    """Return whether it is a binding request (RFC 8489 section 5)."""
    return data[:2] == b"\0\1" and data[4:8] == b"\x21\x12\xa4\x42"


def _nominates(data: bytes) -> bool:
    """Return whether it has USE-CANDIDATE (RFC 8445 section 16.1)."""
    at = 20
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("!HH", data, at)
        if kind == _USE_CANDIDATE:
            return True
        at += 4 + (size + 3) // 4 * 4
    return False


class Capture:
    """A file of packets, in libpcap's format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        header = (0xA1B2C3D4, 2, 4, 0, 0, 65535, _LINK_RAW)
        self._file.write(_PCAP.pack(*header))

    def add(self, source: Place, target: Place, data: bytes) -> None:
        now = time.time_ns() // 1000
        size = 28 + len(data)
        addresses = [bytes(map(int, place[0].split("."))) for place in (source, target)]
        packet = _IP.pack(0x45, 0, size, 0, 0, 64, 17, 0, *addresses)
        packet += _UDP_HEADER.pack(source[1], target[1], size - 20, 0) + data
        self._file.write(
            _RECORD.pack(now // 1_000_000, now % 1_000_000, len(packet), len(packet))
        )
        self._file.write(packet)

    def close(self) -> None:
        self._file.close()


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay, is_front: bool) -> None:
        self._relay = relay
        self._is_front = is_front
        self.transport: Any = None

    async def open(self) -> _Socket:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return self

    @property
    def place(self) -> Place:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return host, port

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._relay.came(data, (addr[0], addr[1]), self._is_front, self)


class Relay:
    """
    The network between the peer in front of the NAT and the one behind it.

    @ivar counts: packets by direction: received, lost, doubled, late.
    @ivar is_blocked: all packets are dropped.
    @ivar is_strict: after L{STRICT_AFTER_SECONDS}, checks of the front peer that do not
        nominate are dropped.
    @ivar last: the last packet passed on, by whether the front peer sent it.
    """

    def __init__(
        self, seed: int, weather: Weather = CALM, capture: Capture | None = None
    ) -> None:
        self.weather = weather
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._capture = capture
        self._front: Any = None
        self._back: Any = None
        self._left: list[_Socket] = []
        self._places: dict[bool, Place] = {}
        self.is_blocked = False
        self.is_strict = False
        self._strict_at = 0.0
        self.last: dict[bool, bytes] = {}

    async def listen(self) -> None:
        self._front = await _Socket(self, True).open()
        self._back = await _Socket(self, False).open()

    def from_front(self, description: str) -> str:
        """Return the front peer's description as the other peer has to see it."""
        self._places[True] = place_of(description)
        return placed(description, self._back.place)

    def from_back(self, description: str) -> str:
        self._places[False] = place_of(description)
        return placed(description, self._front.place)

    async def rebind(self) -> None:
        """Let the NAT forget the front peer, and use another port."""
        self._left.append(self._back)
        self._back = await _Socket(self, False).open()
        self.counts["rebound"] += 1

    def came(self, data: bytes, source: Place, is_front: bool, at: _Socket) -> None:
        if at not in (self._front, self._back):
            self.counts["to the old port"] += 1
            return
        if is_front:
            self._places[True] = source
        elif source != self._places.get(False):
            self.counts["of strangers"] += 1
            return
        if self.is_strict and is_front and _is_check(data):
            now = time.monotonic()
            self._strict_at = self._strict_at or now + STRICT_AFTER_SECONDS
            if now >= self._strict_at and not _nominates(data):
                self.counts["not nominating"] += 1
                return
        way = "out" if is_front else "in"
        self.counts[way] += 1
        if self.is_blocked or self._rng.random() < self.weather.loss:
            self.counts[f"{way} lost"] += 1
            return
        self.last[is_front] = data
        if self._rng.random() < self.weather.double:
            self.counts[f"{way} doubled"] += 1
            self._pass_on(data, is_front)
        if self._rng.random() < self.weather.late:
            self.counts[f"{way} late"] += 1
            after = self._rng.uniform(*_LATE_SECONDS)
            loop = asyncio.get_running_loop()
            loop.call_later(after, self._pass_on, data, is_front)
        else:
            self._pass_on(data, is_front)

    def _pass_on(self, data: bytes, is_front: bool) -> None:
        target = self._places.get(not is_front)
        source = self._back if is_front else self._front
        if target is None or source.transport.is_closing():
            self.counts["to nobody"] += 1
            return
        if self._capture is not None:
            self._capture.add(source.place, target, data)
        source.transport.sendto(data, target)

    def close(self) -> None:
        for one in (self._front, self._back, *self._left):
            if one is not None:
                one.transport.close()
        if self._capture is not None:
            self._capture.close()
