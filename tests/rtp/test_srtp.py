"""SRTP: every profile, and packets that are not valid."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.rtp.keys import (
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
    AES_128_TAG_32,
    AES_128_TAG_80,
    AES_256_TAG_32,
    AES_256_TAG_80,
    SrtpError,
    SrtpKeys,
    SrtpProfile,
)
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.rtp.terms import Terms
from chime_gateway.wire.rtp import packet as rtp
from tests.support.rtp_stream import REMOTE, RTCP, TERMS, Ear, StreamTestCase

_PROFILES = (
    *(AES_128_TAG_80, AES_128_TAG_32, AES_256_TAG_80, AES_256_TAG_32),
    *(AEAD_AES_128_GCM, AEAD_AES_256_GCM),
)


class SrtpTests(StreamTestCase):
    def pair(self, profile: SrtpProfile) -> tuple[Terms, Terms]:
        ours = bytes(range(profile.key_bytes))
        theirs = bytes(range(100, 100 + profile.key_bytes))
        return (
            evolve(TERMS, keys=SrtpKeys(profile, ours, theirs)),
            evolve(TERMS, keys=SrtpKeys(profile, theirs, ours)),
        )

    def test_every_profile_carries_audio_and_reports_and_rejects_all_else(self) -> None:
        for profile in _PROFILES:
            near, far = self.pair(profile)
            self.ear = Ear()
            a, b = self.new_stream(near), self.new_stream(far)
            del self.sent[:]
            a.play(b"\x21" * 160)
            a.tick(self.clock.seconds(), 1)
            packet = self.sent[0][0]
            self.assertEqual(len(packet), 172 + profile.tag_bytes)
            self.assertNotIn(b"\x21" * 8, packet)
            b.rtp_received(packet, REMOTE)
            self.assertEqual(self.ear.audio, b"\x21" * 160)
            b.rtp_received(packet, REMOTE)  # a repeated packet is a replay
            b.rtp_received(packet[:-1] + b"\0", REMOTE)
            b.rtp_received(rtp.serialize(0, False, 9, 9, 9, b"\0" * 160), REMOTE)
            self.assertEqual(b.stats.dropped["srtp"], 3)
            del self.reports[:]
            a.stop()
            b.rtcp_received(self.reports[0][0], RTCP)
            self.assertEqual(b.stats.dropped["rtcp"], 0)
            b.rtcp_received(b"\x80\xc9\0\1\0\0\0\1" * 4, RTCP)
            self.assertEqual(b.stats.dropped["rtcp"], 1)

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 0xFFFF), st.lists(st.integers(0, 300), max_size=60), st.data()
    )
    def test_rollovers_are_counted_right_whatever_comes_first(
        self, first: int, came: list[int], data: st.DataObject
    ) -> None:
        near, far = self.pair(data.draw(st.sampled_from(_PROFILES)))
        assert near.keys is not None and far.keys is not None
        sender, receiver = SrtpCodec(near.keys), SrtpCodec(far.keys)
        # Any first number, most often one near a rollover.
        first = data.draw(st.sampled_from([first, 0xFFFF - first % 300, first % 300]))
        packets = [
            sender.protect(
                rtp.serialize(0, False, (first + n) & 0xFFFF, n, 7, bytes(160))
            )
            for n in range(301)
        ]
        # Lost, reordered within the window, and duplicated.
        order = sorted(came, key=lambda n: n + data.draw(st.integers(0, 40)))
        seen: set[int] = set()
        for number in order:
            if number in seen:
                self.assertRaises(SrtpError, receiver.unprotect, packets[number])
                continue
            seen.add(number)
            plain = rtp.parse(receiver.unprotect(packets[number]))
            self.assertEqual(plain.timestamp, number)
        forged = packets[0][:-1] + bytes([packets[0][-1] ^ 1])
        self.assertRaises(SrtpError, receiver.unprotect, forged)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 6), st.integers(0, 0xFFFF), st.booleans())
    def test_a_new_key_may_keep_or_reset_the_rollover_count(
        self, rollovers: int, number: int, counts_on: bool
    ) -> None:
        near, far = self.pair(AES_128_TAG_80)
        assert near.keys is not None and far.keys is not None
        sender = SrtpCodec(near.keys)
        at = rollovers * 0x10000 + number
        if counts_on:
            # So that its count is the same as under the previous key.
            for passed in range(at % 0x6000, at, 0x6000):
                sender.protect(rtp.serialize(0, False, passed & 0xFFFF, 0, 7, b""))
        receiver = SrtpCodec(far.keys, 7, rollovers)
        for step in range(1, 70):
            packet = rtp.serialize(0, False, (at + step) & 0xFFFF, step, 7, bytes(160))
            plain = receiver.unprotect(sender.protect(packet))
            self.assertEqual(plain, packet)

    def test_a_source_that_keeps_its_count_under_a_new_key_is_heard(self) -> None:
        near, far = self.pair(AES_128_TAG_80)
        assert near.keys is not None and far.keys is not None
        stream = self.new_stream(far)
        sender = SrtpCodec(near.keys)
        number = 0
        for number in range(0x7000, 0x38000, 1000):
            data = rtp.serialize(0, False, number & 0xFFFF, number * 160, 7, bytes(160))
            stream.rtp_received(sender.protect(data), REMOTE)
        again = SrtpKeys(AES_128_TAG_80, near.keys.remote, near.keys.local)
        sender = SrtpCodec(evolve(again, local=bytes(30)))
        for passed in range(0, number, 0x6000):
            sender.protect(rtp.serialize(0, False, passed & 0xFFFF, 0, 7, b""))
        keys = SrtpKeys(AES_128_TAG_80, near.keys.local, bytes(30))
        stream.agree(evolve(TERMS, keys=keys))
        before = stream.stats.packets_in
        for at in range(number + 1, number + 11):
            data = rtp.serialize(0, False, at & 0xFFFF, at * 160, 7, bytes(160))
            stream.rtp_received(sender.protect(data), REMOTE)
        self.assertEqual(stream.stats.packets_in, before + 10)

    def test_a_key_of_another_size_is_rejected(self) -> None:
        near, _ = self.pair(AES_256_TAG_80)
        _, far = self.pair(AES_128_TAG_80)
        a, b = self.new_stream(near), self.new_stream(far)
        del self.sent[:]
        a.tick(self.clock.seconds(), 1)
        b.rtp_received(self.sent[0][0], REMOTE)
        self.assertEqual(b.stats.dropped["srtp"], 1)
