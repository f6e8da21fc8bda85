"""
Hands the gateway over from this process to its successor.

On a signal, a new process is started with the same command line and the same sockets.
Until the successor reports that it is ready, nothing changes for this process; if it
never does, this process continues as before.  Once it is ready, it takes every new
call, and this process keeps its own calls until they end.  If the successor is lost
later, this process takes new calls again.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from twisted.logger import Logger

from chime_gateway.app.takeover.command_line import CommandLine
from chime_gateway.app.takeover.pid_file import PidFile
from chime_gateway.app.takeover.process import SuccessorProcess
from chime_gateway.app.takeover.state_file import FAILED, STARTING, StateFile
from chime_gateway.net.generations.channel import Message, pair
from chime_gateway.net.generations.generation import new_generation
from chime_gateway.net.generations.inheritance import (
    NO_OUTPUT,
    VARIABLE,
    Elder,
    Inheritance,
    Listening,
)
from chime_gateway.net.generations.kin import Kin, Peer
from chime_gateway.net.generations.sockets import SharedSockets
from chime_gateway.net.system.service_manager import ServiceManager
from chime_gateway.net.timer import Timer

#: The first inherited descriptor in the successor, after its input and outputs.
_FIRST: Final = 3

#: How long a successor may take to end before it is killed, and how long its output is
#: awaited after its end.
_END_SECONDS: Final = 5.0
_WORDS_SECONDS: Final = 2.0

#: How long the successor may take to take over; new calls wait meanwhile.
_TAKING_SECONDS: Final = 5.0

#: The process whose end ends all others of a container.
_FIRST_PROCESS: Final = 1

HELLO: Final = "process.hello"
FAULT: Final = "process.fault"
READY: Final = "process.ready"
UNWANTED: Final = "process.unwanted"
GO: Final = "process.go"
TAKEN: Final = "process.taken"
NEWEST: Final = "process.newest"
STOP: Final = "process.stop"


class Stage(Enum):
    ALONE = "this process takes every new call"
    STARTING = "a successor is being started"
    ENDING = "the successor is too late, or is not wanted: it is being ended"
    HANDING_OVER = "the successor was told to take over"
    OLDER = "another process takes every new call"


_ON_THE_WAY: Final = (Stage.STARTING, Stage.ENDING, Stage.HANDING_OVER)


class Succession:
    """
    The old process's side of a take-over.

    @ivar stage: the current stage.
    @ivar seconds: how long the successor may take to be ready.
    @ivar reload_missed: the settings were reloaded while a successor was being started;
        it may have read the old ones.
    @param command: C{None}: it is not known how this process was started.
    @param write: copies a line of the successor's log to the log of this process;
        C{None}: it writes there itself.
    @param handed_over: called when the successor takes the new calls.
    @param taken_back: called when it is lost after that.
    """

    _log = Logger()

    def __init__(
        self,
        kin: Kin,
        sockets: SharedSockets,
        reactor: Any,
        *,
        command: CommandLine | None,
        pid_file: PidFile,
        state: StateFile,
        service_manager: ServiceManager,
        write: Callable[[str], object] | None,
        seconds: float,
        handed_over: Callable[[], object],
        taken_back: Callable[[], object],
    ) -> None:
        self.stage = Stage.ALONE
        self.reload_missed = False
        self._is_stopping = False
        self._kin = kin
        self._sockets = sockets
        self._reactor = reactor
        self._command = command
        self._pid_file = pid_file
        self._state = state
        self._service_manager = service_manager
        self._write = write
        self.seconds = seconds
        self._handed_over = handed_over
        self._taken_back = taken_back
        self._process: SuccessorProcess | None = None
        self._peer: Peer | None = None
        self._fault = ""
        self._due = Timer(reactor)
        self._words_due = Timer(reactor)
        kin.on(HELLO, self._hello)
        kin.on(FAULT, self._said_fault)
        kin.on(READY, self._ready)
        kin.on(TAKEN, self._taken)
        kin.on(NEWEST, self._another_newest)

    # -- asked -----------------------------------------------------------------------

    def ask(self) -> None:
        """Start a successor, unless that is impossible or there is one."""
        if self._is_stopping:
            self._log.warn("no take-over: this process is stopping")
            return
        if self.stage is Stage.OLDER:
            newest = self._kin.newest
            self._log.warn(
                "no take-over: process {pid} takes the new calls already",
                pid=newest.pid if newest else 0,
            )
            return
        if self.stage is not Stage.ALONE:
            self._log.warn("no take-over: one is in progress")
            return
        self._state.note(STARTING)
        why = self._why_not()
        if why:
            self._failed(why)
            return
        self.stage = Stage.STARTING
        self._fault, self.reload_missed = "", False
        try:
            self._start()
        except (OSError, ValueError) as exc:
            self._failed(f"it cannot be started: {exc}")
            return
        self._due.start(self.seconds, self._too_slow)

    def _why_not(self) -> str:
        if self._command is None:
            return "it is not known how this process was started"
        if os.getpid() == _FIRST_PROCESS:
            return (
                "this is process 1 of a container, and the container ends with it:"
                " start another container beside it instead"
            )
        return ""

    def _start(self) -> None:
        assert self._command is not None
        generation = new_generation()
        ours, theirs = pair()
        # Descriptors of this process, in the order of their numbers in the successor.
        passed = [theirs.fileno()]
        elders = [
            Elder(one.generation, one.pid, _number(passed, one.channel.fileno()))
            for one in self._kin.older.values()
        ]
        listening = [
            Listening(
                one.kind, one.interface, one.port, _number(passed, one.descriptor)
            )
            for one in self._sockets.to_pass_on()
        ]
        outputs = [
            _number(passed, one) if _is_open(one) else NO_OUTPUT for one in (1, 2)
        ]
        inheritance = Inheritance(
            generation,
            Elder(self._kin.generation, os.getpid(), _FIRST),
            elders,
            listening,
            outputs,
        )
        command = self._command.with_variable(VARIABLE, inheritance.to_text())
        self._process = SuccessorProcess(self._write, self._ended)
        self._peer = peer = self._kin.peer(generation, 0, ours, self._lost)
        try:
            descriptors = {_FIRST + at: mine for at, mine in enumerate(passed)}
            self._process.start(self._reactor, command, descriptors)
        except BaseException:
            peer.channel.close()
            raise
        finally:
            theirs.close()
        peer.channel.start()
        self._log.info(
            "a successor was started: process {pid}, generation {generation}",
            pid=self._process.pid,
            generation=generation,
        )

    def abandon(self, why: str) -> None:
        """
        This process was told to stop: end a successor that is being started, and do not
        take new calls again if a successor is lost.
        """
        self._is_stopping = True
        if self.stage is Stage.STARTING:
            self._give_up(why)

    # -- messages of the successor ---------------------------------------------------

    def _hello(self, peer: Peer, message: Message) -> None:
        peer.pid = int(message.head.get("pid", 0))

    def _said_fault(self, peer: Peer, message: Message) -> None:
        self._fault = str(message.head.get("why", ""))

    def _ready(self, peer: Peer, _: Message) -> None:
        if self.stage is not Stage.STARTING or peer is not self._peer:
            return
        self.stage = Stage.HANDING_OVER
        self._sockets.hold()
        for one in self._kin.older.values():
            one.channel.hold()
        self._kin.call(self._kin.handing_over, peer)
        peer.send(GO, {"reload": self.reload_missed})
        self._due.start(_TAKING_SECONDS, self._not_taken)

    def _taken(self, peer: Peer, _: Message) -> None:
        if self.stage is not Stage.HANDING_OVER or peer is not self._peer:
            return
        self.stage = Stage.OLDER
        self._due.stop()
        self._pid_file.disown()
        self._service_manager.main_process(peer.pid, f"generation {peer.generation}")
        self._state.handed_over(peer.pid)
        self._kin.newest = peer
        self._log.info(
            "process {pid}, generation {generation}, now takes every new call",
            pid=peer.pid,
            generation=peer.generation,
        )
        self._kin.call(self._kin.newest_changed, peer)
        self._handed_over()

    def _another_newest(self, peer: Peer, message: Message) -> None:
        """The successor has a successor, which uses the channel from now on."""
        peer.generation = str(message.head.get("generation", ""))
        peer.pid = int(message.head.get("pid", 0))
        if self.stage is Stage.OLDER:
            self._kin.call(self._kin.newest_changed, peer)

    # -- failure or loss of the successor --------------------------------------------

    def _too_slow(self) -> None:
        self._give_up(f"it was not ready within {self.seconds:g} s")

    def _not_taken(self) -> None:
        """The successor was ready, but does not take over."""
        assert self._peer is not None
        # If this process itself was blocked, the answer may be waiting unread.
        self._peer.channel.doRead()
        if self.stage is Stage.HANDING_OVER:
            self._fault = "it was ready but did not take over"
            self._kill()

    def _give_up(self, why: str) -> None:
        assert self._process is not None and self._peer is not None
        # First: later messages of the successor are ignored in this stage.
        self.stage = Stage.ENDING
        self._fault = self._fault or why
        # Before the signal: a process that ends at once stops the timer.
        self._due.start(_END_SECONDS, self._kill)
        self._process.kill(signal.SIGTERM, self._peer.pid)

    def _kill(self) -> None:
        """Kill it.  That closes its channel, unless its process id is unknown."""
        assert self._process is not None and self._peer is not None
        self._due.start(_WORDS_SECONDS, self._leave)
        self._process.kill(signal.SIGKILL, self._peer.pid)

    def _leave(self) -> None:
        """Give up a daemon whose process id is unknown: once it continues, it ends."""
        assert self._peer is not None
        self._peer.send(UNWANTED)
        self._report()

    def _lost(self, peer: Peer) -> None:
        """The channel is closed: the successor's processes are gone."""
        if peer is not self._peer and peer is not self._kin.newest:
            return
        if self.stage is Stage.OLDER:
            if not self._is_stopping:
                self._take_back()
        elif self._process is not None and not self._process.has_ended:
            self._words_due.start(_WORDS_SECONDS, self._report)
        else:
            self._report()

    def _ended(self) -> None:
        """The started process has ended; a daemon continues as another process."""
        if self.stage in _ON_THE_WAY:
            assert self._peer is not None
            if not self._peer.is_there:
                self._report()

    def _report(self) -> None:
        if self.stage not in _ON_THE_WAY:
            return
        process = self._process
        assert process is not None
        words = process.last_words()
        said = "; ".join(one for one in (self._fault, words) if one)
        self._failed(said or "it closed its channel, or sent an invalid message")
        if not process.has_ended:
            process.kill(signal.SIGKILL)

    def _failed(self, why: str) -> None:
        was_held = self.stage is Stage.HANDING_OVER
        self._forget()
        if was_held:
            self._go_on()
        self._state.note(FAILED, why)
        self._log.error(
            "the take-over failed, and this process continues: {why}", why=why
        )

    def _take_back(self) -> None:
        pid = self._peer.pid if self._peer else 0
        self._log.error(
            "process {pid}, which took the new calls, is gone: this process takes"
            " them again",
            pid=pid,
        )
        self._forget()
        self._kin.newest = None
        self._go_on()
        self._pid_file.own()
        self._service_manager.main_process(os.getpid(), "takes new calls again")
        self._state.own(is_successor=True)
        self._state.note(FAILED, f"process {pid} was lost")
        self._kin.call(self._kin.taken_back)
        self._taken_back()

    def _go_on(self) -> None:
        self._sockets.release()
        for one in list(self._kin.older.values()):
            one.channel.start()
            one.send(NEWEST, {"generation": self._kin.generation, "pid": os.getpid()})

    def _forget(self) -> None:
        self.stage = Stage.ALONE
        self._due.stop()
        self._words_due.stop()
        if self._peer is not None:
            self._peer.channel.close()
        self._peer = self._process = None


def _number(passed: list[int], descriptor: int) -> int:
    """Add a descriptor to pass on; return its number in the successor."""
    passed.append(descriptor)
    return _FIRST + len(passed) - 1


def _is_open(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(descriptor)
        return True
    return False
