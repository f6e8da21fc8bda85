"""
What a caller's side sends and what the network does to it, generated from a seed.

All audio is noise without repetitions, so each piece can be found in what is heard, and
its position compared with its timestamp.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from attrs import Factory, frozen
from twisted.internet.task import Clock

from chime_gateway.media.pump import MediaPump
from chime_gateway.media.stats import MediaStats
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp.dtmf import key_packets
from tests.support.fakes import RecordingAgent, RecordingLeg
from tests.support.rtp_stream import StreamTestCase


@frozen(kw_only=True)
class Pattern:
    """
    The properties of a stream and its network.

    @ivar loss: the share of lost packets.
    @ivar bursts: lengths of bursts of losses, in packets, one every 3 s in turn.
    @ivar pauses: lengths of pauses, in ms, one every 2 s in turn.
    @ivar has_noise: a pause is announced by comfort noise.
    @ivar stands: the sender's clock stops in a pause.
    @ivar stalls: how long the network holds back all packets, in ms, one every 3 s in
        turn; then they come at once.
    @ivar late: the share of delayed packets.
    @ivar late_ms: their longest delay.
    @ivar twice: the share of duplicated packets.
    @ivar ptimes: in ms, a second of each in turn.
    @ivar keys: a key is pressed every 5 s, and no audio is sent meanwhile.
    """

    seconds: float = 60.0
    loss: float = 0.0
    bursts: tuple[int, ...] = ()
    pauses: tuple[int, ...] = ()
    has_noise: bool = False
    stands: bool = False
    stalls: tuple[int, ...] = ()
    late: float = 0.0
    late_ms: float = 80.0
    twice: float = 0.0
    ptimes: tuple[int, ...] = (20,)
    keys: bool = False
    first_number: int = 0
    first_timestamp: int = 0
    seed: int = 1


@frozen
class Sent:
    """
    A packet.

    @ivar at: when it arrives, in seconds since the beginning.
    @ivar start: the position of its audio, in samples.
    """

    at: float
    start: int
    payload: bytes
    payload_type: int
    data: bytes = Factory(bytes)


def schedule(pattern: Pattern) -> tuple[list[Sent], int]:
    """
    Return all packets that arrive, in order, and the length of the stream, in samples.
    """
    rng = random.Random(pattern.seed)
    sent = list(_sent(pattern, rng))
    end = max(one.start + len(one.payload) for one in sent if one.payload_type == 0)
    lost: set[int] = set()
    for at, count in _in_turn(pattern.bursts, 3.0, pattern.seconds):
        first = next((n for n, one in enumerate(sent) if one.at >= at), len(sent))
        lost.update(range(first, min(first + count, len(sent))))
    lost.update(n for n in range(len(sent)) if rng.random() < pattern.loss)
    # The first and the last second are complete: they are the reference.
    lost = {n for n in lost if 1.0 < sent[n].at < pattern.seconds - 1.0}
    stalls = list(_in_turn(pattern.stalls, 3.0, pattern.seconds - 3))
    came: list[Sent] = []
    for number, one in enumerate(sent):
        if number in lost:
            continue
        delay = 0.004 * rng.random()
        if rng.random() < pattern.late:
            delay += pattern.late_ms / 1000 * rng.random()
        if number in (0, len(sent) - 1):
            delay = 0.0
        at = one.at + delay
        for begins, milliseconds in stalls:
            if begins <= at < begins + milliseconds / 1000:
                # Still in order.
                at = begins + milliseconds / 1000 + (at - begins) * 1e-3
        came.append(_at(one, at))
        if rng.random() < pattern.twice:
            came.append(_at(one, one.at + delay + 0.05 * rng.random()))
    came.sort(key=lambda one: one.at)
    return came, end


def _at(one: Sent, at: float) -> Sent:
    return Sent(at, one.start, one.payload, one.payload_type, one.data)


def _in_turn(
    lengths: tuple[int, ...], each: float, seconds: float
) -> Iterator[tuple[float, int]]:
    for n in range(int(seconds / each) if lengths else 0):
        yield each * n + 1.1, lengths[n % len(lengths)]


def _sent(pattern: Pattern, rng: random.Random) -> Iterator[Sent]:
    number = pattern.first_number
    start = stood = 0

    def packet(at: float, kind: int, payload: bytes, begins: int) -> Sent:
        nonlocal number
        timestamp = (pattern.first_timestamp + begins - stood) & 0xFFFFFFFF
        marker = rng.random() < 0.1
        data = rtp.serialize(kind, marker, number & 0xFFFF, timestamp, 7, payload)
        number += 1
        return Sent(at, begins, payload, kind, data)

    pauses = list(_in_turn(pattern.pauses, 2.0, pattern.seconds - 2))
    keys = list(_in_turn((1,), 5.0, pattern.seconds - 2)) if pattern.keys else []
    while start < pattern.seconds * 8000:
        now = start / 8000
        if pauses and now >= pauses[0][0]:
            count = pauses.pop(0)[1] * 8
            if pattern.has_noise:
                for passed in range(0, count, 1600):
                    at = (start + passed + 160) / 8000
                    stamp = start + passed * (not pattern.stands)
                    yield packet(at, 13, b"\x46", stamp)
            start += count
            stood += count * pattern.stands
            continue
        if keys and now >= keys[0][0]:
            keys.pop(0)
            for n, (_, payload) in enumerate(key_packets("5", 1280, 160)):
                at = (start + 160 * (n + 1)) / 8000
                yield packet(at, 101, payload, start)
            start += 1600
            continue
        size = pattern.ptimes[int(now) % len(pattern.ptimes)] * 8
        yield packet((start + size) / 8000, 0, rng.randbytes(size), start)
        start += size


class _Model:
    """What hears the caller, over the real pump of a call."""

    def __init__(self, clock: Clock) -> None:
        self._agent = RecordingAgent([])
        self.pump = MediaPump(
            RecordingLeg([], buffers=False, keeps_time=True),
            MediaStats(),
            clock.seconds,
            keep_early=True,
            max_queue_seconds=10.0,
        )
        self.pump.join(self._agent)
        self.caller_audio = self.pump.caller_audio
        self.gap_filled = self.pump.gap_filled

    @property
    def audio(self) -> bytes:
        return self._agent.audio

    def digit_pressed(self, digit: str) -> None:
        """A key takes time in what is heard."""


class ScheduleTestCase(StreamTestCase):
    def new_ear(self) -> _Model:
        return _Model(self.clock)

    def _tick(self, when: float) -> None:
        self._advance(when)
        self.ear.pump.tick(when, 1)
        self.stream.tick(when, 1)

    def hear(self, pattern: Pattern) -> tuple[float, int, int]:
        """
        Run it on a clock.

        @return: the deviation of the end from the sender's clock, in ms; the largest
            deviation of a packet that was found; how many were not found.
        """
        self.setUp()
        came, end = schedule(pattern)
        began = self.clock.seconds()
        tick_at = began + 0.013
        for one in came:
            while tick_at <= began + one.at:
                self._tick(tick_at)
                tick_at += 0.02
            self._advance(began + one.at)
            self.stream.rtp_received(one.data, self.remote)
        for _ in range(8):  # frames that are held back
            self._tick(tick_at)
            tick_at += 0.02
        audio = self.ear.audio
        worst = missing = 0
        for one in {one.start: one for one in came if one.payload_type == 0}.values():
            # The beginning of a late packet may be lost.
            tail = one.payload[-40:]
            place = one.start + len(one.payload) - 40
            found = audio.find(tail, max(0, place - 4000), place + 4000)
            if found < 0:
                missing += 1
            else:
                worst = max(worst, abs(found - place))
        return (len(audio) - end) / 8, worst // 8, missing

    def _advance(self, when: float) -> None:
        self.clock.advance(max(0.0, when - self.clock.seconds()))
