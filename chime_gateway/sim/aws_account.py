"""
The control plane of an account: Voice Connectors, applications, rules, numbers,
roles, functions, event rules, log groups, buckets' settings.

Only what a set-up needs, and that with the services' own rules: what refers to
something else must find it, what is in use cannot be deleted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.sim.aws import ACCOUNT, REGION, Answerer, FakeAws
from chime_gateway.sim.aws_services import Files, Queues
from chime_gateway.sim.aws_wire import Fault, policy_document

_Parameters = Mapping[str, Any]

_NOT_FOUND: Final = "NotFoundException"


def _missing(what: str, code: str = _NOT_FOUND, status: int = 404) -> Fault:
    return Fault(code, f"{what} does not exist", status)


def _tag_map(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class ChimeVoice:
    """
    C{chime-sdk-voice}, but for calls.

    @ivar connectors: id -> what there is of it; C{applications}, C{rules} and
        C{numbers} (those of the inventory) likewise.
    @ivar for_sale: numbers.
    """

    def __init__(self, has_function: Callable[[str], bool]) -> None:
        self.connectors: dict[str, dict[str, Any]] = {}
        self.applications: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, dict[str, Any]] = {}
        self.for_sale = [f"+1206555{n:04}" for n in range(100, 130)]
        self.tags: dict[str, dict[str, str]] = {}
        self._of_connector: dict[tuple[str, str], Any] = {}
        self._logging: dict[str, Any] = {}
        self._has_function = has_function

    def operations(self) -> dict[str, Answerer]:
        pairs = {
            "Origination": "Origination",
            "Termination": "Termination",
            "LoggingConfiguration": "LoggingConfiguration",
            "StreamingConfiguration": "StreamingConfiguration",
        }
        operations: dict[str, Answerer] = {}
        for noun, key in pairs.items():
            operations[f"PutVoiceConnector{noun}"] = self._putter(noun, key)
            operations[f"GetVoiceConnector{noun}"] = self._getter(noun, key)
        return {
            **operations,
            "CreateVoiceConnector": self._create_connector,
            "UpdateVoiceConnector": self._update_connector,
            "GetVoiceConnector": self._get_connector,
            "ListVoiceConnectors": lambda p: {
                "VoiceConnectors": list(self.connectors.values())
            },
            "DeleteVoiceConnector": self._delete_connector,
            "PutVoiceConnectorTerminationCredentials": self._put_credentials,
            "ListVoiceConnectorTerminationCredentials": self._list_credentials,
            "GetVoiceConnectorTerminationHealth": lambda p: {},
            "CreateSipMediaApplication": self._create_application,
            "UpdateSipMediaApplication": self._update_application,
            "GetSipMediaApplication": self._get_application,
            "ListSipMediaApplications": lambda p: {
                "SipMediaApplications": list(self.applications.values())
            },
            "DeleteSipMediaApplication": self._delete_application,
            "PutSipMediaApplicationLoggingConfiguration": self._put_logging,
            "GetSipMediaApplicationLoggingConfiguration": self._get_logging,
            "CreateSipRule": self._create_rule,
            "UpdateSipRule": self._update_rule,
            "GetSipRule": lambda p: {"SipRule": self._rule(p)},
            "ListSipRules": lambda p: {"SipRules": list(self.rules.values())},
            "DeleteSipRule": self._delete_rule,
            "SearchAvailablePhoneNumbers": self._search,
            "CreatePhoneNumberOrder": self._order,
            "GetPhoneNumber": self._get_number,
            "ListTagsForResource": self._list_tags,
        }

    # -- Voice Connectors --------------------------------------------------------

    def _connector(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.connectors.get(parameters["VoiceConnectorId"])
        if found is None:
            raise _missing("The Voice Connector")
        return found

    def _create_connector(self, parameters: _Parameters) -> Any:
        # 22 of these; the first is a letter here, to be read easily.
        connector_id = "v" + secrets.token_hex(11)[:21]
        arn = f"arn:aws:chime:{REGION}:{ACCOUNT}:vc/{connector_id}"
        self.connectors[connector_id] = {
            "VoiceConnectorId": connector_id,
            "VoiceConnectorArn": arn,
            "Name": parameters["Name"],
            "AwsRegion": parameters.get("AwsRegion", REGION),
            "RequireEncryption": parameters["RequireEncryption"],
            "OutboundHostName": f"{connector_id}.voiceconnector.chime.aws",
        }
        self.tags[arn] = _tag_map(parameters.get("Tags", []))
        return {"VoiceConnector": self.connectors[connector_id]}

    def _update_connector(self, parameters: _Parameters) -> Any:
        connector = self._connector(parameters)
        for name in ("Name", "RequireEncryption"):
            connector[name] = parameters[name]
        return {"VoiceConnector": connector}

    def _get_connector(self, parameters: _Parameters) -> Any:
        return {"VoiceConnector": self._connector(parameters)}

    def _delete_connector(self, parameters: _Parameters) -> Any:
        connector = self._connector(parameters)
        del self.connectors[connector["VoiceConnectorId"]]
        return {}

    def _putter(self, noun: str, key: str) -> Answerer:
        def put(parameters: _Parameters) -> Any:
            connector_id = self._connector(parameters)["VoiceConnectorId"]
            wanted = parameters[key]
            if noun == "Origination":
                for route in wanted.get("Routes", ()):
                    if route["Host"].startswith(("10.", "192.168.")):
                        raise Fault("BadRequestException", "Host must be public")
            self._of_connector[connector_id, noun] = wanted
            return {key: wanted}

        return put

    def _getter(self, noun: str, key: str) -> Answerer:
        def get(parameters: _Parameters) -> Any:
            connector_id = self._connector(parameters)["VoiceConnectorId"]
            found = self._of_connector.get((connector_id, noun))
            if found is None and noun == "LoggingConfiguration":
                found = {"EnableSIPLogs": False, "EnableMediaMetricLogs": False}
            if found is None:
                raise _missing(noun)
            return {key: found}

        return get

    def _put_credentials(self, parameters: _Parameters) -> Any:
        connector_id = self._connector(parameters)["VoiceConnectorId"]
        names = [one["Username"] for one in parameters.get("Credentials", ())]
        self._of_connector[connector_id, "credentials"] = names
        return {}

    def _list_credentials(self, parameters: _Parameters) -> Any:
        connector_id = self._connector(parameters)["VoiceConnectorId"]
        return {"Usernames": self._of_connector.get((connector_id, "credentials"), [])}

    # -- applications ------------------------------------------------------------

    def _application(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.applications.get(parameters["SipMediaApplicationId"])
        if found is None:
            raise _missing("The SIP media application")
        return found

    def _check_endpoints(self, endpoints: list[dict[str, str]]) -> None:
        if not all(self._has_function(one["LambdaArn"]) for one in endpoints):
            raise Fault("BadRequestException", "The Lambda function does not exist")

    def _create_application(self, parameters: _Parameters) -> Any:
        self._check_endpoints(parameters["Endpoints"])
        application_id = str(uuid.uuid4())
        arn = f"arn:aws:chime:{REGION}:{ACCOUNT}:sma/{application_id}"
        self.applications[application_id] = {
            "SipMediaApplicationId": application_id,
            "SipMediaApplicationArn": arn,
            "Name": parameters["Name"],
            "AwsRegion": parameters["AwsRegion"],
            "Endpoints": parameters["Endpoints"],
        }
        self.tags[arn] = _tag_map(parameters.get("Tags", []))
        return {"SipMediaApplication": self.applications[application_id]}

    def _update_application(self, parameters: _Parameters) -> Any:
        application = self._application(parameters)
        self._check_endpoints(parameters.get("Endpoints", []))
        application.update(
            {k: v for k, v in parameters.items() if k in ("Name", "Endpoints")}
        )
        return {"SipMediaApplication": application}

    def _get_application(self, parameters: _Parameters) -> Any:
        return {"SipMediaApplication": self._application(parameters)}

    def _delete_application(self, parameters: _Parameters) -> Any:
        application_id = self._application(parameters)["SipMediaApplicationId"]
        for rule in self.rules.values():
            targets = rule["TargetApplications"]
            if any(t["SipMediaApplicationId"] == application_id for t in targets):
                raise Fault("ConflictException", "A SIP rule targets it", 409)
        del self.applications[application_id]
        return {}

    def _put_logging(self, parameters: _Parameters) -> Any:
        key = "SipMediaApplicationLoggingConfiguration"
        application_id = self._application(parameters)["SipMediaApplicationId"]
        self._logging[application_id] = parameters[key]
        return {key: parameters[key]}

    def _get_logging(self, parameters: _Parameters) -> Any:
        application_id = self._application(parameters)["SipMediaApplicationId"]
        found = self._logging.get(application_id, {})
        return {"SipMediaApplicationLoggingConfiguration": found}

    # -- rules and numbers -------------------------------------------------------

    def _rule(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.rules.get(parameters["SipRuleId"])
        if found is None:
            raise _missing("The SIP rule")
        return found

    def _create_rule(self, parameters: _Parameters) -> Any:
        number = parameters["TriggerValue"]
        if parameters["TriggerType"] == "ToPhoneNumber" and number not in self.numbers:
            raise Fault("BadRequestException", f"{number} is not in the inventory")
        for target in parameters.get("TargetApplications", ()):
            self._application(target)
        rule_id = str(uuid.uuid4())
        self.rules[rule_id] = {"SipRuleId": rule_id, **parameters}
        self.rules[rule_id].setdefault("Disabled", False)
        return {"SipRule": self.rules[rule_id]}

    def _update_rule(self, parameters: _Parameters) -> Any:
        rule = self._rule(parameters)
        rule.update(parameters)
        return {"SipRule": rule}

    def _delete_rule(self, parameters: _Parameters) -> Any:
        rule = self._rule(parameters)
        if not rule["Disabled"]:
            raise Fault("ConflictException", "The SIP rule must be disabled", 409)
        del self.rules[rule["SipRuleId"]]
        return {}

    def _search(self, parameters: _Parameters) -> Any:
        code = parameters.get("AreaCode", "")
        found = [n for n in self.for_sale if n.startswith(f"+1{code}")]
        return {"E164PhoneNumbers": found[: parameters.get("MaxResults", 10)]}

    def _order(self, parameters: _Parameters) -> Any:
        for number in parameters["E164PhoneNumbers"]:
            if number not in self.for_sale:
                raise Fault("BadRequestException", f"{number} is not for sale")
            self.for_sale.remove(number)
            self.numbers[number] = {
                "PhoneNumberId": number,
                "E164PhoneNumber": number,
                "ProductType": parameters["ProductType"],
                "Status": "Unassigned",
            }
        order = {"PhoneNumberOrderId": str(uuid.uuid4()), "Status": "Successful"}
        return {"PhoneNumberOrder": order}

    def _get_number(self, parameters: _Parameters) -> Any:
        found = self.numbers.get(parameters["PhoneNumberId"])
        if found is None:
            raise _missing("The phone number")
        return {"PhoneNumber": found}

    def _list_tags(self, parameters: _Parameters) -> Any:
        return {"Tags": _tag_list(self.tags.get(parameters["ResourceARN"], {}))}


class Iam:
    """Roles and policies."""

    def __init__(self) -> None:
        self.roles: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[str, Answerer]:
        return {
            "CreateRole": self._create_role,
            "GetRole": lambda p: {"Role": self._told(self._role(p))},
            "DeleteRole": self._delete_role,
            "ListRoleTags": lambda p: {"Tags": _tag_list(self._role(p)["tags"])},
            "PutRolePolicy": self._put_inline,
            "GetRolePolicy": self._get_inline,
            "DeleteRolePolicy": self._delete_inline,
            "AttachRolePolicy": self._attach,
            "DetachRolePolicy": self._detach,
            "ListAttachedRolePolicies": self._list_attached,
            "CreatePolicy": self._create_policy,
            "GetPolicy": lambda p: {"Policy": self._policy_told(self._policy(p))},
            "ListPolicyTags": lambda p: {"Tags": _tag_list(self._policy(p)["tags"])},
            "CreatePolicyVersion": self._create_version,
            "GetPolicyVersion": self._get_version,
            "ListPolicyVersions": self._list_versions,
            "DeletePolicyVersion": self._delete_version,
            "DeletePolicy": self._delete_policy,
        }

    def _role(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.roles.get(parameters["RoleName"])
        if found is None:
            raise _missing("The role", "NoSuchEntity")
        return found

    def _told(self, role: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "Path": "/",
            "RoleName": role["name"],
            "RoleId": "AROA" + "X" * 17,
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{role['name']}",
            "CreateDate": "2026-11-22T10:00:00Z",
        }

    def _create_role(self, parameters: _Parameters) -> Any:
        name = parameters["RoleName"]
        if name in self.roles:
            raise Fault("EntityAlreadyExists", f"{name} exists", 409)
        policy_document(parameters["AssumeRolePolicyDocument"])
        tags = _tag_map(parameters.get("Tags", []))
        self.roles[name] = {"name": name, "tags": tags, "inline": {}, "attached": []}
        return {"Role": self._told(self.roles[name])}

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
            raise _missing("The policy", "NoSuchEntity")
        names = {k: parameters[k] for k in ("RoleName", "PolicyName")}
        return {**names, "PolicyDocument": found}

    def _delete_inline(self, parameters: _Parameters) -> Any:
        inline = self._role(parameters)["inline"]
        if inline.pop(parameters["PolicyName"], None) is None:
            raise _missing("The policy", "NoSuchEntity")
        return {}

    def _attach(self, parameters: _Parameters) -> Any:
        self._policy(parameters)
        self._role(parameters)["attached"].append(parameters["PolicyArn"])
        return {}

    def _detach(self, parameters: _Parameters) -> Any:
        attached = self._role(parameters)["attached"]
        if parameters["PolicyArn"] not in attached:
            raise _missing("The attachment", "NoSuchEntity")
        attached.remove(parameters["PolicyArn"])
        return {}

    def _list_attached(self, parameters: _Parameters) -> Any:
        attached = self._role(parameters)["attached"]
        return {"AttachedPolicies": [{"PolicyArn": arn} for arn in attached]}

    def _policy(self, parameters: _Parameters) -> dict[str, Any]:
        found = self.policies.get(parameters["PolicyArn"])
        if found is None:
            raise _missing("The policy", "NoSuchEntity")
        return found

    def _policy_told(self, policy: Mapping[str, Any]) -> dict[str, Any]:
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
            "tags": _tag_map(parameters.get("Tags", [])),
        }
        return {"Policy": self._policy_told(self.policies[arn])}

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
            raise _missing("The version", "NoSuchEntity")
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

    @ivar functions: by name.
    """

    def __init__(self, iam: Iam) -> None:
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
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"

    def has(self, arn: str) -> bool:
        return arn.rpartition(":")[2] in self.functions

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.functions:
            raise _missing("The function", "ResourceNotFoundException")
        return self.functions[name]

    def _check_role(self, arn: str) -> None:
        if arn.rpartition("/")[2] not in self._iam.roles:
            text = "The role defined for the function cannot be assumed by Lambda."
            raise Fault("InvalidParameterValueException", text)

    def _coded(self, content: bytes) -> dict[str, Any]:
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
            **self._coded(parameters["Code"]["ZipFile"]),
            "FunctionArn": self.arn_of(name),
            "State": "Active",
            "LastUpdateStatus": "Successful",
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
        return configuration

    def _update_code(self, parameters: _Parameters) -> Any:
        configuration = self._find(parameters["FunctionName"])["configuration"]
        configuration.update(self._coded(parameters["ZipFile"]))
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
            raise _missing("The policy", "ResourceNotFoundException")
        return {"Policy": json.dumps({"Statement": statements})}

    def _list_tags(self, parameters: _Parameters) -> Any:
        return {"Tags": self._find(parameters["Resource"].rpartition(":")[2])["tags"]}


