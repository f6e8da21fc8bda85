"""
C{chimegw check --online}: ask the deployments of the settings what only they know.

What is checked without them is C{twistd chimegw --check}'s.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.python import usage

from chime_gateway.agents.credentials import Credentials, IdentityTokens
from chime_gateway.app.command_options import CommandOptions
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.threads import Threads
from chime_gateway.settings.load import load
from chime_gateway.settings.sources import process_environment
from chime_gateway.settings.values import WEBRTC, GatewaySettings


class CheckOptions(CommandOptions):
    synopsis = "--online --transport webrtc [--config FILE] [--env-file FILE]"
    longdesc = (
        "Ask each GA deployment of the settings what it does over WebRTC: a call"
        " without a word, in less than a minute. Exit status 1: one of them has none."
    )
    optFlags: ClassVar = [["online", None, "Ask the deployments themselves."]]
    optParameters: ClassVar = [
        ["transport", "t", WEBRTC, "What is asked about."],
        ["config", "c", None, "A TOML file."],
        ["env-file", "e", None, "A file with settings."],
    ]

    def postOptions(self) -> None:
        if not self["online"]:
            raise usage.UsageError("only --online asks; twistd chimegw --check reads")
        if self["transport"] != WEBRTC:
            raise usage.UsageError(f"--transport: it is {WEBRTC}")

    def run(self, reactor: Any) -> Deferred[int]:
        settings = load(
            process_environment(),
            built_in=BUILT_IN_TOOLS,
            config_path=self["config"],
            env_path=self["env-file"],
            insecure=True,
        )
        return Deferred.fromCoroutine(_ask(reactor, settings))


async def _ask(reactor: Any, settings: GatewaySettings) -> int:
    # With what it needs for DTLS it takes its time.
    from chime_gateway.cli.online.webrtc_probe import WebRtcProbe

    asked = [one for one in settings.deployments if not one.api_version]
    if not asked:
        raise ConfigError("there is no GA deployment (one without an api version)")
    tokens = Threads("tokens", 1, reactor.callFromThread, reactor)
    credentials = Credentials(IdentityTokens().ask, tokens.run, reactor, time.time)
    profile = next(iter(settings.agents.values()))
    results: dict[str, bool] = {}
    for one in asked:
        print(f"deployment {one.name}: {one.deployment} at {one.endpoint}")
        probe = WebRtcProbe(reactor, one, credentials.of(one), profile, _say)
        results[one.name] = await probe.run()
    credentials.stop()
    return _told(results)


def _say(question: str, answer: str) -> None:
    print(f"  {question + ':':40} {' '.join(answer.split())[:300]}", flush=True)


def _told(results: Mapping[str, bool]) -> int:
    for name, is_good in results.items():
        what = "calls over WebRTC can be had" if is_good else "NO CALLS over WebRTC"
        print(f"{name}: {what}")
    return 0 if all(results.values()) else 1
