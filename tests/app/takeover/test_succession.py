from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.takeover.command_line import CommandLine
from chime_gateway.app.takeover.pid_file import PidFile
from chime_gateway.app.takeover.state_file import (
    DONE,
    FAILED,
    STARTING,
    ProcessState,
    StateFile,
)
from chime_gateway.app.takeover.succession import (
    FAULT,
    GO,
    HELLO,
    READY,
    TAKEN,
    UNWANTED,
    Stage,
    Succession,
)
from chime_gateway.net.generations.channel import Channel, Message
from chime_gateway.net.generations.inheritance import VARIABLE, Inheritance
from chime_gateway.net.generations.kin import Kin
from chime_gateway.net.system.service_manager import ServiceManager
from tests.net.generations.test_kin import ClockTurns

SECONDS = 60.0
COMMAND = CommandLine("python", ("python", "-m", "gw"), "/", {"A": "b"})

#: Events: of the successor, of the clock, and requests to this process.
STEPS = (
    *("hello", "fault", "ready", "taken", "wrong", "close", "end", "die"),
    *("a second", "a minute", "ask", "stop"),
)


class Sockets:
    is_held = False

    def hold(self) -> None:
        self.is_held = True

    def release(self) -> None:
        self.is_held = False

    def to_pass_on(self) -> list[Any]:
        return []


class Started:
    """A fake process of the successor, as this process sees it."""

    pid = 5_000_001

    def __init__(self, protocol: Any, end: socket.socket, turns: Any) -> None:
        self.protocol = protocol
        self.has_ended = False
        self.told: list[Message] = []
        self.signals: list[str] = []
        self.channel = Channel(end, turns, self.told.append, lambda: None)
        self.channel.start()
        protocol.transport = self

    def signalProcess(self, name: str) -> None:
        if self.has_ended:
            raise ProcessExitedAlready
        self.signals.append(name)
        if name == "KILL":
            self.die(ProcessTerminated(signal=signal.SIGKILL))

    def die(self, how: Exception) -> None:
        self.channel.close()
        self.end(how)

    def end(self, how: Exception) -> None:
        """End the started process; a daemon keeps its channel."""
        if not self.has_ended:
            self.has_ended = True
            self.protocol.processEnded(Failure(how))


