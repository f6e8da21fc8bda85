"""
Strangers in an allowed network who send RTP and RTCP into a call that they do not see.

They know its ports, the peer's address and both protocols, but
not its SSRCs and sequence numbers.  What they send, and when the caller is silent, is
random.
"""

from __future__ import annotations

import random

from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp import rtcp
from tests.support.rtp_stream import REMOTE, RTCP, TERMS, StreamTestCase

#: The second is a neighbour at the same carrier, on a host that no description named.
ELSEWHERE = (
    ("198.51.100.66", 4000),
    ("198.51.100.67", 36488),
    ("198.51.100.66", 36489),
)

AUDIO = b"\x22" * 160


@frozen
class Step:
    """
    @ivar what: C{talk}: the caller talks; C{silence}: nothing; else what a stranger
        sends.
    @ivar frames: the duration, in frames.
    """

    what: str
    frames: int
    place: tuple[str, int]


_steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(
            [
                *("talk", "silence", "rtp", "rtp", "numbers", "place", "ssrc", "bare"),
                *("goodbye", "nobody", "report"),
            ]
        ),
        frames=st.sampled_from([1, 5, 40, 200, 400]),
        place=st.sampled_from(ELSEWHERE),
    ),
    max_size=12,
)


class ForgeryTests(StreamTestCase):
    number = odd_number = 1000
    rng = random.Random()

    def talk(self, frames: int) -> None:
        for _ in range(frames):
            self.number += 1
            self.come(self.number)
            self.tick()

    def forge(self, step: Step) -> None:
        """Send one packet of a stranger."""
        stream, place = self.stream, step.place
        known, odd = 7, self.rng.randint(100, 1 << 31)
        ours = rtcp.parse(self.reports[0][0]).ssrc or 0 if self.reports else 1
        report = rtcp.Reception(0)
        block = rtcp.report_block(ours, report, 0, 0.0)
        if step.what == "rtp":
            self.odd_number = (self.odd_number + 1) & 0xFFFF
            data = rtp.serialize(0, False, self.odd_number, 0, 99, AUDIO)
            stream.rtp_received(data, place)
        elif step.what == "numbers":
            # The right SSRC, by chance, with numbers that cannot follow.
            number = (self.number + 20_000 + self.rng.randint(0, 9999)) & 0xFFFF
            stream.rtp_received(rtp.serialize(0, False, number, 0, 7, AUDIO), place)
        elif step.what == "place":
            data = rtcp.receiver_report(known, block) + rtcp.source_description(7, "x")
            self.receive_rtcp(data, place)
        elif step.what == "ssrc":
            data = rtcp.receiver_report(odd, block) + rtcp.source_description(odd, "x")
            self.receive_rtcp(data, RTCP)
        elif step.what == "bare":
            self.receive_rtcp(rtcp.receiver_report(odd, b""), RTCP)
            self.receive_rtcp(rtcp.receiver_report(known, b""), RTCP)
        elif step.what == "goodbye":
            data = rtcp.receiver_report(known, b"") + rtcp.goodbye(known)
            self.receive_rtcp(data, RTCP)
        elif step.what == "nobody":
            # An empty BYE and an empty description name no source.
            for kind in (rtcp.GOODBYE, rtcp.SOURCE_DESCRIPTION):
                self.receive_rtcp(bytes((0x80, kind, 0, 0)) * 2, place)
        elif step.what == "report":
            data = rtcp.sender_report(odd, 1 << 40, 0, 1, 1, block)
            self.receive_rtcp(data, place)

    def receive_rtcp(self, data: bytes, place: tuple[str, int]) -> None:
        stream = self.stream
        self.rng.choice((stream.rtcp_received, stream.rtp_received))(data, place)

    @settings(max_examples=60, deadline=None)
    @given(_steps, st.integers(0, 2**32), st.booleans())
    def test_strangers_are_not_heard_or_followed_and_keep_no_call_alive(
        self, steps: list[Step], seed: int, is_heard: bool
    ) -> None:
        self.setUp()
        self.rng = random.Random(seed)
        self.number = self.odd_number = 1000
        if is_heard:
            self.talk(20)
        heard_at = self.stream.heard_at
        for step in steps:
            if step.what in ("rtp", "numbers", "ssrc") and not is_heard:
                continue  # the stranger would be the first
            for _ in range(step.frames):
                if step.what == "talk":
                    is_heard = True
                    self.talk(1)
                    heard_at = self.stream.heard_at
                    continue
                if step.what != "silence":
                    self.forge(step)
                self.tick()
                self.assertEqual(self.stream.heard_at, heard_at, step)
        self.assertNotIn(AUDIO[:40], self.ear.audio)
        places = {to for _, to in self.sent} | {to for _, to in self.reports}
        self.assertLessEqual(places, {REMOTE, RTCP})
        self.assertIsNone(self.stream.stats.round_trip_seconds)

    def test_reports_of_the_peer_keep_a_held_call_alive(self) -> None:
        """The control: reports of a peer on hold, before and after it sent audio."""
        for talked in (0, 20):
            self.setUp()
            self.talk(talked)
            self.stream.agree(evolve(TERMS, receives=False))
            for _ in range(4):
                self.tick(250)
                data = rtcp.receiver_report(7, b"") + rtcp.source_description(7, "x")
                self.stream.rtcp_received(data, RTCP)
                self.assertEqual(self.stream.heard_at, self.clock.seconds())

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 20), st.booleans(), st.booleans(), st.sampled_from([7, 8]))
    def test_reports_of_a_peer_that_moved_and_is_mute_do_so_too(
        self, talked: int, is_held: bool, is_muxed: bool, ssrc: int
    ) -> None:
        self.setUp()
        self.talk(talked)
        place = ("198.51.100.50", 5000)
        control = place if is_muxed else ("198.51.100.50", 5001)
        terms = evolve(TERMS, remote=place, remote_rtcp=control, receives=not is_held)
        self.stream.agree(terms)

        def say(ssrc: int, source: tuple[str, int]) -> None:
            data = rtcp.receiver_report(ssrc, b"") + rtcp.source_description(ssrc, "x")
            self.receive_rtcp(data, source)

        for _ in range(4):
            self.tick(250)
            say(ssrc, control)
            heard_at = self.clock.seconds()
            self.assertEqual(self.stream.heard_at, heard_at)
            self.tick()
            # Reports from the old address, or of another source at the new one, do not.
            for odd, source in ((7, RTCP), (9, control), (ssrc, ELSEWHERE[0])):
                say(odd, source)
                self.assertEqual(self.stream.heard_at, heard_at)

    def test_reports_from_behind_nat_do_so_too(self) -> None:
        behind = ("198.51.100.80", 1024)
        for number in range(40):
            self.tick()
            self.come(number, source=behind)
        self.tick(200)
        data = rtcp.receiver_report(7, b"") + rtcp.source_description(7, "x")
        self.stream.rtcp_received(data, ("198.51.100.80", 1025))
        self.assertEqual(self.stream.heard_at, self.clock.seconds())
