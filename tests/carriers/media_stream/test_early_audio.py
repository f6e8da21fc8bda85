from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.media_stream.early_audio import EARLY_SECONDS, EarlyAudio


class EarlyAudioTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 0.3), st.binary(max_size=4)), max_size=30))
    def test_only_the_latest_audio_is_kept_and_the_rest_is_counted(
        self, came: list[tuple[float, bytes]]
    ) -> None:
        now = 0.0
        early = EarlyAudio(lambda: now)
        sent = b""
        fresh: list[tuple[float, bytes]] = []
        for wait, audio in came:
            now += wait
            early.keep(audio)
            sent += audio
            fresh = [one for one in fresh if now - one[0] <= EARLY_SECONDS]
            fresh = [*fresh, (now, audio)][-10:]
        kept = early.take()
        self.assertEqual(kept, [audio for _, audio in fresh])
        self.assertEqual(early.dropped, len(sent) - len(b"".join(kept)))
        self.assertEqual(early.take(), [])
