"""
Starts, pauses and ends the recording of one call.

L{chime_gateway.media.recorder} aligns the audio of both sides in time.
"""

from __future__ import annotations

from chime_gateway.audio import Codec
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.media.recorder import Recorder
from chime_gateway.services import RecordingFile, Recordings
from chime_gateway.settings.agent_profile import AgentProfile


class CallRecording:
    """
    @ivar recorder: receives the audio of both sides.
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
        """Why the recording is incomplete; empty: no fault is known."""
        return self._file.fault

    @property
    def is_paused(self) -> bool:
        return self.recorder.is_paused

    def pause(self, is_paused: bool, now: float) -> bool:
        """
        Record silence from now on, or record the call again.

        @return: whether this is a change.
        """
        if is_paused == self.recorder.is_paused:
            return False
        if is_paused:
            self.recorder.pause(now)
        else:
            self.recorder.resume(now)
        return True

    def flush(self, now: float) -> None:
        """Write recorded audio, a few times a second, to limit loss in a crash."""
        caller, agent = self.recorder.take(now)
        if caller:
            self._file.write(caller, agent)

    def finish(self, now: float) -> None:
        if self._is_over:
            return
        try:
            caller, agent = self.recorder.take(now, is_over=True)
            if caller:
                self._file.write(caller, agent)
        finally:
            # Even if the last moment could not be written.
            self._file.finish()
            self._is_over = True


def begin_recording(
    recordings: Recordings | None,
    profile: AgentProfile,
    record: CallRecord,
    codec: Codec,
    now: float,
) -> CallRecording | None:
    """Start the recording, if the profile and the gateway ask for one."""
    if recordings is None or profile.recording is False:
        return None
    file = recordings.open(record.call_id, codec, record.started_at)
    record.recording = file.location
    try:
        return CallRecording(file, codec, now)
    except Exception:
        # The caller of this function never gets the file.
        file.finish()
        raise
