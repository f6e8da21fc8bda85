"""
Puts both sides of a call on one time line: what the caller said, and what the caller
heard.

The caller's audio is placed at its time of arrival, the agent's at the time when the
caller hears it.  An interruption removes what was not heard.  Both tracks are read in
pieces of equal length, a moment behind the clock.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.stream import Aligner

#: More recent audio is not read yet: it may be cut, or more may arrive for that time.
HOLD_SECONDS: Final = 0.2

#: A gap up to this is jitter: the audio is appended without the gap.
_HICCUP_SECONDS: Final = 0.2

#: The caller's audio may be ahead of the clock by this much, as after a stall.  More is
#: left out, or the rest of the call would be late.
_MAX_AHEAD_SECONDS: Final = 1.0


class _Track:
    """Audio by position, in bytes since the start of the recording."""

    def __init__(self, codec: Codec) -> None:
        self._silence = codec.silence
        self.pieces: deque[tuple[int, bytes]] = deque()
        self.end = 0
        self.taken = 0

    def lay(self, start: int, audio: bytes) -> None:
        self.pieces.append((start, audio))
        self.end = start + len(audio)

    def cut(self, byte_count: int) -> None:
        """Remove the last bytes, as far as they have not been taken."""
        pieces = self.pieces
        while byte_count > 0 and pieces:
            start, audio = pieces.pop()
            if len(audio) > byte_count:
                pieces.append((start, audio[: len(audio) - byte_count]))
                self.end = start + len(audio) - byte_count
                return
            byte_count -= len(audio)
            self.end = start
        if not pieces:
            self.end = max(self.end, self.taken)

    def read(self, upto: int) -> tuple[bytes, deque[tuple[int, bytes]]]:
        """
        Return the audio up to a position, with silence in its gaps, and the pieces that
        are left.

        The track does not change: without memory this may fail half-way.
        """
        parts: list[bytes] = []
        at = self.taken
        pieces = self.pieces.copy()
        while pieces and pieces[0][0] < upto:
            start, audio = pieces.popleft()
            if start > at:
                parts.append(self._silence(start - at))
                at = start
            room = upto - at
            if len(audio) > room:
                parts.append(audio[:room])
                pieces.appendleft((at + room, audio[room:]))
                at = upto
            else:
                parts.append(audio)
                at += len(audio)
        if at < upto:
            parts.append(self._silence(upto - at))
        return b"".join(parts), pieces


class Recorder:
    """
    The recording of one call.

    @param began: when the recording begins, by the monotonic clock.
    @ivar dropped_bytes: bytes of the caller's audio that came too fast.
    """

    def __init__(self, codec: Codec, began: float) -> None:
        self.dropped_bytes = 0
        self._codec = codec
        self._began = began
        self._rate = codec.bytes_per_second
        self._hiccup = int(_HICCUP_SECONDS * self._rate)
        self._max_ahead = int(_MAX_AHEAD_SECONDS * self._rate)
        self._caller = _Track(codec)
        self._agent = _Track(codec)
        self._blanks: list[list[int | None]] = []
        # A caller's audio may be split within a sample.
        is_wide = codec.sample_bytes > 1
        self._align = Aligner(codec.sample_bytes).align if is_wide else None

    def _position(self, now: float) -> int:
        samples = int((now - self._began) * self._codec.clock_rate)
        return max(0, samples) * self._codec.sample_bytes

    def caller(self, audio: bytes, now: float) -> None:
        """Add audio of the caller that ends now."""
        track = self._caller
        if self._align is not None:
            audio = self._align(audio)
        start = self._position(now) - len(audio)
        ahead = track.end - start
        if ahead > self._max_ahead:
            self.dropped_bytes += len(audio)
            return
        track.lay(track.end if ahead >= -self._hiccup else start, audio)

    def agent(self, audio: bytes, heard_at: float) -> None:
        """Add audio of the agent that the caller hears from C{heard_at} on."""
        track = self._agent
        start = self._position(heard_at)
        # A beat that is late by some ms leaves no gap between frames.
        track.lay(start if start - track.end > self._hiccup else track.end, audio)

    def cut(self, byte_count: int) -> None:
        """Remove the last bytes of the agent's audio: they were not heard."""
        self._agent.cut(byte_count)

    def pause(self, now: float) -> None:
        """Record silence from now on, on both sides."""
        if not self.is_paused:
            self._blanks.append([self._position(now), None])

    def resume(self, now: float) -> None:
        if self.is_paused:
            self._blanks[-1][1] = self._position(now)

    @property
    def is_paused(self) -> bool:
        return bool(self._blanks) and self._blanks[-1][1] is None

    def take(self, now: float, *, is_over: bool = False) -> tuple[bytes, bytes]:
        """
        Return the audio since the last call that can no longer change: the caller's
        side and the agent's.

        @param is_over: the call has ended: take everything up to now.
        """
        upto = self._position(now if is_over else now - HOLD_SECONDS)
        start = self._caller.taken
        if upto <= start:
            return b"", b""
        caller, callers_rest = self._caller.read(upto)
        agent, agents_rest = self._agent.read(upto)
        blanks = self._blanks
        if blanks:
            caller, agent = self._blanked(caller, start), self._blanked(agent, start)
            blanks = [b for b in blanks if b[1] is None or b[1] > upto]
        # Both sides are taken, or none: from here on nothing can fail.
        for track, rest in ((self._caller, callers_rest), (self._agent, agents_rest)):
            track.pieces, track.taken = rest, upto
            track.end = max(track.end, upto)
        self._blanks = blanks
        return caller, agent

    def _blanked(self, audio: bytes, start: int) -> bytes:
        silence = self._codec.silence
        for first, last in self._blanks:
            assert first is not None
            begin = min(max(0, first - start), len(audio))
            end = len(audio) if last is None else min(max(0, last - start), len(audio))
            audio = audio[:begin] + silence(end - begin) + audio[end:]
        return audio
