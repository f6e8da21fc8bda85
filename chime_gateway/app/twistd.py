"""
The C{twistd chimegw} command.

The reactor is chosen by the command line, so nothing imported from here may
install one.
"""

from __future__ import annotations

import atexit
import json
import sys
from datetime import date
from typing import Any, ClassVar

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

from chime_gateway.app.advice import advice
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


def _port(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"--port {text}: expected a number")
    return int(text)


class Options(usage.Options):
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
    ]
    optFlags: ClassVar = [
        ["simulate", None, "Talk with an embedded simulator instead of Azure."],
        ["check", None, "Check all settings, print them without secrets, and exit."],
        ["insecure", None, "Allow anybody who reaches the port to call."],
    ]
    settings: GatewaySettings
    launch = Launch()

    def __init__(self) -> None:
        super().__init__()
        self._listen: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Twisted endpoint string (ssl:8443:privateKey=..); repeatable."""
        self._listen.append(endpoint)

    opt_l = opt_listen

    def opt_help(self) -> None:
        """Display this help and exit."""
        with read_or_not():
            super().opt_help()

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
            if self.launch.inheritance is not None:
                # Who has started it tells what it said, and needs no usage.
                raise SystemExit(f"chimegw: {exc}") from exc
            raise usage.UsageError(str(exc)) from exc
        if self["check"]:
            with read_or_not():
                json.dump(describe(self.settings), sys.stdout, indent=2)
                sys.stdout.write("\n")
                sys.stdout.flush()
                for line in advice(self.settings, date.today()):
                    sys.stderr.write(f"note: {line}\n")
            raise SystemExit(0)

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

    try:
        log = log_of({} if options.parent is None else options.parent, reactor)
    except ConfigError as exc:
        raise SystemExit(f"chimegw: {exc}") from exc
    atexit.register(log.thread.close)
    service: IService = GatewayService(
        options.settings, reactor, options.read, log, options.launch
    )
    return service
