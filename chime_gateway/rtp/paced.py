"""
Drives an RTP stream by the metronome: ticks it once its terms are negotiated, watches
for timeouts, and returns its counters at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import PTIME_MS, Codec
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms


class StreamUser(Protocol):
    """The user of a stream: receives its audio, and reports of what goes wrong."""

    def caller_audio(self, audio: bytes) -> None: ...
    def gap_filled(self, audio: bytes) -> None: ...
    def digit_pressed(self, digit: str) -> None: ...
    def audio_lost(self, byte_count: int) -> None: ...
    def audio_held(self, is_held: bool) -> None: ...
    def audio_timed_out(self, seconds: float) -> None: ...
    def hold_unheard(self) -> None:
        """Nothing came while on hold: the peer may be silent, or gone."""

    def audio_failed(self) -> None:
        """A bug in the gateway."""


class PacedStream:
    """
    An RTP stream with its beat.

    @ivar stream: the stream that is driven.
    @param is_allowed: returns whether media may come from an address.
    @param timeout_seconds: the user is notified each time that nothing valid came for
        this long.
    """

    __slots__ = (
        *("_asked_at", "_codec", "_is_held", "_is_ticking", "_lost_reported"),
        *("_metronome", "_ptime_ms", "_tick", "_timeout", "_user"),
        *("clear", "play", "send_digits", "stream"),
    )
    _log = Logger()

    def __init__(
        self,
        codec: Codec,
        user: StreamUser,
        *,
        is_allowed: Callable[[str], bool],
        metronome: Metronome,
        clock: Callable[[], float],
        wall_time: Callable[[], float],
        random32: Callable[[], int],
        cname: str,
        timeout_seconds: float,
    ) -> None:
        self._codec = codec
        self._user = user
        self._metronome = metronome
        self._timeout = timeout_seconds
        self._is_held = False
        self._is_ticking = False
        self._ptime_ms = PTIME_MS
        self._asked_at = 0.0
        self._lost_reported = 0
        self.stream = stream = RtpStream(
            codec,
            user,
            is_allowed=is_allowed,
            clock=clock,
            wall_time=wall_time,
            random32=random32,
            cname=cname,
            gap_filled=self._gap_filled,
            look=self._check,
        )
        # Called for every packet, so bound directly.
        self._tick = stream.tick
        self.play: Callable[[bytes], None] = stream.play
        self.clear: Callable[[], None] = stream.clear
        self.send_digits: Callable[[str], bool] = stream.send_digits

    def set_codec(self, codec: Codec) -> None:
        """Set the codec of audio that is played and reported.  Call before L{agree}."""
        self._codec = codec
        self.stream.set_codec(codec)

    def agree(self, terms: Terms) -> None:
        """Send and receive under these terms."""
        self.stream.agree(terms)
        is_held = not (terms.sends and terms.receives)
        if is_held != self._is_held:
            self._is_held = is_held
            self._user.audio_held(is_held)
        if self._ptime_ms != terms.ptime_ms:
            self.pause()
            self._ptime_ms = terms.ptime_ms
        if not self._is_ticking:
            self._is_ticking = True
            period = terms.ptime_ms / 1000
            self._metronome.add_each(period, self._tick, self._tick_failed)

    def pause(self) -> None:
        """Stop sending."""
        if self._is_ticking:
            self._metronome.remove(self._tick)
            self._is_ticking = False

    def stats(self) -> NetworkStats:
        return self.stream.refresh_stats()

    def stop(self) -> NetworkStats:
        """
        Stop, and send an RTCP BYE.  May be repeated after a failure.

        @return: the final counters.
        """
        self.pause()
        stats = self.stats()
        self.stream.stop()
        return stats

    def log_stats(self, stats: NetworkStats, carrier_call_id: str) -> None:
        """Log the statistics of the stream."""
        self._log.info(
            "media.ended {carrier_call_id}",
            carrier_call_id=carrier_call_id,
            **stats.facts(),
        )

    # -- inside -----------------------------------------------------------------

    def _gap_filled(self, audio: bytes) -> None:
        # On hold, a stream without packets is not dead.
        take = self._user.caller_audio if self._is_held else self._user.gap_filled
        take(audio)

    def _check(self, now: float) -> None:
        lost = self.stats().lost - self._lost_reported
        if lost > 0:
            self._lost_reported += lost
            self._user.audio_lost(lost * self._codec.frame_bytes)
        heard_at = self.stream.heard_at
        if not self._is_held:
            if now - heard_at >= self._timeout:
                self._user.audio_timed_out(self._timeout)
        elif now - max(heard_at, self._asked_at) >= self._timeout:
            self._asked_at = now
            self._user.hold_unheard()

    def _tick_failed(self, failure: Failure) -> None:
        self._is_ticking = False
        self._user.audio_failed()
