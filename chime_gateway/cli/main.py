"""
C{chimegw}: the operator's tool.

It reads the command line and runs the chosen command.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python import usage

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.carriers.media_stream.credentials import sign_token
from chime_gateway.cli.aws.commands import AwsOptions
from chime_gateway.cli.calls import (
    CallsOptions,
    ExportOptions,
    ReplayOptions,
    ShowOptions,
)
from chime_gateway.cli.run import RunOptions
from chime_gateway.cli.takeover import TakeOverOptions
from chime_gateway.errors import ConfigError
from chime_gateway.net.clock import use_monotonic_clock
from chime_gateway.net.system.standard_output import printable_output, read_or_not
from chime_gateway.settings.sources import process_environment, read_secret


class _Command(Protocol):
    """One subcommand; C{run} returns the exit status, now or later."""

    def run(self, reactor: Any) -> Deferred[int] | int: ...


# These import the simulator, or much of the gateway, so they are imported when used.


def _demo() -> usage.Options:
    from chime_gateway.cli.simulate import DemoOptions

    return DemoOptions()


def _call() -> usage.Options:
    from chime_gateway.cli.simulate import CallOptions

    return CallOptions()


def _check() -> usage.Options:
    from chime_gateway.cli.check import CheckOptions

    return CheckOptions()


def _simulate_azure() -> usage.Options:
    from chime_gateway.cli.simulate import SimulateOptions

    return SimulateOptions()


def _simulate_aws() -> usage.Options:
    from chime_gateway.cli.simulate import SimulateAwsOptions

    return SimulateAwsOptions()


class TokenOptions(CommandOptions):
    synopsis = "[--ttl SECONDS]"
    longdesc = (
        "Print a signed token that opens media streams for a limited time: in the query"
        " (?token=...) or in customParameters.token."
    )
    optParameters: ClassVar = [["ttl", None, 300, "Lifetime in seconds.", int]]

    def run(self, reactor: Any) -> int:
        secret = read_secret(process_environment())
        if not secret:
            raise ConfigError(
                "CHIMEGW_SHARED_SECRET is not set: set it to the gateway's secret"
            )
        print(sign_token(secret, int(time.time()) + self["ttl"]))
        return 0


class Options(CommandOptions):
    synopsis = "COMMAND [options]"
    subCommands: ClassVar = [
        ["demo", None, _demo, "Start a gateway and place a call to it."],
        ["call", None, _call, "Place a test call to a gateway."],
        ["run", None, RunOptions, "Run the gateway in the foreground."],
        ["check", None, _check, "Check the settings; --online: and the services."],
        ["simulate-azure", None, _simulate_azure, "Run a simulator of Azure."],
        ["simulate-aws", None, _simulate_aws, "Run a simulator of AWS."],
        ["calls", None, CallsOptions, "List calls."],
        ["show", None, ShowOptions, "Show one call and what was said."],
        ["export", None, ExportOptions, "Write calls to a CSV or JSONL file."],
        ["replay", None, ReplayOptions, "Run a captured call again."],
        ["takeover", None, TakeOverOptions, "Restart a gateway without losing calls."],
        ["token", None, TokenOptions, "Print a token that opens media streams."],
        ["aws", None, AwsOptions, "Set up AWS: plan, apply, verify, destroy."],
    ]

    def postOptions(self) -> None:
        if self.subCommand is None:
            raise usage.UsageError("a command is missing; chimegw --help lists them")


def main() -> None:
    """Entry point of the console script."""
    with printable_output():
        _main()


def _main() -> None:
    options = Options()
    with read_or_not():
        try:
            options.parseOptions()
        except usage.UsageError as exc:
            raise SystemExit(f"chimegw: {exc}") from exc
    command = options.subOptions
    if isinstance(command, RunOptions):
        command.run_gateway()
    else:
        react(_run, (command,))


def _run(reactor: Any, command: _Command) -> Deferred[None]:
    use_monotonic_clock(reactor)

    async def run() -> None:
        with read_or_not():
            try:
                status = command.run(reactor)
                if isinstance(status, Deferred):
                    status = await status
            except ConfigError as exc:
                raise SystemExit(f"chimegw: {exc}") from exc
        if status:
            raise SystemExit(status)

    return Deferred.fromCoroutine(run())
