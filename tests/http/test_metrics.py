from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.http.metrics import Metrics
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingTools,
)

#: Names that must not change.
PROMISED = (
    "chimegw_calls_active",
    "chimegw_calls_total",
    "chimegw_turn_latency_seconds",
    "chimegw_bridge_latency_seconds",
    "chimegw_barge_ins_total",
    "chimegw_frames_total",
    "chimegw_frames_dropped_total",
    "chimegw_play_queue_seconds",
    "chimegw_underruns_total",
    "chimegw_tick_late_seconds",
    "chimegw_agent_connect_seconds",
    "chimegw_agent_sessions_total",
    "chimegw_session_rollovers_total",
)


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = Metrics()
        self.metrics.carriers.update(("websocket", "websocket-raw"))
        self.clock = Clock()
        log: Log = []
        agents = RecordingAgents(log)
        self.table = CallTable(
            agents,
            roster=Roster(agents={"default": AgentProfile()}, routes={}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=self.clock,
            metronome=Metronome(self.clock, self.metrics.tick_was_late),
            measures=self.metrics,
            wall_time=lambda: 0.0,
            new_id=lambda: "secret-call-id",
        )
        self.metrics.calls = self.table.calls
        self.call: Any = self.table.incoming(RecordingLeg(log))
        agents.opening[0].callback(RecordingAgent(log))

    def values(self) -> dict[str, float]:
        lines = self.metrics.text().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def test_every_promised_name_is_there(self) -> None:
        self.call.audio_dropped("x", 1)
        self.call.leg_ended(Ending(Outcome.COMPLETED, ""))
        text = self.metrics.text().decode()
        for name in PROMISED:
            self.assertIn(f"\n{name}", "\n" + text)

    def test_calls_in_progress_are_counted(self) -> None:
        for _ in range(50):
            self.call.caller_audio(bytes(160))
        self.call.conversation.agent_audio("r", "i", 0, bytes(16000))
        values = self.values()
        self.assertEqual(values['chimegw_calls_active{carrier="websocket"}'], 1)
        self.assertEqual(values['chimegw_calls_active{carrier="websocket-raw"}'], 0)
        self.assertEqual(values['chimegw_frames_total{direction="in"}'], 50)
        self.assertEqual(values['chimegw_frames_total{direction="out"}'], 100)
        self.assertEqual(values['chimegw_play_queue_seconds{of="max"}'], 2.0)

    def test_counts_remain_after_the_call_has_ended(self) -> None:
        self.call.conversation.agent_audio("r", "i", 0, bytes(16000))
        self.call.conversation.speech_started("s")
        self.call.leg_ended(Ending(Outcome.COMPLETED, ""))
        self.table.turned_away("websocket", Ending(Outcome.UNAUTHORIZED, ""))
        values = self.values()
        self.assertEqual(values['chimegw_frames_total{direction="out"}'], 100)
        self.assertEqual(values["chimegw_barge_ins_total"], 1)
        self.assertEqual(values['chimegw_frames_dropped_total{reason="barge_in"}'], 100)
        for outcome in ("completed", "unauthorized"):
            name = f'chimegw_calls_total{{carrier="websocket",outcome="{outcome}"}}'
            self.assertEqual(values[name], 1)

    def test_late_beats_and_latencies_are_observed(self) -> None:
        self.call.conversation.speech_stopped("s")
        self.clock.advance(0.52)
        self.call.conversation.agent_audio("r", "i", 0, bytes(160))
        values = self.values()
        self.assertEqual(values['chimegw_turn_latency_seconds_bucket{le="0.5"}'], 0)
        self.assertEqual(values['chimegw_turn_latency_seconds_bucket{le="0.7"}'], 1)
        self.assertEqual(values['chimegw_tick_late_seconds_bucket{le="0.1"}'], 0)
        self.assertEqual(values["chimegw_tick_late_seconds_count"], 1)

    def test_carriers_and_call_control_have_their_own_counts(self) -> None:
        class Counts:
            def __init__(self) -> None:
                self.notices = Counter({"taken": 3})
                self.counts = Counter({"throttled": 2})

        self.assertNotIn("chimegw_kinesis_notices", self.metrics.text().decode())
        self.metrics.kinesis = self.metrics.control = Counts()
        self.metrics.replied(0.12)
        values = self.values()
        self.assertEqual(values['chimegw_kinesis_notices_total{result="taken"}'], 3)
        self.assertEqual(values['chimegw_sma_updates_total{outcome="throttled"}'], 2)
        self.assertEqual(values['chimegw_kinesis_reply_seconds_bucket{le="0.1"}'], 0)
        self.assertEqual(values['chimegw_kinesis_reply_seconds_bucket{le="0.15"}'], 1)

    def test_rtp_of_agents_and_of_callers_is_counted_apart(self) -> None:
        class Counts:
            def network_stats(self) -> NetworkStats:
                return NetworkStats(packets_in=7, lost=2, jitter_seconds=0.004)

        self.assertNotIn("chimegw_agent_rtp", self.metrics.text().decode())
        self.metrics.agents_rtp = Counts()
        values = self.values()
        self.assertEqual(values['chimegw_agent_rtp_packets_total{direction="in"}'], 7)
        self.assertEqual(values["chimegw_agent_rtp_lost_total"], 2)
        self.assertEqual(values["chimegw_agent_rtp_jitter_seconds"], 0.004)
        self.assertNotIn("chimegw_rtp_lost_total", values)

    def test_set_timers_are_counted(self) -> None:
        self.metrics.timers = lambda: len(self.clock.getDelayedCalls())
        before = self.values()["chimegw_timers"]
        timer = self.clock.callLater(1.0, lambda: None)
        self.assertEqual(self.values()["chimegw_timers"], before + 1)
        timer.cancel()
        self.assertEqual(self.values()["chimegw_timers"], before)

    def test_no_call_id_is_a_label(self) -> None:
        self.assertNotIn("secret-call-id", self.metrics.text().decode())
