"""
Sends the caller's audio to a service that hears it in real time.

A frame goes out at once as long as it is not further ahead of the clock than the
service's buffer allows; after that, frames wait for their time.  Gaps are filled with
silence, because the service's VAD counts what it hears.  A backlog that stays is
shortened (L{chime_gateway.agents.webrtc.backlog}).

Time is an argument, in seconds, monotonic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.agents.webrtc.backlog import Backlog
from chime_gateway.audio import PTIME_MS, Codec

_FRAME_SECONDS: Final = PTIME_MS / 1000

#: Frames that may be sent before their time, and so many that are late are not missed
#: yet: those of carriers come unevenly.
_MOST_AHEAD: Final = 3
_MOST_BEHIND: Final = 3

#: After a longer stop of ours nobody waits for what was due.
_MOST_MADE_UP: Final = 8

#: After a beat that comes so late, what came meanwhile is not read yet.
_LATE_SECONDS: Final = 2.5 * _FRAME_SECONDS


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
        *("_ahead_from", "_backlog", "_beat_at", "_frame_bytes", "_is_idle"),
        *("_made_up", "_partial", "_pass_over", "_send_frame", "_sent", "_silence"),
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
        self._pass_over = packets.pass_over
        self._send_frame = packets.send_frame
        self._frame_bytes = codec.frame_bytes
        self._silence = codec.silence(codec.frame_bytes)
        self._backlog = Backlog(codec, is_loud, dropped)
        self._waiting = self._backlog.frames
        self._partial = b""
        # Sent at that time, the frames so far would have been in time.
        self._ahead_from = now
        self._sent = 0
        # Nothing comes, and silences are sent in its place.
        self._is_idle = True
        self._made_up = 0
        self._beat_at = now

    def add(self, audio: bytes, now: float) -> None:
        """Add audio of any length."""
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
        self._backlog.came()
        ahead = self._sent - (now - self._ahead_from) / _FRAME_SECONDS
        if not self._waiting and ahead < _MOST_AHEAD:
            self._sent += 1
            self._send_frame(frame)
            return
        self._backlog.add(frame)

    def tick(self, now: float) -> None:
        """Called every 20 ms."""
        backlog = self._backlog
        is_late, self._beat_at = now - self._beat_at > _LATE_SECONDS, now
        # So many frames more were sent than have been due.
        ahead = self._sent - (now - self._ahead_from) / _FRAME_SECONDS
        if ahead < -_MOST_MADE_UP - _MOST_BEHIND:
            over = int(-ahead)
            self._pass_over(over)
            self._sent += over
            ahead += over
            backlog.stood_still(over)
        waiting = self._waiting
        while waiting and ahead < 1:
            frame = backlog.take()
            if frame is not None:
                self._sent += 1
                self._send_frame(frame)
                ahead += 1
        if is_late:
            return
        backlog.beat()
        if ahead <= -_MOST_BEHIND or (self._is_idle and ahead <= -1):
            self._is_idle = True
            while ahead <= -1:
                self._made_up += 1
                self._sent += 1
                self._send_frame(None)
                ahead += 1
