"""
The cost of a frame in reproducible numbers, so that it cannot grow unnoticed.

In each row, calls of one kind are active, and each sends and receives a frame every
20 ms.  The work of the gateway's reactor is counted in three turns: when all callers'
frames have arrived, when all agents' frames have arrived, and at the beat between them.
The counts are divided by the number of frames; this includes a share of what is done
once for each turn.

A failing row lists the called functions.  If the path has become longer on purpose,
raise the ceiling, and say why in the commit.  If it has become shorter, lower the
ceiling: one that is far above its count fails as well, and the message tells the new
values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.util import suppress as suppressing

from tests.counts.counting import Counts
from tests.counts.world import World

CALLS: Final = 8
BEATS: Final = 50

#: How far a ceiling may be above its count, for calls and for system calls.
SLACK: Final = (1.0, 0.5)

#: Maximum number of attempts: a frame that is late on loopback spoils a count.
_TRIES: Final = 5

_FRAME_BYTES: Final = 160


@frozen
class Hop:
    """
    The ceilings for one frame.

    @ivar calls: calls of Python functions.
    @ivar system: system calls.
    """

    calls: float
    system: float


#: By carrier and agent: a caller's frame to its agent, an agent's to its caller, and
#: the beat of 20 ms, at which a leg without a playout buffer, and all RTP, sends.
CEILINGS: Final[Mapping[tuple[str, str], tuple[Hop, Hop, Hop]]] = {
    ("stream", "websocket"): (Hop(16.5, 2.5), Hop(24.0, 2.5), Hop(10.5, 0.25)),
    ("raw", "websocket"): (Hop(16.0, 2.5), Hop(18.0, 1.5), Hop(20.0, 1.25)),
    ("sip", "websocket"): (Hop(15.0, 2.5), Hop(18.0, 1.5), Hop(20.0, 1.5)),
    ("srtp", "websocket"): (Hop(16.0, 2.5), Hop(18.0, 1.5), Hop(21.0, 1.5)),
    ("webrtc", "websocket"): (Hop(17.0, 2.5), Hop(18.0, 1.5), Hop(22.0, 1.5)),
    ("stream", "tls"): (Hop(21.5, 2.5), Hop(29.0, 2.5), Hop(10.5, 0.25)),
    ("wss", "websocket"): (Hop(21.5, 2.5), Hop(29.0, 2.5), Hop(10.5, 0.25)),
    ("stream", "webrtc"): (Hop(13.5, 1.5), Hop(30.0, 2.5), Hop(21.5, 1.25)),
}

HOPS: Final = ("caller to agent", "agent to caller", "beat")


class FrameCountTests(SynchronousTestCase):
    # A warning in Twisted's own code for certificates of an endpoint.
    suppress: ClassVar = [
        suppressing(message="Passing pyOpenSSL", category=DeprecationWarning)
    ]

    def _beats(self, world: World) -> tuple[Counts, Counts, Counts]:
        to_agent, to_caller, beat = Counts(), Counts(), Counts()
        for _ in range(BEATS):
            world.callers_speak()
            with to_agent.counting():
                world.gateway.turn()
            world.agents_speak()
            with to_caller.counting():
                world.gateway.turn()
            world.gateway_is_due()
            with beat.counting():
                world.gateway.turn()
            world.others_hear()
        return to_agent, to_caller, beat

    def _count(self, carrier: str, agent: str) -> tuple[Counts, Counts, Counts]:
        world = World(self, carrier, agent, CALLS)
        for _ in range(_TRIES):
            before = world.heard_bytes()
            counts = self._beats(world)
            if world.heard_bytes() - before == BEATS * CALLS * _FRAME_BYTES:
                return counts
        self.fail("some frames of the callers did not arrive in time")

    def _assert_counts(self, carrier: str, agent: str) -> None:
        frames = BEATS * CALLS
        found = self._count(carrier, agent)
        faults, to_be = [], []
        for name, counts, most in zip(
            HOPS, found, CEILINGS[carrier, agent], strict=True
        ):
            calls, system = counts.a_frame(frames)
            to_be.append(
                f"Hop({_ceiling(calls, 0.5, 0.4)}, {_ceiling(system, 0.25, 0.1)})"
            )
            fault = _fault(name, "Python calls", calls, most.calls, SLACK[0])
            fault += _fault(name, "system calls", system, most.system, SLACK[1])
            if fault:
                faults.append(f"{fault}{counts.listed(frames)}\n")
        if faults:
            row = f'    ("{carrier}", "{agent}"): ({", ".join(to_be)}),'
            self.fail("\n".join(("", *faults, "The row for these counts is:", row)))

    def test_a_media_stream(self) -> None:
        self._assert_counts("stream", "websocket")

    def test_a_raw_stream(self) -> None:
        self._assert_counts("raw", "websocket")

    def test_sip(self) -> None:
        self._assert_counts("sip", "websocket")

    def test_sip_with_srtp(self) -> None:
        self._assert_counts("srtp", "websocket")

    def test_a_caller_over_webrtc(self) -> None:
        self._assert_counts("webrtc", "websocket")

    def test_an_agent_behind_tls(self) -> None:
        self._assert_counts("stream", "tls")

    def test_a_media_stream_behind_tls(self) -> None:
        self._assert_counts("wss", "websocket")

    def test_an_agent_over_webrtc(self) -> None:
        self._assert_counts("stream", "webrtc")


def _fault(hop: str, what: str, count: float, ceiling: float, slack: float) -> str:
    """Return a line about an exceeded or excessive ceiling; empty: there is none."""
    if count > ceiling:
        return f"{hop}: {count:.2f} {what} a frame, and the ceiling is {ceiling}\n"
    if count < ceiling - slack:
        return f"{hop}: {count:.2f} {what} a frame: lower the ceiling, now {ceiling}\n"
    return ""


def _ceiling(count: float, step: float, spare: float) -> float:
    """Round up, with a reserve: some work is done only a few times a second."""
    return math.ceil((count + spare) / step) * step
