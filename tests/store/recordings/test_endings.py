"""When the end of a call is reported, and what it says about the recording."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.events import CallAnswered, CallEnded, CallEvent
from chime_gateway.store.recordings import files
from chime_gateway.store.recordings.endings import NOT_YET, Endings
from chime_gateway.store.recordings.files import RecordingWriter, WavFile
from tests.store.test_numbers import facts
from tests.support.files import temporary_folder

PIECE = bytes(160)
BEGUN = files._begun

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.booleans()),
        st.tuples(st.just("write"), st.integers(0, 5)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("the thread works"), st.integers(1, 6)),
        st.tuples(st.just("the reactor hears of it"), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from((1, 11))),
    ),
    max_size=40,
)


class EndingTests(SynchronousTestCase):
    """The thread does not run: the test runs its work."""

    def begin(self) -> None:
        self.clock = Clock()
        self.from_thread: list[WavFile] = []
        folder = temporary_folder(self)
        self.writer = RecordingWriter(folder, str, written=self.from_thread.append)
        self.told: list[CallEvent] = []
        self.endings = Endings(self.writer, self.clock, self.told.append)
        self.bad: set[str] = set()
        self.open: dict[str, WavFile] = {}
        self.ended: dict[str, float] = {}

        def may_be_full(wav: WavFile) -> Any:
            if wav.path.stem in self.bad:
                raise OSError(28, "No space left on device")
            return BEGUN(wav)

        self.patch(files, "_begun", may_be_full)

    def step(self, name: str, value: int) -> None:
        ids = [call_id for call_id in self.open if call_id not in self.ended]
        chosen = ids[value % len(ids)] if ids else ""
        if name == "open":
            call_id = f"c{len(self.open)}"
            self.open[call_id] = self.writer.open(call_id, PCMU, 0.0)
            if value:
                self.bad.add(call_id)
        elif name == "write" and chosen:
            self.open[chosen].write(PIECE, PIECE)
        elif name == "end" and chosen:
            wav = self.open[chosen]
            wav.finish()
            self.ended[chosen] = self.clock.seconds()
            # The fault that the call itself knows now.
            call = evolve(
                facts(),
                call_id=chosen,
                recording=wav.location,
                recording_fault=wav.fault,
            )
            self.endings.happened(CallEvent(chosen, 9, 0.0, CallEnded(call, ())))
        elif name == "the thread works":
            for _ in range(value):
                if self.writer.worker.waiting:
                    self.writer._work(self.writer.worker._next() or [])
        elif name == "the reactor hears of it":
            while self.from_thread:
                self.endings.written(self.from_thread.pop(0))
        elif name == "wait":
            self.clock.advance(value)

    @settings(max_examples=60, deadline=None)
    @given(STEPS)
    def test_the_end_says_whether_the_recording_is_complete(
        self, steps: list[tuple[str, int]]
    ) -> None:
        self.begin()
        with capturedLogs() as lines:
            self.tell_of_all(steps)
        said = {line.get("call_id") for line in lines}
        # Each fault is in the log as well.
        self.assertLessEqual({e.call_id for e in self.told if self.fault(e)}, said)
        self.flushLoggedErrors()
        self.close_files()

    def tell_of_all(self, steps: list[tuple[str, int]]) -> None:
        for name, value in (*steps, ("the thread works", 999), ("wait", 0)):
            self.step(name, value)
            faults = [(e.call_id, self.fault(e)) for e in self.told]
            self.assertEqual(len(dict(faults)), len(faults))
            for call_id, fault in faults:
                if fault != NOT_YET:
                    is_bad = call_id in self.bad
                    self.assertEqual("No space" in fault, is_bad, call_id)
                else:
                    waited = self.clock.seconds() - self.ended[call_id]
                    self.assertGreaterEqual(waited, 10.0)
            for call_id, at in self.ended.items():
                if self.clock.seconds() - at >= 10.0:
                    self.assertIn(call_id, dict(faults))
        self.step("the reactor hears of it", 0)
        self.assertEqual({e.call_id for e in self.told}, set(self.ended))
        still_open = {wav.path.stem for wav in self.writer.unwritten.values()}
        self.assertEqual(still_open, set(self.open) - set(self.ended))

    def close_files(self) -> None:
        for wav in self.open.values():
            if wav.file is not None:
                wav.file.close()

    def fault(self, event: CallEvent) -> str:
        assert isinstance(event.payload, CallEnded)
        return event.payload.call.recording_fault

    def test_other_events_are_passed_on_at_once(self) -> None:
        self.begin()
        self.step("open", 0)
        call = evolve(facts(), recording=self.open["c0"].location)
        self.endings.happened(CallEvent("c0", 2, 0.0, CallAnswered(call)))
        other = evolve(facts(), call_id="other", recording="")
        self.endings.happened(CallEvent("other", 9, 0.0, CallEnded(other, ())))
        self.assertEqual([e.call_id for e in self.told], ["c0", "other"])

    def test_closing_passes_on_all_delayed_ends(self) -> None:
        self.begin()
        for name in ("open", "write", "end"):
            self.step(name, 0)
        with capturedLogs() as events:
            self.endings.close()
        self.assertEqual([event["call_id"] for event in events], ["c0"])
        self.assertEqual([self.fault(event) for event in self.told], [NOT_YET])
        self.clock.advance(60)
        self.assertEqual(len(self.told), 1)
