"""
The audio of one SIP leg: its ports, its stream, and what was agreed about them.

It knows RTP and session descriptions; which messages carry those, and when, is
the leg's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import CODECS, PTIME_MS, Codec
from chime_gateway.carriers.sip.context import SipContext
from chime_gateway.carriers.sip.offer_answer import SessionDescriptions
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms

#: How often a leg looks after itself, in seconds.
_CHECK_SECONDS: Final = 0.5


class AudioUser(Protocol):
    """Who listens, and is told what goes wrong."""

    def caller_audio(self, audio: bytes) -> None: ...
    def gap_filled(self, audio: bytes) -> None: ...
    def digit_pressed(self, digit: str) -> None: ...
    def audio_lost(self, byte_count: int) -> None: ...
    def audio_held(self, is_held: bool) -> None: ...
    def audio_timed_out(self, seconds: float) -> None: ...
    def hold_unheard(self) -> None:
        """A held line is silent, and so is one at whose end nobody is."""

    def audio_failed(self) -> None:
        """A bug of ours."""


class LegAudio:
    """
    @ivar descriptions: offers and answers.
    @param is_confirmed: the other side has shown that it hears us.  Before that media
        goes, and comes, only where it is in the same entry of C{sip.allow} as
        C{remote_host}: who sends an INVITE aims at nobody else.
    @raise NoPortFree: there is no port for it.
    """

    _log = Logger()

    def __init__(
        self,
        context: SipContext,
        codec: Codec,
        user: AudioUser,
        remote_host: str,
        *,
        is_confirmed: bool = True,
    ) -> None:
        settings = context.settings
        host = context.transports.host(remote_host)
        self._context = context
        self._codec = codec
        self._user = user
        self._remote_host = remote_host
        self._is_confirmed = is_confirmed
        self._waiting: Terms | None = None
        self._timeout = settings.media_timeout_seconds
        self._is_held = False
        self._is_ticking = False
        self._ptime_ms = PTIME_MS
        self._check_at = 0.0
        self._asked_at = 0.0
        self._lost_reported = 0
        self._stream = RtpStream(
            codec,
            user,
            is_allowed=self._may_come_from,
            clock=context.clock.seconds,
            wall_time=context.wall_time,
            random32=context.random32,
            cname=f"{context.new_token()}@{host}",
            gap_filled=self._gap_filled,
        )
        self._port = context.ports.lend(
            self._stream.rtp_received, self._stream.rtcp_received
        )
        try:
            self._stream.attach(self._port.send_rtp, self._port.send_rtcp)
            self._port.tell_if_broken(self._broken)
            self.descriptions = SessionDescriptions(
                host=host,
                port=self._port.number,
                codecs=[CODECS[name] for name in settings.codecs],
                requires_srtp=settings.requires_srtp,
                is_allowed=context.may_send_media,
                session_id=context.random32(),
            )
        except BaseException:
            context.ports.take_back(self._port)
            raise
        self.play: Callable[[bytes], None] = self._stream.play
        self.clear: Callable[[], None] = self._stream.clear
        self.send_digits: Callable[[str], bool] = self._stream.send_digits

    def speak(self, codec: Codec) -> None:
        """Play and report this codec; before anything is agreed on."""
        self._codec = codec
        self._stream.speak(codec)

    def confirm(self) -> None:
        """The ACK is here."""
        self._is_confirmed = True
        terms, self._waiting = self._waiting, None
        if terms is not None:
            self.agree(terms)

    def _may_come_from(self, host: str) -> bool:
        access = self._context.access
        return access.allows(host) and (
            self._is_confirmed or access.are_together(self._remote_host, host)
        )

    def agree(self, terms: Terms) -> None:
        """Send and listen under these terms, as soon as media may go there."""
        if not self._is_confirmed:
            places = (terms.remote, terms.remote_rtcp)
            if not all(self._may_come_from(host) for host, _ in places):
                self._waiting = terms
                self.pause()
                return
            self._waiting = None
        self._stream.agree(terms)
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
            self._context.metronome.add_each(period, self._tick, self._tick_failed)

    def pause(self) -> None:
        """Send nothing any more."""
        if self._is_ticking:
            self._context.metronome.remove(self._tick)
            self._is_ticking = False

    def stats(self) -> NetworkStats:
        return self._stream.refresh_stats()

    def close(self, carrier_call_id: str) -> None:
        """Give the ports back and say what it was like; again if it has failed."""
        self.pause()
        try:
            stats = self.stats()
            self._stream.stop()
            if self._port.failures:
                stats.dropped["not_sent"] += self._port.failures
        finally:
            self._context.ports.take_back(self._port)
        round_trip = stats.round_trip_seconds
        self._log.info(
            "media.ended {carrier_call_id}",
            carrier_call_id=carrier_call_id,
            packets_in=stats.packets_in,
            packets_out=stats.packets_out,
            packets_lost=stats.lost,
            packets_late=stats.late,
            packets_dropped=dict(stats.dropped),
            jitter_ms=round(stats.jitter_seconds * 1000, 1),
            remote_lost=stats.remote_lost,
            round_trip_ms=None if round_trip is None else round(round_trip * 1000, 1),
        )
        self._context.finished.add(stats)

    # -- inside -----------------------------------------------------------------

    def _tick(self, now: float, due: int) -> None:
        self._stream.tick(now, due)
        if now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            self._check(now)

    def _gap_filled(self, audio: bytes) -> None:
        # A held line is not a dead one.
        take = self._user.caller_audio if self._is_held else self._user.gap_filled
        take(audio)

    def _check(self, now: float) -> None:
        lost = self.stats().lost - self._lost_reported
        if lost > 0:
            self._lost_reported += lost
            self._user.audio_lost(lost * self._codec.frame_bytes)
        heard_at = self._stream.heard_at
        if not self._is_held:
            if now - heard_at >= self._timeout:
                self._user.audio_timed_out(self._timeout)
        elif now - max(heard_at, self._asked_at) >= self._timeout:
            self._asked_at = now
            self._user.hold_unheard()

    def _tick_failed(self, failure: Failure) -> None:
        self._is_ticking = False
        self._broken()

    def _broken(self) -> None:
        self._user.audio_failed()
