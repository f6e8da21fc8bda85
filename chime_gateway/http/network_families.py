"""Converts the counts of RTP and networks into Prometheus' metric families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from chime_gateway.http.families import by_label
from chime_gateway.media.stats import NetworkStats


class RtpCounts(Protocol):
    """The counts of a user of RTP."""

    def network_stats(self) -> NetworkStats: ...


class CarrierCounts(RtpCounts, Protocol):
    """The counts of a carrier with RTP."""

    def counts(self) -> Mapping[str, int]: ...


class SipCounts(CarrierCounts, Protocol):
    """The counts of the SIP carrier."""

    requests: Counter[str]

    def dropped(self) -> Counter[str]: ...


class WebRtcCounts(CarrierCounts, Protocol):
    """The counts of the WebRTC carrier."""

    offers: Counter[str]

    def dropped(self) -> Counter[str]: ...


def rtp_families(prefix: str, sources: Iterable[RtpCounts]) -> Iterator[Metric]:
    """
    Yield the families of all sources together.

    @param prefix: the start of the metric names; says which side of the calls it is.
    """
    network = NetworkStats()
    for source in sources:
        network.add(source.network_stats())
    packets = CounterMetricFamily(
        f"{prefix}_packets", "RTP packets accepted and sent.", labels=["direction"]
    )
    packets.add_metric(["in"], network.packets_in)
    packets.add_metric(["out"], network.packets_out)
    yield packets
    for name, text, value in (
        ("lost", "RTP packets that never came, or came too late.", network.lost),
        ("late", "RTP packets that came after their gap was filled.", network.late),
        ("reordered", "RTP packets that came out of order.", network.reordered),
        ("duplicates", "RTP packets that came more than once.", network.duplicates),
        ("concealed", "Lost packets that were concealed.", network.concealed),
        (
            "clock_resets",
            "Implausible jumps of peers' RTP timestamps, after which the clock was"
            " followed anew.",
            network.clock_resets,
        ),
    ):
        yield CounterMetricFamily(f"{prefix}_{name}", text, value=value)
    yield by_label(
        f"{prefix}_dropped",
        "RTP and RTCP packets that were not accepted or not sent.",
        "reason",
        network.dropped,
    )
    yield GaugeMetricFamily(
        f"{prefix}_jitter_seconds",
        "Jitter of the live call with the most (RFC 3550).",
        value=network.jitter_seconds,
    )
    yield GaugeMetricFamily(
        f"{prefix}_remote_lost",
        "Sent packets that the peers report as lost.",
        value=network.remote_lost,
    )
    if network.round_trip_seconds is not None:
        yield GaugeMetricFamily(
            f"{prefix}_round_trip_seconds",
            "Round-trip time of the live call with the longest.",
            value=network.round_trip_seconds,
        )


def sip_families(sip: SipCounts) -> Iterator[Metric]:
    yield by_label(
        "chimegw_sip_requests", "SIP requests received.", "method", sip.requests
    )
    yield by_label(
        "chimegw_sip_dropped",
        "SIP messages that were not processed.",
        "reason",
        sip.dropped(),
    )
    held = GaugeMetricFamily(
        "chimegw_sip_held", "SIP objects in memory now.", labels=["what"]
    )
    for what, count in sip.counts().items():
        held.add_metric([what], count)
    yield held


def webrtc_families(webrtc: WebRtcCounts) -> Iterator[Metric]:
    yield by_label(
        "chimegw_webrtc_offers",
        "Callers' offers, by result.",
        "result",
        webrtc.offers,
    )
    yield by_label(
        "chimegw_webrtc_dropped",
        "Datagrams and connections that belong to no call.",
        "reason",
        webrtc.dropped(),
    )
    held = GaugeMetricFamily(
        "chimegw_webrtc_held", "WebRTC objects in memory now.", labels=["what"]
    )
    for what, count in webrtc.counts().items():
        held.add_metric([what], count)
    yield held
