"""
C{chimegw takeover}: makes the running gateway start its successor, and prints the
result.

It sends the process a signal, as anybody can, and reads the result from the file that
the gateway keeps in its state folder.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.app.takeover.state_file import (
    DONE,
    FAILED,
    STARTING,
    ProcessState,
    read_states,
)
from chime_gateway.errors import ConfigError
from chime_gateway.settings.load import load_store
from chime_gateway.settings.sources import process_environment

_LOOK_SECONDS: Final = 0.1

#: More than C{takeover_seconds}, and what it takes to end what does not come.
_WAIT_SECONDS: Final = 90

_FAILED: Final = 1
_UNKNOWN: Final = 2


@frozen
class _Asked:
    """
    @ivar state: as it was before.
    """

    folder: Path
    state: ProcessState

    def now(self) -> ProcessState | None:
        for state in read_states(self.folder):
            if state.instance == self.state.instance:
                return state
        return None


class TakeOverOptions(CommandOptions):
    synopsis = "[--pidfile FILE] [--state FOLDER] [--instance NAME] [--timeout SECONDS]"
    longdesc = (
        "Start the gateway anew without losing a call: new program, new settings, the"
        " same port. Calls that run stay with the old process until they end. Status"
        " 0: the new process takes every new call; 1: it did not come up, and the old"
        " one goes on; 2: it is not known."
    )
    optParameters: ClassVar = [
        ["pidfile", None, None, "The gateway's pid file, to tell one of several."],
        ["state", None, None, "Its state folder. [default: as in its settings]"],
        ["instance", None, None, "Its name there, to tell one of several."],
        ["config", "c", None, "TOML file with its settings."],
        ["env-file", "e", None, "File with NAME=value lines, below the environment."],
        ["timeout", None, _WAIT_SECONDS, "How long to wait for the outcome.", float],
    ]

    def run(self, reactor: Any) -> Deferred[int]:
        return Deferred.fromCoroutine(self._run(reactor))

    async def _run(self, reactor: Any) -> int:
        folder = self._folder()
        asked = _Asked(folder, self._find(folder))
        pid, before = asked.state.pid, asked.state.takeovers
        if asked.state.outcome == STARTING:
            # A second one would be ignored, and have no outcome.
            before -= 1
            print(f"process {pid} hands over already, as somebody else has told it")
        else:
            self._tell(asked.state)
        sys.stdout.flush()
        end = reactor.seconds() + self["timeout"]
        while reactor.seconds() < end:
            await deferLater(reactor, _LOOK_SECONDS)
            state = asked.now()
            if state is None or not state.is_running:
                print(f"the gateway is gone: process {pid} does not run any more")
                return _UNKNOWN
            if state.takeovers > before and state.outcome == DONE:
                print(
                    f"process {state.pid} takes every new call (generation"
                    f" {state.generation}, version {state.version}); process {pid}"
                    " keeps its own until they end"
                )
                return 0
            if state.takeovers > before and state.outcome == FAILED:
                print(f"process {pid} continues, the take-over failed: {state.why}")
                return _FAILED
        print(
            f"no outcome within {self['timeout']:g} s; the log of process {pid} knows"
        )
        return _UNKNOWN

    def _tell(self, state: ProcessState) -> None:
        try:
            os.kill(state.pid, signal.SIGUSR2)
        except OSError as exc:
            raise ConfigError(f"process {state.pid}: {exc.strerror}") from exc
        print(
            f"process {state.pid} was told to hand over (generation"
            f" {state.generation}, version {state.version})"
        )

    def _folder(self) -> Path:
        if self["state"]:
            return Path(self["state"])
        store = load_store(
            process_environment(),
            config_path=self["config"],
            env_path=self["env-file"],
        )
        return Path(store.state_directory)

    def _find(self, folder: Path) -> ProcessState:
        states = [state for state in read_states(folder) if state.is_running]
        if self["pidfile"]:
            pid = _pid_in(self["pidfile"])
            states = [state for state in states if state.pid == pid]
        if self["instance"]:
            states = [state for state in states if state.instance == self["instance"]]
        if not states:
            raise ConfigError(
                f"{folder}: no such gateway runs; name its state folder (--state, or"
                " CHIMEGW_STATE), and run this as its user or as root"
            )
        if len(states) > 1:
            names = ", ".join(sorted(state.instance for state in states))
            raise ConfigError(f"{folder}: several gateways: --instance, of {names}")
        return states[0]


def _pid_in(name: str) -> int:
    try:
        return int(Path(name).read_text(encoding="ascii"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--pidfile {name}: {exc}") from exc
