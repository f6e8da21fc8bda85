"""
C{chimegw takeover}: makes the running gateway start its successor, and prints the
result.

It sends a signal to the process, and reads the result from the file that the gateway
writes in its state folder.
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

#: More than C{takeover_seconds} and the time to end a failed successor.
_WAIT_SECONDS: Final = 90

_FAILED: Final = 1
_UNKNOWN: Final = 2


@frozen
class _Asked:
    """
    A requested take-over.

    @ivar state: the state before it.
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
        "Restart the gateway without losing a call: new program, new settings, same"
        " port. Calls in progress stay with the old process until they end. Exit"
        " status 0: the new process takes every new call; 1: it did not start, and the"
        " old one continues; 2: the outcome is unknown."
    )
    optParameters: ClassVar = [
        ["pidfile", None, None, "The gateway's pid file, to choose one of several."],
        ["state", None, None, "Its state folder. [default: as in its settings]"],
        ["instance", None, None, "Its name, to choose one of several."],
        ["config", "c", None, "TOML file with its settings."],
        ["env-file", "e", None, "File of NAME=value lines; variables override it."],
        ["timeout", None, _WAIT_SECONDS, "Seconds to wait for the outcome.", float],
    ]

    def run(self, reactor: Any) -> Deferred[int]:
        return Deferred.fromCoroutine(self._run(reactor))

    async def _run(self, reactor: Any) -> int:
        folder = self._folder()
        asked = _Asked(folder, self._find(folder))
        pid, before = asked.state.pid, asked.state.takeovers
        if asked.state.outcome == STARTING:
            # A second request would be ignored, and have no outcome.
            before -= 1
            print(f"process {pid} is handing over already; waiting for the outcome")
        else:
            self._tell(asked.state)
        sys.stdout.flush()
        end = reactor.seconds() + self["timeout"]
        while reactor.seconds() < end:
            await deferLater(reactor, _LOOK_SECONDS)
            state = asked.now()
            if state is None or not state.is_running:
                print(f"the gateway has ended: process {pid} is no longer running")
                return _UNKNOWN
            if state.takeovers > before and state.outcome == DONE:
                print(
                    f"process {state.pid} takes every new call (generation"
                    f" {state.generation}, version {state.version}); process {pid}"
                    " keeps its own until they end"
                )
                return 0
            if state.takeovers > before and state.outcome == FAILED:
                print(f"the take-over failed, process {pid} continues: {state.why}")
                return _FAILED
        print(
            f"no outcome within {self['timeout']:g} s; look into the log of process"
            f" {pid}"
        )
        return _UNKNOWN

    def _tell(self, state: ProcessState) -> None:
        try:
            os.kill(state.pid, signal.SIGUSR2)
        except OSError as exc:
            raise ConfigError(
                f"process {state.pid} cannot be signalled: {exc.strerror}; run this as"
                " its user or as root"
            ) from exc
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
                f"{folder}: no such gateway is running; name its state folder (--state,"
                " or CHIMEGW_STATE), and run this as its user or as root"
            )
        if len(states) > 1:
            names = ", ".join(sorted(state.instance for state in states))
            raise ConfigError(
                f"{folder}: several gateways are running; choose one by --instance:"
                f" {names}"
            )
        return states[0]


def _pid_in(name: str) -> int:
    try:
        return int(Path(name).read_text(encoding="ascii"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--pidfile {name}: it cannot be read: {exc}") from exc
