"""
Creates an installation, or brings it up to date.

Every run looks everything up again and keeps no state file, so an interrupted run can
be repeated.  L{chime_gateway.aws.setup.installation} describes the wanted resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.resource import (
    Request,
    Resource,
    Setting,
    with_what_is_there,
)
from chime_gateway.aws.setup.state import find, is_set, learn
from chime_gateway.errors import ConfigError


@frozen
class Change:
    """
    One change of an installation.

    @ivar action: C{create}, C{set}, C{delete}, C{keep}, C{confirm}: needs an explicit
        confirmation, or C{blocked}: should be removed but cannot be.
    """

    action: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        signs = {"create": "+", "set": "~", "delete": "-", "confirm": "?"}
        sign = {**signs, "blocked": "!"}.get(self.action, " ")
        detail = f": {self.detail}" if self.detail else ""
        return f"{sign} {self.action:8} {self.what}{detail}"


def apply(cloud: Cloud, resources: Iterable[Resource]) -> Iterator[Change]:
    """
    Apply the changes, and yield each one when it is done.  After a resource that has to
    be confirmed nothing more is changed: a SIP rule needs its number.
    """
    waits = False
    for resource in resources:
        if waits and not resource.needs_confirmation:
            continue
        is_there = find(cloud, resource)
        settle_secrets(cloud, resource)
        if not is_there:
            if resource.needs_confirmation:
                yield Change("confirm", resource.what, resource.needs_confirmation)
                waits = True
                continue
            if not resource.create:
                why = resource.hint or resource.kept
                raise ConfigError(f"there is no {resource.what}: {why}")
            _create(cloud, resource)
            yield Change("create", resource.what, named(cloud, resource))
        changed = False
        for setting in resource.settings:
            if (not is_there and setting.is_born_so) or is_set(cloud, setting):
                continue
            put(cloud, setting)
            changed = True
            yield Change("set", resource.what, setting.what)
        if is_there and not changed:
            yield Change("keep", resource.what, named(cloud, resource))


def settle_secrets(cloud: Cloud, resource: Resource) -> None:
    """Set the wanted value of each secret of a resource, from its present value."""
    for name, wanted in resource.secrets.items():
        cloud.references[name] = wanted(cloud.references.get(name, ""))


def named(cloud: Cloud, resource: Resource) -> str:
    """Return AWS' name of a resource; empty if none is known that may be shown."""
    names = {**resource.lookup.references, **resource.created}
    shown = [name for name in names if name not in resource.secrets]
    known = [cloud.references[name] for name in shown if name in cloud.references]
    return known[0] if known else ""


def put(cloud: Cloud, setting: Setting) -> None:
    """
    Write a setting.

    @raise ConfigError: it is not compatible with the present values.
    """
    for request in setting.write:
        if request.operation == "CreatePolicyVersion":
            # A policy may have five versions.
            forget_versions(cloud, str(request.parameters["PolicyArn"]))
        found = cloud.ask(setting.read) if setting.read and setting.keeps else {}
        kept = with_what_is_there(setting, request, found, cloud.references)
        cloud.ask_patiently(request, kept)


def forget_versions(cloud: Cloud, policy_arn: str) -> None:
    """Delete all versions of a policy except the default version."""
    policy = {"PolicyArn": policy_arn}
    for version in cloud.ask(Request("iam", "ListPolicyVersions", policy))["Versions"]:
        if not version["IsDefaultVersion"]:
            which = {**policy, "VersionId": version["VersionId"]}
            cloud.remove(Request("iam", "DeletePolicyVersion", which))


def _create(cloud: Cloud, resource: Resource) -> None:
    answers = [cloud.ask_patiently(request) for request in resource.create]
    learn(cloud, resource.created, answers[0])
