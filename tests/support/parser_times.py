"""
Every parser of data from strangers, and how its time grows with the length of the data.

The thread's own CPU time is measured.  The shortest of several measurements counts, and
suspicious ones are repeated: a busy machine makes a measurement longer, never shorter.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from attrs import frozen

from chime_gateway.errors import RemoteProtocolError

#: From one size to this many times that size ...
FACTOR = 8

#: ... time may grow by this factor; quadratic growth would be 64.
MOST_GROWTH = 3 * FACTOR

#: A parser that needs less for the longest possible input is never a problem.
NOTICED_SECONDS = 0.0005

_MEASUREMENTS = 3
_TRIES = 4

Read = Callable[[bytes], object]


@frozen
class Place:
    """
    A place in a message where a stranger may write any amount of data.

    @ivar most: the most bytes that can get there.
    @ivar has_lengths: the data may contain a length, which the parser skips at once.
    """

    name: str
    read: Read
    before: bytes = b""
    behind: bytes = b""
    most: int = 65_000
    has_lengths: bool = False


@frozen
class Filling:
    """The data: a repeated text between two others."""

    opening: bytes
    unit: bytes
    end: bytes

    def of_size(self, size: int) -> bytes:
        times = max(1, size // len(self.unit))
        return self.opening + self.unit * times + self.end


def streamed(make: Callable[[], Any], step: int) -> Callable[[bytes], None]:
    """
    Feed data to a parser in pieces.

    @param step: the size of a piece, in bytes.
    """

    def read(data: bytes) -> None:
        reader = make()
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])

    return read


def _seconds(place: Place, data: bytes) -> float:
    began = time.thread_time_ns()
    with contextlib.suppress(RemoteProtocolError):
        place.read(data)
    return (time.thread_time_ns() - began) / 1e9


def _best(place: Place, data: bytes) -> float:
    return min(_seconds(place, data) for _ in range(_MEASUREMENTS))


def _sizes(most: int) -> list[int]:
    """Yield the smallest sizes first: more than linear growth could take minutes."""
    return [most >> bits for bits in range(most.bit_length() - 4, -1, -1)]


def _growth(place: Place, data: Callable[[int], bytes], size: int) -> float:
    """
    A parser that skips the first part of a message and is linear in the rest looks
    quadratic for some doublings, but not for four: if the last doubling takes three
    times as long, there was nothing to do before the second.
    """
    if not place.has_lengths:
        return _best(place, data(size)) / _best(place, data(size // FACTOR))
    times = [_best(place, data(size >> doublings)) for doublings in range(5)]
    least = min(whole / half for whole, half in pairwise(times))
    return float(least ** math.log2(FACTOR))


def growth(place: Place, filling: Filling) -> float:
    """
    @return: the factor to the time of an eighth of the size, for the first size at
        which it is too high; 0: there is none.
    """

    def data(size: int) -> bytes:
        return place.before + filling.of_size(size) + place.behind

    was_on = gc.isenabled()
    gc.disable()
    try:
        for size in _sizes(place.most):
            if _seconds(place, data(size)) < NOTICED_SECONDS:
                continue
            for _ in range(_TRIES):
                found = _growth(place, data, size)
                if found <= MOST_GROWTH:
                    break
            else:
                return found
        return 0.0
    finally:
        if was_on:
            gc.enable()
