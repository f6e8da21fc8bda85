"""Which sources are accepted: random schedules, and each rule on its own."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, note, settings
from hypothesis import strategies as st

from chime_gateway.rtp.keys import AES_128_TAG_80, SrtpKeys
from chime_gateway.rtp.latch import STRANGER_SECONDS
from tests.support.rtp_sources import PLACES, STRANGERS, Line, Phase
from tests.support.rtp_stream import REMOTE, TERMS, StreamTestCase

_KEYS = SrtpKeys(AES_128_TAG_80, bytes(range(30)), bytes(range(50, 80)))

_phases = st.lists(
    st.builds(
        Phase,
        kind=st.sampled_from(["talk", "rebind", "rebind", "anew", "mute", "reinvite"]),
        frames=st.integers(0, 40),
        place=st.integers(0, len(PLACES) - 1),
        lost=st.integers(0, 8),
        attackers=st.integers(0, 4),
        is_steady=st.booleans(),
    ),
    max_size=10,
)


class LatchTests(StreamTestCase):
    def advance(self, seconds: float) -> float:
        self.clock.advance(seconds)
        return self.clock.seconds()

    def line(self, seed: int = 1, keys: SrtpKeys | None = None) -> Line:
        self.setUp()
        return Line(self.stream, self.ear, self.advance, seed, keys)

    @settings(max_examples=60, deadline=None)
    @given(_phases, st.integers(0, 2**32), st.booleans())
    def test_only_the_peer_is_heard_wherever_it_moves(
        self, phases: list[Phase], seed: int, is_secure: bool
    ) -> None:
        note(f"{phases} {seed} {is_secure}")
        line = self.line(seed, _KEYS if is_secure else None)
        line.run(Phase("talk", 3))
        muted = 0
        for phase in phases:
            # A source that sends nothing, or is not accepted, is silent.
            is_talk = phase.kind == "talk" and phase.frames > phase.lost
            is_mute = phase.kind in ("mute", "talk") and not is_talk
            muted = muted + phase.frames if is_mute else 0
            if muted * 0.02 < STRANGER_SECONDS - 0.2:
                line.run(phase)
        line.run(Phase("talk", 12))
        self.assertEqual(line.missing(), 0)
        self.assertFalse(line.is_stranger_heard())
        self.assertFalse({to for _, to in self.sent} & set(STRANGERS))
        self.assertEqual(self.sent[-1][1], line.voice.place)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 400), st.integers(0, 2**32))
    def test_the_named_host_is_accepted_after_silence_and_the_named_address_again(
        self, silent_frames: int, seed: int
    ) -> None:
        place = STRANGERS[0]
        line = self.line(seed)
        line.run(Phase("talk", 20))
        old, line.voice = line.voice, line.new_voice(place)
        for _ in range(silent_frames):
            self.tick()
        heard = len(self.ear.audio) - self.ear.filled
        line.run(Phase("talk", 4))
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.assertEqual(len(self.ear.audio) - self.ear.filled, heard)
        line.run(Phase("talk", 150))
        self.assertEqual(self.sent[-1][1], place)
        # The named address is back: it takes precedence over a learnt one.
        line.voice = old
        line.run(Phase("talk", 3, attackers=1))
        self.assertEqual(self.sent[-1][1], REMOTE)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 900), st.integers(0, 2**32), st.booleans())
    def test_another_host_is_never_accepted_once_a_source_was_heard(
        self, silent_frames: int, seed: int, is_behind_nat: bool
    ) -> None:
        line = self.line(seed)
        line.voice.place = PLACES[2] if is_behind_nat else REMOTE
        line.run(Phase("talk", 30))
        old, line.voice = line.voice, line.new_voice(STRANGERS[1])
        heard = len(self.ear.audio) - self.ear.filled
        self.tick(silent_frames)
        line.run(Phase("talk", 200))
        self.assertEqual(self.sent[-1][1], old.place)
        self.assertEqual(len(self.ear.audio) - self.ear.filled, heard)

    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(0, 400),
        st.integers(0, 2**32),
        st.booleans(),
        st.sampled_from([2, 3]),
    )
    def test_after_a_right_description_a_new_one_admits_no_strangers(
        self, silent_frames: int, seed: int, is_behind_nat: bool, named: int
    ) -> None:
        line = self.line(seed)
        line.voice.place = PLACES[2] if is_behind_nat else REMOTE
        line.run(Phase("talk", 30))
        self.stream.agree(evolve(TERMS, remote=PLACES[named]))
        for _ in range(silent_frames):
            self.tick()
        # A new source, which is silent at first, while others send.
        line.voice = line.new_voice(STRANGERS[1])
        heard = len(self.ear.audio) - self.ear.filled
        line.run(Phase("talk", 60))
        if is_behind_nat:
            # The control: a source that was learnt may have to be learnt again.
            self.assertEqual(self.sent[-1][1], STRANGERS[1])
            return
        self.assertEqual(len(self.ear.audio) - self.ear.filled, heard)
        self.assertEqual(self.sent[-1][1], PLACES[named])
        line.voice = line.new_voice(PLACES[named])
        line.run(Phase("talk", 10))
        self.assertEqual(len(self.ear.audio) - self.ear.filled, heard + 1600)

    def test_before_any_audio_an_address_behind_nat_is_learnt_soon(self) -> None:
        line = self.line()
        line.voice.place = PLACES[2]
        line.run(Phase("mute", 3))
        line.run(Phase("talk", 9))
        self.assertEqual(self.sent[-1][1], PLACES[2])
        heard = len(self.ear.audio) - self.ear.filled
        line.run(Phase("talk", 10))
        self.assertEqual(len(self.ear.audio) - self.ear.filled, heard + 1600)

    def test_after_a_new_description_the_old_source_is_heard_but_not_followed(
        self,
    ) -> None:
        line = self.line()
        line.run(Phase("talk", 10))
        self.stream.agree(evolve(TERMS, remote=PLACES[3]))
        heard = len(self.ear.audio) - self.ear.filled
        for _ in range(50):
            line.run(Phase("talk", 1))
            self.assertEqual(self.sent[-1][1], PLACES[3])
        self.assertEqual(len(self.ear.audio) - self.ear.filled, heard + 50 * 160)
        received = self.stream.stats.packets_in
        line.run(Phase("talk", 150))
        # No other source came: it is accepted again, and nothing is counted twice.
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.assertEqual(self.stream.stats.packets_in, received + 150)
        self.assertEqual(self.stream.refresh_stats().duplicates, 0)

    @settings(max_examples=20, deadline=None)
    @given(st.booleans(), st.integers(1, 30), st.integers(0, 30))
    def test_music_on_hold_is_never_heard(
        self, is_elsewhere: bool, held: int, late: int
    ) -> None:
        line = self.line()
        line.run(Phase("talk", 10))
        music = PLACES[1] if is_elsewhere else REMOTE
        player = line.new_voice(music)

        def play(frames: int) -> None:
            for _ in range(frames):
                self.stream.rtp_received(player.packet(b"\x22" * 160), music)
                self.tick()

        self.stream.agree(evolve(TERMS, remote=music, receives=False))
        play(held)
        # The peer is back, at another address, and the player ends late.
        self.stream.agree(evolve(TERMS, remote=PLACES[3]))
        play(late)
        line.voice = line.new_voice(PLACES[3])
        line.run(Phase("talk", 10))
        self.assertNotIn(b"\x22" * 40, self.ear.audio)
        self.assertEqual(self.sent[-1][1], PLACES[3])

    def test_numbers_that_cannot_follow_are_another_source(self) -> None:
        line = self.line()
        line.run(Phase("talk", 10))
        line.voice.place = PLACES[1]
        line.voice.number = (line.voice.number + 20000) & 0xFFFF
        line.run(Phase("talk", 100))
        self.assertEqual(self.sent[-1][1], REMOTE)

    def test_a_copy_of_the_stream_elsewhere_moves_nothing(self) -> None:
        line = self.line()
        line.run(Phase("talk", 10))
        for _ in range(50):
            line.run(Phase("talk", 1))
            copy = evolve(line.voice, place=PLACES[1])
            for _ in range(3):
                self.stream.rtp_received(copy.packet(b"\x22" * 160), copy.place)
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.assertNotIn(b"\x22" * 40, self.ear.audio)
