"""
Creates an installation, or brings it up to date.

Everything is looked up anew each time: there is no file of what was done, so an
interrupted run is simply repeated.  L{chime_gateway.aws.setup.installation} describes
what is wanted.
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
    @ivar action: C{create}, C{set}, C{delete}, C{keep}, C{confirm}: something that
        is done only when it is asked for once more, or C{blocked}: it should go,
        and cannot.
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
    """Do it, telling each change when it is done."""
    for resource in resources:
        is_there = find(cloud, resource)
        settle_secrets(cloud, resource)
        if not is_there:
            if resource.needs_confirmation:
                yield Change("confirm", resource.what, resource.needs_confirmation)
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
    """Decide what each secret of a resource should be, from what it is now."""
    for name, wanted in resource.secrets.items():
        cloud.references[name] = wanted(cloud.references.get(name, ""))


def named(cloud: Cloud, resource: Resource) -> str:
    """What AWS calls it; empty: nothing is known that may be shown."""
    names = {**resource.lookup.references, **resource.created}
    shown = [name for name in names if name not in resource.secrets]
    known = [cloud.references[name] for name in shown if name in cloud.references]
    return known[0] if known else ""


def put(cloud: Cloud, setting: Setting) -> None:
    """
    @raise ConfigError: it cannot work with what is there.
    """
    for request in setting.write:
        if request.operation == "CreatePolicyVersion":
            # Five are allowed.
            forget_versions(cloud, str(request.parameters["PolicyArn"]))
        found = cloud.ask(setting.read) if setting.read and setting.keeps else {}
        kept = with_what_is_there(setting, request, found, cloud.references)
        cloud.ask_patiently(request, kept)


def forget_versions(cloud: Cloud, policy_arn: str) -> None:
    """Delete all versions of a policy but the one in force."""
    policy = {"PolicyArn": policy_arn}
    for version in cloud.ask(Request("iam", "ListPolicyVersions", policy))["Versions"]:
        if not version["IsDefaultVersion"]:
            which = {**policy, "VersionId": version["VersionId"]}
            cloud.remove(Request("iam", "DeletePolicyVersion", which))


def _create(cloud: Cloud, resource: Resource) -> None:
    answers = [cloud.ask_patiently(request) for request in resource.create]
    learn(cloud, resource.created, answers[0])
