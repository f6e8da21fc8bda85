"""
Prometheus metrics.

Calls count for themselves while they run; here those counts are summed when
somebody asks, so that a frame costs no metric.  No call ids in labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chime_gateway.call.call import Call
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.media.stats import MediaStats, NetworkStats
from chime_gateway.outcomes import Outcome

if TYPE_CHECKING:
    from chime_gateway.net.worker import WorkerThread
    from chime_gateway.store.recordings.files import RecordingWriter
    from chime_gateway.store.recordings.uploads import Uploads
    from chime_gateway.store.store import Store

#: How what a caller says may fail to be written down.
_TEXTS_MISSED: Final = ("refused", "failed", "silent")

#: Voice to voice: below half a second is good, above two is broken.
_TURN_BUCKETS: Final = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_BRIDGE_BUCKETS: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
_LATE_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
_REPLY_BUCKETS: Final = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
    *(5.0, 10.0, 20.0),
)
_TOOL_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
_CONNECT_BUCKETS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)


class SipCounts(Protocol):
    """What the SIP carrier counts for itself."""

    requests: Counter[str]

    def dropped(self) -> Counter[str]: ...
    def counts(self) -> Mapping[str, int]: ...
    def network_stats(self) -> NetworkStats: ...


class KinesisCounts(Protocol):
    """What the Kinesis carrier counts for itself."""

    notices: Counter[str]


class ControlCounts(Protocol):
    """What is counted of the control of calls from outside."""

    counts: Counter[str]


class KeptCounts(Protocol):
    """What is counted of what is kept of calls."""

    store: Store | None
    recordings: RecordingWriter | None
    uploads: Uploads | None

    @property
    def captures(self) -> CaptureCounts | None: ...
    def workers(self) -> Iterable[WorkerThread[Any]]: ...


class CaptureCounts(Protocol):
    """What is counted of captures."""

    counts: Counter[str]


class Metrics(Collector):
    """
    What the rest of the gateway reports to, and C{/metrics} reads.

    @ivar calls: the calls in progress; set once there is a table of them.
    @ivar carriers: names of those that this gateway has; they are shown before
        they have a call.
    @ivar sip: the SIP carrier, if there is one; C{kinesis} likewise.
    @ivar kept: what is kept of calls.
    @ivar control: of calls, by the SIP media application, if there is one.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls: Callable[[], Iterable[Call]] = list
        self.carriers: set[str] = set()
        self.sip: SipCounts | None = None
        self.kinesis: KinesisCounts | None = None
        self.control: ControlCounts | None = None
        self.kept: KeptCounts | None = None
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
            "From the arrival of a piece of audio to its hand-over (sampled).",
            _BRIDGE_BUCKETS,
        )
        self._late = self._histogram(
            "chimegw_tick_late_seconds",
            "How late the 20 ms beat came.",
            _LATE_BUCKETS,
        )
        self._connect = self._histogram(
            "chimegw_agent_connect_seconds",
            "From dialling Azure to a configured session.",
            _CONNECT_BUCKETS,
        )
        self._reply = self._histogram(
            "chimegw_kinesis_reply_seconds",
            "From the end of an utterance of the agent until it is played.",
            _REPLY_BUCKETS,
        )
        self._tools = Histogram(
            "chimegw_tool_seconds",
            "From asking the server of a tool until there is a result, or none.",
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
            "chimegw_calls", "Calls that ended.", labels=["carrier", "outcome"]
        )
        for (carrier, outcome), count in sorted(self._outcomes.items()):
            ended.add_metric([carrier, outcome], count)
        yield ended

        frames = CounterMetricFamily(
            "chimegw_frames",
            "20 ms frames from callers (in), to callers (out), and of silence put"
            " in for callers (filled).",
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
            "chimegw_barge_ins", "Agents cut short by callers.", value=total.barge_ins
        )
        yield CounterMetricFamily(
            "chimegw_underruns", "Legs that ran dry in an item.", value=total.underruns
        )
        yield CounterMetricFamily(
            "chimegw_session_rollovers",
            "Agent sessions replaced within a call.",
            value=self._rollovers,
        )
        sessions = CounterMetricFamily(
            "chimegw_agent_sessions", "Attempts to open one.", labels=["outcome"]
        )
        for outcome in sorted({"opened", "failed", "misconfigured", *self._sessions}):
            sessions.add_metric([outcome], self._sessions[outcome])
        yield sessions
        yield _by_label(
            "chimegw_transcription_failures",
            "Turns of callers that were not written down: the transcriber was refused"
            " with the session's settings, failed, or was silent.",
            "form",
            self._texts_missed,
        )
        queues = [call.queued_seconds() for call in calls]
        queued = GaugeMetricFamily(
            "chimegw_play_queue_seconds",
            "Agent's audio that callers have not heard yet: of all calls, and of"
            " the one with the most.",
            labels=["of"],
        )
        queued.add_metric(["all"], sum(queues))
        queued.add_metric(["max"], max(queues, default=0.0))
        yield queued
        if self.sip is not None:
            yield from _sip_metrics(self.sip)
        if self.kept is not None:
            yield from _kept_metrics(self.kept)
        if self.control is not None:
            yield _by_label(
                "chimegw_sma_updates",
                "Requests to the SIP media application about calls.",
                "outcome",
                self.control.counts,
            )
        if self.kinesis is not None:
            yield _by_label(
                "chimegw_kinesis_notices",
                "Streaming notifications of the Voice Connector.",
                "result",
                self.kinesis.notices,
            )