class Events:
    """EventBridge's default bus."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[str, Answerer]:
        return {
            "PutRule": self._put,
            "DescribeRule": self._describe,
            "PutTargets": self._put_targets,
            "ListTargetsByRule": self._list_targets,
            "RemoveTargets": self._remove_targets,
            "DeleteRule": self._delete,
            "ListTagsForResource": self._list_tags,
        }

    def _arn(self, name: str) -> str:
        return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.rules:
            raise _missing("The rule", "ResourceNotFoundException", 400)
        return self.rules[name]

    def _put(self, parameters: _Parameters) -> Any:
        name = parameters["Name"]
        rule = self.rules.setdefault(name, {"tags": {}, "targets": {}})
        if parameters.get("Tags") and rule["tags"]:
            raise Fault("ValidationException", "Tags are for new rules only")
        rule["tags"].update(_tag_map(parameters.get("Tags", [])))
        try:
            json.loads(parameters["EventPattern"])
        except ValueError as exc:
            raise Fault("InvalidEventPatternException", "no JSON") from exc
        rule["pattern"] = parameters["EventPattern"]
        return {"RuleArn": self._arn(name)}

    def _describe(self, parameters: _Parameters) -> Any:
        rule = self._find(parameters["Name"])
        return {
            "Name": parameters["Name"],
            "Arn": self._arn(parameters["Name"]),
            "EventPattern": rule["pattern"],
        }

    def _put_targets(self, parameters: _Parameters) -> Any:
        rule = self._find(parameters["Rule"])
        for target in parameters["Targets"]:
            rule["targets"][target["Id"]] = target
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def _list_targets(self, parameters: _Parameters) -> Any:
        targets = list(self._find(parameters["Rule"])["targets"].values())
        return {"Targets": targets} if targets else {}

    def _remove_targets(self, parameters: _Parameters) -> Any:
        rule = self._find(parameters["Rule"])
        for name in parameters["Ids"]:
            rule["targets"].pop(name, None)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def _delete(self, parameters: _Parameters) -> Any:
        if self._find(parameters["Name"])["targets"]:
            raise Fault("ValidationException", "Rule can't be deleted: it has targets")
        del self.rules[parameters["Name"]]
        return {}

    def _list_tags(self, parameters: _Parameters) -> Any:
        name = parameters["ResourceARN"].rpartition("/")[2]
        return {"Tags": _tag_list(self._find(name)["tags"])}


class Logs:
    """CloudWatch's log groups."""

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[str, Answerer]:
        return {
            "CreateLogGroup": self._create,
            "DescribeLogGroups": self._describe,
            "PutRetentionPolicy": self._retain,
            "DeleteLogGroup": self._delete,
            "ListTagsForResource": self._list_tags,
        }

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.groups:
            raise _missing("The log group", "ResourceNotFoundException", 400)
        return self.groups[name]

    def _create(self, parameters: _Parameters) -> Any:
        name = parameters["logGroupName"]
        if name in self.groups:
            raise Fault("ResourceAlreadyExistsException", "It exists")
        self.groups[name] = {"tags": dict(parameters.get("tags", {}))}
        return {}

    def _describe(self, parameters: _Parameters) -> Any:
        prefix = parameters.get("logGroupNamePrefix", "")
        groups = []
        for name, group in self.groups.items():
            if name.startswith(prefix):
                days = {k: v for k, v in group.items() if k == "retentionInDays"}
                groups.append({"logGroupName": name, **days})
        return {"logGroups": groups}

    def _retain(self, parameters: _Parameters) -> Any:
        days = parameters["retentionInDays"]
        self._find(parameters["logGroupName"])["retentionInDays"] = days
        return {}

    def _delete(self, parameters: _Parameters) -> Any:
        self._find(parameters["logGroupName"])
        del self.groups[parameters["logGroupName"]]
        return {}

    def _list_tags(self, parameters: _Parameters) -> Any:
        name = parameters["resourceArn"].partition("log-group:")[2]
        return {"tags": self._find(name)["tags"]}


