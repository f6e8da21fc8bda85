"""
Sources that send to one port during a call: the legitimate peer, which moves and
restarts, and attackers, which want to be heard, and to receive media, in its place.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, evolve, frozen

from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.wire.rtp import packet as rtp
from tests.support.rtp_stream import REMOTE, TERMS, Ear

Place = tuple[str, int]

#: Addresses of the legitimate peer, and of others in allowed networks.
PLACES: tuple[Place, ...] = (
    REMOTE,
    ("198.51.100.9", 40000),
    ("198.51.100.77", 36488),
    ("198.51.100.78", 1024),
)
STRANGERS: tuple[Place, ...] = (("198.51.100.9", 36490), ("198.51.100.66", 36488))

#: The legitimate stream is heard after at most this many frames.
BOUND_FRAMES = 5

_FOREIGN = random.Random(66).randbytes(160)


@frozen
class Phase:
    """
    What the legitimate peer does, and what the others do meanwhile.

    @ivar frames: the length, in frames of 20 ms.
    @ivar lost: how many of the first packets get lost.
    @ivar attackers: packets of strangers per frame.
    @ivar is_steady: a stranger's packets have consecutive numbers and one source.
    """

    kind: str = "talk"
    frames: int = 10
    place: int = 0
    lost: int = 0
    attackers: int = 0
    is_steady: bool = True


@define
class Voice:
    """A source."""

    place: Place
    ssrc: int
    number: int
    timestamp: int

    def packet(self, payload: bytes) -> bytes:
        data = rtp.serialize(0, False, self.number, self.timestamp, self.ssrc, payload)
        self.number = (self.number + 1) & 0xFFFF
        self.timestamp = (self.timestamp + len(payload)) & 0xFFFFFFFF
        return data


class Line:
    """
    One stream and all its sources.

    @param advance: lets time pass, in seconds.
    """

    def __init__(
        self,
        stream: RtpStream,
        ear: Ear,
        advance: Callable[[float], float],
        seed: int,
        keys: SrtpKeys | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.voice = self.new_voice(REMOTE)
        self._stream = stream
        self._ear = ear
        self._advance = advance
        self._keys = keys
        self._far = None if keys is None else self._codec(keys)
        self._foreign = self.new_voice(STRANGERS[0])
        self._wanted: list[bytes] = []
        self._said = 0
        terms = evolve(TERMS, keys=keys)
        stream.agree(terms)
        self._terms = terms

    @staticmethod
    def _codec(keys: SrtpKeys) -> SrtpCodec:
        return SrtpCodec(SrtpKeys(keys.profile, keys.remote, keys.local))

    def new_voice(self, place: Place) -> Voice:
        rng = self.rng
        return Voice(
            place, rng.getrandbits(32), rng.getrandbits(15), rng.getrandbits(32)
        )

    def run(self, phase: Phase) -> None:
        """Run one phase, and record which packets must be heard."""
        if phase.kind == "rebind":
            self.voice.place = PLACES[phase.place]
        elif phase.kind == "anew":
            self.voice = self.new_voice(self.voice.place)
        elif phase.kind == "reinvite":
            place = PLACES[phase.place]
            if place != self._terms.remote:
                self._terms = evolve(self._terms, remote=place)
                self._stream.agree(self._terms)
                stale, self.voice = self.voice, self.new_voice(place)
                if stale.place != place:
                    self._drag_on(stale, phase.lost)
        frames = phase.frames
        if phase.kind in ("rebind", "anew", "reinvite"):
            # One change at a time: both at once are a sign of a stranger.
            frames = max(frames, phase.lost + BOUND_FRAMES)
        for number in range(frames):
            self._frame(phase, number)

    def missing(self) -> int:
        """Return how many packets that must be heard were not."""
        audio = self._ear.audio
        return sum(1 for payload in self._wanted if payload not in audio)

    def is_stranger_heard(self) -> bool:
        return _FOREIGN[:40] in self._ear.audio

    def _frame(self, phase: Phase, number: int) -> None:
        rng = self.rng
        early = rng.randrange(phase.attackers + 1)
        for at in range(phase.attackers):
            if at == early:
                self._speak(phase, number)
            self._attack(phase)
        if early == phase.attackers:
            self._speak(phase, number)
        self._stream.tick(self._advance(0.02), 1)

    def _speak(self, phase: Phase, number: int) -> None:
        if phase.kind == "mute":
            # The timestamp advances (RFC 3550 section 5.1), the number does not.
            self.voice.timestamp = (self.voice.timestamp + 160) & 0xFFFFFFFF
            return
        payload = self.rng.randbytes(160)
        data = self.voice.packet(payload)
        if self._far is not None:
            data = self._far.protect(data)
        if number < phase.lost and phase.kind != "reinvite":
            return
        if number >= phase.lost + BOUND_FRAMES:
            self._wanted.append(payload)
        self._stream.rtp_received(data, self.voice.place)

    def _attack(self, phase: Phase) -> None:
        voice = self._foreign
        if not phase.is_steady:
            voice = self._foreign = self.new_voice(self.rng.choice(STRANGERS))
        self._stream.rtp_received(voice.packet(_FOREIGN), voice.place)

    def _drag_on(self, stale: Voice, frames: int) -> None:
        """
        Let the previous source continue a little: it is heard until the new one sends.
        """
        for _ in range(frames):
            payload = self.rng.randbytes(160)
            self._wanted.append(payload)
            data = stale.packet(payload)
            if self._far is not None:
                data = self._far.protect(data)
            self._stream.rtp_received(data, stale.place)
            self._stream.tick(self._advance(0.02), 1)
