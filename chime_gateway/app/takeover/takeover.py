"""
One process of a gateway among older and newer ones: the service's whole part in a
take-over.
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

#: What older processes may take at their end beyond what their calls may.
_LEAST_SECONDS: Final = 5.0


class TakeOver:
    """
    @ivar kin: the processes beside this one.
    @ivar sockets: what all of them are reached at.
    @param write: takes lines of a successor's log, if they go where ours go.
    @param serve: called when every new call is this process'; with whether the
        settings may be older than those of the process before it.
    @param retire: called when the new calls are another process'.
    @param resume: called when that one is lost.
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
        # Who has no command line does not run the process.
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
        """Whether every new call is this process'."""
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
        """Others hold from now on; a successor that is under way has its time."""
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
        """Told to stop, once or again: who stops the newest stops the gateway."""
        self._succession.abandon("the gateway was told to stop")
        if self.is_newest:
            limits = self._limits
            seconds = limits.drain_seconds + 2 * limits.goodbye_seconds
            self._end_at = self._reactor.seconds() + seconds
            self._manager.stopping()
            for peer in self.kin.older.values():
                peer.send(STOP)

    async def older_ended(self) -> None:
        """They were told to stop when this process was, and have as long for that."""
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
        """Nothing is left; whoever is newer has the sockets, and what is written."""
        if self.is_newest:
            self._state.remove()
            self.sockets.close()
        self.kin.close()
