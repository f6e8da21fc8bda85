"""
Removes what C{apply} created, whatever its options were.

There is no state file: resources are found by their tag, and those that cannot have
tags by the resources they refer to.  So an interrupted run can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jmespath

from chime_gateway.aws.removal.found import Found
from chime_gateway.aws.removal.identity import policies, roles
from chime_gateway.aws.removal.regional import Regional, tagged
from chime_gateway.aws.removal.telephony import Telephony, disassociation
from chime_gateway.aws.setup.cloud import Cloud, Refused
from chime_gateway.aws.setup.provision import Change
from chime_gateway.aws.setup.request import InstallationRequest, chime
from chime_gateway.aws.setup.resource import Request


def find_all(
    cloud: Cloud, installation: InstallationRequest, *, with_buckets: bool = False
) -> list[Found]:
    """
    Find all resources of the installation, in the order in which they can be removed.

    @param installation: name and region are sufficient; a Voice Connector that existed
        before, and its own numbers (C{is_direct}), are known only from here.
    """
    identity = cloud.ask(Request("sts", "GetCallerIdentity"))
    cloud.references["ACCOUNT_ID"] = identity["Account"]
    arns = tagged(cloud, installation.name)
    regional = Regional(cloud, installation, arns, with_buckets=with_buckets)
    telephony = Telephony(cloud, installation)
    applications = [one.key for one in telephony.applications if not one.kept]
    event_rules = regional.event_rules()
    functions = regional.functions(applications)
    # A Lambda that stays needs its role, whoever owns it.
    lambdas = [one.key for one in functions]
    theirs = list(_their_connectors(cloud, installation, functions, telephony))
    return [
        *telephony.rules,
        *telephony.applications,
        *event_rules,
        *telephony.numbers,
        *theirs,
        *telephony.connectors,
        *functions,
        *regional.log_groups(lambdas),
        *roles(cloud, installation, lambdas),
        *regional.queues([one.key for one in event_rules if not one.kept]),
        *regional.buckets(),
        *policies(cloud, installation),
        *telephony.inventory,
    ]


def _their_connectors(
    cloud: Cloud,
    installation: InstallationRequest,
    functions: list[Found],
    telephony: Telephony,
) -> Iterator[Found]:
    """Return the Voice Connectors that existed before the installation."""
    known = {one.key for one in telephony.connectors}
    used = [installation.voice_connector_id]
    for function in functions:
        name = {"FunctionName": function.key.partition(" ")[2]}
        found = cloud.seek(Request("lambda", "GetFunction", name)) or {}
        path = "Configuration.Environment.Variables.VOICE_CONNECTOR_ARN"
        used.append(str(jmespath.search(path, found) or "").rpartition("/")[2])
    for connector_id in dict.fromkeys(filter(None, used)):
        if f"connector {connector_id}" in known:
            continue
        if cloud.seek(chime("GetVoiceConnector", VoiceConnectorId=connector_id)):
            yield from _numbers_at(cloud, installation, connector_id)
            yield Found(
                key=f"connector {connector_id}",
                what=f"Voice Connector {connector_id}",
                kept="apply did not make it; its settings stay as they are",
            )


def _numbers_at(
    cloud: Cloud, installation: InstallationRequest, connector_id: str
) -> Iterator[Found]:
    """Return the numbers that C{--direct} has assigned to a kept Voice Connector."""
    path = "PhoneNumber.Associations[?Name=='VoiceConnectorId'].Value"
    for number in installation.numbers if installation.is_direct else ():
        found = cloud.seek(chime("GetPhoneNumber", PhoneNumberId=number)) or {}
        if connector_id in (jmespath.search(path, found) or ()):
            yield Found(
                key=f"number {number}",
                what=f"{number} at the Voice Connector",
                remove=partial(cloud.remove, disassociation(connector_id, number)),
            )


def destroy(
    cloud: Cloud,
    installation: InstallationRequest,
    *,
    is_real: bool,
    with_buckets: bool = False,
) -> Iterator[Change]:
    """
    Remove the installation, and yield each change when it is done.  Resources that
    cannot be removed, their dependencies, and foreign resources are kept, with the
    reason.

    @param is_real: if false, nothing is changed, and the changes are only listed.
    @raise Refused: the credentials have expired.
    """
    blocked: dict[str, str] = {}
    for one in find_all(cloud, installation, with_buckets=with_buckets):
        if one.kept:
            blocked[one.key] = one.what
            yield Change("keep", one.what, one.kept)
            continue
        needed_by = [blocked[key] for key in one.after if key in blocked]
        why = one.blocked or (f"needed by {needed_by[0]}" if needed_by else "")
        if is_real and not why:
            try:
                one.remove()
            except Refused as exc:
                if exc.is_expired:
                    raise
                why = str(exc)
        if why:
            blocked[one.key] = one.what
            yield Change("blocked", one.what, why)
        else:
            yield Change("delete", one.what)
