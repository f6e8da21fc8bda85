"""
Delays the event of a call's end until its recording is written, so that the record
says whether the recording is complete.

If the disk does not accept the recording, the delay is limited.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.call.reports.events import CallEnded, CallEvent
from chime_gateway.net.timer import Timer
from chime_gateway.store.recordings.files import RecordingWriter, WavFile

#: The longest delay of an end.
_LONGEST_SECONDS: Final = 10.0

#: The fault of a recording that may still become complete.
NOT_YET: Final = "the disk has not taken all of it yet"


class Endings:
    """
    Passes the events of calls on, and delays their ends.

    @param tell: called with each event.
    """

    _log = Logger()

    def __init__(
        self,
        recordings: RecordingWriter,
        clock: IReactorTime,
        tell: Callable[[CallEvent], None],
    ) -> None:
        self._recordings = recordings
        self._clock = clock
        self._tell = tell
        self._held: dict[WavFile, tuple[CallEvent, Timer]] = {}

    def happened(self, event: CallEvent) -> None:
        wav = None
        if isinstance(event.payload, CallEnded):
            wav = self._recordings.unwritten.get(event.payload.call.recording)
        if wav is None:
            self._tell(event)
            return
        timer = Timer(self._clock)
        self._held[wav] = event, timer
        timer.start(_LONGEST_SECONDS, lambda: self._over(wav, NOT_YET))

    def written(self, wav: WavFile) -> None:
        """A recording was written, or never will be; called in the reactor."""
        self._recordings.unwritten.pop(wav.location, None)
        self._over(wav, "")

    def close(self) -> None:
        """Stop, and pass on the delayed ends: this process writes nothing more."""
        for wav in list(self._held):
            self._over(wav, NOT_YET)

    def _over(self, wav: WavFile, fault: str) -> None:
        held = self._held.pop(wav, None)
        if held is None:
            return
        event, timer = held
        timer.stop()
        payload = event.payload
        assert isinstance(payload, CallEnded)
        if fault and not wav.fault:
            self._log.error(
                "a recording is reported as incomplete: {why}",
                why=fault,
                call_id=event.call_id,
            )
        call = evolve(payload.call, recording_fault=wav.fault or fault)
        self._tell(evolve(event, payload=evolve(payload, call=call)))
