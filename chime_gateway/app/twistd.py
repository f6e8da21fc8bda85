"""
The C{twistd chimegw} command.

The command line chooses the reactor, so nothing imported here may install one.
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

#: C{twistd} reads 100 bytes of the status of a start; two are for the status itself.
_MOST_STATUS_BYTES: Final = 98


#: The formats of the log.
JSON: Final = "json"
READABLE: Final = "readable"


def _log_kind(text: str) -> str:
    if text not in (JSON, READABLE):
        raise ValueError(f"--log {text}: expected {JSON} or {READABLE}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"--port {text}: expected a number from 0 to 65535")
    return int(text)


class Options(CommandOptions):
    """
    The options of C{twistd chimegw}.

    @ivar settings: all settings, from all sources, checked.
    @ivar launch: how this process was started.
    """

    synopsis = "[--port PORT] [--config FILE.toml] [--simulate]"
    longdesc = (
        "Connect telephone calls to Azure OpenAI Realtime. Settings come from the"
        " environment (see .env.example), a TOML file and these options."
    )
    optParameters: ClassVar = [
        ["port", "p", None, "TCP port for HTTP and WebSocket. [default: 8080]", _port],
        ["config", "c", None, "TOML file with agents, deployments, limits."],
        ["env-file", "e", None, "File of NAME=value lines; variables override it."],
        ["capture", None, "", "Folder for captures of calls, to replay them."],
        ["log", None, JSON, "Format of the log: json, or readable.", _log_kind],
    ]
    optFlags: ClassVar = [
        ["simulate", None, "Use an embedded simulator instead of Azure."],
        ["check", None, "Check all settings, print them without secrets, and exit."],
        ["probe", None, "Probe each deployment at the start, for /ready."],
        ["insecure", None, "Let anyone who can reach the port call."],
    ]
    settings: GatewaySettings
    launch = Launch()

    def __init__(self) -> None:
        super().__init__()
        self._listen: list[str] = []

    def getSynopsis(self) -> str:
        """Return the synopsis; C{chimegw run} has the same options."""
        if os.path.basename(sys.argv[0]) in ("twistd", "twist"):
            return usage.Options.getSynopsis(self)
        return f"Usage: chimegw run {self.synopsis}"

    def opt_listen(self, endpoint: str) -> None:
        """Twisted endpoint string (ssl:8443:privateKey=...); repeatable."""
        self._listen.append(endpoint)

    opt_l = opt_listen

    def parseOptions(self, options: object = None) -> None:
        """
        Parse a command line.

        @raise SystemExit: it is invalid, and C{twistd} is the caller.  The text is one
            line; C{twistd} itself would hide it behind its usage text.
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
            # The process is twistd's own.  Reading the settings and importing the rest
            # take a moment, during which it may be told to stop.
            listen_while_starting()
            self.launch = self._launched(self.parent)
        # Not in makeService: an error raised here is one line and exit status 1, an
        # error raised there is a traceback.
        try:
            self.settings = self.read()
        except ConfigError as exc:
            raise usage.UsageError(str(exc)) from exc
        if self["check"]:
            self._check()
        elif self.launch.inheritance is None:
            self._refuse_what_cannot_start()

    def _check(self) -> None:
        """
        Print the settings, or what is wrong with them.

        @raise SystemExit: always; with status 1 if a gateway could not start.
        """
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
            said += (
                f"deployments.{one.name} has no key (AZURE_OPENAI_API_KEY, or api_key):"
                " the gateway signs in with Microsoft Entra ID"
                for one in self.settings.deployments
                if not one.api_key
            )
            sys.stderr.writelines(f"note: {line}\n" for line in said)
            sys.stderr.write(
                "no faults; chimegw check --online also asks Azure and the other"
                " services\n"
            )
        raise SystemExit(0)

    def _refuse_what_cannot_start(self) -> None:
        """
        Report faults while there is a terminal; a daemon has none.

        @raise SystemExit: a gateway cannot start.
        """
        if self.parent is None or self.parent.get("chroot"):
            return  # the files in that root cannot be checked from here
        found = faults(self.settings, folder_of(self.parent), tries_ports=True)
        if found:
            raise SystemExit("\n".join(f"chimegw: {line}" for line in found))

    def _launched(self, options: object) -> Launch:
        inherited = take_inherited(VARIABLE)
        environ = process_environment()
        try:
            return launch_of(options, environ, inherited, read_notify_socket(environ))
        except ValueError as exc:
            raise SystemExit(f"chimegw: {VARIABLE}: {exc}") from exc

    def read(self) -> GatewaySettings:
        """
        Read the settings from all sources.

        @raise ConfigError: a setting is invalid.
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
    """Resolve the public addresses that SIP and WebRTC send to the other side."""
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
    # Imported when used, like everything that only a start needs.
    from chime_gateway.app.log.destination import DAEMONS_FILE

    # The log is opened before twistd changes the folder.
    log = os.path.abspath(options.get("logfile") or DAEMONS_FILE)
    where = "syslog" if options.get("syslog") else log
    pid_file = options.get("pidfile")
    told = f", pid file {folder / pid_file}" if pid_file else ""
    return f"starting in the background; log: {where}{told}"


def _tell_who_waits(options: Any, why: str) -> None:
    """
    Report a failed start to the process that the user started: C{twistd} waits there
    for the daemon's status, and would not notice that the daemon has exited.
    """
    pipe = options.get("statusPipe")
    if pipe is not None:
        said = why.encode("ascii", "backslashreplace")
        os.write(pipe, b"1 " + said[:_MOST_STATUS_BYTES])
