"""
The IAM role of the Lambda, and the policy for gateways.

C{tag:GetResources} does not cover roles, and IAM is not regional.  So the tags of every
role and policy are read whose name ends like those of this region.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from chime_gateway.aws.removal.found import Found
from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.provision import forget_versions
from chime_gateway.aws.setup.request import (
    InstallationRequest,
    function_role_name,
    gateway_policy_name,
    not_ours,
)
from chime_gateway.aws.setup.resource import Request
from chime_gateway.aws.setup.state import read_tags

#: To what a policy can be attached: the list, the name in it, and the request that
#: detaches it.
_ATTACHED: Final = (
    ("PolicyRoles", "RoleName", "DetachRolePolicy"),
    ("PolicyUsers", "UserName", "DetachUserPolicy"),
    ("PolicyGroups", "GroupName", "DetachGroupPolicy"),
)


def roles(
    cloud: Cloud, installation: InstallationRequest, after: Iterable[str]
) -> Iterator[Found]:
    listed = cloud.ask(Request("iam", "ListRoles")).get("Roles") or ()
    for name in _of_region(installation, (role["RoleName"] for role in listed)):
        ask = Request("iam", "ListRoleTags", {"RoleName": name})
        why = not_ours(read_tags(cloud, ask, "Tags"), installation.name)
        if why and name != function_role_name(installation):
            continue
        yield Found(
            key=f"role {name}",
            what=f"IAM role {name}",
            kept=why,
            after=tuple(after),
            remove=partial(_remove_role, cloud, name),
        )


def policies(cloud: Cloud, installation: InstallationRequest) -> Iterator[Found]:
    ask = Request("iam", "ListPolicies", {"Scope": "Local"})
    listed = cloud.ask(ask).get("Policies") or ()
    arns = {policy["PolicyName"]: policy["Arn"] for policy in listed}
    for name in _of_region(installation, arns):
        tags = Request("iam", "ListPolicyTags", {"PolicyArn": arns[name]})
        why = not_ours(read_tags(cloud, tags, "Tags"), installation.name)
        if why and name != gateway_policy_name(installation):
            continue
        yield Found(
            key=f"policy {name}",
            what=f"IAM policy {name}",
            kept=why,
            remove=partial(_remove_policy, cloud, arns[name]),
        )


def _of_region(
    installation: InstallationRequest, names: Iterable[str]
) -> Iterator[str]:
    return (name for name in names if name.endswith(f"-{installation.region}"))


def _remove_role(cloud: Cloud, name: str) -> None:
    role = {"RoleName": name}
    inline = cloud.seek(Request("iam", "ListRolePolicies", role)) or {}
    for policy in inline.get("PolicyNames") or ():
        named = {**role, "PolicyName": policy}
        cloud.remove(Request("iam", "DeleteRolePolicy", named))
    attached = cloud.seek(Request("iam", "ListAttachedRolePolicies", role)) or {}
    for policy in attached.get("AttachedPolicies") or ():
        named = {**role, "PolicyArn": policy["PolicyArn"]}
        cloud.remove(Request("iam", "DetachRolePolicy", named))
    cloud.remove(Request("iam", "DeleteRole", role))


def _remove_policy(cloud: Cloud, arn: str) -> None:
    policy = {"PolicyArn": arn}
    entities = cloud.seek(Request("iam", "ListEntitiesForPolicy", policy))
    if entities is None:
        return
    for kind, key, operation in _ATTACHED:
        for one in entities.get(kind) or ():
            cloud.remove(Request("iam", operation, {**policy, key: one[key]}))
    forget_versions(cloud, arn)
    cloud.remove(Request("iam", "DeletePolicy", policy))
