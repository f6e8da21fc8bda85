"""
The audio of one SIP leg: its ports, its RTP stream, and the negotiated terms.

The leg decides which SIP messages carry the session descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from chime_gateway.audio import CODECS, Codec
from chime_gateway.carriers.sip.context import SipContext
from chime_gateway.carriers.sip.offer_answer import SessionDescriptions
from chime_gateway.media.stats import NetworkStats
from chime_gateway.rtp.paced import PacedStream, StreamUser
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.sdp.keying import LocalKeying

if TYPE_CHECKING:
    from chime_gateway.carriers.sip.keys.dtls import KeyExchange


class AudioUser(StreamUser, Protocol):
    """The leg, as its audio uses it."""

    def keys_agreed(self) -> None:
        """DTLS has negotiated keys, perhaps new ones: the peer can hear."""

    def keys_failed(self, why: str) -> None:
        """The negotiation of keys has failed, and the call cannot go on."""


class LegAudio:
    """
    The audio of one leg.

    @ivar descriptions: makes offers and answers.
    @param is_confirmed: the peer has shown that it receives the gateway's messages.
        Before that, media may only go to and come from addresses in the same entry of
        C{sip.allow} as C{remote_host}, so that an INVITE cannot direct media at others.
    @raise NoPortFree: no port is left.
    """

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
        self._user = user
        self._remote_host = remote_host
        self._is_confirmed = is_confirmed
        self._waiting: Terms | None = None
        self._keying: LocalKeying | None = None
        self._exchange: KeyExchange | None = None
        self._paced = paced = PacedStream(
            codec,
            user,
            is_allowed=self._may_come_from,
            metronome=context.metronome,
            clock=context.clock.seconds,
            wall_time=context.wall_time,
            random32=context.random32,
            cname=f"{context.new_token()}@{host}",
            timeout_seconds=settings.media_timeout_seconds,
        )
        stream = paced.stream
        self._port = context.ports.lend(stream.rtp_received, stream.rtcp_received)
        try:
            stream.attach(self._port.send_rtp, self._port.send_rtcp)
            stream.settle_by(self._port.settle)
            self._port.call_if_broken(self._broken)
            self.descriptions = SessionDescriptions(
                host=host,
                port=self._port.number,
                codecs=[CODECS[name] for name in settings.codecs],
                requires_srtp=settings.requires_srtp,
                is_allowed=context.may_send_media,
                session_id=context.random32(),
                local_keying=self._local_keying,
            )
        except BaseException:
            context.ports.take_back(self._port)
            raise
        self.play: Callable[[bytes], None] = paced.play
        self.clear: Callable[[], None] = paced.clear
        self.send_digits: Callable[[str], bool] = paced.send_digits
        self.set_codec: Callable[[Codec], None] = paced.set_codec
        self.pause: Callable[[], None] = paced.pause
        self.stats: Callable[[], NetworkStats] = paced.stats

    def confirm(self) -> None:
        """The ACK has come."""
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
        """Send and receive under these terms, as soon as media may go there."""
        if not self._is_confirmed:
            places = (terms.remote, terms.remote_rtcp)
            if not all(self._may_come_from(host) for host, _ in places):
                self._waiting = terms
                self.pause()
                return
            self._waiting = None
        if terms.dtls is None:
            if self._exchange is not None:
                self._exchange.stop()
                self._exchange = None
            self._paced.agree(terms)
        else:
            self._exchange = self._exchange or self._new_exchange()
            self._exchange.agree(terms)

    def _local_keying(self) -> LocalKeying:
        # Imported late, like all that only DTLS needs.
        from chime_gateway.carriers.sip.keys.dtls import new_local_keying

        if self._keying is None:
            self._keying = new_local_keying()
        return self._keying

    def _new_exchange(self) -> KeyExchange:
        from chime_gateway.carriers.sip.keys.dtls import KeyExchange

        stream = self._paced.stream
        return KeyExchange(
            self._context.clock,
            self._port,
            local=self._local_keying().credentials,
            rtp_received=stream.rtp_received,
            rtcp_received=stream.rtcp_received,
            is_allowed=self._may_come_from,
            agree=self._keys_came,
            attach=stream.attach,
            failed=self._user.keys_failed,
        )

    def _keys_came(self, terms: Terms) -> None:
        self._paced.agree(terms)
        self._user.keys_agreed()

    def close(self, carrier_call_id: str) -> None:
        """Return the ports and the counters.  May be repeated after a failure."""
        try:
            if self._exchange is not None:
                self._exchange.close()
            stats = self._paced.stop()
            if self._port.failures:
                stats.dropped["not_sent"] += self._port.failures
        finally:
            self._context.ports.take_back(self._port)
        self._paced.log_stats(stats, carrier_call_id)
        self._context.finished.add(stats)

    def _broken(self) -> None:
        self._user.audio_failed()
