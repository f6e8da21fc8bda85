"""
A carrier's playout buffer: plays audio in real time, exact to the sample.

The caller hears what L{PlayoutBuffer} has played.  The buffer returns each mark when
it is reached, and all of them at once when it is cleared, as Twilio's buffer does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.audio import Codec

#: A pause longer than this separates two speeches of the agent.
_PAUSE_SECONDS = 0.3


class PlayoutBuffer:
    """
    The buffer, and the audio that was played.

    @ivar heard: everything since the start of the call, silence included.
    @ivar speech_bytes: the number of bytes played since the last pause, which is how
        much of the agent's current speech was heard.
    @param mark_reached: called with the name of each mark.
    @param delay_seconds: the delay of audio that comes after a pause, so that frames
        sent one by one may be a little late (a jitter buffer).
    """

    def __init__(
        self,
        codec: Codec,
        clock: IReactorTime,
        mark_reached: Callable[[str], None],
        delay_seconds: float = 0.0,
    ) -> None:
        self.heard = bytearray()
        self.speech_bytes = 0
        self._codec = codec
        self._clock = clock
        self._mark_reached = mark_reached
        self._delay = delay_seconds
        self._queue: deque[bytes | str] = deque()
        self._began = clock.seconds()
        self._ended_at = 0.0
        self._alarm: IDelayedCall | None = None

    def play(self, audio: bytes) -> None:
        self.advance()
        now = self._clock.seconds()
        if not self._queue:
            # Playback begins now; the time since the last audio was silence.
            missing = self._position(now + self._delay) - len(self.heard)
            if missing > 0:
                self.heard += self._codec.silence(missing)
            if now - self._ended_at > _PAUSE_SECONDS:
                self.speech_bytes = 0
        self._queue.append(audio)
        self._watch()

    def mark(self, name: str) -> None:
        self.advance()
        if self._queue:
            self._queue.append(name)
            self._watch()
        else:
            self._mark_reached(name)

    def clear(self) -> int:
        """
        Discard what was not played yet.

        @return: the number of bytes heard of the speech that was cut.
        """
        self.advance()
        marks = [entry for entry in self._queue if isinstance(entry, str)]
        self._queue.clear()
        self._forget_alarm()
        for name in marks:
            self._mark_reached(name)
        return self.speech_bytes

    @property
    def is_playing(self) -> bool:
        return bool(self._queue)

    def quiet_seconds(self) -> float:
        """Return how long nothing has been played."""
        return 0.0 if self._queue else self._clock.seconds() - self._ended_at

    def advance(self) -> None:
        """Play everything that is due."""
        due = self._position(self._clock.seconds()) - len(self.heard)
        while self._queue:
            entry = self._queue[0]
            if isinstance(entry, str):
                self._queue.popleft()
                self._mark_reached(entry)
                continue
            if due <= 0:
                break
            played = entry[:due]
            self.heard += played
            self.speech_bytes += len(played)
            due -= len(played)
            self._ended_at = self._clock.seconds()
            if len(played) == len(entry):
                self._queue.popleft()
            else:
                self._queue[0] = entry[len(played) :]

    def stop(self) -> None:
        self.advance()
        self._forget_alarm()

    def _position(self, now: float) -> int:
        """Return the position of C{now} in the call, in bytes, on a sample."""
        samples = int((now - self._began) * self._codec.clock_rate)
        return samples * self._codec.sample_bytes

    def _watch(self) -> None:
        """Set a timer for the exact time of the next mark, independent of frames."""
        self._forget_alarm()
        ahead = 0
        for entry in self._queue:
            if isinstance(entry, str):
                played = len(self.heard) + ahead
                due = self._began + played / self._codec.bytes_per_second
                wait = max(0.0, due - self._clock.seconds()) + 1e-4
                self._alarm = self._clock.callLater(wait, self._woken)
                return
            ahead += len(entry)

    def _woken(self) -> None:
        self._alarm = None
        self.advance()
        self._watch()

    def _forget_alarm(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
