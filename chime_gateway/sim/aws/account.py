"""
The control plane of an account that the set-up uses: the services of
L{chime_gateway.sim.aws.chime} and L{chime_gateway.sim.aws.iam}, and event rules,
log groups, bucket settings and quotas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.sim.aws.chime import ChimeVoice
from chime_gateway.sim.aws.files import Files
from chime_gateway.sim.aws.iam import Functions, Iam
from chime_gateway.sim.aws.protocol import (
    ACCOUNT,
    REGION,
    Fault,
    missing,
    policy_document,
    tag_list,
    tag_map,
)
from chime_gateway.sim.aws.queues import Queues
from chime_gateway.sim.aws.server import Answerer, FakeAws
from chime_gateway.sim.aws.tagging import Tagging

_Parameters = Mapping[str, Any]


class Events:
    """EventBridge's default bus."""

    def __init__(self, region: str = REGION) -> None:
        self._region = region
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

    def arn_of(self, name: str) -> str:
        return f"arn:aws:events:{self._region}:{ACCOUNT}:rule/{name}"

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.rules:
            raise missing("The rule", "ResourceNotFoundException", 400)
        return self.rules[name]

    def _put(self, parameters: _Parameters) -> Any:
        name = parameters["Name"]
        rule = self.rules.setdefault(name, {"tags": {}, "targets": {}})
        if parameters.get("Tags") and rule["tags"]:
            raise Fault("ValidationException", "Tags are for new rules only")
        rule["tags"].update(tag_map(parameters.get("Tags", [])))
        try:
            json.loads(parameters["EventPattern"])
        except ValueError as exc:
            raise Fault("InvalidEventPatternException", "not JSON") from exc
        rule["pattern"] = parameters["EventPattern"]
        return {"RuleArn": self.arn_of(name)}

    def _describe(self, parameters: _Parameters) -> Any:
        rule = self._find(parameters["Name"])
        return {
            "Name": parameters["Name"],
            "Arn": self.arn_of(parameters["Name"]),
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
        return {"Tags": tag_list(self._find(name)["tags"])}


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
            raise missing("The log group", "ResourceNotFoundException", 400)
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
    """
    S3's bucket settings.

    @ivar locked: the keys that cannot be deleted.
    """

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

    #: Keys of one page.
    page = 1000

    def __init__(self, files: Files, region: str = REGION) -> None:
        self._files = files
        self._region = region
        self.settings: dict[tuple[str, str], Any] = {}
        self.locked: set[str] = set()

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
            "ListObjectVersions": self._list_versions,
            "DeleteObjects": self._delete_objects,
        }

    def _head(self, parameters: _Parameters) -> Any:
        if parameters["Bucket"] not in self._files.buckets:
            raise Fault("404", "Not Found", 404)
        return {"BucketRegion": self._region}

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
                raise missing(kind, absent)
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
        bucket = parameters["Bucket"]
        keys = list(self._files.buckets[bucket])[: self.page]
        found = [{"Key": key, **self._files.described(bucket, key)} for key in keys]
        return {"Contents": found, "KeyCount": len(keys)}

    def _list_versions(self, parameters: _Parameters) -> Any:
        """Without versioning each has one, and it is called null."""
        listed = self._list(parameters)["Contents"]
        found = [{**one, "VersionId": "null", "IsLatest": True} for one in listed]
        return {"Versions": found} if found else {}

    def _delete_objects(self, parameters: _Parameters) -> Any:
        self._head(parameters)
        errors = []
        for item in parameters["Delete"]["Objects"]:
            if item["Key"] in self.locked:
                why = {"Code": "AccessDenied", "Message": "Access Denied"}
                errors.append({"Key": item["Key"], **why})
            else:
                self._files.drop(parameters["Bucket"], item["Key"])
        return {"Errors": errors} if errors else {}


class Account:
    """
    All services of the account, behind one port.

    @param region: one port serves one region.
    @ivar quotas: name -> value, as in Service Quotas.
    """

    def __init__(self, clock: IReactorTime, region: str = REGION) -> None:
        self.region = region
        self.iam = Iam()
        self.functions = Functions(self.iam, region)
        self.chime = ChimeVoice(lambda arn: self.functions.has(arn), region)
        self.events = Events(region)
        self.logs = Logs()
        self.queues = Queues(clock, region)
        self.files = Files(region=region)
        self.buckets = BucketSettings(self.files, region)
        self.tagging = Tagging(self._tagged)
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
            "resourcegroupstaggingapi": self.tagging.operations(),
            "service-quotas": {"ListServiceQuotas": self._list_quotas},
        }
        self.aws = FakeAws(self.services, clock, region)

    def _tagged(self) -> dict[str, dict[str, str]]:
        """By ARN, of what the tagging API knows."""
        logs = f"arn:aws:logs:{self.region}:{ACCOUNT}:log-group"
        found = {
            **{
                self.functions.arn_of(n): f for n, f in self.functions.functions.items()
            },
            **{
                self.events.arn_of(name): one for name, one in self.events.rules.items()
            },
            **{f"{logs}:{name}": group for name, group in self.logs.groups.items()},
        }
        tagged = {arn: dict(one["tags"]) for arn, one in found.items()}
        for name, queue in self.queues.queues.items():
            tagged[self.queues.arn_of(name)] = dict(queue.tags)
        for (bucket, kind), value in self.buckets.settings.items():
            if kind == "tags":
                tagged[f"arn:aws:s3:::{bucket}"] = tag_map(value["TagSet"])
        return {arn: tags for arn, tags in tagged.items() if tags}

    def _list_quotas(self, parameters: _Parameters) -> Any:
        return {
            "Quotas": [
                {"QuotaName": name, "Value": value}
                for name, value in self.quotas.items()
            ]
        }

    def left(self) -> list[str]:
        """List everything that exists, in readable form."""
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
