"""
The audio of a session over WebRTC: a peer with ICE and DTLS, and RTP in both
directions.

It makes the offer and processes the answer; its owner transports both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.agents.commands import Kind
from chime_gateway.agents.transports.transport import (
    MOST_SECONDS,
    Socket,
    TransportUser,
)
from chime_gateway.agents.webrtc.channel import EventsChannel
from chime_gateway.agents.webrtc.playback import Playback
from chime_gateway.agents.webrtc.traffic import Traffic
from chime_gateway.agents.webrtc.uplink import Uplink
from chime_gateway.agents.websocket import SocketUser
from chime_gateway.audio import PCMU, PTIME_MS
from chime_gateway.codec.loudness import is_loud
from chime_gateway.errors import AgentUnavailable, RemoteProtocolError
from chime_gateway.interfaces import AgentTraits
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.lean_websocket import CLOSE_NORMAL
from chime_gateway.net.timer import Timer
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms
from chime_gateway.webrtc.certificate import process_certificate
from chime_gateway.webrtc.peer import REMOTE, Peer, PeerFailure
from chime_gateway.webrtc.sockets import Sockets
from chime_gateway.wire.realtime.commands import clear_playback
from chime_gateway.wire.realtime.events import Event
from chime_gateway.wire.realtime.reader import MAX_EVENT_BYTES
from chime_gateway.wire.sdp.data_channel import RemoteChannel
from chime_gateway.wire.sdp.transport import Setup
from chime_gateway.wire.sdp.webrtc import LocalSide, format_offer, parse_answer

#: The longest time until ICE finds a path, if the network lets packets through.
PATH_SECONDS: Final = 1.5

#: The longest time until DTLS has agreed on keys; a lost datagram is repeated after a
#: second.
CONNECT_SECONDS: Final = 5.0

_PAYLOAD_TYPE: Final = 0

#: The longest time until a connectivity check is answered.
_PROBE_SECONDS: Final = 1.5

#: The failures of a network that blocks packets; all others are the fault of a peer.
_BLOCKED: Final = (PeerFailure.NO_PATH, PeerFailure.CONSENT_LOST)

_is_loud: Final[Callable[[bytes], bool]] = partial(is_loud, PCMU)


class NoPath(AgentUnavailable):
    """There is no path to the service's media, or it was lost."""


@frozen(kw_only=True, eq=False)
class AudioContext:
    """
    What the audio of all sessions shares.

    @ivar wall_time: Unix seconds, for RTCP.
    @ivar random32: random numbers for the SSRC and the initial counters.
    @ivar traffic: adds up the statistics.
    """

    clock: IReactorTime
    metronome: Metronome
    wall_time: Callable[[], float]
    random32: Callable[[], int]
    traffic: Traffic


def _ignore() -> None:
    """Do nothing."""


