"""
The Lambda, its log group, event rules, queues and buckets.

They are found in two ways, and the tags of each are then read from its own service:
by tag (C{tag:GetResources}), which finds what other options or an older release
created, but may be minutes out of date; and by name, which finds the newest ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from attrs import frozen

from chime_gateway.aws.removal.found import Found
from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.request import (
    GATEWAYS_TAG,
    TAG,
    InstallationRequest,
    bucket_name,
    function_name,
    gateway_queues,
    log_group_name,
    not_ours,
    queue_name,
)
from chime_gateway.aws.setup.resource import Request, fill
from chime_gateway.aws.setup.state import read_tags

#: The lists of a bucket's object versions; entries in either prevent its deletion.
_ALL_VERSIONS: Final = ("Versions", "DeleteMarkers")


@frozen
class Kind:
    """
    A kind of resource.

    @ivar noun: the start of its keys.
    @ivar arn: matches its ARNs, with the name in a group.
    @ivar tags: reads the tags of one; returns C{None} if it does not exist.
    @ivar remove: removes one.
    """

    noun: str
    what: str
    arn: re.Pattern[str]
    tags: Callable[[Cloud, str], dict[str, str] | None]
    remove: Callable[[Cloud, str], None]


def _function_tags(cloud: Cloud, name: str) -> dict[str, str] | None:
    get = Request("lambda", "GetFunction", {"FunctionName": name})
    found = cloud.seek(get)
    return None if found is None else dict(found.get("Tags") or {})


def _remove_function(cloud: Cloud, name: str) -> None:
    # Its resource policy, the permission to be invoked, goes with it.
    cloud.remove(Request("lambda", "DeleteFunction", {"FunctionName": name}))


def _log_group_tags(cloud: Cloud, name: str) -> dict[str, str] | None:
    known = cloud.ask(
        Request("logs", "DescribeLogGroups", {"logGroupNamePrefix": name})
    )
    if all(group["logGroupName"] != name for group in known["logGroups"]):
        return None
    arn = f"arn:aws:logs:{cloud.region}:${{ACCOUNT_ID}}:log-group:{name}"
    found = cloud.seek(Request("logs", "ListTagsForResource", {"resourceArn": arn}))
    return None if found is None else dict(found.get("tags") or {})


def _remove_log_group(cloud: Cloud, name: str) -> None:
    cloud.remove(Request("logs", "DeleteLogGroup", {"logGroupName": name}))


def _event_rule_tags(cloud: Cloud, name: str) -> dict[str, str] | None:
    rule = cloud.seek(Request("events", "DescribeRule", {"Name": name}))
    if rule is None:
        return None
    ask = Request("events", "ListTagsForResource", {"ResourceARN": rule["Arn"]})
    return read_tags(cloud, ask, "Tags")


def _remove_event_rule(cloud: Cloud, name: str) -> None:
    rule = {"Rule": name}
    targets = cloud.seek(Request("events", "ListTargetsByRule", rule)) or {}
    ids = [target["Id"] for target in targets.get("Targets") or ()]
    if ids:
        cloud.remove(Request("events", "RemoveTargets", {**rule, "Ids": ids}))
    cloud.remove(Request("events", "DeleteRule", {"Name": name}))


def _queue(cloud: Cloud, name: str) -> dict[str, str] | None:
    found = cloud.seek(Request("sqs", "GetQueueUrl", {"QueueName": name}))
    return None if found is None else {"QueueUrl": found["QueueUrl"]}


def _queue_tags(cloud: Cloud, name: str) -> dict[str, str] | None:
    queue = _queue(cloud, name)
    if queue is None:
        return None
    return read_tags(cloud, Request("sqs", "ListQueueTags", queue), "Tags")


def _remove_queue(cloud: Cloud, name: str) -> None:
    if queue := _queue(cloud, name):
        cloud.remove(Request("sqs", "DeleteQueue", queue))


def _bucket_tags(cloud: Cloud, name: str) -> dict[str, str] | None:
    bucket = {"Bucket": name}
    if cloud.seek(Request("s3", "HeadBucket", bucket)) is None:
        return None
    return read_tags(cloud, Request("s3", "GetBucketTagging", bucket), "TagSet")


def _remove_bucket(cloud: Cloud, name: str) -> None:
    """Empty and delete a bucket; only a bucket without any versions can be deleted."""
    bucket = {"Bucket": name}
    while listed := cloud.seek(Request("s3", "ListObjectVersions", bucket)):
        which = [
            {"Key": one["Key"], "VersionId": one["VersionId"]}
            for kind in _ALL_VERSIONS
            for one in listed.get(kind) or ()
        ]
        if not which:
            break
        delete = {"Objects": which, "Quiet": True}
        cloud.remove(Request("s3", "DeleteObjects", {**bucket, "Delete": delete}))
    cloud.remove(Request("s3", "DeleteBucket", bucket))


def _arn(service: str, before_name: str) -> re.Pattern[str]:
    return re.compile(
        rf"arn:aws[\w-]*:{service}:[^:]*:[^:]*:{before_name}([^:]+)(:\*)?"
    )


FUNCTION: Final = Kind(
    "function",
    "Lambda",
    _arn("lambda", "function:"),
    _function_tags,
    _remove_function,
)
LOG_GROUP: Final = Kind(
    "log group",
    "log group",
    _arn("logs", "log-group:"),
    _log_group_tags,
    _remove_log_group,
)
EVENT_RULE: Final = Kind(
    "event rule",
    "event rule",
    _arn("events", "rule/"),
    _event_rule_tags,
    _remove_event_rule,
)
QUEUE: Final = Kind("queue", "queue", _arn("sqs", ""), _queue_tags, _remove_queue)
BUCKET: Final = Kind("bucket", "bucket", _arn("s3", ""), _bucket_tags, _remove_bucket)


def tagged(cloud: Cloud, name: str) -> list[str]:
    """
    @param name: the name of the installation.
    @return: the ARNs of the resources with its tag, and of the gateways' queues; some
        may no longer exist, and some may be missing.
    """
    tag = {"Key": TAG, "Values": [name, GATEWAYS_TAG]}
    ask = Request("resourcegroupstaggingapi", "GetResources", {"TagFilters": [tag]})
    listed = cloud.ask(ask).get("ResourceTagMappingList") or ()
    return [one["ResourceARN"] for one in listed]


class Regional:
    """
    Finds the regional resources.

    @param arns: the result of L{tagged}.
    @param with_buckets: buckets are removed too, with all their contents.
    """

    def __init__(
        self,
        cloud: Cloud,
        installation: InstallationRequest,
        arns: Iterable[str],
        *,
        with_buckets: bool,
    ) -> None:
        self._cloud = cloud
        self._installation = installation
        self._arns = list(arns)
        self._with_buckets = with_buckets
        prefix = re.escape(gateway_queues(installation))
        self._gateways_queue = re.compile(rf"{prefix}[0-9a-f]+")

    def functions(self, after: Iterable[str]) -> list[Found]:
        name = function_name(self._installation)
        return list(self._found(FUNCTION, [name], after))

    def log_groups(self, after: Iterable[str]) -> list[Found]:
        name = log_group_name(self._installation)
        return list(self._found(LOG_GROUP, [name], after))

    def event_rules(self) -> list[Found]:
        return list(self._found(EVENT_RULE, [queue_name(self._installation)]))

    def queues(self, after: Iterable[str]) -> list[Found]:
        name = queue_name(self._installation)
        prefix = {"QueueNamePrefix": gateway_queues(self._installation)}
        urls = self._cloud.ask(Request("sqs", "ListQueues", prefix)).get("QueueUrls")
        made = [url.rpartition("/")[2] for url in urls or ()]
        return list(self._found(QUEUE, [name, f"{name}-aside", *made], after))

    def buckets(self) -> list[Found]:
        name = fill(bucket_name(self._installation), self._cloud.references)
        return list(self._found(BUCKET, [name]))

    def _found(
        self, kind: Kind, names: Iterable[str], after: Iterable[str] = ()
    ) -> Iterator[Found]:
        known = [kind.arn.fullmatch(arn) for arn in self._arns]
        by_tag = [found[1] for found in known if found is not None]
        for name in dict.fromkeys([*names, *by_tag]):
            tags = kind.tags(self._cloud, name)
            if tags is None:
                continue
            kept = self._why_kept(kind, name, tags)
            if kept is None:
                continue
            yield Found(
                key=f"{kind.noun} {name}",
                what=f"{kind.what} {name}",
                kept=kept,
                after=tuple(after),
                remove=partial(kind.remove, self._cloud, name),
            )

    def _why_kept(self, kind: Kind, name: str, tags: dict[str, str]) -> str | None:
        """@return: C{None} if the resource is unrelated to this installation."""
        if kind is QUEUE and tags.get(TAG) == GATEWAYS_TAG:
            ours = f"{self._installation.name}-"
            is_gateways = self._gateways_queue.fullmatch(name) is not None
            is_named_so = self._installation.name == GATEWAYS_TAG
            is_set_up = is_named_so and name.startswith(ours)
            return "" if is_gateways or is_set_up else None
        why = not_ours(tags, self._installation.name)
        if kind is not BUCKET:
            return why
        if not tags:
            # An interrupted apply may not have tagged it.
            bucket = Request("s3", "ListObjectVersions", {"Bucket": name})
            listed = self._cloud.seek(bucket) or {}
            if not any(listed.get(one) for one in _ALL_VERSIONS):
                why = ""
        if not why and not self._with_buckets:
            return "it and all that is in it are deleted with --delete-buckets only"
        return why
