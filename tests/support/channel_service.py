"""
A Realtime service, GA or preview, whose events only use a data channel.

Once it is configured, it plays one sound.  It records what it is asked and told.
"""

from __future__ import annotations

import json
import random
from typing import Any

from attrs import evolve
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import Site

from chime_gateway.audio import PCMU
from chime_gateway.net.batch import BatchReader
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.webrtc.certificate import process_certificate
from chime_gateway.webrtc.peer import Peer
from chime_gateway.webrtc.udp import OwnPort
from chime_gateway.wire.sdp.webrtc import LocalSide, format_answer, parse_offer
from chime_gateway.wire.webrtc.sctp import dcep
from tests.support.data_channels import Taker
from tests.support.rtc_network import RtcUser

TONE = b"\x11" * 160
ANSWER_FRAMES = 60


class ChannelCall(RtcUser):
    """
    One call.

    @ivar told: events from the gateway, in order; for media, what L{RtcUser} records.
    """

    def __init__(self, service: ChannelService, *, is_preview: bool) -> None:
        super().__init__()
        self.service = service
        self.reactor = service.reactor
        self.is_preview = is_preview
        self.commands: list[dict[str, Any]] = []
        self.stream = RtpStream(
            PCMU,
            self,
            is_allowed=lambda host: True,
            clock=self.reactor.seconds,
            wall_time=self.reactor.seconds,
            random32=lambda: random.getrandbits(32),
            cname="service",
            gap_filled=lambda audio: None,
        )
        self.taker = Taker(random.Random(3))
        self._taken = 0
        self._labels = self._left = 0
        self.peer = Peer(
            self,
            sockets=[OwnPort("127.0.0.1", service.batch, ["127.0.0.1"])],
            certificate=process_certificate(),
            clock=self.reactor,
            rtp_received=self.stream.rtp_received,
            is_offerer=False,
            is_lite=True,
            data_received=self._data_received,
        )
        self.stream.attach(self.peer.send, self.peer.send)
        self._beat = LoopingCall(self._tick)
        self._beat.clock = self.reactor

    def answer(self, offer: bytes) -> bytes:
        self.peer.start()
        described = parse_offer(offer)
        self.peer.set_remote(described.transport)
        description = self.peer.description
        first = description.candidates[0]
        side = LocalSide(
            session_id=1,
            host=first.host,
            port=first.port,
            transport=evolve(description),
            codecs=((0, PCMU),),
            telephone_event=None,
            ssrc=self.stream.ssrc,
            cname="service",
        )
        answer = format_answer(side, described)
        self._beat.start(0.02)
        if self.service.refuses_channel:
            return answer
        refused = b"m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
        assert refused in answer
        return answer.replace(refused, refused.replace(b" 0 ", b" 9 "))

    def close(self) -> None:
        if self._beat.running:
            self._beat.stop()
        self.peer.close()

    def tell(self, kind: str, **members: Any) -> None:
        event = {"type": kind, "event_id": "e", **members}
        payload = json.dumps(event).encode()
        now = self.reactor.seconds()
        self.taker.say(now, next(iter(self.taker.labels)), dcep.TEXT, payload)
        self._carry()

    def _tick(self) -> None:
        if self.keys is not None:
            if self._left:
                self._left -= 1
                self.stream.play(TONE)
                if not self._left:
                    self._end()
            self.stream.tick(self.reactor.seconds(), 1)
        self.taker.association.tick(self.reactor.seconds())
        self._carry()

    def _carry(self) -> None:
        for packet in self.taker.take():
            self.peer.send_data(packet)

    def _data_received(self, packet: bytes) -> None:
        self.taker.received(self.reactor.seconds(), packet)
        self._carry()
        if len(self.taker.labels) > self._labels:
            self._labels = len(self.taker.labels)
            self.tell("session.created", session={"id": "s", "notes": "x" * 20_000})
        while len(self.taker.texts) > self._taken:
            self._taken += 1
            self._command_came(json.loads(self.taker.texts[self._taken - 1]))

    def _command_came(self, command: dict[str, Any]) -> None:
        self.commands.append(command)
        if command["type"] != "session.update":
            return
        self.tell("session.updated", session={"id": "s"})
        ids = {"response_id": "r1", "item_id": "i1", "output_index": 0}
        item = {"id": "i1", "type": "message", "role": "assistant", "content": []}
        self.tell("response.created", response={"id": "r1", "status": "in_progress"})
        self.tell(
            "response.output_item.added", response_id="r1", output_index=0, item=item
        )
        part = {"type": "audio", "transcript": ""}
        self.tell("response.content_part.added", **ids, content_index=0, part=part)
        if not self.is_preview:
            self.tell("output_audio_buffer.started", response_id="r1")
        self._left = ANSWER_FRAMES

    def _end(self) -> None:
        if not self.is_preview:
            self.tell("output_audio_buffer.stopped", response_id="r1")
        response = {"id": "r1", "status": "completed", "output": []}
        self.tell("response.done", response=response)


class ChannelService(Resource):
    """
    The service.

    @ivar asked: requests: method and path, key, JSON.
    @ivar refuses_channel: its answers have no data channel.
    """

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.batch = BatchReader(reactor)
        self.calls: list[ChannelCall] = []
        self.asked: list[tuple[str, str]] = []
        self.refuses_channel = False
        self.site = Site(self)

    def render_POST(self, request: Any) -> bytes:
        path = request.path.decode()
        proof = request.getHeader("api-key") or request.getHeader("authorization")
        self.asked.append((path, proof or ""))
        body = request.content.read()
        is_preview = path == "/v1/realtimertc"
        if is_preview or path == "/openai/v1/realtime/calls":
            call = ChannelCall(self, is_preview=is_preview)
            self.calls.append(call)
            request.setResponseCode(201)
            if not is_preview:
                request.setHeader("Location", "/v1/realtime/calls/rtc_1")
            return call.answer(body)
        if path.endswith("/hangup"):
            return b""
        secret = {"value": "ek_1", "expires_at": 4e9}
        if path == "/openai/realtimeapi/sessions":
            assert set(json.loads(body)) == {"model", "voice"}
            return json.dumps({"id": "s", "client_secret": secret}).encode()
        return json.dumps(secret).encode()
