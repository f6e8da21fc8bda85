"""
The C{twistd chimegw} command.

The command line chooses the reactor, so nothing imported from here may install one.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from datetime import date
from functools import partial
from typing import Any, ClassVar, Final

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.app.preflight.advice import advice
from chime_gateway.app.preflight.faults import faults, folder_of, notes, running
from chime_gateway.app.signals import listen_while_starting
from chime_gateway.app.takeover.launch import Launch, launch_of
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.errors import ConfigError
from chime_gateway.net.clock import use_monotonic_clock
from chime_gateway.net.generations.inheritance import VARIABLE
from chime_gateway.net.system.standard_output import read_or_not
from chime_gateway.settings.load import describe, load
from chime_gateway.settings.public_address import resolve_public_address
from chime_gateway.settings.sources import (
    process_environment,
    read_notify_socket,
    take_inherited,
)
from chime_gateway.settings.values import GatewaySettings

#: As much as C{twistd} reads of how a start went, less two.
_MOST_STATUS_BYTES: Final = 98


#: What lines of the log are like.
JSON: Final = "json"
READABLE: Final = "readable"


def _log_kind(text: str) -> str:
    if text not in (JSON, READABLE):
        raise ValueError(f"--log {text}: expected {JSON} or {READABLE}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"--port {text}: expected a number")
    return int(text)


class Options(CommandOptions):
    """
    Command line of the plugin.

    @ivar settings: everything, from all sources, checked.
    @ivar launch: how this process was started.
    """

    synopsis = "[--port PORT] [--config FILE.toml] [--simulate]"
    longdesc = (
        "Join telephone calls to Azure OpenAI Realtime. Settings come from the"
        " environment (see .env.example), a TOML file and these options."
    )
    optParameters: ClassVar = [
        ["port", "p", None, "TCP port for HTTP and WebSocket. [default: 8080]", _port],
        ["config", "c", None, "TOML file with agents, deployments, limits."],
        ["env-file", "e", None, "File with NAME=value lines, below the environment."],
        ["capture", None, "", "Folder for captures of whole calls, to replay them."],
        ["log", None, JSON, "json, or readable: for people.", _log_kind],
    ]
    optFlags: ClassVar = [
        ["simulate", None, "Talk with an embedded simulator instead of Azure."],
        ["check", None, "Check all settings, print them without secrets, and exit."],
        ["probe", None, "Ask each deployment at the start: /ready knows what it says."],
        ["insecure", None, "Allow anybody who reaches the port to call."],
    ]
    settings: GatewaySettings
    launch = Launch()

    def __init__(self) -> None:
        super().__init__()
        self._listen: list[str] = []

    def getSynopsis(self) -> str:
        """C{chimegw run} has the same options."""
        if os.path.basename(sys.argv[0]) in ("twistd", "twist"):
            return usage.Options.getSynopsis(self)
        return f"Usage: chimegw run {self.synopsis}"

    def opt_listen(self, endpoint: str) -> None:
        """Twisted endpoint string (ssl:8443:privateKey=..); repeatable."""
        self._listen.append(endpoint)

    opt_l = opt_listen

    def parseOptions(self, options: Any = None) -> None:
        """
        @raise SystemExit: C{twistd} reads them, and they cannot be read: one line.  It
            would print its usage text, which hides the line.
        """
        if self.parent is None:
            super().parseOptions(options)
            return
        try:
            super().parseOptions(options)
        except usage.UsageError as exc:
            said = " ".join(str(exc).split())
            raise SystemExit(f"chimegw: {said}") from exc

    def postOptions(self) -> None:
        if self.parent is not None:
            # twistd's own: to read the settings and to import the rest takes a
            # moment, in which the process may be told to stop.
            listen_while_starting()
            self.launch = self._launched(self.parent)
        # Here and not in makeService: an error raised here is one line and
        # exit status 1, an error raised there is a traceback.
        try:
            self.settings = self.read()
        except ConfigError as exc:
            raise usage.UsageError(str(exc)) from exc
        if self["check"]:
            self._check()
        elif self.launch.inheritance is None:
            self._refuse_what_cannot_start()

    def _check(self) -> None:
        """@raise SystemExit: always; with status 1 if a gateway could not start."""
        here = folder_of(self.parent)
        already = running(self.settings, here)
        found = faults(self.settings, here, tries_ports=not already)
        with read_or_not():
            if found:
                sys.stderr.writelines(f"chimegw: {line}\n" for line in found)
                raise SystemExit(1)
            json.dump(describe(self.settings), sys.stdout, indent=2)
            sys.stdout.write("\n")
            sys.stdout.flush()
            said = [already] if already else []
            said += notes(self.settings, here)
            said += advice(self.settings, date.today())
            sys.stderr.writelines(f"note: {line}\n" for line in said)
        raise SystemExit(0)

    def _refuse_what_cannot_start(self) -> None:
        """
        While there is a terminal to say it to: a daemon has none.

        @raise SystemExit: a gateway cannot start.
        """
        if self.parent is None or self.parent.get("chroot"):
            return  # what is there then, is not here
        found = faults(self.settings, folder_of(self.parent), tries_ports=True)
        if found:
            raise SystemExit("\n".join(f"chimegw: {line}" for line in found))

    def _launched(self, options: Any) -> Launch:
        inherited = take_inherited(VARIABLE)
        environ = process_environment()
        try:
            return launch_of(options, environ, inherited, read_notify_socket(environ))
        except ValueError as exc:
            raise SystemExit(f"chimegw: {VARIABLE}: {exc}") from exc

    def read(self) -> GatewaySettings:
        """
        The settings as all sources have them now.

        @raise ConfigError: something cannot work.
        """
        settings = load(
            process_environment(),
            built_in=BUILT_IN_TOOLS,
            config_path=self["config"],
            env_path=self["env-file"],
            port=self["port"],
            listen=self._listen,
            simulate=bool(self["simulate"]),
            insecure=bool(self["insecure"]),
            capture_directory=self["capture"],
            probes=bool(self["probe"]),
        )
        return _with_addresses(settings)


def _with_addresses(settings: GatewaySettings) -> GatewaySettings:
    """SIP and WebRTC tell their address to the other side, so it must be one."""
    found: dict[str, str] = {}
    for name in ("sip", "webrtc"):
        carrier = getattr(settings, name)
        text = carrier.public_address
        if carrier.listen and text:
            if text not in found:
                found[text] = resolve_public_address(text, process_environment())
            changed = evolve(carrier, public_address=found[text])
            settings = evolve(settings, **{name: changed})
    return settings


def makeService(options: Options, reactor: Any = None) -> IService:
    """Called by C{twistd} once the command line has been read."""
    if reactor is None:
        from twisted.internet import reactor

        use_monotonic_clock(reactor)
    from chime_gateway.app.gateway import GatewayService
    from chime_gateway.app.log.destination import log_of
    from chime_gateway.app.log.lines import json_log_observer
    from chime_gateway.app.log.readable import readable_log_observer

    observers = {JSON: json_log_observer, READABLE: readable_log_observer}
    try:
        log = log_of(options.parent or {}, reactor, observers[options["log"]])
    except ConfigError as exc:
        raise SystemExit(f"chimegw: {exc}") from exc
    atexit.register(log.thread.close)
    parent = options.parent
    if parent is not None and not parent.get("nodaemon", True):
        sys.stderr.write(f"chimegw: {_where_a_daemon_is(parent)}\n")
    service: IService = GatewayService(
        options.settings,
        reactor,
        options.read,
        log,
        options.launch,
        partial(_tell_who_waits, parent or {}),
    )
    return service


def _where_a_daemon_is(options: Any) -> str:
    folder = folder_of(options)
    # Imported when used, as everything that a start needs.
    from chime_gateway.app.log.destination import DAEMONS_FILE

    # The log is opened before twistd goes to its folder.
    log = os.path.abspath(options.get("logfile") or DAEMONS_FILE)
    where = "syslog" if options.get("syslog") else log
    pid_file = options.get("pidfile")
    told = f", pid file {folder / pid_file}" if pid_file else ""
    return f"starting in the background; log: {where}{told}"


def _tell_who_waits(options: Any, why: str) -> None:
    """
    C{twistd} waits, in the process that was typed, until its daemon says how the start
    went; of an exit it is not told.
    """
    pipe = options.get("statusPipe")
    if pipe is not None:
        said = why.encode("ascii", "backslashreplace")
        os.write(pipe, b"1 " + said[:_MOST_STATUS_BYTES])
