"""
The service's part in take-overs: this process among older and newer ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from chime_gateway import __version__
from chime_gateway.app.takeover.arrival import Arrival
from chime_gateway.app.takeover.launch import Launch
from chime_gateway.app.takeover.state_file import (
    StateFile,
    state_of_this_process,
    state_path,
)
from chime_gateway.app.takeover.succession import STOP, Stage, Succession
from chime_gateway.net.generations.generation import new_generation
from chime_gateway.net.generations.kin import Kin, Peer
from chime_gateway.net.generations.sockets import SharedSockets
from chime_gateway.net.system.service_manager import ServiceManager
from chime_gateway.settings.values import GatewaySettings, Limits

#: How long older processes may take to end, at least.
_LEAST_SECONDS: Final = 5.0


class TakeOver:
    """
    This process as a successor, and as a predecessor.

    @ivar kin: the other processes of this gateway.
    @ivar sockets: the listening sockets that all of them share.
    @param write: copies a line of a successor's log to the log of this process;
        C{None}: it writes there itself.
    @param serve: called when this process takes every new call; its argument says
        whether the predecessor may have newer settings.
    @param retire: called when another process takes the new calls.
    @param resume: called when that process is lost.
    @param stop: called each time that the newest process is told to stop.
    """

    _log = Logger()

    def __init__(
        self,
        launch: Launch,
        settings: GatewaySettings,
        reactor: Any,
        *,
        write: Callable[[str], object] | None,
        serve: Callable[[bool], object],
        retire: Callable[[], object],
        resume: Callable[[], object],
        stop: Callable[[], object],
    ) -> None:
        inheritance = launch.inheritance
        generation = inheritance.generation if inheritance else new_generation()
        self.kin = kin = Kin(generation, reactor, is_successor=inheritance is not None)
        self.sockets = SharedSockets(
            reactor, inheritance.listening if inheritance else ()
        )
        self._reactor = reactor
        self._serve = serve
        self._is_serving = False
        self._limits = limits = settings.limits
        self._end_at = 0.0
        self._emptied: list[Deferred[None]] = []
        store = settings.store
        path, instance = None, ""
        if store is not None:
            instance = store.instance
            path = state_path(Path(store.state_directory), instance)
        # Without a command line, the process is not the service's own.
        self._state = StateFile(
            path if launch.command else None,
            state_of_this_process(generation, __version__, instance),
        )
        self._manager = ServiceManager(launch.notify_socket)
        self._pid_file = launch.pid_file
        self._arrival: Arrival | None = None
        if inheritance is not None:
            self._arrival = Arrival(inheritance, kin, self._begin, stop)
        self._succession = Succession(
            kin,
            self.sockets,
            reactor,
            command=launch.command,
            pid_file=self._pid_file,
            state=self._state,
            service_manager=self._manager,
            write=write,
            seconds=limits.takeover_seconds,
            handed_over=retire,
            taken_back=resume,
        )
        kin.older_gone.append(self._older_gone)
        kin.on(STOP, lambda *_: stop())

    # -- beginning -------------------------------------------------------------------

    @property
    def is_newest(self) -> bool:
        """Whether this process takes every new call."""
        return self._is_serving and self._succession.stage is not Stage.OLDER

    def starting(self) -> None:
        """Called in the final process, after a daemon's fork."""
        if self._arrival is not None:
            self._arrival.start()

    def fault(self, why: str) -> None:
        """This process cannot start; the text says why."""
        if self._arrival is not None:
            self._arrival.fault(why)

    def started(self) -> None:
        """This process is ready for calls."""
        if self._arrival is None:
            self._begin(False)

    def running(self) -> None:
        """Called when the reactor runs."""
        if self._arrival is not None and not self._is_serving:
            self._arrival.ready()
        else:
            self._manager.ready(f"generation {self.kin.generation}")

    def _begin(self, is_old: bool) -> None:
        self._is_serving = True
        self.sockets.release()
        if self._arrival is not None:
            self._pid_file.own()
        self._state.own(is_successor=self._arrival is not None)
        self._serve(is_old)

    # -- asked -----------------------------------------------------------------------

    def change(self, limits: Limits) -> None:
        """Use new limits; a successor that is being started keeps its time limit."""
        self._limits = limits
        self._succession.seconds = limits.takeover_seconds

    def ask(self) -> None:
        """Start a take-over, as SIGUSR2 asks."""
        if not self._is_serving:
            self._log.warn("no take-over: this process has not taken over itself yet")
            return
        self._succession.ask()

    def reloading(self) -> None:
        """The settings are reloaded."""
        self._succession.reload_missed = True
        if self.is_newest:
            self._manager.reloading()

    def reloaded(self) -> None:
        if self.is_newest:
            self._manager.ready(f"generation {self.kin.generation}")

    # -- ending ----------------------------------------------------------------------

    def stopping(self) -> None:
        """
        Called for each request to stop.  Stopping the newest process stops the whole
        gateway.
        """
        self._succession.abandon("the gateway was told to stop")
        if self.is_newest:
            limits = self._limits
            seconds = limits.drain_seconds + 2 * limits.goodbye_seconds
            self._end_at = self._reactor.seconds() + seconds
            self._manager.stopping()
            for peer in self.kin.older.values():
                peer.send(STOP)

    async def older_ended(self) -> None:
        """
        Wait until the older processes have ended.  They were told to stop when this
        process was, and have the same time.
        """
        if not self.is_newest or not self.kin.older:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        seconds = max(_LEAST_SECONDS, self._end_at - self._reactor.seconds())
        try:
            await emptied.addTimeout(seconds, self._reactor)
        except TimeoutError:
            self._log.warn("an older process did not end")

    def _older_gone(self, _: Peer) -> None:
        if not self.kin.older:
            waiting, self._emptied = self._emptied, []
            for emptied in waiting:
                emptied.callback(None)

    def close(self) -> None:
        """Close all; sockets and state file stay if a newer process uses them."""
        if self.is_newest:
            self._state.remove()
            self.sockets.close()
        self.kin.close()
