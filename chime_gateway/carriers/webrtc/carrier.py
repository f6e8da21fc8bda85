"""
The WebRTC carrier: its calls, and the ports that they share.

L{chime_gateway.carriers.webrtc.offer} answers the HTTP requests.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.resource import Resource

from chime_gateway.audio import CODECS
from chime_gateway.carriers.media_stream.credentials import UpgradeRequest
from chime_gateway.carriers.media_stream.door import Door
from chime_gateway.carriers.webrtc.agreement import NotServable, agree
from chime_gateway.carriers.webrtc.caller import caller_info
from chime_gateway.carriers.webrtc.generations import Generations
from chime_gateway.carriers.webrtc.leg import LegPeer, WebRtcContext, WebRtcLeg
from chime_gateway.carriers.webrtc.listening import WebRtcPorts
from chime_gateway.carriers.webrtc.offer import Origins, Taken, webrtc_pages
from chime_gateway.errors import CallRefused
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.net.generations.generation import LENGTH
from chime_gateway.net.generations.kin import Kin
from chime_gateway.net.strangers.connections import Connections, place_of
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.rtp.ports import Received
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.switchboard import Switchboard
from chime_gateway.webrtc.certificate import Certificate, process_certificate
from chime_gateway.webrtc.peer import Peer, PeerUser
from chime_gateway.webrtc.udp import Batch
from chime_gateway.wire.sdp.description import SdpError

#: The results of offers.
_RESULTS: Final = ("taken", "malformed", "not_servable", "refused")

#: The part of a call's id that is stored: the generation, and enough to find the call
#: in records.  The whole id can end the call, so it is not stored.
_SHOWN: Final = LENGTH + 8


class WebRtcCarrier:
    """
    The WebRTC carrier of the process.

    @param reactor: its sockets are shared with other processes of this gateway.
    @param kin: those processes.
    @param connections: counts TCP connections that belong to no call yet.
    @param certificate: the certificate that callers see.
    @ivar offers: received offers, by result.
    @ivar ports: the ports that all calls share.
    """

    traits = WebRtcLeg.traits
    _log = Logger()

    def __init__(
        self,
        settings: WebRtcSettings,
        switchboard: Switchboard,
        *,
        reactor: Any,
        metronome: Metronome,
        wall_time: Callable[[], float],
        batch: Batch,
        kin: Kin,
        connections: Connections,
        certificate: Certificate | None = None,
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
        random32: Callable[[], int] = lambda: secrets.randbits(32),
    ) -> None:
        self.offers = Counter(dict.fromkeys(_RESULTS, 0))
        self._settings = settings
        self._clock = reactor
        self._kin = kin
        self._origins = Origins(settings.origins)
        self._new_token = new_token
        self._certificate = certificate or process_certificate()
        self._codecs = [CODECS[name] for name in settings.codecs]
        self._legs: dict[str, WebRtcLeg] = {}
        self.ports = WebRtcPorts(settings, reactor, batch, connections)
        self.context = WebRtcContext(
            settings=settings,
            switchboard=switchboard,
            metronome=metronome,
            clock=reactor,
            wall_time=wall_time,
            new_token=new_token,
            random32=random32,
            owner=self,
        )
        self._generations = Generations(kin, self)

    # -- life ------------------------------------------------------------------

    def start(self) -> None:
        """
        Open the ports.

        @raise ConfigError: a port cannot be used.
        """
        self.ports.start()
        self._generations.start(self.ports.udp)

    async def stop(self) -> None:
        """Stop, after the last call."""
        for leg in list(self._legs.values()):
            with self._log.failuresHandled("a leg was not hung up"):
                leg.hang_up(Ending(Outcome.DRAINED, "the gateway stopped"))
        for stopping in self.ports.stop():
            if isinstance(stopping, Deferred):
                await stopping

    def pages(self, door: Door) -> Resource:
        """Return the resource of C{/webrtc}."""
        return webrtc_pages(self, door, self._origins)

    def change(self, settings: WebRtcSettings) -> None:
        """Change the allowed origins.  Other settings stay the same."""
        self._origins.allowed = settings.origins

    # -- Calls -----------------------------------------------------------------

    def take(self, offer: bytes, asked: UpgradeRequest, place: str) -> Taken:
        try:
            taken = self._take(offer, asked, place)
        except SdpError:
            self.offers["malformed"] += 1
            raise
        except NotServable:
            self.offers["not_servable"] += 1
            raise
        except CallRefused:
            self.offers["refused"] += 1
            raise
        self.offers["taken"] += 1
        return taken

    def _take(self, offer: bytes, asked: UpgradeRequest, place: str) -> Taken:
        agreement = agree(offer, self._codecs)
        call_id = self._kin.generation + self._new_token()
        info = caller_info(
            asked.uri,
            asked.headers,
            carrier_call_id=call_id[:_SHOWN],  # the ufrag begins with it, too
            peer=place_of(place),
        )
        leg = WebRtcLeg(self.context, call_id, info, agreement)
        self._legs[call_id] = leg
        try:
            try:
                leg.open()
            except SdpError as exc:
                raise NotServable(str(exc)) from exc
            except OSError as exc:
                raise CallRefused(f"no socket could be opened: {exc}") from exc
            local = evolve(
                leg.description, candidates=self.ports.candidates(asked.reached_at)
            )
            answer = agreement.answer(
                local,
                session_id=self.context.random32(),
                ssrc=leg.ssrc,
                cname=leg.cname,
            )
            leg.begin()
        except BaseException:
            leg.release()
            raise
        if leg.is_over:
            raise CallRefused("the call ended as it began")
        return Taken(call_id, answer)

    def delete(self, call_id: str) -> Deferred[bool]:
        if self.deleted(call_id):
            return succeed(True)
        return self._generations.delete(call_id)

    def deleted(self, call_id: str) -> bool:
        """
        End a call.

        @return: whether this process had it.
        """
        leg = self._legs.get(call_id)
        if leg is not None:
            leg.deleted()
        return leg is not None

    # -- WebRtcLegOwner --------------------------------------------------------------

    def new_peer(
        self,
        user: PeerUser,
        rtp_received: Received,
        mark: str,
        dropped: Counter[str],
    ) -> LegPeer:
        return Peer(
            user,
            sockets=self.ports.sockets,
            certificate=self._certificate,
            clock=self._clock,
            rtp_received=rtp_received,
            is_offerer=False,
            is_lite=True,
            mark=mark,
            dropped=dropped,
        )

    def leg_over(self, leg: WebRtcLeg) -> None:
        self._legs.pop(leg.call_id, None)

    # -- state -----------------------------------------------------------------

    def counts(self) -> Mapping[str, int]:
        """Return the current numbers of legs, addresses and connections."""
        return {"legs": len(self._legs), **self.ports.counts()}

    def dropped(self) -> Counter[str]:
        """Return counts of packets on the shared ports that belong to no call."""
        return self.ports.dropped()

    def network_stats(self) -> NetworkStats:
        """Return the statistics of all calls, including ended ones."""
        total = NetworkStats()
        total.add(self.context.finished)
        total.jitter_seconds, total.round_trip_seconds = 0.0, None
        for leg in self._legs.values():
            total.add(leg.network_stats())
        return total
