from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.traffic import Traffic
from chime_gateway.media.stats import NetworkStats


class Stream:
    """A stream whose counts are set by a test."""

    def __init__(self) -> None:
        self.stats = NetworkStats()

    def refresh_stats(self) -> NetworkStats:
        return self.stats


#: (event, which of three streams): it begins, a packet arrives, one is lost, it ends.
_STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(("begins", "in", "lost", "ends")))
)


class TrafficTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[Any] = []
        observer: Any = self.lines.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    @given(_STEPS)
    def test_each_packet_is_counted_once_at_any_time(
        self, steps: list[tuple[int, str]]
    ) -> None:
        traffic, self.lines[:] = Traffic(), []
        streams: dict[int, Any] = {}
        came = lost = ended = 0
        for number, what in steps:
            if what == "begins" and number not in streams:
                traffic.begins(streams.setdefault(number, Stream()))
            elif what == "ends":
                never: Any = Stream()
                ended += number in streams
                stream = streams.pop(number, never)
                for _ in range(2):
                    traffic.ends(stream, "rtc_1")
            elif number in streams:
                stats = streams[number].stats
                stats.packets_in += what == "in"
                stats.lost += what == "lost"
                stats.jitter_seconds = 0.01 * stats.packets_in
                came += what == "in"
                lost += what == "lost"
            total = traffic.network_stats()
            self.assertEqual((total.packets_in, total.lost), (came, lost))
            live = [stream.stats.jitter_seconds for stream in streams.values()]
            self.assertEqual(total.jitter_seconds, max(live, default=0.0))
        told = [e for e in self.lines if e["log_namespace"].endswith("Traffic")]
        self.assertEqual(len(told), ended)
        for line in told:
            self.assertEqual(line["agent_call_id"], "rtc_1")
            self.assertIn("jitter_ms", line)
