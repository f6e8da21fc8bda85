"""Sessions of one call may use different codecs: over WebRTC always PCMU."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import L16_16000, L16_24000, PCMA, PCMU, Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode
from chime_gateway.codec.stream import transcoder
from chime_gateway.media.pump import MediaPump
from chime_gateway.media.stats import MediaStats
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from chime_gateway.sim.caller.compare import correlation
from tests.support.fakes import Log, RecordingAgent, RecordingLeg, RecordingSessions
from tests.whole_calls.test_media_stream import LONG, phrase

LEGS = (PCMU, PCMA, L16_16000, L16_24000)
SESSIONS = (PCMU, PCMA, L16_24000)


def heard(codec: Codec, audio: bytes) -> Samples:
    """Decode audio of any codec at one sample rate."""
    change = transcoder(codec, PCMU)
    return decode(PCMU, audio if change is None else change(audio))


class _Call:
    """Accepts new sessions, and ignores all reports."""

    pump: MediaPump
    line: Any

    def agent_changed(self, deployment: str) -> None:
        self.pump.join(self.line)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class CodecTests(SynchronousTestCase):
    @settings(max_examples=5, deadline=None)
    @example(L16_16000, [PCMU, L16_24000, PCMU])
    @example(L16_16000, [L16_24000, L16_24000])
    @given(st.sampled_from(LEGS), st.lists(st.sampled_from(SESSIONS), min_size=2))
    def test_unheard_audio_reaches_the_next_session_in_its_own_codec(
        self, leg_codec: Codec, codecs: list[Codec]
    ) -> None:
        clock, call = Clock(), _Call()
        log: Log = []
        sessions = RecordingSessions(log)
        opening = Lines(sessions, Limits()).open(
            AgentProfile(), leg_codec, call, clock.seconds, 0.0
        )
        agent = RecordingAgent(log, codecs[0])
        sessions.opening[0].callback(agent)
        call.line = line = self.successResultOf(opening)
        call.pump = pump = MediaPump(
            *(RecordingLeg(log, codec=leg_codec), MediaStats(), clock.seconds),
            keep_early=False,
            max_queue_seconds=10.0,
        )
        pump.join(line)
        said = phrase(leg_codec, *LONG)
        size = leg_codec.frame_bytes

        def speak() -> None:
            for at in range(0, len(said) // size * size, size):
                pump.caller_audio(said[at : at + size])
                clock.advance(0.02)
                line.tick(clock.seconds())

        speak()
        for codec in codecs[1:3]:
            agent.audio = b""
            sessions.events[-1].agent_lost("it is gone")
            speak()
            while sessions.opening[-1].called:
                clock.advance(0.02)
                line.tick(clock.seconds())
            agent = RecordingAgent(log, codec)
            sessions.opening[-1].callback(agent)
            self.assertIs(line.traits.codec, codec)
            expected = heard(leg_codec, said)[400:-400]
            score, _ = correlation(expected, heard(codec, agent.audio))
            self.assertGreater(score, 0.95)
            # From now on it gets what is said, at once.
            agent.audio = b""
            speak()
            score, _ = correlation(expected, heard(codec, agent.audio))
            self.assertGreater(score, 0.95)
