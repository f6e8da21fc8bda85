"""The network statistics of all sessions over WebRTC."""

from __future__ import annotations

from twisted.logger import Logger

from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.stream import RtpStream


class Traffic:
    """The network statistics, for metrics and the log."""

    _log = Logger()

    def __init__(self) -> None:
        self._finished = NetworkStats()
        self._live: set[RtpStream] = set()

    def network_stats(self) -> NetworkStats:
        """Return the statistics of all sessions, including those that are over."""
        total = NetworkStats()
        total.add(self._finished)
        total.jitter_seconds, total.round_trip_seconds = 0.0, None
        for stream in self._live:
            total.add(stream.refresh_stats())
        return total

    def begins(self, stream: RtpStream) -> None:
        self._live.add(stream)

    def ends(self, stream: RtpStream, agent_call_id: str) -> None:
        """
        Add a stream to the finished ones, once; a stream that never began is ignored.

        @param agent_call_id: the service's id of the call.
        """
        if stream not in self._live:
            return
        stats = stream.refresh_stats()
        self._live.discard(stream)
        self._finished.add(stats)
        self._log.info(
            "agent_media.ended {agent_call_id}",
            agent_call_id=agent_call_id,
            **stats.facts(),
        )
