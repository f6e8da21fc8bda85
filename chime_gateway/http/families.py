"""Converts the counts of each part of the gateway into Prometheus' metric families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chime_gateway.call.admission.admission import Reason

if TYPE_CHECKING:
    from chime_gateway.call.admission.load import Load
    from chime_gateway.net.worker import WorkerThread
    from chime_gateway.store.recordings.files import RecordingWriter
    from chime_gateway.store.recordings.uploads import Uploads
    from chime_gateway.store.store import Store


class StrangerCounts(Protocol):
    """The counts of strangers' connections."""

    closed: Counter[str]

    def __len__(self) -> int: ...


class AgentCounts(Protocol):
    """The counts of the deployments."""

    attempts: Counter[tuple[str, str]]
    hedges: Counter[str]
    fallbacks: Counter[tuple[str, str]]

    def states(self) -> Mapping[str, str]: ...
    def budgets(self) -> Mapping[str, Mapping[str, tuple[int, int]]]: ...


class AdmissionCounts(Protocol):
    """The counts of admission."""

    load: Load
    refused: Counter[Reason]
    apologised: int


class KinesisCounts(Protocol):
    """The counts of the Kinesis carrier."""

    notices: Counter[str]


class ControlCounts(Protocol):
    """The counts of call control by the SIP media application."""

    counts: Counter[str]


class DestinationCounts(Protocol):
    """The counts of transfers and outbound calls by destination."""

    refused: Counter[str]


class StorageCounts(Protocol):
    """The counts of call storage."""

    store: Store | None
    recordings: RecordingWriter | None
    uploads: Uploads | None

    @property
    def captures(self) -> CaptureCounts | None: ...
    def workers(self) -> Iterable[WorkerThread[Any]]: ...


class CaptureCounts(Protocol):
    """The counts of captures."""

    counts: Counter[str]


class LogCounts(Protocol):
    """The counts of the log."""

    lost: int

    @property
    def waiting(self) -> int: ...


def log_families(log: LogCounts) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "chimegw_log_lines_waiting",
        "Log lines that are waiting to be written.",
        value=log.waiting,
    )
    yield CounterMetricFamily(
        "chimegw_log_lines_lost",
        "Log lines that were dropped or could not be written.",
        value=log.lost,
    )


def admission_families(admission: AdmissionCounts) -> Iterator[Metric]:
    load = admission.load
    yield GaugeMetricFamily(
        "chimegw_cpu_used",
        "CPU used by the process, as a fraction of one core (average).",
        value=load.cpu,
    )
    yield GaugeMetricFamily(
        "chimegw_late_seconds",
        "How late the 20 ms beat is (average).",
        value=load.late_seconds,
    )
    yield GaugeMetricFamily(
        "chimegw_overloaded",
        "1 while calls are refused because the process is overloaded.",
        value=0 if load.fault() is None else 1,
    )
    yield by_label(
        "chimegw_refusals",
        "Calls that were refused.",
        "reason",
        Counter({reason.value: admission.refused[reason] for reason in Reason}),
    )
    yield CounterMetricFamily(
        "chimegw_apologies",
        "Refused calls whose callers heard the apology.",
        value=admission.apologised,
    )


def storage_families(storage: StorageCounts) -> Iterator[Metric]:
    store = storage.store
    if store is not None:
        yield GaugeMetricFamily(
            "chimegw_store_backlog_bytes",
            "Bytes of records in the journal that are not in the database yet.",
            value=store.writer.backlog_bytes,
        )
        yield GaugeMetricFamily(
            "chimegw_store_up",
            "1 while the database is available.",
            value=0 if store.writer.fault else 1,
        )
        yield GaugeMetricFamily(
            "chimegw_store_oldest_seconds",
            "How long the oldest record has waited for the database; 0 if none waits.",
            value=store.writer.oldest_seconds,
        )
        yield by_label(
            "chimegw_store_entries",
            "Entries for the store, by outcome.",
            "outcome",
            store.writer.counts,
        )
        yield by_label(
            "chimegw_webhooks",
            "Attempted webhook deliveries.",
            "outcome",
            store.webhooks.counts,
        )
    if storage.recordings is not None:
        yield by_label(
            "chimegw_recordings", "Recordings.", "outcome", storage.recordings.counts
        )
    if storage.uploads is not None:
        yield by_label(
            "chimegw_uploads",
            "Uploads of recordings to S3.",
            "outcome",
            storage.uploads.counts,
        )
        yield GaugeMetricFamily(
            "chimegw_uploads_waiting",
            "Recordings on this machine that are not uploaded to S3 yet.",
            value=storage.uploads.waiting,
        )
    if storage.captures is not None:
        yield by_label(
            "chimegw_capture_entries_missing",
            "Entries missing from captures.",
            "reason",
            storage.captures.counts,
        )
    yield from _worker_families(list(storage.workers()))


