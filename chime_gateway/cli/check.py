"""
C{chimegw check}: checks what C{twistd chimegw --check} checks; with C{--online} it
also asks the services: the deployments, the database, S3, tool servers and webhooks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.python import usage

from chime_gateway.agents.credentials import Credentials, IdentityTokens
from chime_gateway.app.preflight.faults import faults, folder_of, notes, running
from chime_gateway.app.twistd import Options as GatewayOptions
from chime_gateway.cli.online.finding import Finding
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.threads import Threads
from chime_gateway.settings.values import WEBRTC, GatewaySettings

ALL: Final = "all"


class CheckOptions(GatewayOptions):
    synopsis = "[--online [--transport webrtc]] [options of the gateway]"
    longdesc = (
        "Check the settings, ports, folders and certificates of a gateway. --online"
        " also asks each deployment for one response as text, with the settings of each"
        " agent (it costs a few tokens), the database, S3, servers of tools and"
        " webhooks, and the SIP media application. --online --transport webrtc asks"
        " each GA deployment what it does over WebRTC instead: a call without a word,"
        " in less than a minute. One line each, with what to do; exit status 1: there"
        " is a fault."
    )
    optFlags: ClassVar = [["online", None, "Ask the services as well."]]
    optParameters: ClassVar = [
        ["transport", "t", ALL, "webrtc: ask of WebRTC alone."],
    ]

    def postOptions(self) -> None:
        if self["transport"] not in (ALL, WEBRTC):
            raise usage.UsageError(f"--transport {self['transport']}: it is {WEBRTC}")
        if self["transport"] == WEBRTC and not self["online"]:
            raise usage.UsageError("--transport webrtc: only with --online")
        try:
            self.settings = self.read()
        except ConfigError as exc:
            raise usage.UsageError(str(exc)) from exc
        if not self["online"]:
            self._check()

    def getSynopsis(self) -> str:
        return f"Usage: chimegw check {self.synopsis}"

    def run(self, reactor: Any) -> Deferred[int]:
        ask = _ask_of_webrtc if self["transport"] == WEBRTC else self._ask
        return Deferred.fromCoroutine(ask(reactor, self.settings))

    async def _ask(self, reactor: Any, settings: GatewaySettings) -> int:
        here = folder_of(self.parent)
        already = running(settings, here)
        found = [
            Finding("this machine", line, "a gateway cannot start")
            for line in faults(settings, here, tries_ports=not already)
        ]
        found = found or [
            Finding(
                "this machine", already or "ports, folders and certificates are good"
            )
        ]
        for one in found:
            _print(str(one))
        for line in notes(settings, here):
            _print(f"note   {line}")
        from chime_gateway.cli.online.services import Services

        found += await _ask_deployments(reactor, settings)
        services = Services(reactor, settings)
        async for one in services.ask():
            _print(str(one))
            found.append(one)
        await services.close()
        count = sum(bool(one.cure) for one in found)
        _print(f"{count} faults" if count else "all good")
        return 1 if count else 0


async def _ask_deployments(reactor: Any, settings: GatewaySettings) -> list[Finding]:
    from chime_gateway.cli.online.text_response import TextProbe

    found: list[Finding] = []

    def tell(one: Finding) -> None:
        _print(str(one))
        found.append(one)

    credentials = _credentials(reactor)
    for deployment in settings.deployments:
        probe = TextProbe(reactor, deployment, credentials.of(deployment))
        token = await probe.token()
        if token is not None:
            tell(token)
            if token.cure:
                continue
        for profile in settings.agents.values():
            tell(await probe.ask(profile))
            if not probe.is_there:
                break  # nor would it say anything of the others
    credentials.stop()
    return found


async def _ask_of_webrtc(reactor: Any, settings: GatewaySettings) -> int:
    # With what it needs for DTLS it takes its time.
    from chime_gateway.cli.online.webrtc_probe import WebRtcProbe

    asked = [one for one in settings.deployments if not one.api_version]
    if not asked:
        raise ConfigError("there is no GA deployment (one without an api version)")
    credentials = _credentials(reactor)
    profile = next(iter(settings.agents.values()))
    results: dict[str, bool] = {}
    for one in asked:
        print(f"deployment {one.name}: {one.deployment} at {one.endpoint}")
        probe = WebRtcProbe(reactor, one, credentials.of(one), profile, _say)
        results[one.name] = await probe.run()
    credentials.stop()
    return _told(results)


def _credentials(reactor: Any) -> Credentials:
    tokens = Threads("tokens", 1, reactor.callFromThread, reactor)
    return Credentials(IdentityTokens().ask, tokens.run, reactor, time.time)


def _print(line: str) -> None:
    print(line, flush=True)


def _say(question: str, answer: str) -> None:
    print(f"  {question + ':':40} {' '.join(answer.split())[:300]}", flush=True)


def _told(results: Mapping[str, bool]) -> int:
    for name, is_good in results.items():
        what = "calls over WebRTC can be had" if is_good else "NO CALLS over WebRTC"
        print(f"{name}: {what}")
    return 0 if all(results.values()) else 1
