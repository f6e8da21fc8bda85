"""An unknown carrier: its leg declares its traits, and that is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.capture.files import CaptureFiles
from chime_gateway.capture.replay import ReplayReport, replay_file
from chime_gateway.http.metrics import Metrics
from chime_gateway.interfaces import CarrierTraits
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingLeg,
    RecordingSessions,
    RecordingTools,
)
from tests.support.files import temporary_folder

#: Accepts audio ahead of time, and never reports when it was heard.
PIGEON = CarrierTraits(name="pigeon", buffers=True, reports_playback=False)

#: Slower than all others, but reports when audio was heard.
SATELLITE = CarrierTraits(
    name="satellite", buffers=True, reports_playback=True, lag_seconds=2.5
)

#: Needs a frame each 20 ms.
WALKIE_TALKIE = CarrierTraits(
    name="walkie-talkie", buffers=False, reports_playback=False
)


class NewCarrierTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.metrics = Metrics()
        self.folder = temporary_folder(self)

    def begin(self, traits: CarrierTraits) -> Any:
        self.metrics.carriers.add(traits.name)
        sessions = RecordingSessions(self.log)
        self.files = CaptureFiles(self.folder)
        self.files.start()
        self.table = CallTable(
            Lines(sessions, Limits()),
            roster=Roster(agents={"default": AgentProfile()}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=self.clock,
            metronome=Metronome(self.clock, self.metrics.tick_was_late),
            measures=self.metrics,
            wall_time=lambda: 0.0,
            new_id=lambda: traits.name,
            capture=self.files,
        )
        self.metrics.calls = self.table.calls
        leg = RecordingLeg(self.log)
        leg.traits = traits
        call: Any = self.table.incoming(leg)
        sessions.opening[0].callback(RecordingAgent(self.log))
        self.agent_events: Any = sessions.events[0]
        return call

    def talk(self, call: Any) -> None:
        """Two items; the caller speaks during the second, and is then silent."""
        for item in ("i1", "i2"):
            self.agent_events.response_started(f"r-{item}")
            self.agent_events.agent_audio(f"r-{item}", item, 0, b"\x10" * 16_000)
            self.agent_events.agent_audio_done(item)
            for _ in range(60):
                self.clock.advance(0.02)
                call.caller_audio(b"\xff" * 160)
        self.agent_events.speech_started("s")
        self.agent_events.agent_active()
        for _ in range(100):
            self.clock.advance(0.02)
        call.leg_ended(Ending(Outcome.COMPLETED, "bye"))

    def replay(self, traits: CarrierTraits) -> ReplayReport:
        self.files.stop(5.0)
        path: Path = self.folder / f"{traits.name}.jsonl"
        return replay_file(str(path), Lines)

    def asked(self, what: str) -> int:
        return sum(1 for entry in self.log if entry[0] == what)

    def metric(self, name: str) -> float | None:
        for line in self.metrics.text().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return None

    def test_its_name_is_in_metrics_before_and_after_a_call(self) -> None:
        active = 'chimegw_calls_active{carrier="pigeon"}'
        self.metrics.carriers.add(PIGEON.name)
        self.assertEqual(self.metric(active), 0)
        call = self.begin(PIGEON)
        self.assertEqual(self.metric(active), 1)
        self.talk(call)
        self.assertEqual(self.metric(active), 0)
        ended = 'chimegw_calls_total{carrier="pigeon",outcome="completed"}'
        self.assertEqual(self.metric(ended), 1)
        self.files.stop(5.0)

    def test_a_captured_call_of_it_replays_without_differences(self) -> None:
        for traits in (PIGEON, SATELLITE, WALKIE_TALKIE):
            with self.subTest(carrier=traits.name):
                self.talk(self.begin(traits))
                report = self.replay(traits)
                self.assertEqual(report.differences, [])
                self.assertGreater(report.outputs, 100)
                assert report.record is not None
                self.assertEqual(report.record.carrier, traits.name)

    def test_a_carrier_without_playback_reports_gets_no_marks(self) -> None:
        self.talk(self.begin(PIGEON))
        self.assertEqual(self.asked("leg.mark"), 0)
        self.assertEqual(self.asked("leg.play"), 2)
        self.files.stop(5.0)

    def test_a_carrier_that_does_not_buffer_is_paced(self) -> None:
        self.talk(self.begin(WALKIE_TALKIE))
        played = [entry[1] for entry in self.log if entry[0] == "leg.play"]
        self.assertEqual(set(played), {160})
        self.files.stop(5.0)

    def test_gaps_of_a_carrier_with_lag_are_filled_that_much_later(self) -> None:
        filled = {}
        for traits in (PIGEON, SATELLITE):
            self.talk(self.begin(traits))
            report = self.replay(traits)
            assert report.record is not None
            filled[traits.name] = report.record.media.frames_filled
        self.assertGreater(filled["pigeon"], 50)
        self.assertEqual(filled["satellite"], 0)

    def test_a_carrier_with_lag_has_to_report_playback(self) -> None:
        with self.assertRaises(ValueError):
            CarrierTraits(
                name="x", buffers=True, reports_playback=False, lag_seconds=1.0
            )
