"""
Sends the caller's audio to a service that hears it in real time.

A frame is sent at once, unless that would be further ahead of the clock than the
service's buffer allows; then it waits for its time.  Gaps are filled with silence,
because the service's VAD measures time by the audio it receives.  A lasting backlog is
shortened (L{chime_gateway.agents.webrtc.backlog}).

Time is an argument, in seconds, monotonic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chime_gateway.agents.webrtc.backlog import Backlog
from chime_gateway.audio import PTIME_MS, Codec

_FRAME_SECONDS: Final = PTIME_MS / 1000

#: Number of frames that may be sent ahead of time, and that may be late before silence
#: replaces them: frames from carriers arrive unevenly.
_MOST_AHEAD: Final = 3
_MOST_BEHIND: Final = 3

#: Maximum number of missing frames that are replaced; after a longer stall of this
#: process they are skipped.
_MOST_MADE_UP: Final = 8

#: After a beat this late, audio that arrived meanwhile has not been read yet.
_LATE_SECONDS: Final = 2.5 * _FRAME_SECONDS


class Packets(Protocol):
    """Sends frames, one packet each."""

    def send_frame(self, frame: bytes | None) -> None:
        """Send a frame; C{None}: silence."""

    def pass_over(self, frames: int) -> None:
        """Skip the time of this many frames."""


class Uplink:
    """
    The uplink of one session.

    @param is_loud: returns whether there is speech in a frame.
    @param dropped: called with the reason and the size of audio that is not sent.
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
        # The time from which the frames sent so far would be in real time.
        self._ahead_from = now
        self._sent = 0
        # No audio arrives, and silence is sent instead.
        self._is_idle = True
        self._made_up = 0
        self._beat_at = now

    def add(self, audio: bytes, now: float) -> None:
        """Add audio of any length."""
        size = self._frame_bytes
        if len(audio) == size and not self._partial:
            # The usual case.
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
                # Silence was sent already for the time of this frame.
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
        # How many more frames were sent than were due.
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
