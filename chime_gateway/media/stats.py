"""
The counters of one call while it runs.

They are plain numbers that the per-frame path adds to.  Sums over calls are computed
on demand; nothing is pushed anywhere per frame.
"""

from __future__ import annotations

from collections import Counter

from attrs import Factory, define


@define
class MediaStats:
    """
    Counters of audio.

    @ivar frames_in: 20 ms frames from the caller (part of a frame counts as a
        fraction).
    @ivar frames_out: 20 ms frames of the agent handed to the leg.
    @ivar frames_filled: frames of silence in place of audio that the caller's side did
        not send.
    @ivar dropped: frames not delivered, by reason.
    @ivar underruns: how often the leg ran dry in the middle of an item.
    @ivar barge_ins: how often the caller's speech cut the agent's.
    @ivar turn_latencies: seconds from the end of the caller's turn to the first
        audio of the answer.
    """

    frames_in: float = 0.0
    frames_out: float = 0.0
    frames_filled: int = 0
    dropped: Counter[str] = Factory(Counter)
    underruns: int = 0
    barge_ins: int = 0
    turn_latencies: list[float] = Factory(list)


@define
class NetworkStats:
    """
    Counters of a call's packets, for legs that use RTP.

    @ivar packets_in: RTP packets accepted.
    @ivar packets_out: RTP packets sent.
    @ivar dropped: RTP and RTCP packets not accepted or not sent, by reason.
    @ivar lost: packets that came too late or never.
    @ivar concealed: how many of those were concealed.
    @ivar clock_resets: how often the peer's RTP clock jumped and was followed anew.
    @ivar jitter_seconds: of received packets, smoothed (RFC 3550 section 6.4.1).
    @ivar remote_lost: sent packets that the peer reports as lost.
    @ivar round_trip_seconds: C{None}: not known.
    """

    packets_in: int = 0
    packets_out: int = 0
    dropped: Counter[str] = Factory(Counter)
    lost: int = 0
    late: int = 0
    reordered: int = 0
    duplicates: int = 0
    concealed: int = 0
    clock_resets: int = 0
    jitter_seconds: float = 0.0
    remote_lost: int = 0
    round_trip_seconds: float | None = None

    def facts(self) -> dict[str, object]:
        """Return the counters as fields of a log event."""
        round_trip_ms = None
        if self.round_trip_seconds is not None:
            round_trip_ms = round(self.round_trip_seconds * 1000, 1)
        return {
            "packets_in": self.packets_in,
            "packets_out": self.packets_out,
            "packets_lost": self.lost,
            "packets_late": self.late,
            "packets_dropped": dict(self.dropped),
            "jitter_ms": round(self.jitter_seconds * 1000, 1),
            "remote_lost": self.remote_lost,
            "round_trip_ms": round_trip_ms,
        }

    def add(self, other: NetworkStats) -> None:
        """Add another call's counters.  Keep the worst of what cannot be summed."""
        self.packets_in += other.packets_in
        self.packets_out += other.packets_out
        self.dropped.update(other.dropped)
        self.lost += other.lost
        self.late += other.late
        self.reordered += other.reordered
        self.duplicates += other.duplicates
        self.concealed += other.concealed
        self.clock_resets += other.clock_resets
        self.jitter_seconds = max(self.jitter_seconds, other.jitter_seconds)
        self.remote_lost += other.remote_lost
        if other.round_trip_seconds is not None:
            self.round_trip_seconds = max(
                self.round_trip_seconds or 0.0, other.round_trip_seconds
            )
