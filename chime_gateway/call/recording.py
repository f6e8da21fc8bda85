"""
The recording of one call while it runs: when it begins, pauses and ends.

What is where in it is L{chime_gateway.media.recorder}'s; where it goes is not
known here.
"""

from __future__ import annotations

from chime_gateway.audio import Codec
from chime_gateway.interfaces import RecordingFile
from chime_gateway.media.recorder import Recorder


class CallRecording:
    """
    @ivar recorder: to be told of both sides.
    """

    def __init__(self, file: RecordingFile, codec: Codec, now: float) -> None:
        self.recorder = Recorder(codec, now)
        self._file = file
        self._is_over = False

    @property
    def location(self) -> str:
        return self._file.location

    @property
    def fault(self) -> str:
        """Why it is not whole, as far as is known."""
        return self._file.fault

    @property
    def is_paused(self) -> bool:
        return self.recorder.is_paused

    def pause(self, now: float) -> None:
        self.recorder.pause(now)

    def resume(self, now: float) -> None:
        self.recorder.resume(now)

    def flush(self, now: float) -> None:
        """Some times a second: what is lost by a crash is younger."""
        caller, agent = self.recorder.take(now)
        if caller:
            self._file.write(caller, agent)

    def finish(self, now: float) -> None:
        if self._is_over:
            return
        self._is_over = True
        caller, agent = self.recorder.take(now, is_over=True)
        if caller:
            self._file.write(caller, agent)
        self._file.finish()
