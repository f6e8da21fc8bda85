"""
C{chimegw check}: checks what C{twistd chimegw --check} checks.  With C{--online} it
also checks the services: deployments, database, S3, tool servers and webhooks.
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
        " also checks the services: it asks each deployment for one text response with"
        " the settings of each agent (this costs a few tokens), and tries the database,"
        " S3, the servers of tools and webhooks, and the SIP media application."
        " --online --transport webrtc instead tests what each GA deployment supports"
        " over WebRTC, by a silent call of less than a minute. Each result is one line"
        " that says what to do. Exit status 1: there is a fault."
    )
    optFlags: ClassVar = [["online", None, "Check the services as well."]]
    optParameters: ClassVar = [
        ["transport", "t", ALL, "all, or webrtc: test only WebRTC."],
    ]

    def postOptions(self) -> None:
        if self["transport"] not in (ALL, WEBRTC):
            raise usage.UsageError(
                f"--transport {self['transport']}: expected {ALL} or {WEBRTC}"
            )
        if self["transport"] == WEBRTC and not self["online"]:
            raise usage.UsageError("--transport webrtc needs --online; add it")
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
                "this machine", already or "ports, folders and certificates are valid"
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
        _print(f"faults: {count}" if count else "no faults")
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
                break  # the other agents would get the same error
    credentials.stop()
    return found


async def _ask_of_webrtc(reactor: Any, settings: GatewaySettings) -> int:
    # Imported when used: DTLS takes time to load.
    from chime_gateway.cli.online.webrtc_probe import WebRtcProbe

    asked = [one for one in settings.deployments if not one.api_version]
    if not asked:
        raise ConfigError(
            "there is no GA deployment to test: leave AZURE_OPENAI_API_VERSION (or"
            " api_version) out"
        )
    credentials = _credentials(reactor)
    profile = next(iter(settings.agents.values()))
    results: dict[str, bool] = {}
    for one in asked:
        print(f"deployment {one.name}: {one.deployment} at {one.endpoint}")
        probe = WebRtcProbe(reactor, one, credentials.of(one), profile, _say)
        results[one.name] = await probe.run()
    credentials.stop()
    return _summary(results)


def _credentials(reactor: Any) -> Credentials:
    tokens = Threads("tokens", 1, reactor.callFromThread, reactor)
    return Credentials(IdentityTokens().ask, tokens.run, reactor, time.time)


def _print(line: str) -> None:
    print(line, flush=True)


def _say(question: str, answer: str) -> None:
    print(f"  {question + ':':40} {' '.join(answer.split())[:300]}", flush=True)


def _summary(results: Mapping[str, bool]) -> int:
    for name, is_good in results.items():
        what = "calls over WebRTC work" if is_good else "calls over WebRTC do NOT work"
        print(f"{name}: {what}")
    return 0 if all(results.values()) else 1
