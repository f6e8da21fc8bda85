"""The other side of data channels, which accepts each channel and echoes texts."""

from __future__ import annotations

import random

from chime_gateway.wire.webrtc.sctp import dcep
from chime_gateway.wire.webrtc.sctp.association import Association


class Taker:
    """
    Accepts channels.

    @ivar outbox: packets to send.
    @ivar labels: labels of channels, by stream; C{texts}: the texts received in them.
    """

    def __init__(self, draw: random.Random, *, is_silent: bool = False) -> None:
        self.association = Association((5000, 5000), 1 << 20, draw.randbytes)
        self.labels: dict[int, bytes] = {}
        self.texts: list[bytes] = []
        self.is_silent = is_silent

    @property
    def outbox(self) -> list[bytes]:
        return self.association.outbox

    def take(self) -> list[bytes]:
        outbox, self.association.outbox = self.association.outbox, []
        return outbox

    def received(self, now: float, packet: bytes) -> None:
        self.association.received(now, packet)
        messages, self.association.messages[:] = self.association.messages[:], []
        for message in messages:
            if message.ppid == dcep.CONTROL and dcep.is_open(message.payload):
                self.labels[message.stream] = message.payload[12:]
                if not self.is_silent:
                    self.say(now, message.stream, dcep.CONTROL, dcep.acknowledge())
            elif message.ppid != dcep.CONTROL:
                self.texts.append(message.payload)

    def say(self, now: float, stream: int, ppid: int, payload: bytes) -> None:
        self.association.send(now, stream, ppid, payload)
