"""The recording of a call: whole, paused, and when its place fails."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU, Codec
from chime_gateway.call import recording as module
from chime_gateway.call.recording import CallRecording, begin_recording
from chime_gateway.settings.agent_profile import AgentProfile


class File:
    """@ivar finished: how often it was closed."""

    location = "/recordings/1.wav"
    fault = ""

    def __init__(self) -> None:
        self.caller = self.agent = b""
        self.finished = 0
        self.is_full = False

    def write(self, caller: bytes, agent: bytes) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        assert len(caller) == len(agent)
        self.caller += caller
        self.agent += agent

    def finish(self) -> None:
        self.finished += 1


class CallRecordingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = File()
        self.recording = CallRecording(self.file, PCMU, 10.0)

    def test_what_was_said_is_written_as_the_call_goes_on(self) -> None:
        self.recording.recorder.caller(b"\x11" * 8000, 11.0)
        self.recording.flush(12.5)
        before = self.file.caller
        self.assertIn(b"\x11" * 1000, before)
        self.recording.finish(13.0)
        self.assertEqual(self.file.caller[: len(before)], before)
        self.assertEqual(len(self.file.caller), 3 * 8000)
        self.assertEqual(self.file.agent, PCMU.silence(24000))

    def test_it_ends_once(self) -> None:
        for now in (11.0, 12.0):
            self.recording.finish(now)
        self.assertEqual(self.file.finished, 1)
        self.assertEqual(len(self.file.caller), 8000)

    def test_a_place_that_fails_in_the_last_moment_is_closed_all_the_same(self) -> None:
        self.file.is_full = True
        self.assertRaises(OSError, self.recording.finish, 11.0)
        self.assertEqual(self.file.finished, 1)
        self.recording.finish(12.0)
        self.assertEqual(self.file.finished, 1)

    @given(st.lists(st.booleans(), max_size=8))
    def test_only_a_change_is_one(self, wanted: list[bool]) -> None:
        recording = CallRecording(File(), PCMU, 10.0)
        before = False
        for number, is_paused in enumerate(wanted):
            changed = recording.pause(is_paused, 10.0 + number)
            self.assertEqual(changed, is_paused is not before)
            self.assertEqual(recording.is_paused, is_paused)
            before = is_paused

    def test_what_is_said_in_a_pause_is_silence(self) -> None:
        self.recording.pause(True, 11.0)
        self.recording.recorder.caller(b"\x11" * 8000, 12.0)
        self.recording.pause(False, 13.0)
        self.recording.finish(14.0)
        self.assertNotIn(b"\x11", self.file.caller)
        self.assertEqual(len(self.file.caller), 4 * 8000)


class BeginTests(SynchronousTestCase):
    def begin(self, recordings: Any, **members: Any) -> tuple[Any, Any]:
        record = Mock(call_id="1", started_at=1e9, recording="")
        profile = AgentProfile(**members)
        return begin_recording(recordings, profile, record, PCMU, 10.0), record

    def test_only_with_a_place_and_unless_the_profile_forbids_it(self) -> None:
        recordings = Mock(open=lambda *_: File())
        self.assertEqual(self.begin(None)[0], None)
        self.assertEqual(self.begin(recordings, recording=False)[0], None)
        recording, record = self.begin(recordings)
        self.assertEqual(recording.location, File.location)
        self.assertEqual(record.recording, File.location)

    def test_a_file_that_nobody_writes_to_is_closed(self) -> None:
        file = File()

        def broken(codec: Codec, now: float) -> Any:
            raise MemoryError

        self.patch(module, "Recorder", broken)
        with self.assertRaises(MemoryError):
            self.begin(Mock(open=lambda *_: file))
        self.assertEqual(file.finished, 1)