class RtpAudio:
    """
    A L{chime_gateway.agents.transports.transport.Transport}.

    @param is_interruptible: the service itself stops speaking when the caller speaks.
    @param has_channel: the events use a data channel (L{carry}).
    @ivar path_lost: called when a path that had been found is lost.
    @ivar closing: called once, when it closes.
    @ivar call_id: the service's id of its call; empty: unknown.
    """

    _log = Logger()

    def __init__(
        self,
        context: AudioContext,
        sockets: Sequence[Sockets],
        *,
        is_interruptible: bool,
        has_channel: bool = False,
    ) -> None:
        self.traits = AgentTraits(
            codec=PCMU, is_ahead=False, cuts_itself=True, most_seconds=MOST_SECONDS
        )
        self.is_ready = False
        self.call_id = ""
        self.path_lost: Callable[[], None] = _ignore
        self.closing: Callable[[], None] = _ignore
        self._context = context
        self._seconds = context.clock.seconds
        self._is_interruptible = is_interruptible
        self._is_closed = self._is_parting = self._is_ticking = False
        self._payload_type = _PAYLOAD_TYPE
        self._lost = 0
        self._timer = Timer(context.clock)
        self._user: TransportUser | None = None
        self._playback: Playback | None = None
        self._uplink: Uplink | None = None
        self._stream = RtpStream(
            PCMU,
            self,
            is_allowed=lambda _: True,  # the keys authenticate the peer
            clock=context.clock.seconds,
            wall_time=context.wall_time,
            random32=context.random32,
            cname="gw",
            gap_filled=self._gap_filled,
            look=self._count_lost,
        )
        # Called for every packet, so bound directly to the stream.
        self.send_frame: Callable[[bytes | None], None] = self._stream.send
        self._events: EventsChannel | None = None
        self._remote_channel: RemoteChannel | None = None
        if has_channel:
            self._events = EventsChannel(
                context.clock, lambda packet: self._peer.send_data(packet)
            )
        self._peer = Peer(
            self,
            sockets=sockets,
            certificate=process_certificate(),
            clock=context.clock,
            rtp_received=self._stream.rtp_received,
            is_offerer=True,
            is_lite=False,
            dropped=self._stream.stats.dropped,
            data_received=None if self._events is None else self._events.received,
        )
        self._stream.attach(self._peer.send, self._peer.send)

    # -- the call ----------------------------------------------------------------

    def carry(self, session: SocketUser) -> None:
        """Carry the events of this session in the data channel."""
        assert self._events is not None
        self._events.session = session

    def offer(self) -> bytes:
        """
        Open sockets, and return the offer.

        @raise AgentUnavailable: no socket can be opened.
        """
        try:
            self._peer.start()
        except OSError as exc:
            raise AgentUnavailable(f"no socket for the agent's audio: {exc}") from exc
        description = self._peer.description
        first = description.candidates[0]
        return format_offer(
            LocalSide(
                session_id=self._context.random32(),
                host=first.host,
                port=first.port,
                transport=description,
                codecs=((_PAYLOAD_TYPE, PCMU),),
                telephone_event=None,
                ssrc=self._stream.ssrc,
                cname="gw",
            ),
            most_message_bytes=0 if self._events is None else MAX_EVENT_BYTES,
        )

    def answered(self, answer: bytes) -> None:
        """
        Process the service's answer, and look for a path.

        @raise AgentUnavailable: the answer is invalid.
        """
        try:
            has_channel = self._events is not None
            description = parse_answer(answer, has_channel=has_channel)
            self._remote_channel = description.channel
            codecs = {codec: number for number, codec in description.audio.codecs}
            if PCMU not in codecs:
                raise AgentUnavailable("the agent's service does not speak PCMU")
            self._payload_type = codecs[PCMU]
            self._timer.start(PATH_SECONDS, self._look_for_path)
            # The service behaves as ICE-lite without saying so: it sends no checks, and
            # some of its servers answer only checks that nominate.
            self._peer.set_remote(evolve(description.transport, is_lite=True))
        except RemoteProtocolError as exc:
            raise AgentUnavailable(f"the agent's answer cannot be used: {exc}") from exc

    @property
    def is_over_tcp(self) -> bool:
        path = self._peer.path
        return path is not None and path.is_tcp

    def part(self) -> None:
        """
        Close, but connect first: without an id the call at the service can only be
        ended by DTLS.  Nothing is reported any more.
        """
        self._user = self._playback = None
        self._is_parting = True

    def _look_for_path(self) -> None:
        if self._peer.path is None:
            self._lose(NoPath(f"no path to its audio within {PATH_SECONDS:g} s"))
        else:
            left = CONNECT_SECONDS - PATH_SECONDS
            why = NoPath(f"no keys for its audio within {CONNECT_SECONDS:g} s")
            self._timer.start(left, self._lose, why)

    # -- PeerUser ----------------------------------------------------------------

    def peer_connected(self, keys: SrtpKeys) -> None:
        self._timer.stop()
        if self._is_parting:
            self._close()
            return
        self._stream.agree(
            Terms(
                codec=PCMU,
                payload_type=self._payload_type,
                telephone_event=None,
                comfort_noise=frozenset(),
                ptime_ms=PTIME_MS,
                remote=REMOTE,
                remote_rtcp=REMOTE,
                keys=keys,
            )
        )
        self._uplink = Uplink(self, PCMU, _is_loud, self._dropped, self._seconds())
        self._context.traffic.begins(self._stream)
        self._context.metronome.add(self._tick, self._tick_failed)
        self._is_ticking = True
        self.is_ready = True
        if self._events is not None and self._remote_channel is not None:
            is_client = self._peer.setup is Setup.ACTIVE
            self._events.start(self._remote_channel, is_dtls_client=is_client)
        if self._user is not None:
            self._user.audio_ready()

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        text = f"the agent's audio: {reason}"
        self._lose(NoPath(text) if kind in _BLOCKED else AgentUnavailable(text))

    def _lose(self, why: AgentUnavailable) -> None:
        if isinstance(why, NoPath) and self.is_ready:
            self.path_lost()
        if self._is_parting:
            self._close()
        elif self._user is not None:
            self._user.audio_lost(why)

    # -- Transport ---------------------------------------------------------------

    def join(self, user: TransportUser) -> None:
        self._user = user
        self._playback = Playback(
            user, _is_loud, is_interruptible=self._is_interruptible
        )

    def event_came(self, event: Event) -> None:
        if self._playback is not None:
            self._playback.event_came(event, self._seconds())

    def opened(self, socket: Socket) -> None:
        """Do nothing: audio has its own connection."""

    def send_audio(self, audio: bytes) -> None:
        """Called for every frame."""
        if self._uplink is not None:
            self._uplink.add(audio, self._seconds())

    def is_made(self, response_id: str) -> bool:
        return self._playback is not None and self._playback.is_made(response_id)

    def probe(self, ask: Callable[[], None]) -> None:
        """
        Check the path first: events may still get through where packets no longer do,
        or do only in one direction.
        """
        self._peer.ask_consent()
        self._timer.start(_PROBE_SECONDS, self._probed, ask)

    def _probed(self, ask: Callable[[], None]) -> None:
        if self._peer.unanswered:
            self._lose(NoPath("the path of the agent's audio is lost"))
        else:
            ask()

    def cancelled(self, response_id: str) -> None:
        playback, user = self._playback, self._user
        if playback is not None and user is not None:
            user.ask(Kind.CLEAR, clear_playback(), response_id)
            playback.cancelled(response_id, self._seconds())

    def close(self) -> None:
        if not self._is_parting:
            self._close()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.stop()
        closing, self.closing, self.path_lost = self.closing, _ignore, _ignore
        try:
            if self._is_ticking:
                self._context.metronome.remove(self._tick)
            self._stream.stop()
            self._context.traffic.ends(self._stream, self.call_id)
        finally:
            self._user = self._playback = self._uplink = None
            try:
                events, self._events = self._events, None
                if events is not None:
                    events.close(CLOSE_NORMAL, "")
                self._peer.close()
            finally:
                closing()

    # -- Packets -----------------------------------------------------------------

    def pass_over(self, frames: int) -> None:
        self._stream.pass_over(frames)

    # -- reports of the stream ---------------------------------------------------

    def caller_audio(self, audio: bytes) -> None:
        """Audio of the agent; called for every packet."""
        if self._playback is not None:
            self._playback.audio_came(audio, self._seconds())

    def digit_pressed(self, digit: str) -> None:
        """Never called, as no telephone-event was offered."""

    def _gap_filled(self, audio: bytes) -> None:
        if self._playback is not None:
            self._playback.gap_filled(audio, self._seconds())

    # -- inside ------------------------------------------------------------------

    def _dropped(self, reason: str, byte_count: int) -> None:
        if self._user is not None:
            self._user.audio_dropped(reason, byte_count)

    def _count_lost(self, now: float) -> None:
        lost = self._stream.refresh_stats().lost - self._lost
        if lost > 0:
            self._lost += lost
            self._dropped("agent_lost_in_network", lost * PCMU.frame_bytes)

    def _tick(self, now: float, due: int) -> None:
        self._stream.listen(now, due)
        if self._uplink is not None:
            self._uplink.tick(now)
        if self._playback is not None:
            self._playback.tick(now)

    def _tick_failed(self, failure: Failure) -> None:
        self._is_ticking = False
        self._lose(AgentUnavailable("the agent's audio failed here"))
