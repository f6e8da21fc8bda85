"""
Callers of both carriers that say words, and understand what they hear.

The audio is recorded as it is played: a carrier with a playout buffer plays it in real
time, and discards the rest on C{clear}.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque

import numpy as np
from attrs import define, field, frozen
from load import FRAME_BYTES, PTIME_SECONDS
from picows import WSFrame, WSMsgType, WSTransport

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.sim.speech import Sentence, seconds_of, spoken, understood
from suites.faults.lines import Line, Stream
from suites.faults.sip_line import SipCall

#: Audio that arrives this much late is still played without a gap.
JITTER_SECONDS = 0.06

_SILENCE = PCMU.silence(FRAME_BYTES)

#: Below this amplitude, of 32768, audio counts as silence.
_AUDIBLE = 200


@define
class Ear:
    """
    The audio that was played, with its times in seconds of the monotonic clock.

    @ivar segments: (begin, audio), in order, without overlap.
    @ivar ends: the end of the last segment.
    """

    segments: list[tuple[float, bytes]] = field(factory=list)
    ends: float = 0.0

    def play(self, now: float, audio: bytes) -> None:
        begins = self.ends if now - self.ends < JITTER_SECONDS else now
        self.segments.append((begins, audio))
        self.ends = begins + len(audio) / PCMU.bytes_per_second

    def clear(self, now: float) -> None:
        while self.segments and self.ends > now:
            begins, audio = self.segments.pop()
            self.ends = begins
            if begins < now:
                left = audio[: int((now - begins) * PCMU.bytes_per_second)]
                self.segments.append((begins, left))
                self.ends = begins + len(left) / PCMU.bytes_per_second
                break

    def audible(self) -> list[tuple[float, float]]:
        """Return the times with sound; gaps of up to a frame are ignored."""
        found: list[tuple[float, float]] = []
        for begins, audio in self.segments:
            for at in range(0, len(audio), FRAME_BYTES):
                frame = audio[at : at + FRAME_BYTES]
                if np.abs(decode(PCMU, frame).astype(np.int32)).max() < _AUDIBLE:
                    continue
                start = begins + at / PCMU.bytes_per_second
                end = start + len(frame) / PCMU.bytes_per_second
                if found and start - found[-1][1] < 1.5 * PTIME_SECONDS:
                    found[-1] = found[-1][0], end
                else:
                    found.append((start, end))
        return found

    def sentences(self, since: float = 0.0) -> list[Sentence]:
        """Return the sentences that began since then, with their times."""
        if not self.segments:
            return []
        first = max(since - 1.0, self.segments[0][0])
        parts = [one for one in self.segments if one[0] >= first]
        if not parts:
            return []
        first = parts[0][0]
        length = round((self.ends - first) * PCMU.clock_rate) + FRAME_BYTES
        samples = np.zeros(max(0, length), dtype=np.int16)
        for begins, audio in parts:
            at = round((begins - first) * PCMU.clock_rate)
            heard = decode(PCMU, audio)[: len(samples) - at]
            samples[at : at + len(heard)] = heard
        return [
            Sentence(one.text, one.is_whole, first + one.at_seconds)
            for one in understood(samples, PCMU.clock_rate)
            if first + one.at_seconds >= since
        ]


@frozen
class Said:
    """A caller's sentence, with its times."""

    text: str
    begins: float
    ends: float


class Talking(Line):
    """
    A line whose caller says given sentences.

    @ivar said: what the caller has said so far.
    """

    def __init__(self) -> None:
        self.ear = Ear()
        self.said: list[Said] = []
        self._to_say: deque[bytes] = deque()

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + random.random() * PTIME_SECONDS
        while self.is_open:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.is_open:
                self._send(self._to_say.popleft() if self._to_say else _SILENCE)
            due += PTIME_SECONDS

    def hear(self, audio: bytes) -> None:
        self.frames += 1
        self.ear.play(time.monotonic(), audio)

    async def say(self, text: str) -> Said:
        """Say a sentence, and wait until it has been sent."""
        audio = spoken(PCMU, text)
        audio += PCMU.silence(-len(audio) % FRAME_BYTES)
        begins = time.monotonic()
        for at in range(0, len(audio), FRAME_BYTES):
            self._to_say.append(audio[at : at + FRAME_BYTES])
        while self._to_say and self.is_open:
            await asyncio.sleep(PTIME_SECONDS)
        said = Said(text, begins, begins + seconds_of(text))
        self.said.append(said)
        return said

    async def hears(self, text: str, since: float, seconds: float) -> Sentence | None:
        """
        Wait for the first whole sentence that contains this text, until it has been
        played; C{None}: not within this time.
        """
        deadline = time.monotonic() + seconds
        while self.is_open and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            # A carrier may have it long before it has been played.
            for one in self.ear.sentences(since):
                if one.is_whole and text in one.text:
                    ends = one.at_seconds + seconds_of(one.text)
                    if ends <= time.monotonic():
                        return one
        return None

    def is_silent(self, seconds: float) -> bool:
        return time.monotonic() - self.ear.ends > seconds

    async def silence(self, seconds: float, most_seconds: float) -> None:
        """Wait until nothing has been heard for this long."""
        deadline = time.monotonic() + most_seconds
        while (
            self.is_open and not self.is_silent(seconds) and time.monotonic() < deadline
        ):
            await asyncio.sleep(0.05)


class TalkingStream(Talking, Stream):
    """A caller over WebSocket, with the playout buffer of a carrier."""

    def __init__(self, port: int, **options: str) -> None:
        Stream.__init__(self, port, **options)  # type: ignore[arg-type]
        Talking.__init__(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.msg_type == WSMsgType.TEXT and b'"payload"' not in payload:
            event = json.loads(payload)
            if event.get("event") == "mark":
                self._mark(transport, payload)
                return
            if event.get("event") == "clear":
                self.ear.clear(time.monotonic())
                return
        super().on_ws_frame(transport, frame)

    def _mark(self, transport: WSTransport, payload: bytes) -> None:
        """Return the mark when the audio before it has been played or cleared."""
        loop = asyncio.get_running_loop()
        wait = max(0.0, self.ear.ends - time.monotonic())

        def reached() -> None:
            if self.is_open:
                transport.send(WSMsgType.TEXT, payload)

        loop.call_later(wait, reached)


class TalkingSip(Talking, SipCall):
    """A caller over SIP and RTP."""

    def __init__(self, sip_port: int, *, agent: str = "", secret: str = "") -> None:
        SipCall.__init__(self, sip_port, agent=agent, secret=secret)
        Talking.__init__(self)
