"""An RTP stream in memory; the test is the other side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import encode
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp

REMOTE = ("198.51.100.9", 36488)
RTCP = ("198.51.100.9", 36489)
TERMS = Terms(
    codec=PCMU,
    payload_type=0,
    telephone_event=101,
    comfort_noise=frozenset({13}),
    ptime_ms=20,
    remote=REMOTE,
    remote_rtcp=RTCP,
)


def speech(seconds: float) -> bytes:
    """Return a sound with pitch, pauses and changes, as mu-law."""
    rate = 8000
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(n * phase) / n for n in range(1, 8))
    loud = np.clip(np.sin(2 * np.pi * 1.3 * t) + 0.4, 0, 1)
    return encode(PCMU, (voice * loud * 6000).astype(np.int16))


class Ear:
    def __init__(self) -> None:
        self.audio = b""
        self.filled = 0
        self.digits = ""

    def caller_audio(self, audio: bytes) -> None:
        self.audio += audio

    def gap_filled(self, audio: bytes) -> None:
        self.audio += audio
        self.filled += len(audio)

    def digit_pressed(self, digit: str) -> None:
        self.digits += digit


class StreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.wall_ahead = 1_700_000_000.0
        self.ear: Any = self.new_ear()
        self.sent: list[tuple[bytes, Any]] = []
        self.reports: list[tuple[bytes, Any]] = []
        self.random32: Callable[[], int] = lambda: 0xFFFFFF00
        self.stream = self.new_stream()

    def new_ear(self) -> Any:
        """Return a fake listener."""
        return Ear()

    def new_stream(self, terms: Terms = TERMS) -> RtpStream:
        stream = RtpStream(
            PCMU,
            self.ear,
            is_allowed=lambda host: host.startswith("198.51.100."),
            clock=self.clock.seconds,
            wall_time=lambda: self.wall_ahead + self.clock.seconds(),
            random32=lambda: self.random32(),
            cname="us@192.0.2.1",
            gap_filled=self.ear.gap_filled,
        )
        stream.attach(
            lambda data, to: self.sent.append((data, to)),
            lambda data, to: self.reports.append((data, to)),
        )
        stream.agree(terms)
        return stream

    def tick(self, times: int = 1, due: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(0.02 * due)
            self.stream.tick(self.clock.seconds(), due)

    def packets(self) -> list[rtp.RtpPacket]:
        return [rtp.parse(data) for data, _ in self.sent]

    remote = REMOTE

    def come(
        self,
        number: int,
        payload: bytes = b"\x10" * 160,
        *,
        payload_type: int = 0,
        ssrc: int = 7,
        timestamp: int | None = None,
        source: tuple[str, int] = REMOTE,
        marker: bool = False,
    ) -> None:
        if timestamp is None:
            timestamp = number * 160
        data = rtp.serialize(
            payload_type, marker, number & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, payload
        )
        self.stream.rtp_received(data, source)
