"""Usual packets, which are parsed in place, are treated like all others."""

from __future__ import annotations

from typing import Any

from attrs import asdict, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.audio import PCMA
from chime_gateway.rtp.keys import AES_128_TAG_80, SrtpKeys
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp
from tests.support.rtp_stream import REMOTE, RTCP, TERMS, Ear, StreamTestCase

OTHER = ("198.51.100.9", 4000)
ODDLY = (
    *("next", "next", "next", "next", "lost", "late", "twice", "marked", "noise"),
    *("key", "codec", "source", "elsewhere", "padded", "extended", "empty", "short"),
    *("rtcp", "changed", "time", "stall", "hold", "resume", "move", "pcma", "jump"),
)
KEYS = SrtpKeys(AES_128_TAG_80, bytes(range(30)), bytes(range(30, 60)))


class Sender:
    """A peer that sends what it is told to."""

    def __init__(self, *, is_secret: bool) -> None:
        self._number = 65520
        self._made: dict[int, bytes] = {}
        self._srtp: SrtpCodec | None = None
        if is_secret:
            keys = SrtpKeys(KEYS.profile, KEYS.remote, KEYS.local)
            self._srtp = SrtpCodec(keys)

    def packet(self, what: str) -> tuple[bytes, tuple[str, int]]:
        source = OTHER if what == "elsewhere" else REMOTE
        if what in ("late", "twice"):
            number = self._number - (what == "late")
            return self._made.get(number, b""), source
        if what == "short":
            return bytes(11), source
        if what == "rtcp":
            return b"\x81\xc9\0\1\0\0\0\7", source
        if what == "lost":
            self._make("next")
        elif what == "jump":
            self._number += 9000
        data = self._make(what)
        if what == "changed":
            data = data[:-1] + bytes([data[-1] ^ 1])
        return data, source

    def _make(self, what: str) -> bytes:
        self._number += 1
        number = self._number
        kind = {"noise": 13, "key": 101, "codec": 8}.get(what, 0)
        payload = bytes([number % 200 + 1]) * (0 if what == "empty" else 160)
        if what == "key":
            payload = b"\x05\x0a\x00\xa0"
        ssrc = 9 if what == "source" else 7
        data = rtp.serialize(
            *(kind, what == "marked", number & 0xFFFF),
            *(number * 160 & 0xFFFFFFFF, ssrc, payload),
        )
        if what == "padded":
            data = b"\xa0" + data[1:] + b"\0\0\0\4"
        elif what == "extended":
            data = b"\x90" + data[1:12] + b"\0\0\0\1\0\0\0\0" + data[12:]
        if self._srtp is not None:
            data = self._srtp.protect(data)
        self._made[number] = data
        return data


class UsualPacketTests(StreamTestCase):
    def pair(self, terms: Terms) -> tuple[list[RtpStream], list[Ear]]:
        """The second receiver parses every packet in full."""
        streams, ears = [], []
        for _ in range(2):
            self.ear = Ear()
            streams.append(self.new_stream(terms))
            ears.append(self.ear)
        streams[1]._receiver._usual = -1
        return streams, ears

    def facts(self, stream: RtpStream) -> list[Any]:
        receiver = stream._receiver
        return [
            *(asdict(stream.refresh_stats()), asdict(receiver.reception)),
            *(receiver.ssrc, receiver.heard_at, receiver.source, receiver.voice),
            *(receiver._latch.number, receiver._latch.heard_at),
            receiver._latch.is_contested,
        ]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(ODDLY), max_size=40), st.booleans())
    def test_both_receivers_hear_the_same(
        self, told: list[str], is_secret: bool
    ) -> None:
        self.setUp()
        keys = KEYS if is_secret else None
        terms = evolve(TERMS, keys=keys, other_codecs={8: PCMA})
        streams, ears = self.pair(terms)
        sender = Sender(is_secret=is_secret)
        for what in ("next", "next", *told, "next", "next", "time"):
            if what in ("time", "stall"):
                due = 1 if what == "time" else 9
                self.clock.advance(0.02 * due)
                for stream in streams:
                    stream.tick(self.clock.seconds(), due)
                continue
            if what in ("hold", "resume", "move", "pcma"):
                receives = what != "hold"
                if what == "move":
                    terms = evolve(terms, remote=OTHER)
                elif what == "pcma":
                    terms = evolve(terms, codec=PCMA)
                terms = evolve(terms, receives=receives)
                for stream in streams:
                    stream.agree(terms)
                streams[1]._receiver._usual = -1
                continue
            data, source = sender.packet(what)
            self.clock.advance(0.007)
            for stream in streams:
                stream.rtp_received(data, source)
            self.assertEqual(self.facts(streams[0]), self.facts(streams[1]), what)
            self.assertEqual(ears[0].audio, ears[1].audio, what)
        self.assertEqual(vars(ears[0]), vars(ears[1]))

    def test_a_usual_packet_is_parsed_in_place(self) -> None:
        streams, ears = self.pair(TERMS)
        taken: list[bytes] = []

        def note(data: bytes, address: tuple[str, int]) -> None:
            taken.append(data)

        self.come_to(streams[0], 1)
        self.patch(type(streams[0]._receiver), "_received", lambda _, *a: note(*a))
        for number in range(2, 60):
            self.come_to(streams[0], number)
        self.assertEqual(taken, [])
        self.assertEqual(len(ears[0].audio), 59 * 160)
        streams[0].rtp_received(b"\x80\xc8" + bytes(26), RTCP)
        self.assertEqual(len(taken), 1)

    def come_to(self, stream: RtpStream, number: int) -> None:
        data = rtp.serialize(0, False, number, number * 160, 7, bytes(160))
        stream.rtp_received(data, REMOTE)