class BucketSettings:
    """What there is of S3 besides files."""

    _KINDS: Final[Mapping[str, tuple[str, str, str, str, str]]] = {
        "tags": (
            *("PutBucketTagging", "GetBucketTagging", "Tagging"),
            *("", "NoSuchTagSet"),
        ),
        "access": (
            *("PutPublicAccessBlock", "GetPublicAccessBlock"),
            "PublicAccessBlockConfiguration",
            *("PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration"),
        ),
        "lifecycle": (
            *("PutBucketLifecycleConfiguration", "GetBucketLifecycleConfiguration"),
            *("LifecycleConfiguration", "", "NoSuchLifecycleConfiguration"),
        ),
        "policy": (
            *("PutBucketPolicy", "GetBucketPolicy", "Policy", "Policy"),
            "NoSuchBucketPolicy",
        ),
    }

    def __init__(self, files: Files) -> None:
        self._files = files
        self.settings: dict[tuple[str, str], Any] = {}

    def operations(self) -> dict[str, Answerer]:
        found: dict[str, Answerer] = dict(self._files.operations())
        for kind, (put, get, key, shown, absent) in self._KINDS.items():
            found[put] = self._putter(kind, key)
            found[get] = self._getter(kind, shown, absent)
        return {
            **found,
            "HeadBucket": self._head,
            "DeleteBucket": self._delete,
            "ListObjectsV2": self._list,
            "DeleteObjects": self._delete_objects,
        }

    def _head(self, parameters: _Parameters) -> Any:
        if parameters["Bucket"] not in self._files.buckets:
            raise Fault("404", "Not Found", 404)
        return {}

    def _putter(self, kind: str, key: str) -> Answerer:
        def put(parameters: _Parameters) -> Any:
            value = parameters[key]
            text = value.decode() if isinstance(value, bytes) else value
            if kind == "policy":
                policy_document(text)
            self._head(parameters)
            self.settings[parameters["Bucket"], kind] = text
            return {}

        return put

    def _getter(self, kind: str, shown: str, absent: str) -> Answerer:
        def get(parameters: _Parameters) -> Any:
            self._head(parameters)
            value = self.settings.get((parameters["Bucket"], kind))
            if value is None:
                raise _missing(kind, absent)
            return {shown: value} if shown else value

        return get

    def _delete(self, parameters: _Parameters) -> Any:
        self._head(parameters)
        name = parameters["Bucket"]
        if self._files.buckets[name]:
            raise Fault("BucketNotEmpty", "The bucket is not empty", 409)
        del self._files.buckets[name]
        self.settings = {k: v for k, v in self.settings.items() if k[0] != name}
        return {}

    def _list(self, parameters: _Parameters) -> Any:
        self._head(parameters)
        keys = list(self._files.buckets[parameters["Bucket"]])[:1000]
        return {"Contents": [{"Key": key} for key in keys], "KeyCount": len(keys)}

    def _delete_objects(self, parameters: _Parameters) -> Any:
        bucket = self._files.buckets[parameters["Bucket"]]
        for item in parameters["Delete"]["Objects"]:
            bucket.pop(item["Key"], None)
        return {}


