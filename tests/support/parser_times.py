"""
Every parser of what others send, and how its time goes with the length of that.

Time is that of the thread, of whatever else the machine does not.  The best of some
measurements counts, and what is suspicious is measured again: others make a
measurement longer, never shorter.
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

#: From a size to this many times of it ...
FACTOR = 8

#: ... time may grow so much more: the square would be by 64.
MOST_GROWTH = 3 * FACTOR

#: Who takes less for the most that he ever gets holds nobody up.
NOTICED_SECONDS = 0.0005

_MEASUREMENTS = 3
_TRIES = 4

Read = Callable[[bytes], object]


@frozen
class Place:
    """
    Where in a message a stranger may write as much as he likes.

    @ivar most: bytes of his that ever get there.
    @ivar has_lengths: he may write one, and the reader skips that much at once.
    """

    name: str
    read: Read
    before: bytes = b""
    behind: bytes = b""
    most: int = 65_000
    has_lengths: bool = False


@frozen
class Filling:
    """What he writes: something again and again, between two others."""

    opening: bytes
    unit: bytes
    end: bytes

    def of_size(self, size: int) -> bytes:
        times = max(1, size // len(self.unit))
        return self.opening + self.unit * times + self.end


def streamed(make: Callable[[], Any], step: int) -> Callable[[bytes], None]:
    """
    @param step: how many bytes come at once.
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
    """From the smallest on: what is above linear must not run for minutes."""
    return [most >> bits for bits in range(most.bit_length() - 4, -1, -1)]


def _growth(place: Place, data: Callable[[int], bytes], size: int) -> float:
    """
    Who skips the first part of a message, and has the same to do with every byte
    behind that, looks like the square for some doublings, but not for four: if the
    last takes three times as long, there is nothing to do before the second.
    """
    if not place.has_lengths:
        return _best(place, data(size)) / _best(place, data(size // FACTOR))
    times = [_best(place, data(size >> doublings)) for doublings in range(5)]
    least = min(whole / half for whole, half in pairwise(times))
    return float(least ** math.log2(FACTOR))


def growth(place: Place, filling: Filling) -> float:
    """
    @return: how many times the time of an eighth it takes, of the first size of
        which that is too much; 0: there is none.
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
