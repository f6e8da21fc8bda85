"""
Removes what C{apply} made, whatever it was told then.

There is no file of what was made: everything is found by its tag, and what can have
none by what it leads to.  So a run that was interrupted is simply repeated.
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
    All that the installation has, in the order in which it can be removed.

    @param installation: its name and region are enough; a Voice Connector that was
        there before and numbers of its own (C{is_direct}) are known only from here.
    """
    identity = cloud.ask(Request("sts", "GetCallerIdentity"))
    cloud.references["ACCOUNT_ID"] = identity["Account"]
    arns = tagged(cloud, installation.name)
    regional = Regional(cloud, installation, arns, with_buckets=with_buckets)
    telephony = Telephony(cloud, installation)
    applications = [one.key for one in telephony.applications if not one.kept]
    event_rules = regional.event_rules()
    functions = regional.functions(applications)
    # The role of a Lambda that stays is needed, whosever it is.
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
    """Voice Connectors that were used as they were found."""
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
    """The numbers that C{--direct} has given to a Voice Connector that stays."""
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
    Remove it, telling each change when it is done.  What cannot be removed, what
    needs that, and what is not ours stays, with the reason.

    @param is_real: otherwise nothing is changed, and what would be is told.
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
