"""
The resources of the Kinesis carrier: a queue for streaming notifications, and a bucket
for the agent's audio.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chime_gateway.aws.setup.request import (
    CHIME,
    TAG,
    InstallationRequest,
    allow,
    bucket_name,
    policy_of,
    queue_name,
    tags,
)
from chime_gateway.aws.setup.resource import Lookup, Request, Resource, Setting


def bucket(installation: InstallationRequest) -> Resource:
    bucket = {"Bucket": bucket_name(installation)}
    create: dict[str, Any] = dict(bucket)
    if installation.region != "us-east-1":
        create["CreateBucketConfiguration"] = {
            "LocationConstraint": installation.region
        }
    private = dict.fromkeys(
        (
            *("BlockPublicAcls", "IgnorePublicAcls"),
            *("BlockPublicPolicy", "RestrictPublicBuckets"),
        ),
        True,
    )
    lifecycle = {
        "Rules": [
            {
                "ID": "replies",
                "Filter": {"Prefix": "replies/"},
                "Status": "Enabled",
                "Expiration": {"Days": 1},
            }
        ]
    }
    arn = f"arn:aws:s3:::{bucket_name(installation)}/*"
    policy = policy_of(
        {
            **allow("s3:GetObject", arn),
            "Principal": {"Service": CHIME},
            "Condition": {"StringEquals": {"aws:SourceAccount": "${ACCOUNT_ID}"}},
        }
    )

    def s3(operation: str, **more: object) -> Request:
        return Request("s3", operation, {**bucket, **more})

    tagging = {"TagSet": tags(installation)}
    return Resource(
        what="bucket for the agent's voice",
        key=f"bucket {bucket_name(installation)}",
        lookup=Lookup(s3("HeadBucket"), absent=("404", "NoSuchBucket", "NotFound")),
        create=(Request("s3", "CreateBucket", create),),
        settings=(
            # First, so that a bucket of an interrupted run is recognized.
            Setting(
                "tags",
                (s3("PutBucketTagging", Tagging=tagging),),
                s3("GetBucketTagging"),
                "TagSet",
                tags(installation),
            ),
            Setting(
                "no public access",
                (s3("PutPublicAccessBlock", PublicAccessBlockConfiguration=private),),
                s3("GetPublicAccessBlock"),
                "PublicAccessBlockConfiguration",
                private,
            ),
            Setting(
                "lifecycle: one day",
                (
                    s3(
                        "PutBucketLifecycleConfiguration",
                        LifecycleConfiguration=lifecycle,
                    ),
                ),
                s3("GetBucketLifecycleConfiguration"),
                "@",
                lifecycle,
            ),
            Setting(
                "policy: readable by the application",
                (s3("PutBucketPolicy", Policy=policy),),
                s3("GetBucketPolicy"),
                "Policy",
                policy,
            ),
        ),
        tags=s3("GetBucketTagging"),
        tags_path="TagSet",
        owner=installation.name,
    )


def queues(installation: InstallationRequest) -> Iterator[Resource]:
    name = queue_name(installation)
    aside = f"{name}-aside"
    arn = f"arn:aws:sqs:{installation.region}:${{ACCOUNT_ID}}:"
    yield _queue(
        installation,
        "queue for what is not understood",
        aside,
        "ASIDE",
        {"MessageRetentionPeriod": "1209600"},
    )
    redrive = {"deadLetterTargetArn": arn + aside, "maxReceiveCount": 8}
    rule = f"arn:aws:events:{installation.region}:${{ACCOUNT_ID}}:rule/{name}"
    policy = policy_of(
        {
            **allow("sqs:SendMessage", arn + name),
            "Principal": {"Service": "events.amazonaws.com"},
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
    )
    yield _queue(
        installation,
        "queue of streaming notices",
        name,
        "NOTICES",
        {
            # A notification older than an hour is of no use.
            "MessageRetentionPeriod": "3600",
            "VisibilityTimeout": "40",
            "RedrivePolicy": json.dumps(redrive, separators=(",", ":")),
            "Policy": policy,
        },
    )


def _queue(
    installation: InstallationRequest,
    what: str,
    name: str,
    reference: str,
    attributes: Mapping[str, str],
) -> Resource:
    url = f"{reference}_QUEUE_URL"
    queue = {"QueueUrl": f"${{{url}}}"}
    return Resource(
        what=what,
        key=f"queue {name}",
        lookup=Lookup(
            Request("sqs", "GetQueueUrl", {"QueueName": name}),
            {url: "QueueUrl"},
            absent=("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
        ),
        create=(
            Request(
                "sqs",
                "CreateQueue",
                {"QueueName": name, "tags": {TAG: installation.name}},
            ),
        ),
        created={url: "QueueUrl"},
        settings=(
            Setting(
                "attributes",
                (
                    Request(
                        "sqs", "SetQueueAttributes", {**queue, "Attributes": attributes}
                    ),
                ),
                Request(
                    "sqs", "GetQueueAttributes", {**queue, "AttributeNames": ["All"]}
                ),
                "Attributes",
                attributes,
            ),
        ),
        tags=Request("sqs", "ListQueueTags", queue),
        owner=installation.name,
    )


def event_rule(installation: InstallationRequest) -> Resource:
    name = queue_name(installation)
    pattern = json.dumps(
        {
            "source": ["aws.chime"],
            "detail-type": ["Chime VoiceConnector Streaming Status"],
            "detail": {"voiceConnectorId": ["${VOICE_CONNECTOR_ID}"]},
        },
        separators=(",", ":"),
    )
    target = {
        "Id": "queue",
        "Arn": f"arn:aws:sqs:{installation.region}:${{ACCOUNT_ID}}:{name}",
    }
    put = Request("events", "PutRule", {"Name": name, "EventPattern": pattern})
    first = {**put.parameters, "Tags": tags(installation)}
    return Resource(
        what="event rule",
        key=f"event rule {name}",
        lookup=Lookup(
            Request("events", "DescribeRule", {"Name": name}),
            {"RULE_ARN": "Arn"},
            absent=("ResourceNotFoundException",),
        ),
        create=(Request("events", "PutRule", first),),
        created={"RULE_ARN": "RuleArn"},
        settings=(
            Setting(
                "pattern",
                (put,),
                Request("events", "DescribeRule", {"Name": name}),
                "EventPattern",
                pattern,
                is_born_so=True,
            ),
            Setting(
                "target: the queue",
                (Request("events", "PutTargets", {"Rule": name, "Targets": [target]}),),
                Request("events", "ListTargetsByRule", {"Rule": name}),
                "Targets",
                [target],
            ),
        ),
        tags=Request("events", "ListTagsForResource", {"ResourceARN": "${RULE_ARN}"}),
        owner=installation.name,
    )
