"""
The peak memory of a turn of the gateway's reactor: copies need memory, and so does a
buffer that is longer than the data that is read into it.

The frames of a turn are processed one after the other.  So the peak is that of one
frame, together with the data that is sent after all reads.
"""

from __future__ import annotations

import gc
import tracemalloc
from statistics import median
from typing import ClassVar, Final

from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.util import suppress as suppressing

from tests.counts.world import World

CALLS: Final = 8
BEATS: Final = 25

#: Limit for a frame of 160 bytes: a read of 4 KiB, and some copies of 400 bytes.
#: Twisted would allocate 64 KiB for each read, and 32 KiB more with TLS.
MOST_BYTES: Final = 9_000

#: At the beat nothing is read.
MOST_BYTES_AT_BEAT: Final = 4_000


class BytesTests(SynchronousTestCase):
    suppress: ClassVar = [
        suppressing(message="Passing pyOpenSSL", category=DeprecationWarning)
    ]

    def _bytes_of_a_turn(self, world: World) -> int:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        world.gateway.turn()
        _, peak = tracemalloc.get_traced_memory()
        return peak - before

    def _taken(self, carrier: str, agent: str) -> list[float]:
        """Return the medians for callers' frames, for agents' frames, and at a beat."""
        world = World(self, carrier, agent, CALLS)
        turns: list[list[int]] = []
        was_on = gc.isenabled()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(BEATS):
                world.callers_speak()
                turn = [self._bytes_of_a_turn(world)]
                world.agents_speak()
                turn.append(self._bytes_of_a_turn(world))
                world.gateway_is_due()
                turn.append(self._bytes_of_a_turn(world))
                world.others_hear()
                turns.append(turn)
        finally:
            tracemalloc.stop()
            if was_on:
                gc.enable()
        return [median(found) for found in zip(*turns, strict=True)]

    def _assert_taken(self, carrier: str, agent: str) -> None:
        found = self._taken(carrier, agent)
        most = (MOST_BYTES, MOST_BYTES, MOST_BYTES_AT_BEAT)
        for what, taken, ceiling in zip(
            ("caller to agent", "agent to caller", "beat"), found, most, strict=True
        ):
            self.assertLessEqual(taken, ceiling, f"{what}: bytes at once")

    def test_a_media_stream(self) -> None:
        self._assert_taken("stream", "websocket")

    def test_an_agent_behind_tls(self) -> None:
        self._assert_taken("stream", "tls")

    def test_sip_with_srtp(self) -> None:
        self._assert_taken("srtp", "websocket")

    def test_an_agent_over_webrtc(self) -> None:
        self._assert_taken("stream", "webrtc")
