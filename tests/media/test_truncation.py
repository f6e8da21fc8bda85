"""An agent is told what was not heard, and nothing else."""

from __future__ import annotations

from hypothesis import given, note, settings
from hypothesis import strategies as st

from chime_gateway.audio import L16_16000, L16_24000, PCMU, Codec
from tests.media.test_pump import FRAME, PumpTestCase

CODECS = (PCMU, L16_16000, L16_24000)


class TruncationTests(PumpTestCase):
    @settings(max_examples=80)
    @given(
        st.sampled_from(CODECS),
        st.sampled_from((PCMU, L16_24000)),
        st.booleans(),
        st.integers(1, 200),
        st.sampled_from(("done", "response", "open")),
        st.integers(-30, 60),
    )
    def test_truncation_is_right_whenever_the_caller_speaks(
        self,
        codec: Codec,
        agent_codec: Codec,
        buffers: bool,
        length_ms: int,
        end: str,
        after_ms: int,
    ) -> None:
        """Around the end of the audio, and in the silence that completes a frame."""
        note(f"{codec.name} {agent_codec.name}")
        self.codec, self.agent_codec, self.buffers = codec, agent_codec, buffers
        self.setUp()
        heard: list[tuple[str, int, int, bool]] = []
        self.pump._play_queue._observe_heard = lambda *told: heard.append(told)
        self.pump.join(self.agent)
        self.pump.response_started("r1")
        self.speak("i1", bytes(agent_codec.bytes_per_second * length_ms // 1000))
        if end == "done":
            self.pump.agent_audio_done("i1")
        elif end == "response":
            self.pump.response_done("r1")
        for _ in range(max(0, length_ms + after_ms)):
            self.clock.advance(0.001)
            if round(self.clock.seconds() * 1000) % 20 == 0:
                self.pump.tick(self.clock.seconds(), 1)
        is_cut = self.pump.interrupt()
        truncations = self.truncations()
        for _, played_ms in truncations:
            self.assertTrue(played_ms == 0 or played_ms < length_ms)
        if end == "open":
            self.assertTrue(is_cut)
            self.speak("i1", FRAME)
            self.speak("i1", FRAME)
            # Now some audio was not heard, and this is reported once.
            self.assertEqual(len(self.truncations()), 1)
            return
        ((_, heard_ms, spoken_ms, was_cut),) = heard
        self.assertEqual(bool(truncations), was_cut)
        self.assertEqual(was_cut, is_cut)
        self.assertEqual(was_cut, heard_ms < spoken_ms)
        self.assertEqual(self.stats.barge_ins, int(was_cut))

    def test_an_item_played_to_its_end_keeps_its_text(self) -> None:
        """A service forgets the text of an item that it is told to truncate."""
        self.pump.join(self.agent)
        self.speak("i1", FRAME + FRAME[:100])
        self.pump.agent_audio_done("i1")
        self.run_for(0.02)
        self.clock.advance(0.013)
        self.assertFalse(self.pump.interrupt())
        self.assertEqual(self.truncations(), [])
