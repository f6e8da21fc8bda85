"""
Simulates IAM's roles and policies, and Lambda's functions.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from chime_gateway.sim.aws.protocol import (
    ACCOUNT,
    REGION,
    Fault,
    missing,
    policy_document,
    tag_list,
    tag_map,
)
from chime_gateway.sim.aws.server import Answerer

_Parameters = Mapping[str, Any]


class Iam:
    """
    Roles and policies.

    @ivar page: entries of one answer.
    @param wall_time: Unix seconds.
    """

    page = 2

    def __init__(self, wall_time: Callable[[], float] = time.time) -> None:
        self._wall_time = wall_time
        self.roles: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[str, Answerer]:
        return {
            "CreateRole": self._create_role,
            "GetRole": lambda p: {"Role": self._shown_role(self._role(p))},
            "DeleteRole": self._delete_role,
            "ListRoles": lambda p: self._page(
                p, "Roles", [self._shown_role(role) for role in self.roles.values()]
            ),
            "ListRolePolicies": lambda p: {
                "PolicyNames": list(self._role(p)["inline"])
            },
            "ListRoleTags": lambda p: {"Tags": tag_list(self._role(p)["tags"])},
            "PutRolePolicy": self._put_inline,
            "GetRolePolicy": self._get_inline,
            "DeleteRolePolicy": self._delete_inline,
            "AttachRolePolicy": self._attach,
            "DetachRolePolicy": self._detach,
            "ListAttachedRolePolicies": self._list_attached,
            "CreatePolicy": self._create_policy,
            "GetPolicy": lambda p: {"Policy": self._shown_policy(self._policy(p))},
            "ListPolicies": lambda p: self._page(
                p, "Policies", [self._shown_policy(p) for p in self.policies.values()]
            ),
            "ListEntitiesForPolicy": self._list_entities,
            "ListPolicyTags": lambda p: {"Tags": tag_list(self._policy(p)["tags"])},
            "CreatePolicyVersion": self._create_version,
            "GetPolicyVersion": self._get_version,
            "ListPolicyVersions": self._list_versions,
            "DeletePolicyVersion": self._delete_version,
            "DeletePolicy": self._delete_policy,
        }

    def _page(self, parameters: _Parameters, key: str, items: list[Any]) -> Any:
        at = int(parameters.get("Marker") or 0)
        end = at + self.page
        more = {"Marker": str(end)} if end < len(items) else {}
        return {key: items[at:end], "IsTruncated": bool(more), **more}

    def _role(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.roles.get(parameters["RoleName"])
        if found is None:
            raise missing("The role", "NoSuchEntity")
        return found

    def _shown_role(self, role: Mapping[str, object]) -> dict[str, Any]:
        return {
            "Path": "/",
            "RoleName": role["name"],
            "RoleId": "AROA" + "X" * 17,
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{role['name']}",
            "CreateDate": role["created"],
        }

    def _create_role(self, parameters: _Parameters) -> Any:
        name = parameters["RoleName"]
        if name in self.roles:
            raise Fault("EntityAlreadyExists", f"{name} exists", 409)
        policy_document(parameters["AssumeRolePolicyDocument"])
        tags = tag_map(parameters.get("Tags", []))
        self.roles[name] = {
            "name": name,
            "tags": tags,
            "inline": {},
            "attached": [],
            "created": datetime.fromtimestamp(int(self._wall_time()), UTC),
        }
        return {"Role": self._shown_role(self.roles[name])}

    def _delete_role(self, parameters: _Parameters) -> Any:
        role = self._role(parameters)
        if role["inline"] or role["attached"]:
            raise Fault("DeleteConflict", "It still has policies", 409)
        del self.roles[role["name"]]
        return {}

    def _put_inline(self, parameters: _Parameters) -> Any:
        policy_document(parameters["PolicyDocument"])
        inline = self._role(parameters)["inline"]
        inline[parameters["PolicyName"]] = parameters["PolicyDocument"]
        return {}

    def _get_inline(self, parameters: _Parameters) -> Any:
        found = self._role(parameters)["inline"].get(parameters["PolicyName"])
        if found is None:
            raise missing("The policy", "NoSuchEntity")
        names = {k: parameters[k] for k in ("RoleName", "PolicyName")}
        return {**names, "PolicyDocument": found}

    def _delete_inline(self, parameters: _Parameters) -> Any:
        inline = self._role(parameters)["inline"]
        if inline.pop(parameters["PolicyName"], None) is None:
            raise missing("The policy", "NoSuchEntity")
        return {}

    def _attach(self, parameters: _Parameters) -> Any:
        self._policy(parameters)
        self._role(parameters)["attached"].append(parameters["PolicyArn"])
        return {}

    def _detach(self, parameters: _Parameters) -> Any:
        attached = self._role(parameters)["attached"]
        if parameters["PolicyArn"] not in attached:
            raise missing("The attachment", "NoSuchEntity")
        attached.remove(parameters["PolicyArn"])
        return {}

    def _list_attached(self, parameters: _Parameters) -> Any:
        attached = self._role(parameters)["attached"]
        return {"AttachedPolicies": [{"PolicyArn": arn} for arn in attached]}

    def _policy(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.policies.get(parameters["PolicyArn"])
        if found is None:
            raise missing("The policy", "NoSuchEntity")
        return found

    def _shown_policy(self, policy: Mapping[str, object]) -> dict[str, Any]:
        return {
            "PolicyName": policy["name"],
            "Arn": policy["arn"],
            "DefaultVersionId": policy["default"],
        }

    def _create_policy(self, parameters: _Parameters) -> Any:
        name = parameters["PolicyName"]
        arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
        if arn in self.policies:
            raise Fault("EntityAlreadyExists", f"{name} exists", 409)
        policy_document(parameters["PolicyDocument"])
        self.policies[arn] = {
            "name": name,
            "arn": arn,
            "default": "v1",
            "versions": {"v1": parameters["PolicyDocument"]},
            "tags": tag_map(parameters.get("Tags", [])),
        }
        return {"Policy": self._shown_policy(self.policies[arn])}

    def _list_entities(self, parameters: _Parameters) -> Any:
        arn = self._policy(parameters)["arn"]
        roles = [role for role in self.roles.values() if arn in role["attached"]]
        return {"PolicyRoles": [{"RoleName": role["name"]} for role in roles]}

    def _create_version(self, parameters: _Parameters) -> Any:
        policy = self._policy(parameters)
        policy_document(parameters["PolicyDocument"])
        if len(policy["versions"]) >= 5:
            raise Fault("LimitExceeded", "A policy has five versions at most", 409)
        version = f"v{1 + max(int(v[1:]) for v in policy['versions'])}"
        policy["versions"][version] = parameters["PolicyDocument"]
        policy["default"] = version
        return {"PolicyVersion": {"VersionId": version, "IsDefaultVersion": True}}

    def _get_version(self, parameters: _Parameters) -> Any:
        found = self._policy(parameters)["versions"].get(parameters["VersionId"])
        if found is None:
            raise missing("The version", "NoSuchEntity")
        version = {"VersionId": parameters["VersionId"], "Document": found}
        return {"PolicyVersion": version}

    def _list_versions(self, parameters: _Parameters) -> Any:
        policy = self._policy(parameters)
        return {
            "Versions": [
                {"VersionId": v, "IsDefaultVersion": v == policy["default"]}
                for v in policy["versions"]
            ]
        }

    def _delete_version(self, parameters: _Parameters) -> Any:
        policy = self._policy(parameters)
        if parameters["VersionId"] == policy["default"]:
            raise Fault("DeleteConflict", "It is the default version", 409)
        del policy["versions"][parameters["VersionId"]]
        return {}

    def _delete_policy(self, parameters: _Parameters) -> Any:
        policy = self._policy(parameters)
        if any(policy["arn"] in role["attached"] for role in self.roles.values()):
            raise Fault("DeleteConflict", "It is attached", 409)
        if len(policy["versions"]) > 1:
            raise Fault("DeleteConflict", "It has other versions", 409)
        del self.policies[policy["arn"]]
        return {}


class Functions:
    """
    Lambda.

    @ivar functions: the functions by name.
    @param wall_time: returns Unix seconds.
    """

    def __init__(
        self,
        iam: Iam,
        region: str = REGION,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self._region = region
        self._wall_time = wall_time
        self.functions: dict[str, dict[str, Any]] = {}
        self._iam = iam

    def operations(self) -> dict[str, Answerer]:
        return {
            "CreateFunction": self._create,
            "GetFunction": self._get,
            "UpdateFunctionConfiguration": self._update_configuration,
            "UpdateFunctionCode": self._update_code,
            "DeleteFunction": self._delete,
            "AddPermission": self._add_permission,
            "GetPolicy": self._get_policy,
            "ListTags": self._list_tags,
        }

    def arn_of(self, name: str) -> str:
        return f"arn:aws:lambda:{self._region}:{ACCOUNT}:function:{name}"

    def has(self, arn: str) -> bool:
        return arn.rpartition(":")[2] in self.functions

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.functions:
            raise missing("The function", "ResourceNotFoundException")
        return self.functions[name]

    def _check_role(self, arn: str) -> None:
        if arn.rpartition("/")[2] not in self._iam.roles:
            text = "The role defined for the function cannot be assumed by Lambda."
            raise Fault("InvalidParameterValueException", text)

    def _now(self) -> str:
        """As Lambda writes a time: ISO 8601 with milliseconds."""
        now = datetime.fromtimestamp(self._wall_time(), UTC)
        return now.strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def _code_facts(self, content: bytes) -> dict[str, Any]:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        return {"CodeSha256": digest, "CodeSize": len(content)}

    def _create(self, parameters: _Parameters) -> Any:
        name = parameters["FunctionName"]
        if name in self.functions:
            raise Fault(
                "ResourceConflictException", f"Function already exists: {name}", 409
            )
        self._check_role(parameters["Role"])
        rest = {k: v for k, v in parameters.items() if k not in ("Code", "Tags")}
        configuration = {
            **rest,
            **self._code_facts(parameters["Code"]["ZipFile"]),
            "FunctionArn": self.arn_of(name),
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "LastModified": self._now(),
        }
        self.functions[name] = {
            "configuration": configuration,
            "tags": dict(parameters.get("Tags", {})),
            "statements": [],
        }
        return configuration

    def _get(self, parameters: _Parameters) -> Any:
        function = self._find(parameters["FunctionName"])
        return {"Configuration": function["configuration"], "Tags": function["tags"]}

    def _update_configuration(self, parameters: _Parameters) -> Any:
        configuration = self._find(parameters["FunctionName"])["configuration"]
        self._check_role(parameters.get("Role", configuration["Role"]))
        configuration.update(parameters)
        configuration["LastModified"] = self._now()
        return configuration

    def _update_code(self, parameters: _Parameters) -> Any:
        configuration = self._find(parameters["FunctionName"])["configuration"]
        configuration.update(self._code_facts(parameters["ZipFile"]))
        configuration["LastModified"] = self._now()
        return configuration

    def _delete(self, parameters: _Parameters) -> Any:
        self._find(parameters["FunctionName"])
        del self.functions[parameters["FunctionName"]]
        return {}

    def _add_permission(self, parameters: _Parameters) -> Any:
        function = self._find(parameters["FunctionName"])
        known = [one["Sid"] for one in function["statements"]]
        if parameters["StatementId"] in known:
            raise Fault("ResourceConflictException", "The statement id exists", 409)
        statement = {
            "Sid": parameters["StatementId"],
            "Effect": "Allow",
            "Principal": {"Service": parameters["Principal"]},
            "Action": parameters["Action"],
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": parameters.get("SourceAccount")}
            },
        }
        function["statements"].append(statement)
        return {"Statement": json.dumps(statement)}

    def _get_policy(self, parameters: _Parameters) -> Any:
        statements = self._find(parameters["FunctionName"])["statements"]
        if not statements:
            raise missing("The policy", "ResourceNotFoundException")
        return {"Policy": json.dumps({"Statement": statements})}

    def _list_tags(self, parameters: _Parameters) -> Any:
        return {"Tags": self._find(parameters["Resource"].rpartition(":")[2])["tags"]}