def _kept_metrics(kept: KeptCounts) -> Iterator[Metric]:
    store = kept.store
    if store is not None:
        yield GaugeMetricFamily(
            "chimegw_store_backlog_bytes",
            "Records on this machine that the database has not taken yet.",
            value=store.keeper.backlog_bytes,
        )
        yield GaugeMetricFamily(
            "chimegw_store_up",
            "1 while the database takes records.",
            value=0 if store.keeper.fault else 1,
        )
        yield _by_label(
            "chimegw_store_entries",
            "What was written down, or was not.",
            "outcome",
            store.keeper.counts,
        )
        yield _by_label(
            "chimegw_webhooks",
            "Deliveries to webhooks that were tried.",
            "outcome",
            store.webhooks.counts,
        )
    if kept.recordings is not None:
        yield _by_label(
            "chimegw_recordings", "Recordings.", "outcome", kept.recordings.counts
        )
    if kept.uploads is not None:
        yield _by_label(
            "chimegw_uploads", "Recordings to S3.", "outcome", kept.uploads.counts
        )
        yield GaugeMetricFamily(
            "chimegw_uploads_waiting",
            "Recordings on this machine that S3 has not taken yet.",
            value=kept.uploads.waiting,
        )
    if kept.captures is not None:
        yield _by_label(
            "chimegw_capture_entries_missing",
            "Entries that captures have not.",
            "reason",
            kept.captures.counts,
        )
    yield from _worker_metrics(list(kept.workers()))


def _worker_metrics(workers: Iterable[WorkerThread[Any]]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "chimegw_worker_up", "1 while the thread runs.", labels=["worker"]
    )
    waiting = GaugeMetricFamily(
        "chimegw_worker_waiting", "Jobs that wait for the thread.", labels=["worker"]
    )
    bugs = CounterMetricFamily(
        "chimegw_worker_bugs", "Jobs that met a bug.", labels=["worker"]
    )
    refused = CounterMetricFamily(
        "chimegw_worker_refused",
        "Jobs that the thread had no room for.",
        labels=["worker"],
    )
    for worker in workers:
        up.add_metric([worker.name], int(worker.is_alive))
        waiting.add_metric([worker.name], worker.waiting)
        bugs.add_metric([worker.name], worker.bugs)
        refused.add_metric([worker.name], worker.refused)
    yield from (up, waiting, bugs, refused)


def _sip_metrics(sip: SipCounts) -> Iterator[Metric]:
    network = sip.network_stats()
    packets = CounterMetricFamily(
        "chimegw_rtp_packets", "RTP packets taken and sent.", labels=["direction"]
    )
    packets.add_metric(["in"], network.packets_in)
    packets.add_metric(["out"], network.packets_out)
    yield packets
    for name, text, value in (
        ("lost", "RTP packets that never came, or too late.", network.lost),
        ("late", "RTP packets that came after their gap was filled.", network.late),
        ("reordered", "RTP packets that were put in order.", network.reordered),
        ("duplicates", "RTP packets that came twice.", network.duplicates),
        ("concealed", "Lost packets that were made up for.", network.concealed),
    ):
        yield CounterMetricFamily(f"chimegw_rtp_{name}", text, value=value)
    yield _by_label(
        "chimegw_rtp_dropped",
        "RTP and RTCP packets not taken or not sent.",
        "reason",
        network.dropped,
    )
    yield GaugeMetricFamily(
        "chimegw_rtp_jitter_seconds",
        "Of the live call with the most (RFC 3550).",
        value=network.jitter_seconds,
    )
    yield GaugeMetricFamily(
        "chimegw_rtp_remote_lost",
        "Packets of ours that the other sides say they lost.",
        value=network.remote_lost,
    )
    if network.round_trip_seconds is not None:
        yield GaugeMetricFamily(
            "chimegw_rtp_round_trip_seconds",
            "Of the live call with the longest.",
            value=network.round_trip_seconds,
        )
    yield _by_label(
        "chimegw_sip_requests", "Requests that came.", "method", sip.requests
    )
    yield _by_label(
        "chimegw_sip_dropped", "Messages not looked at.", "reason", sip.dropped()
    )
    held = GaugeMetricFamily("chimegw_sip_held", "Held now.", labels=["what"])
    for what, count in sip.counts().items():
        held.add_metric([what], count)
    yield held


def _by_label(
    name: str, text: str, label: str, counts: Mapping[str, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _add(total: MediaStats, stats: MediaStats) -> None:
    total.frames_in += stats.frames_in
    total.frames_out += stats.frames_out
    total.frames_filled += stats.frames_filled
    total.dropped.update(stats.dropped)
    total.underruns += stats.underruns
    total.barge_ins += stats.barge_ins
