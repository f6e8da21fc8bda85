"""However audio is cut into pieces, no sample is ever made of parts of two."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, note, settings
from hypothesis import strategies as st

from chime_gateway.audio import L16_16000, L16_24000, PCMU, Codec
from chime_gateway.codec.registry import decode
from tests.media.test_pump import PumpTestCase

#: Samples so quiet that a misplaced byte is a hundred times as loud.
_QUIET = b"\x03\x00" * 4000
_LOUDEST = 64

_PIECES = st.lists(
    st.tuples(
        st.sampled_from(("item", "other item", "next item", "interrupt", "done")),
        st.integers(1, 700),
    ),
    min_size=2,
    max_size=12,
)


class WholeSamplesTests(PumpTestCase):
    def loudest(self, codec: Codec, audio: bytes) -> int:
        samples = decode(codec, audio[: len(audio) - len(audio) % codec.sample_bytes])
        return int(abs(samples.astype(int)).max(initial=0))

    @settings(max_examples=60)
    @given(st.sampled_from((PCMU, L16_16000, L16_24000)), _PIECES)
    def test_the_agents_samples_stay_whole_after_any_cuts(
        self, codec: Codec, pieces: Sequence[tuple[str, int]]
    ) -> None:
        note(f"{codec.name} {pieces}")
        self.codec, self.agent_codec = codec, L16_24000
        self.setUp()
        self.pump.join(self.agent)
        number = 0
        sent = {"item": 0, "other item": 0}
        for what, length in pieces:
            if what in sent:
                at = sent[what]
                sent[what] += length
                audio = _QUIET[at % 2 :][:length]
                self.speak(f"{what} {number}", audio, f"response {number}")
                continue
            if what == "interrupt":
                self.pump.interrupt()
            elif what == "done":
                self.pump.agent_audio_done(f"item {number}")
            if what != "interrupt":
                number += 1  # no more comes of a complete item
                sent = dict.fromkeys(sent, 0)
            self.run_for(0.1)
        self.run_for(0.1)
        self.assertLessEqual(self.loudest(codec, self.leg.played), _LOUDEST)

    @settings(max_examples=40)
    @given(
        st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=12),
        st.integers(0, 12),
        st.booleans(),
    )
    def test_the_callers_samples_stay_whole_after_any_drops(
        self, pieces: Sequence[tuple[int, bool]], join_at: int, is_kept: bool
    ) -> None:
        self.codec, self.agent_codec = L16_16000, L16_24000
        self.setUp()
        if not is_kept:
            self.pump.detach_agent()
        sent = 0
        for number, (length, has_gap) in enumerate(pieces):
            if number == join_at:
                self.pump.join(self.agent)
            self.pump.caller_audio((_QUIET * 3)[sent % 2 :][:length])
            sent += length
            self.run_for(0.5 if has_gap else 0.02)
        self.assertLessEqual(self.loudest(L16_24000, self.agent.audio), _LOUDEST)