class ProcessReactor(ClockTurns):
    """A reactor that starts processes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Started] = []
        self.inherited: list[Inheritance] = []

    def spawnProcess(
        self,
        protocol: Any,
        executable: str,
        args: list[str],
        env: Mapping[str, str],
        path: str,
        childFDs: Mapping[int, Any],
    ) -> None:
        inherited = Inheritance.of_text(env[VARIABLE])
        self.inherited.append(inherited)
        end = socket.socket(fileno=os.dup(childFDs[inherited.predecessor.descriptor]))
        end.setblocking(False)
        self.started.append(Started(protocol, end, self))


class Scene:
    def __init__(self) -> None:
        self.reactor = ProcessReactor()
        self.sockets = Sockets()
        self.log: list[str] = []
        self.state = StateFile(None, ProcessState(1, 1, "older2", "1", "i"))
        kin = self.kin = Kin("older2", self.reactor)
        kin.handing_over.append(lambda peer: peer.send("sip.owned"))
        self.succession = Succession(
            kin,
            self.sockets,  # type: ignore[arg-type]
            self.reactor,
            command=COMMAND,
            pid_file=PidFile({}),
            state=self.state,
            service_manager=ServiceManager(""),
            write=None,
            seconds=SECONDS,
            handed_over=lambda: self.log.append("handed over"),
            taken_back=lambda: self.log.append("taken back"),
        )

    @property
    def newest(self) -> Started:
        return self.reactor.started[-1]

    def turn(self) -> None:
        self.reactor.take(3)

    def step(self, name: str) -> None:
        send = self.newest.channel.send if self.reactor.started else lambda *_: False
        match name:
            case "hello":
                send(HELLO, {"pid": 5_000_002})
            case "fault":
                send(FAULT, {"why": "a setting"})
            case "ready" | "taken":
                send(READY if name == "ready" else TAKEN)
            case "wrong":
                send("process.other", {"pid": "x"})
            case "ask":
                self.succession.ask()
            case "stop":
                self.succession.abandon("told to stop")
            case "a second" | "a minute":
                self.reactor.advance(1 if name == "a second" else 61)
            case "close" if self.reactor.started:
                self.newest.channel.close()
            case "end" if self.reactor.started:
                self.newest.end(ProcessDone(0))
            case "die" if self.reactor.started:
                self.newest.die(ProcessTerminated(exitCode=3))
        self.turn()

    def close(self) -> None:
        self.kin.close()
        for started in self.reactor.started:
            started.channel.close()


class SuccessionTests(SynchronousTestCase):
    def scene(self) -> Scene:
        scene = Scene()
        self.addCleanup(scene.close)
        return scene

    def handed_over(self) -> Scene:
        scene = self.scene()
        for step in ("ask", "hello", "ready", "taken"):
            scene.step(step)
        self.assertIs(scene.succession.stage, Stage.OLDER)
        return scene

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from(STEPS), max_size=14))
    def test_exactly_one_process_takes_new_calls_whatever_happens(
        self, steps: list[str]
    ) -> None:
        """
        Either this process reads from the sockets, or a running successor was told to.
        After enough time exactly one of the two does, whatever has happened.
        """
        scene = Scene()
        try:
            scene.step("ask")
            is_stopping = False
            for step in steps:
                scene.step(step)
                is_stopping = is_stopping or step == "stop"
                stage = scene.succession.stage
                is_others = stage in (Stage.HANDING_OVER, Stage.OLDER)
                self.assertEqual(scene.sockets.is_held, is_others)
                told = [message.kind for message in scene.newest.told]
                if is_others:
                    # It has received all it needs before the order to begin.
                    self.assertEqual(told[:2], ["sip.owned", GO])
                self.assertEqual(
                    scene.log.count("handed over") - scene.log.count("taken back"),
                    int(stage is Stage.OLDER),
                )
                # There is one successor at a time.
                alive = [s for s in scene.reactor.started if s.channel.is_open]
                self.assertLessEqual(len(alive), 1)
                state = scene.state.state
                self.assertEqual(bool(state.why), state.outcome == FAILED)
            for _ in range(4):
                scene.step("a minute")
            stage = scene.succession.stage
            if stage is Stage.OLDER:
                self.assertTrue(scene.newest.channel.is_open or is_stopping)
            else:
                self.assertIs(stage, Stage.ALONE)
                self.assertFalse(scene.sockets.is_held)
                if scene.newest.channel.is_open:
                    # It could not be killed; it ends when it continues.
                    scene.turn()
                    self.assertEqual(scene.newest.told[-1].kind, UNWANTED)
        finally:
            scene.close()

    def test_a_successor_gets_a_new_generation_and_its_predecessor(self) -> None:
        scene = self.scene()
        scene.step("ask")
        (inherited,) = scene.reactor.inherited
        self.assertEqual(inherited.predecessor.generation, "older2")
        self.assertEqual(inherited.predecessor.pid, os.getpid())
        self.assertNotEqual(inherited.generation, "older2")
        self.assertEqual(scene.state.state.outcome, STARTING)

    def test_a_failure_is_reported_with_its_output_and_its_end(self) -> None:
        scene = self.scene()
        for step in ("ask", "fault", "die"):
            scene.step(step)
        self.assertEqual(scene.state.state.outcome, FAILED)
        self.assertEqual(scene.state.state.why, "a setting; it ended with status 3")

    def test_the_last_output_is_awaited_for_a_limited_time(self) -> None:
        scene = self.scene()
        for step in ("ask", "close"):
            scene.step(step)
        self.assertIs(scene.succession.stage, Stage.STARTING)
        scene.newest.protocol.childDataReceived(2, b"the last word")
        scene.reactor.advance(2.1)
        self.assertEqual(scene.state.state.outcome, FAILED)
        self.assertIn("the last word", scene.state.state.why)
        self.assertEqual(scene.newest.signals, ["KILL"])

    def test_a_daemon_continues_when_its_parent_has_ended(self) -> None:
        scene = self.scene()
        for step in ("ask", "hello", "end", "ready", "taken"):
            scene.step(step)
        self.assertEqual(scene.log, ["handed over"])
        assert scene.kin.newest is not None
        self.assertEqual(scene.kin.newest.pid, 5_000_002)

    def test_a_successor_that_is_too_slow_is_terminated_then_killed(self) -> None:
        scene = self.scene()
        scene.step("ask")
        scene.reactor.advance(SECONDS + 1)
        self.assertEqual(scene.newest.signals, ["TERM"])
        scene.step("ready")  # too late
        self.assertEqual(scene.newest.told, [])
        scene.reactor.advance(6)
        scene.turn()
        self.assertEqual(scene.newest.signals, ["TERM", "KILL"])
        self.assertIn("not ready within 60 s", scene.state.state.why)
        scene.step("ask")
        self.assertEqual(len(scene.reactor.started), 2)

    def test_a_waiting_answer_is_read_before_a_timeout_counts(self) -> None:
        """Here this process was blocked, not the successor."""
        scene = self.scene()
        for step in ("ask", "ready"):
            scene.step(step)
        scene.newest.channel.send(TAKEN)
        scene.reactor.advance(30)
        self.assertEqual(scene.log, ["handed over"])
        self.assertEqual(scene.newest.signals, [])

    def test_settings_reloaded_meanwhile_are_reloaded_by_the_successor(self) -> None:
        scene = self.scene()
        scene.step("ask")
        scene.succession.reload_missed = True
        scene.step("ready")
        self.assertEqual(scene.newest.told[-1].head, {"reload": True})

    def test_a_lost_successor_is_replaced_and_another_can_follow(self) -> None:
        scene = self.handed_over()
        scene.step("die")
        self.assertEqual(scene.log, ["handed over", "taken back"])
        self.assertIsNone(scene.kin.newest)
        self.assertEqual(scene.state.state.outcome, FAILED)
        for step in ("ask", "ready", "taken"):
            scene.step(step)
        self.assertEqual(scene.log[2:], ["handed over"])

    def test_a_stopping_process_does_not_take_new_calls_again(self) -> None:
        scene = self.handed_over()
        for step in ("stop", "die"):
            scene.step(step)
        self.assertEqual(scene.log, ["handed over"])

    def test_the_outcome_is_written_to_the_state_file(self) -> None:
        scene = self.scene()
        self.assertEqual(scene.state.state.outcome, "")
        scene.step("ask")
        self.assertEqual(scene.state.state.takeovers, 1)
        scene.step("die")
        self.assertEqual(scene.state.state.outcome, FAILED)
        self.assertNotEqual(scene.state.state.outcome, DONE)
