"""A call that runs out of memory at any point ends, and the others continue."""

from __future__ import annotations

import contextlib
import json
from types import FrameType
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import Codec
from chime_gateway.call.reports.events import CallEnded, CallEvent
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.carriers.media_stream.leg import StreamLeg
from chime_gateway.media.metronome import Metronome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from chime_gateway.wire.media_stream.raw import RawStream
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingMeasures,
    RecordingTools,
)
from tests.support.no_memory import NoMemory

#: Steps between the service and the call, where neither owns the session.
HANDING_OVER: Final = "joined"

FRAME: Final = b"\x7f" * 320

#: More than the number of steps in the scene.
MOST: Final = 3000


def is_spared(frame: FrameType) -> bool:
    return frame.f_code.co_name == HANDING_OVER


class File:
    fault = ""

    def __init__(self, call_id: str) -> None:
        self.location = call_id
        self.finished = 0

    def write(self, caller: bytes, agent: bytes) -> None: ...

    def finish(self) -> None:
        self.finished += 1


class Files:
    def __init__(self) -> None:
        self.opened: list[File] = []

    def open(self, call_id: str, codec: Codec, started_at: float) -> File:
        self.opened.append(File(call_id))
        return self.opened[-1]


class Socket:
    """@ivar code: the first code that it was closed with."""

    code: int | None = None

    def __init__(self) -> None:
        self.sent = 0

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        self.sent += 1
        return True

    place = ""

    def accepted(self) -> None:
        """Ignore it: nothing is counted here."""

    def close(self, code: int, reason: str) -> None:
        self.code = self.code or code


class Line:
    """A caller on a media stream, with the guards of socket and batch."""

    def __init__(self, world: World) -> None:
        self.socket = Socket()
        self.is_lost = False
        self.leg = StreamLeg(
            RawStream(),
            self.socket,
            world.table,
            is_authorized=True,
            check_token=lambda _: True,
            clock=world.clock,
            start_seconds=5.0,
        )

    def say(self, payload: Any) -> None:
        is_binary = isinstance(payload, bytes)
        data = payload if is_binary else json.dumps(payload).encode()
        if self.is_lost:
            return
        try:
            # Like LeanWebSocket and BatchReader.
            try:
                self.leg.message_received(data, is_binary)
            except Exception:
                self.leg.failed()
        except Exception:
            self.is_lost = True
            self.leg.socket_closed(None, False)


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        self.files = Files()
        self.events: list[CallEvent] = []
        ids = iter(("other", "victim"))
        self.table = CallTable(
            self.agents,
            roster=Roster(agents={"default": AgentProfile(greeting="Hello.")}),
            limits=Limits(),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            tools=RecordingTools(self.log),
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: next(ids),
            recordings=self.files,
            listeners=[self.events.append],
        )
        self.lines = [Line(self)]
        self.session_logs: list[Log] = []
        self.begin(self.lines[0])
        self.answer()

    def begin(self, line: Line) -> None:
        line.say({"event": "start", "start": {"call_id": "x", "from": "+15551234"}})

    def answer(self) -> None:
        if len(self.agents.opening) > len(self.session_logs):
            log: Log = []
            opening = self.agents.opening[-1]
            if opening.called:
                # The call is over, and has cancelled it.
                log.append(("agent.close",))
            self.session_logs.append(log)
            if not opening.called:
                opening.callback(RecordingAgent(log))

    def told(self, *tell: tuple[Any, ...]) -> None:
        """Report events of the agent's session, with the guard of its socket."""
        for name, *arguments in tell:
            events: Any = self.agents.events[-1]
            try:
                getattr(events, name)(*arguments)
            except Exception:
                # Like AzureSession, it closes itself.
                self.session_logs[-1].append(("agent.close",))
                events.agent_lost("the agent's session failed here")

    def pass_seconds(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            for line in self.lines:
                line.say(FRAME)
            with contextlib.suppress(MemoryError):  # like the reactor
                self.clock.advance(0.02)

    def scene(self) -> None:
        """Run a call from its first message to its last."""
        try:
            line = Line(self)
        except MemoryError:
            return  # the socket is dropped while it opens
        self.lines.append(line)
        self.begin(line)
        line.say(FRAME)
        self.answer()
        if len(self.agents.events) < 2:
            return
        self.told(
            ("response_started", "r"),
            ("agent_audio", "r", "i", 0, FRAME * 40),
            ("agent_said", "i", "Hello there", True),
        )
        self.pass_seconds(0.7)
        self.told(
            ("speech_started", "u"),
            ("speech_stopped", "u"),
            ("caller_said", "u", "Hi"),
            ("response_done", "r", "cancelled", "", {}),
        )
        line.say({"event": "dtmf", "dtmf": {"digit": "5"}})
        self.pass_seconds(0.3)
        line.say({"event": "stop"})
        self.pass_seconds(0.1)


class OutOfMemoryTests(SynchronousTestCase):
    def check_one(self, at: int) -> str:
        """@return: where memory ran out; empty: the scene was over before."""
        world = World()
        no_memory = NoMemory(at, is_spared)
        no_memory.run(world.scene)
        where = no_memory.where
        # Let everything that is left run out.
        world.pass_seconds(0.5)
        live = {call.record.call_id for call in world.table.calls()}
        self.assertNotIn("victim", live, where)
        over = [record.call_id for record in world.measures.records]
        self.assertEqual(len(over), len(set(over)), where)
        ended = [e.call_id for e in world.events if isinstance(e.payload, CallEnded)]
        for record in world.measures.records:
            self.assertIsNotNone(record.ending, where)
            self.assertEqual(ended.count(record.call_id), 1, where)
        for file in world.files.opened:
            if file.location not in live:
                self.assertGreater(file.finished, 0, where)
        # The peer learns that the call is over, and at most one call is affected.
        if len(world.lines) > 1:
            self.assertIsNotNone(world.lines[-1].socket.code, where)
        if "other" not in live:
            self.assertIn("other", over, where)
            self.assertIsNotNone(world.lines[0].socket.code, where)
            self.assertIn(("agent.close",), world.session_logs[0], where)
        else:
            world.lines[0].say({"event": "stop"})
        if len(world.session_logs) > 1 and "victim" in over:
            self.assertIn(("agent.close",), world.session_logs[1], where)
        self.assertEqual(world.table.calls(), [], where)
        world.clock.advance(300)
        timers = [c for c in world.clock.getDelayedCalls() if c.active()]
        self.assertEqual(timers, [], where)
        self.flushLoggedErrors()
        return where

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, MOST))
    def test_wherever_memory_runs_out_the_call_ends_and_others_continue(
        self, at: int
    ) -> None:
        self.check_one(at)
