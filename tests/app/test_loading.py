"""The modules that process samples are loaded at the first call that may need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.loading import SampleWork
from chime_gateway.audio import L16_16000
from tests.support.fakes import RecordingLeg


class SampleWorkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[str] = []
        self.result: Callable[[], Deferred[Any]] = lambda: succeed(None)
        self.work = SampleWork(self.in_thread)

    def in_thread(self, function: object, name: str) -> Deferred[Any]:
        self.asked.append(name)
        return self.result()

    def test_a_leg_with_a_buffer_and_g711_needs_nothing(self) -> None:
        self.work.expect(RecordingLeg([]))
        self.assertEqual(self.asked, [])

    def test_it_is_loaded_once_for_legs_that_are_paced(self) -> None:
        leg = RecordingLeg([], buffers=False)
        self.work.expect(leg)
        self.work.expect(leg)
        self.assertEqual(self.asked, ["chime_gateway.codec.pitch"])

    def test_another_codec_needs_it(self) -> None:
        self.work.expect(RecordingLeg([], codec=L16_16000))
        self.assertEqual(len(self.asked), 1)

    def test_a_failed_import_is_logged(self) -> None:
        self.result = lambda: fail(MemoryError())
        self.work.expect(RecordingLeg([], codec=L16_16000))
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
