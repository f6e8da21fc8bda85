"""
What the caller says, on its way to a service that hears it in real time.

A frame goes out as it comes, as long as that is not ahead of the clock by more than the
other side's buffer is there for; what is more waits for its time.  Where nothing comes
there is silence, for the service's VAD counts what it hears.  What has waited for long
gets shorter by its pauses.

Packets are not known here; time is an argument, in seconds, monotonic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.audio import PTIME_MS, Codec

_FRAME_SECONDS: Final = PTIME_MS / 1000

#: Frames that may be sent before their time, and so many that are late are not missed
#: yet: those of carriers come unevenly.
_MOST_AHEAD: Final = 3
_MOST_BEHIND: Final = 3

#: After a longer stop of ours nobody waits for what was due.
_MOST_MADE_UP: Final = 8

#: What waits of a caller who was not heard for a while: 12 seconds of it.
_MOST_WAITING: Final = 600

#: With so many waiting, a pause is cut down to so many frames.
_LONG_QUEUE: Final = 4
_KEPT_PAUSE: Final = 12


class Packets(Protocol):
    """Where frames go, one packet each."""

    def send_frame(self, frame: bytes | None) -> None:
        """@param frame: C{None}: silence."""

    def pass_over(self, frames: int) -> None:
        """The time of so many is over."""


class Uplink:
    """
    @param is_loud: whether somebody speaks in a frame.
    @param dropped: told of audio that is not sent.
    """

    __slots__ = (
        *("_ahead_from", "_dropped", "_frame_bytes", "_is_idle", "_is_loud"),
        *("_made_up", "_packets", "_partial", "_pause", "_sent", "_silence"),
        "_waiting",
    )

    def __init__(
        self,
        packets: Packets,
        codec: Codec,
        is_loud: Callable[[bytes], bool],
        dropped: Callable[[str, int], None],
        now: float,
    ) -> None:
        self._packets = packets
        self._is_loud = is_loud
        self._dropped = dropped
        self._frame_bytes = codec.frame_bytes
        self._silence = codec.silence(codec.frame_bytes)
        self._waiting: deque[bytes] = deque()
        self._partial = b""
        # Sent at that time, the frames so far would have been in time.
        self._ahead_from = now
        self._sent = 0
        # Nothing comes, and silences are sent in its place.
        self._is_idle = True
        self._made_up = 0
        self._pause = 0

    def _ahead(self, now: float) -> float:
        """So many frames more were sent than have been due."""
        return self._sent - (now - self._ahead_from) / _FRAME_SECONDS

    def add(self, audio: bytes, now: float) -> None:
        """Any length."""
        size = self._frame_bytes
        if len(audio) == size and not self._partial:
            # The usual.
            self._add(audio, now)
            return
        audio = self._partial + audio
        whole = len(audio) - len(audio) % size
        self._partial = audio[whole:]
        for at in range(0, whole, size):
            self._add(audio[at : at + size], now)

    def _add(self, frame: bytes, now: float) -> None:
        if frame == self._silence:
            if self._made_up:
                # It stands for a time for which we have sent silence ourselves.
                self._made_up -= 1
                return
        else:
            self._made_up = 0
        self._is_idle = False
        if not self._waiting and self._ahead(now) < _MOST_AHEAD:
            self._send(frame)
            return
        self._waiting.append(frame)
        if len(self._waiting) > _MOST_WAITING:
            self._dropped("agent_slow", len(self._waiting.popleft()))

    def _send(self, frame: bytes | None) -> None:
        self._sent += 1
        self._packets.send_frame(frame)

    def tick(self, now: float) -> None:
        """Each 20 ms."""
        ahead = self._ahead(now)
        if ahead < -_MOST_MADE_UP - _MOST_BEHIND:
            over = int(-ahead)
            self._packets.pass_over(over)
            self._sent += over
            ahead += over
        waiting = self._waiting
        while waiting and ahead < 1:
            frame = waiting.popleft()
            if self._is_left_out(frame):
                continue
            self._send(frame)
            ahead += 1
        if ahead <= -_MOST_BEHIND or (self._is_idle and ahead <= -1):
            self._is_idle = True
            while ahead <= -1:
                self._made_up += 1
                self._send(None)
                ahead += 1

    def _is_left_out(self, frame: bytes) -> bool:
        """It waits behind others, in the middle of a pause."""
        if self._is_loud(frame):
            self._pause = 0
            return False
        self._pause += 1
        if len(self._waiting) < _LONG_QUEUE or self._pause <= _KEPT_PAUSE:
            return False
        if frame != self._silence:
            self._dropped("overdue", len(frame))
        return True
