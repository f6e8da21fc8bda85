"""
The gateway's metrics, as C{/metrics} shows them.

Each call keeps its own counts, which are summed when the page is requested, so that
no metric is updated per frame.  Labels contain no call ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chime_gateway.call.call import Call
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.http.families import (
    AdmissionCounts,
    AgentCounts,
    ControlCounts,
    DestinationCounts,
    KinesisCounts,
    LogCounts,
    StorageCounts,
    StrangerCounts,
    admission_families,
    agent_families,
    by_label,
    control_families,
    destination_families,
    kinesis_families,
    log_families,
    storage_families,
    stranger_families,
)
from chime_gateway.http.network_families import (
    RtpCounts,
    SipCounts,
    WebRtcCounts,
    rtp_families,
    sip_families,
    webrtc_families,
)
from chime_gateway.media.stats import MediaStats
from chime_gateway.outcomes import Outcome

#: The outcomes of attempts to open a session; shown even while their count is 0.
_SESSIONS: Final = ("opened", "failed", "misconfigured", "refused", "overtaken")

#: The ways in which the transcription of a caller's turn may fail.
_TEXTS_MISSED: Final = ("refused", "failed", "silent")

#: In seconds: below 0.5 is good, above 2 is broken.
_TURN_BUCKETS: Final = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_BRIDGE_BUCKETS: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
_LATE_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
_REPLY_BUCKETS: Final = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
    *(5.0, 10.0, 20.0),
)
_TOOL_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
_CONNECT_BUCKETS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)


class Metrics(Collector):
    """
    The metrics: the rest of the gateway reports to it, and C{/metrics} reads it.

    @ivar calls: returns the calls in progress; set once the call table exists.
    @ivar carriers: the names of this gateway's carriers; shown even before their first
        call.
    @ivar admission: decides which calls may come in.
    @ivar agents: the source of sessions.
    @ivar agents_rtp: the agents' RTP audio, if any.
    @ivar sip: the SIP carrier, if there is one; C{webrtc} and C{kinesis} likewise.
    @ivar call_storage: the records, recordings and captures of calls.
    @ivar strangers: the strangers' connections.
    @ivar log: the log of the process, if a thread writes it.
    @ivar destinations: the limits of transfers and outbound calls.
    @ivar control: call control by the SIP media application, if there is one.
    @ivar timers: returns the number of timers set in the reactor.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls: Callable[[], Iterable[Call]] = list
        self.carriers: set[str] = set()
        self.admission: AdmissionCounts | None = None
        self.agents: AgentCounts | None = None
        self.sip: SipCounts | None = None
        self.webrtc: WebRtcCounts | None = None
        self.agents_rtp: RtpCounts | None = None
        self.kinesis: KinesisCounts | None = None
        self.control: ControlCounts | None = None
        self.destinations: DestinationCounts | None = None
        self.call_storage: StorageCounts | None = None
        self.log: LogCounts | None = None
        self.strangers: StrangerCounts | None = None
        self.timers: Callable[[], int] = lambda: 0
        self._finished = MediaStats()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._sessions: Counter[str] = Counter()
        self._rollovers = 0
        self._texts_missed = Counter({form: 0 for form in _TEXTS_MISSED})
        self._turn = self._histogram(
            "chimegw_turn_latency_seconds",
            "From the end of the caller's turn to the first agent audio sent.",
            _TURN_BUCKETS,
        )
        self._bridge = self._histogram(
            "chimegw_bridge_latency_seconds",
            "From the arrival of audio to its delivery to the other side (sampled).",
            _BRIDGE_BUCKETS,
        )
        self._late = self._histogram(
            "chimegw_tick_late_seconds",
            "How late the 20 ms beat came.",
            _LATE_BUCKETS,
        )
        self._connect = self._histogram(
            "chimegw_agent_connect_seconds",
            "From the start of the connection to Azure to a configured session.",
            _CONNECT_BUCKETS,
        )
        self._reply = self._histogram(
            "chimegw_kinesis_reply_seconds",
            "From the end of an utterance of the agent to the start of its playback.",
            _REPLY_BUCKETS,
        )
        self._tools = Histogram(
            "chimegw_tool_seconds",
            "From the request to a tool's server to its result or failure.",
            ["tool", "outcome"],
            buckets=_TOOL_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)

    # -- reported ------------------------------------------------------------

    def turn_answered(self, seconds: float) -> None:
        self._turn.observe(seconds)

    def bridged(self, seconds: float) -> None:
        self._bridge.observe(seconds)

    def text_missed(self, form: str) -> None:
        self._texts_missed[form] += 1

    def tick_was_late(self, seconds: float) -> None:
        self._late.observe(max(0.0, seconds))

    def replied(self, seconds: float) -> None:
        self._reply.observe(seconds)

    def tool_used(self, name: str, is_good: bool, seconds: float) -> None:
        self._tools.labels(name, "ok" if is_good else "failed").observe(seconds)

    def agent_connected(self, seconds: float) -> None:
        self._connect.observe(seconds)

    def agent_session(self, outcome: str) -> None:
        self._sessions[outcome] += 1

    def call_finished(self, record: CallRecord) -> None:
        assert record.ending is not None
        self._outcomes[record.carrier, record.ending.outcome.value] += 1
        _add(self._finished, record.media)
        self._rollovers += _changes(record)

    def turned_away(self, carrier: str, outcome: Outcome) -> None:
        self._outcomes[carrier, outcome.value] += 1

    # -- asked -----------------------------------------------------------------

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for every page."""
        calls = list(self.calls())
        total = MediaStats()
        for stats in (self._finished, *(call.record.media for call in calls)):
            _add(total, stats)

        active = GaugeMetricFamily(
            "chimegw_calls_active", "Calls in progress.", labels=["carrier"]
        )
        by_carrier = Counter(call.record.carrier for call in calls)
        for carrier in sorted({*self.carriers, *by_carrier}):
            active.add_metric([carrier], by_carrier[carrier])
        yield active

        ended = CounterMetricFamily(
            "chimegw_calls", "Calls that have ended.", labels=["carrier", "outcome"]
        )
        for (carrier, outcome), count in sorted(self._outcomes.items()):
            ended.add_metric([carrier, outcome], count)
        yield ended

        frames = CounterMetricFamily(
            "chimegw_frames",
            "20 ms frames from callers (in), to callers (out), and of silence inserted"
            " for callers (filled).",
            labels=["direction"],
        )
        frames.add_metric(["in"], round(total.frames_in))
        frames.add_metric(["out"], round(total.frames_out))
        frames.add_metric(["filled"], total.frames_filled)
        yield frames

        dropped = CounterMetricFamily(
            "chimegw_frames_dropped", "Frames not delivered.", labels=["reason"]
        )
        for reason, count in sorted(total.dropped.items()):
            dropped.add_metric([reason], count)
        yield dropped

        yield CounterMetricFamily(
            "chimegw_barge_ins",
            "Barge-ins: callers who interrupted the agent.",
            value=total.barge_ins,
        )
        yield CounterMetricFamily(
            "chimegw_underruns",
            "Times that a leg had nothing to play in the middle of an item.",
            value=total.underruns,
        )
        yield CounterMetricFamily(
            "chimegw_session_rollovers",
            "Agent sessions replaced within a call.",
            value=self._rollovers + sum(_changes(call.record) for call in calls),
        )
        sessions = CounterMetricFamily(
            "chimegw_agent_sessions",
            "Attempts to open an agent session.",
            labels=["outcome"],
        )
        for outcome in sorted({*_SESSIONS, *self._sessions}):
            sessions.add_metric([outcome], self._sessions[outcome])
        yield sessions
        yield by_label(
            "chimegw_transcription_failures",
            "Caller turns without a transcript: the service refused the transcriber in"
            " the session's settings, the transcriber failed, or it was silent.",
            "form",
            self._texts_missed,
        )
        queues = [call.queued_seconds() for call in calls]
        queued = GaugeMetricFamily(
            "chimegw_play_queue_seconds",
            "Agent audio that callers have not heard yet: of all calls (all), and of"
            " the call with the most (max).",
            labels=["of"],
        )
        queued.add_metric(["all"], sum(queues))
        queued.add_metric(["max"], max(queues, default=0.0))
        yield queued
        if self.admission is not None:
            yield from admission_families(self.admission)
        yield GaugeMetricFamily(
            "chimegw_timers", "Timers that are set.", value=self.timers()
        )
        if self.agents is not None:
            yield from agent_families(self.agents)
        over_rtp = [one for one in (self.sip, self.webrtc) if one is not None]
        if over_rtp:
            yield from rtp_families("chimegw_rtp", over_rtp)
        if self.agents_rtp is not None:
            yield from rtp_families("chimegw_agent_rtp", [self.agents_rtp])
        if self.sip is not None:
            yield from sip_families(self.sip)
        if self.webrtc is not None:
            yield from webrtc_families(self.webrtc)
        if self.call_storage is not None:
            yield from storage_families(self.call_storage)
        if self.log is not None:
            yield from log_families(self.log)
        if self.destinations is not None:
            yield from destination_families(self.destinations)
        if self.strangers is not None:
            yield from stranger_families(self.strangers)
        if self.control is not None:
            yield from control_families(self.control)
        if self.kinesis is not None:
            yield from kinesis_families(self.kinesis)


def _changes(record: CallRecord) -> int:
    """Return how often another session took over the call."""
    return max(0, len(record.sessions) - 1)


def _add(total: MediaStats, stats: MediaStats) -> None:
    total.frames_in += stats.frames_in
    total.frames_out += stats.frames_out
    total.frames_filled += stats.frames_filled
    total.dropped.update(stats.dropped)
    total.underruns += stats.underruns
    total.barge_ins += stats.barge_ins
