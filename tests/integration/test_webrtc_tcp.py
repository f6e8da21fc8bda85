"""A WebRTC caller without UDP, over the gateway's TCP candidate."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.audio import PCMU
from chime_gateway.net.http_body import read_body
from chime_gateway.net.http_client import HttpClient
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import GatewaySettings
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.webrtc.certificate import new_certificate
from chime_gateway.webrtc.peer import REMOTE, Peer, PeerFailure
from chime_gateway.webrtc.tcp import ActiveTcp
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sdp.webrtc import LocalSide, format_offer, parse_answer
from tests.integration.test_webrtc_calls import WebRtcTestCase
from tests.support.ports import free_port


class _Caller:
    """
    A caller.

    @ivar keys: fires with the SRTP keys.
    @ivar heard: received RTP packets.
    """

    def __init__(self) -> None:
        self.keys: Deferred[SrtpKeys] = Deferred()
        self.heard = 0
        self.ends: list[PeerFailure] = []

    def peer_connected(self, keys: SrtpKeys) -> None:
        self.keys.callback(keys)

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        self.ends.append(kind)

    def received(self, data: bytes, address: Address) -> None:
        self.heard += not rtp.is_rtcp(data)


class WebRtcTcpTests(WebRtcTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        settings = super().gateway_settings(endpoint)
        listen = tuple(
            Listener(transport=name, port=free_port(), interface="127.0.0.1")
            for name in ("udp", "tcp")
        )
        return evolve(settings, webrtc=WebRtcSettings(listen=listen))

    def nothing_is_left(self) -> bool:
        return not any(self.carrier.counts().values())

    async def test_a_caller_without_udp_is_heard_and_notified_of_the_end(self) -> None:
        caller = _Caller()
        peer = Peer(
            caller,
            sockets=[ActiveTcp(self.reactor, 0.0)],
            certificate=new_certificate(),
            clock=self.reactor,
            rtp_received=caller.received,
            is_offerer=True,
            is_lite=False,
        )
        self.addCleanup(peer.close)
        peer.start()
        offer = format_offer(
            LocalSide(
                session_id=1,
                host="127.0.0.1",
                port=9,
                transport=peer.description,
                codecs=((0, PCMU),),
                telephone_event=None,
                ssrc=7,
                cname="x",
            )
        )
        http = HttpClient(self.reactor, 1)
        url = f"http://127.0.0.1:{self.port}/webrtc/offer"
        headers = {"Content-Type": "application/sdp"}
        answer = await http.request("POST", url, headers, offer)
        self.assertEqual(answer.code, 201)
        text = await read_body(answer, 65536)
        self.assertIn(b"tcptype passive", text)
        peer.set_remote(parse_answer(text).transport)
        srtp = SrtpCodec(await caller.keys)
        for number in range(25):
            packet = rtp.serialize(0, False, number, number * 160, 7, bytes(160))
            peer.send(srtp.protect(packet), REMOTE)
            await self.pause(0.02)
        stats = self.carrier.network_stats()
        self.assertEqual((stats.packets_in, stats.lost), (25, 0))
        self.assertGreater(caller.heard, 10)
        self.gateway.calls.hang_up_all()
        await self.until(lambda: caller.ends)
        self.assertEqual(caller.ends, [PeerFailure.CLOSED_BY_PEER])
        await self.until(self.nothing_is_left)
        await http.close()