class Account:
    """
    All of it, behind one port.

    @ivar quotas: name -> value, as Service Quotas has them.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.iam = Iam()
        self.functions = Functions(self.iam)
        self.chime = ChimeVoice(lambda arn: self.functions.has(arn))
        self.events = Events()
        self.logs = Logs()
        self.queues = Queues(clock)
        self.files = Files()
        self.buckets = BucketSettings(self.files)
        self.quotas: dict[str, float] = {}
        self.services: dict[str, Mapping[str, Answerer]] = {
            "chime-sdk-voice": self.chime.operations(),
            "iam": self.iam.operations(),
            "lambda": self.functions.operations(),
            "events": self.events.operations(),
            "logs": self.logs.operations(),
            "sqs": self.queues.operations(),
            "s3": self.buckets.operations(),
            "sts": {"GetCallerIdentity": lambda p: {"Account": ACCOUNT}},
            "service-quotas": {"ListServiceQuotas": self._list_quotas},
        }
        self.aws = FakeAws(self.services, clock)

    def _list_quotas(self, parameters: _Parameters) -> Any:
        return {
            "Quotas": [
                {"QuotaName": name, "Value": value}
                for name, value in self.quotas.items()
            ]
        }

    def left(self) -> list[str]:
        """Everything that exists, for people."""
        found: dict[str, Any] = {
            "connector": self.chime.connectors,
            "application": self.chime.applications,
            "rule": self.chime.rules,
            "role": self.iam.roles,
            "policy": self.iam.policies,
            "function": self.functions.functions,
            "event rule": self.events.rules,
            "log group": self.logs.groups,
            "queue": self.queues.queues,
            "bucket": self.files.buckets,
        }
        return [f"{kind} {name}" for kind, names in found.items() for name in names]