def _worker_families(workers: Iterable[WorkerThread[object]]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "chimegw_worker_up", "1 while the thread runs.", labels=["worker"]
    )
    waiting = GaugeMetricFamily(
        "chimegw_worker_waiting", "Jobs waiting for the thread.", labels=["worker"]
    )
    bugs = CounterMetricFamily(
        "chimegw_worker_bugs",
        "Jobs that failed with an unexpected exception.",
        labels=["worker"],
    )
    refused = CounterMetricFamily(
        "chimegw_worker_refused",
        "Jobs refused because the thread's queue was full.",
        labels=["worker"],
    )
    for worker in workers:
        up.add_metric([worker.name], int(worker.is_alive))
        waiting.add_metric([worker.name], worker.waiting)
        bugs.add_metric([worker.name], worker.bugs)
        refused.add_metric([worker.name], worker.refused)
    yield from (up, waiting, bugs, refused)


#: Every state is shown, even one that no deployment has been in yet.
_STATES = ("usable", "resting", "misconfigured", "half-open", "spent")


def agent_families(agents: AgentCounts) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "chimegw_deployment_state",
        "1 for the current state of a deployment.",
        labels=["deployment", "state"],
    )
    for name, now in agents.states().items():
        for state in _STATES:
            states.add_metric([name, state], int(state == now))
    yield states
    used = GaugeMetricFamily(
        "chimegw_deployment_used_in_minute",
        "Sessions opened (requests) and tokens used within the last minute.",
        labels=["deployment", "of"],
    )
    limits = GaugeMetricFamily(
        "chimegw_deployment_per_minute",
        "The configured limits of sessions and tokens per minute; 0 if not set.",
        labels=["deployment", "of"],
    )
    for name, budget in agents.budgets().items():
        for what, (count, limit) in budget.items():
            used.add_metric([name, what], count)
            limits.add_metric([name, what], limit)
    yield from (used, limits)
    attempts = CounterMetricFamily(
        "chimegw_deployment_attempts",
        "Attempts to open a session, by outcome.",
        labels=["deployment", "outcome"],
    )
    for (name, outcome), count in sorted(agents.attempts.items()):
        attempts.add_metric([name, outcome], count)
    yield attempts
    yield by_label(
        "chimegw_deployment_hedges",
        "Hedging attempts, made because another deployment was slow.",
        "deployment",
        agents.hedges,
    )
    fallbacks = CounterMetricFamily(
        "chimegw_deployment_fallbacks",
        "WebRTC sessions that could not use UDP, by what was used instead.",
        labels=["deployment", "reason"],
    )
    for (name, reason), count in sorted(agents.fallbacks.items()):
        fallbacks.add_metric([name, reason], count)
    yield fallbacks


def stranger_families(strangers: StrangerCounts) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "chimegw_http_strangers",
        "Connections without a call and without the admin token.",
        value=len(strangers),
    )
    yield by_label(
        "chimegw_http_closed",
        "Strangers' connections that were closed, by reason.",
        "reason",
        strangers.closed,
    )


def control_families(control: ControlCounts) -> Iterator[Metric]:
    yield by_label(
        "chimegw_sma_updates",
        "Requests to the SIP media application to change a call.",
        "outcome",
        control.counts,
    )


def destination_families(destinations: DestinationCounts) -> Iterator[Metric]:
    yield by_label(
        "chimegw_destinations_refused",
        "Refused transfers and outbound calls, by the limit that refused them.",
        "by",
        destinations.refused,
    )


def kinesis_families(kinesis: KinesisCounts) -> Iterator[Metric]:
    yield by_label(
        "chimegw_kinesis_notices",
        "Streaming notifications of the Voice Connector.",
        "result",
        kinesis.notices,
    )


def by_label(
    name: str, text: str, label: str, counts: Mapping[str, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
