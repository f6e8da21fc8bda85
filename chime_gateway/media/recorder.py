"""
Puts both sides of a call on one time line: what the caller said, and what the caller
heard.

The caller's audio is placed where it came in, the agent's where the caller hears it;
an interruption removes what was not heard.  Pieces of both tracks, equally long, come
out a moment behind the clock.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.stream import Aligner

#: What is younger may still be cut, or filled by audio on its way.
HOLD_SECONDS: Final = 0.2

#: A step in time up to this is a hiccup; audio goes on where it ended.
_HICCUP_SECONDS: Final = 0.2

#: The caller's audio may be ahead of the clock by this much, as after a stall;
#: more is left out, or the rest of the call would be late.
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
        """Take back the last so many bytes, as far as they are still here."""
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
        Everything up to there, silence where there is nothing; and what is left.

        Nothing is changed by it: out of memory, it may fail half-way.
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
    @param began: the clock's time at which the recording begins.
    @ivar dropped_bytes: of the caller's audio that came too fast.
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
        # Callers may send half a sample.
        is_wide = codec.sample_bytes > 1
        self._align = Aligner(codec.sample_bytes).align if is_wide else None

    def _position(self, now: float) -> int:
        samples = int((now - self._began) * self._codec.clock_rate)
        return max(0, samples) * self._codec.sample_bytes

    def caller(self, audio: bytes, now: float) -> None:
        """The caller's audio that ends now."""
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
        """The agent's audio that the caller hears from C{heard_at} on."""
        track = self._agent
        start = self._position(heard_at)
        # Frames follow each other; a beat that is late by some ms is no gap.
        track.lay(start if start - track.end > self._hiccup else track.end, audio)

    def cut(self, byte_count: int) -> None:
        """The last bytes of the agent's audio were not heard."""
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
        What is settled since the last time: the caller's side and the agent's.

        @param is_over: the call is; take all up to now.
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
        # Both sides or none are taken: from here on there is nothing to fail.
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
