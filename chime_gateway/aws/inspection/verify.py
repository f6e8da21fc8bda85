"""
Checks a finished installation.  Each finding tells how to fix the problem.

It only reads.  The functions for SIP and HTTP are passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final

from attrs import frozen

from chime_gateway.aws.setup.cloud import Cloud, Refused
from chime_gateway.aws.setup.request import InstallationRequest, function_name
from chime_gateway.aws.setup.resource import Request, Resource, Unknown
from chime_gateway.aws.setup.state import find, is_set
from chime_gateway.aws.setup.voice_connector import origination_routes

_VOICE_CONNECTOR: Final = ".voiceconnector.chime.aws"

#: The default quotas, used where Service Quotas does not list them.
_QUOTAS: Final[Mapping[str, float]] = {
    "Voice Connector: calls per second": 1.0,
    "Voice Connector: active calls": 10.0,
    "SIP media application: active calls": 10.0,
}


@frozen
class Finding:
    """
    The result of one check.

    @ivar is_good: the check passed.
    @ivar cure: what to do if it did not.
    """

    what: str
    is_good: bool
    detail: str = ""
    cure: str = ""

    def __str__(self) -> str:
        mark = "ok   " if self.is_good else "WRONG"
        detail = f": {self.detail}" if self.detail else ""
        cure = "" if self.is_good or not self.cure else f"\n      to fix: {self.cure}"
        return f"{mark} {self.what}{detail}{cure}"


@frozen(kw_only=True)
class Probes:
    """
    The functions that send requests from this machine.

    @ivar options: sends SIP OPTIONS to a host, port and protocol; returns the status
        of the response, or 0.
    @ivar ready: fetches a readiness page; returns the status, or 0.
    @ivar addresses: returns the addresses of a host name.
    """

    options: Callable[[str, int, str], int]
    ready: Callable[[str], int]
    addresses: Callable[[str], list[str]]


def verify(
    cloud: Cloud,
    installation: InstallationRequest,
    resources: Iterable[Resource],
    probes: Probes,
    *,
    expected_calls: int,
    allowed: Iterable[str] = (),
) -> Iterator[Finding]:
    """
    Check the installation.

    @param expected_calls: the expected number of simultaneous calls.
    @param allowed: the networks from which the gateway accepts calls, if known.
    """
    missing = []
    for resource in resources:
        if not find(cloud, resource):
            missing.append(resource.what)
            yield Finding(
                resource.what, False, "it does not exist", "chimegw aws apply"
            )
            continue
        wrong = [one.what for one in resource.settings if not is_set(cloud, one)]
        detail = f"differs from the plan: {', '.join(wrong)}" if wrong else ""
        yield Finding(resource.what, not wrong, detail, "chimegw aws apply")
    checks = (
        _origination(cloud, installation, probes),
        _rules(cloud, installation),
        _function(cloud, installation, probes),
        _termination(cloud, installation, probes),
        _allow_list(installation, list(allowed)),
        _quotas(cloud, expected_calls),
    )
    for check in checks:
        try:
            yield from check
        except Unknown:
            continue  # it refers to a missing resource, which was reported above
        except Refused as exc:
            yield Finding("a check", False, str(exc), "grant the permission it names")


def _origination(
    cloud: Cloud, installation: InstallationRequest, probes: Probes
) -> Iterator[Finding]:
    connector = {"VoiceConnectorId": "${VOICE_CONNECTOR_ID}"}
    answer = cloud.ask(
        Request("chime-sdk-voice", "GetVoiceConnectorOrigination", connector)
    )
    origination = answer.get("Origination") or {}
    routes = origination.get("Routes") or []
    what = "origination route"
    if not routes or origination.get("Disabled"):
        cure = "chimegw aws apply --gateway HOST:5060/tcp"
        yield Finding(what, False, "calls go nowhere", cure)
    wanted = {route["Host"] for route in origination_routes(installation)}
    for route in routes:
        yield from _route(route, wanted, probes)


def _route(
    route: Mapping[str, Any], wanted: set[str], probes: Probes
) -> Iterator[Finding]:
    host, port = str(route["Host"]), int(route.get("Port") or 5060)
    protocol = str(route.get("Protocol", "UDP"))
    what = f"origination route {host}:{port}/{protocol.lower()}"
    cure = "chimegw aws apply --gateway HOST:PORT/PROTOCOL with the gateway's address"
    if host.lower().endswith(_VOICE_CONNECTOR):
        yield Finding(what, False, "it leads to the Voice Connector itself", cure)
        return
    if wanted and host not in wanted:
        yield Finding(what, False, f"not one of {', '.join(sorted(wanted))}", cure)
        return
    found = probes.addresses(host)
    if not found:
        yield Finding(what, False, "the name has no address", "add it to the DNS")
        return
    private = [one for one in found if not ip_address(one).is_global]
    loopback = [one for one in found if ip_address(one).is_loopback]
    if private and not loopback:
        detail = f"{private[0]} is not a public address"
        yield Finding(what, False, detail, "use the Elastic IP")
        return
    status = probes.options(host, port, protocol)
    if status == 200:
        yield Finding(what, True, "answers OPTIONS with 200")
    elif status:
        yield Finding(
            what,
            False,
            f"answers OPTIONS with {status}",
            "the gateway is full or draining: see its /ready",
        )
    else:
        yield Finding(
            what,
            False,
            "OPTIONS is not answered from here",
            "start the gateway with CHIMEGW_SIP_LISTEN, open its security group for"
            " the Voice Connector, and add this machine to CHIMEGW_SIP_ALLOW to be"
            " answered as well",
        )


def _rules(cloud: Cloud, installation: InstallationRequest) -> Iterator[Finding]:
    """Check the SIP rules; none may lead from the Voice Connector back to the SMA."""
    if installation.is_direct:
        return
    application = cloud.references.get("SMA_ID", "")
    rules = cloud.ask(Request("chime-sdk-voice", "ListSipRules")).get("SipRules", [])
    connector = cloud.references.get("VOICE_CONNECTOR_ID", "").lower()
    for rule in rules:
        value = str(rule.get("TriggerValue", "")).lower()
        if connector and value.startswith(connector):
            yield Finding(
                f"SIP rule {rule.get('Name')}",
                installation.mode == "kinesis",
                "it starts the application for every call to this Voice Connector,"
                " including those that the application sends there: a loop",
                "disable the rule, or use another Voice Connector for it",
            )
    served = [
        rule.get("TriggerValue")
        for rule in rules
        if not rule.get("Disabled")
        and application
        in [t.get("SipMediaApplicationId") for t in rule.get("TargetApplications", ())]
    ]
    yield Finding(
        "numbers that reach the application",
        bool(served),
        ", ".join(map(str, served)) or "none",
        "chimegw aws apply --number +1...",
    )


def _function(
    cloud: Cloud, installation: InstallationRequest, probes: Probes
) -> Iterator[Finding]:
    name = {"FunctionName": function_name(installation)}
    try:
        answer = cloud.ask(Request("lambda", "GetFunction", name))
    except Refused as exc:
        if exc.code == "ResourceNotFoundException":
            return
        raise
    configuration = answer["Configuration"]
    arn = str(configuration["FunctionArn"])
    yield Finding(
        "Lambda and application are in one region",
        f":{installation.region}:" in arn,
        arn,
        f"apply with --region {installation.region}",
    )
    url = configuration.get("Environment", {}).get("Variables", {}).get("READY_URL")
    if url:
        status = probes.ready(url)
        yield Finding(
            f"READY_URL {url}",
            status == 200,
            f"status {status}" if status else "no answer from here",
            "open the port or unset READY_URL; otherwise callers hear 28 s of ringing",
        )


def _termination(
    cloud: Cloud, installation: InstallationRequest, probes: Probes
) -> Iterator[Finding]:
    connector = {"VoiceConnectorId": "${VOICE_CONNECTOR_ID}"}
    try:
        answer = cloud.ask(
            Request("chime-sdk-voice", "GetVoiceConnectorTermination", connector)
        )
    except Refused as exc:
        if exc.code.startswith("NotFound"):
            return
        raise
    termination = answer.get("Termination") or {}
    networks = termination.get("CidrAllowedList") or []
    if not networks or termination.get("Disabled"):
        return
    for gateway in installation.gateways:
        for address in probes.addresses(gateway.host):
            inside = any(
                ip_address(address) in ip_network(one, strict=False) for one in networks
            )
            yield Finding(
                f"termination's allow-list has the gateway {address}",
                inside,
                ", ".join(networks),
                f"chimegw aws apply --termination-cidr {address}/32",
            )
    health = cloud.ask(
        Request("chime-sdk-voice", "GetVoiceConnectorTerminationHealth", connector)
    ).get("TerminationHealth")
    yield Finding(
        "termination's last OPTIONS",
        bool(health),
        f"{health.get('Source')} at {health.get('Timestamp')}" if health else "none",
        "needed only for outbound calls: check that the gateway can reach the Voice"
        " Connector",
    )


def _allow_list(
    installation: InstallationRequest, allowed: list[str]
) -> Iterator[Finding]:
    if allowed and not any(one == installation.region or "/" in one for one in allowed):
        yield Finding(
            "CHIMEGW_SIP_ALLOW",
            False,
            f"{', '.join(allowed)}: calls from {installation.region} are ignored",
            f"add {installation.region}",
        )
    elif allowed:
        yield Finding("CHIMEGW_SIP_ALLOW", True, ", ".join(allowed))


def _quotas(cloud: Cloud, expected_calls: int) -> Iterator[Finding]:
    values = dict(_QUOTAS)
    told: set[str] = set()
    try:
        listed = cloud.ask(
            Request("service-quotas", "ListServiceQuotas", {"ServiceCode": "chime"})
        )
    except Refused:
        listed = {}
    for quota in listed.get("Quotas", ()):
        name = _quota_name(str(quota.get("QuotaName", "")))
        if name:
            told.add(name)
            values[name] = float(quota["Value"])
    # A bridged call counts as two calls of the application.
    needs = {
        "Voice Connector: calls per second": max(1.0, expected_calls / 60),
        "Voice Connector: active calls": float(expected_calls),
        "SIP media application: active calls": 2.0 * expected_calls,
    }
    for name, need in needs.items():
        yield Finding(
            f"quota of {name}",
            values[name] >= need,
            f"{values[name]:g} ({'actual' if name in told else 'default'}),"
            f" {expected_calls} calls need {need:g}",
            "request an increase in the Service Quotas console (Amazon Chime SDK)",
        )


def _quota_name(text: str) -> str:
    lower = text.lower()
    if re.search(r"calls per second|cps", lower) and "connector" in lower:
        return "Voice Connector: calls per second"
    if "active" in lower and "connector" in lower:
        return "Voice Connector: active calls"
    if "active" in lower and "sip media" in lower:
        return "SIP media application: active calls"
    return ""
