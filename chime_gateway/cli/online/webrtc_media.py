"""The media of a WebRTC probe: sends silence, and counts received packets."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred

from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable
from chime_gateway.net.batch import BatchReader
from chime_gateway.rtp.keys import SrtpError, SrtpKeys
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.webrtc.certificate import process_certificate
from chime_gateway.webrtc.peer import Peer, PeerFailure
from chime_gateway.webrtc.sockets import socket_of
from chime_gateway.webrtc.udp import OwnPort
from chime_gateway.wire.rtp.packet import is_rtcp, serialize
from chime_gateway.wire.sdp.transport import Transport
from chime_gateway.wire.sdp.webrtc import LocalSide, format_offer
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.candidate import Path


class WatchedPeer(Peer):
    """A peer that can send additional checks, and counts their answers."""

    def watch(self) -> None:
        self.asked: set[bytes] = set()
        self.answered = 0

    def ask(self, remote: Transport) -> None:
        """Send a consent check without C{USE-CANDIDATE}."""
        path = self.path
        if path is None:
            return
        transaction = os.urandom(12)
        self.asked.add(transaction)
        theirs = remote.credentials
        check = stun.Message(
            message_class=stun.MessageClass.REQUEST,
            transaction=transaction,
            username=f"{theirs.ufrag}:{self.local.ufrag}",
            priority=1,
            controlling=secrets.randbits(64),
        )
        data = stun.encode(check, theirs.password)
        socket_of(path).send(data, (path.host, path.port))

    def received(self, data: bytes, path: Path) -> None:
        if len(data) >= 20 and data[0] <= 3 and data[8:20] in self.asked:
            self.answered += 1
        else:
            super().received(data, path)


class ProbeMedia:
    """
    Sends silence, and counts received packets.

    @ivar ended: why the connection has ended; empty: it has not.
    """

    def __init__(self, reactor: Any, batch: BatchReader, address: str) -> None:
        self.counts: Counter[str] = Counter()
        self.connected: Deferred[None] = Deferred()
        self.ended = ""
        self._reactor = reactor
        self._srtp: SrtpCodec | None = None
        self._number = secrets.randbits(14)
        host = address if address == "127.0.0.1" else "0.0.0.0"
        self.peer = WatchedPeer(
            self,
            sockets=[OwnPort(host, batch, [address])],
            certificate=process_certificate(),
            clock=reactor,
            rtp_received=self._received,
            is_offerer=True,
            is_lite=False,
        )
        self.peer.watch()

    def offer(self) -> bytes:
        self.peer.start()
        description = self.peer.description
        first = description.candidates[0]
        return format_offer(
            LocalSide(
                session_id=secrets.randbits(32),
                host=first.host,
                port=first.port,
                transport=description,
                codecs=((0, PCMU),),
                telephone_event=None,
                ssrc=4242,
                cname="gw",
            )
        )

    def peer_connected(self, keys: SrtpKeys) -> None:
        self._srtp = SrtpCodec(keys)
        self._beat()
        self.connected.callback(None)

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        self.ended = f"{kind.value}: {reason}"
        if not self.connected.called:
            self.connected.errback(AgentUnavailable(self.ended))

    def _beat(self) -> None:
        if self._srtp is None:
            return
        self._number = (self._number + 1) & 0xFFFF
        packet = serialize(
            0, False, self._number, self._number * 160, 4242, PCMU.silence(160)
        )
        self.peer.send(self._srtp.protect(packet), ("", 0))
        self._reactor.callLater(0.02, self._beat)

    def _received(self, data: bytes, address: Address) -> None:
        if self._srtp is None:
            return
        try:
            if is_rtcp(data):
                self._srtp.unprotect_rtcp(data)
                self.counts["rtcp"] += 1
            else:
                self._srtp.unprotect(data)
                self.counts["rtp"] += 1
        except SrtpError:
            self.counts["not authentic"] += 1

    def close(self) -> None:
        self._srtp = None
        self.peer.close()
