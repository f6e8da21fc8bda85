"""
Describes one installation in AWS: its resources, in the order in which they are made.

Amazon Chime SDK Administrator Guide (Voice Connectors, SIP media applications and
rules).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chime_gateway.aws.setup.application import (
    application,
    association,
    order,
    sip_rule,
)
from chime_gateway.aws.setup.function import (
    call_secret_alone,
    function,
    function_role,
    log_group,
)
from chime_gateway.aws.setup.request import (
    REGIONS,
    Wishes,
    allow,
    bucket_name,
    policy_of,
    queue_name,
    tags,
)
from chime_gateway.aws.setup.resource import Lookup, Request, Resource, Setting
from chime_gateway.aws.setup.streaming import bucket, event_rule, queues
from chime_gateway.aws.setup.voice_connector import voice_connector
from chime_gateway.errors import ConfigError


def resources(wishes: Wishes) -> Iterator[Resource]:
    """
    All of it, each after those that it needs.

    @raise ConfigError: the wishes cannot come true.
    """
    if wishes.region not in REGIONS:
        raise ConfigError(
            f"--region {wishes.region}: Voice Connectors are in {', '.join(REGIONS)}"
        )
    yield account()
    if wishes.call_secret != "keep":
        # Whatever else the installation was made with, it stays.
        yield call_secret_alone(wishes)
        return
    yield voice_connector(wishes)
    if wishes.mode == "kinesis":
        yield bucket(wishes)
        yield from queues(wishes)
        yield event_rule(wishes)
    if wishes.is_direct:
        for number in wishes.order:
            yield order(wishes, number)
        for number in wishes.numbers:
            yield association(number)
        return
    yield function_role(wishes)
    yield log_group(wishes)
    yield function(wishes)
    yield application(wishes)
    for number in wishes.order:
        yield order(wishes, number)
    for number in wishes.numbers:
        yield sip_rule(wishes, number)
    yield _gateway_policy(wishes)


def account() -> Resource:
    caller = Request("sts", "GetCallerIdentity")
    return Resource(
        what="account",
        lookup=Lookup(caller, {"ACCOUNT_ID": "Account"}),
        kept="the account of these credentials",
    )


def gateway_statements(wishes: Wishes) -> list[dict[str, Any]]:
    """The least that a gateway needs."""
    region = wishes.region
    account = "${ACCOUNT_ID}"
    control = ["chime:UpdateSipMediaApplicationCall"]
    if wishes.is_outbound:
        control.append("chime:CreateSipMediaApplicationCall")
    statements = [allow(control, "${SMA_ARN}")]
    if wishes.mode == "kinesis":
        sqs = f"arn:aws:sqs:{region}:{account}:"
        take = [
            *("sqs:ReceiveMessage", "sqs:DeleteMessage"),
            "sqs:ChangeMessageVisibility",
        ]
        streams = (
            f"arn:aws:kinesisvideo:{region}:{account}:stream/ChimeVoiceConnector-*/*"
        )
        statements += [
            allow(take, sqs + queue_name(wishes)),
            allow(
                [*take, "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue"],
                f"{sqs}{wishes.name}-events-*",
            ),
            allow(["kinesisvideo:GetDataEndpoint", "kinesisvideo:GetMedia"], streams),
            allow("s3:PutObject", f"arn:aws:s3:::{bucket_name(wishes)}/replies/*"),
        ]
    return statements


def _gateway_policy(wishes: Wishes) -> Resource:
    name = f"{wishes.name}-gateway-{wishes.region}"
    document = policy_of(*gateway_statements(wishes))
    arn = f"arn:aws:iam::${{ACCOUNT_ID}}:policy/{name}"
    policy = {"PolicyArn": arn}
    settings = [
        Setting(
            "permissions of the gateway",
            (
                Request(
                    "iam",
                    "CreatePolicyVersion",
                    {**policy, "PolicyDocument": document, "SetAsDefault": True},
                ),
            ),
            Request(
                "iam", "GetPolicyVersion", {**policy, "VersionId": "${POLICY_VERSION}"}
            ),
            "PolicyVersion.Document",
            document,
            is_born_so=True,
        )
    ]
    delete = [Request("iam", "DeletePolicy", policy)]
    if wishes.gateway_role:
        role = {"RoleName": wishes.gateway_role}
        settings.append(
            Setting(
                f"attached to the role {wishes.gateway_role}",
                (Request("iam", "AttachRolePolicy", {**role, **policy}),),
                Request("iam", "ListAttachedRolePolicies", role),
                f"length(AttachedPolicies[?PolicyArn=='{arn}'])",
                1,
            )
        )
        delete.insert(0, Request("iam", "DetachRolePolicy", {**role, **policy}))
    return Resource(
        what="IAM policy for the gateway",
        lookup=Lookup(
            Request("iam", "GetPolicy", policy),
            {
                "GATEWAY_POLICY_ARN": "Policy.Arn",
                "POLICY_VERSION": "Policy.DefaultVersionId",
            },
            absent=("NoSuchEntity",),
        ),
        create=(
            Request(
                "iam",
                "CreatePolicy",
                {"PolicyName": name, "PolicyDocument": document, "Tags": tags(wishes)},
            ),
        ),
        created={
            "GATEWAY_POLICY_ARN": "Policy.Arn",
            "POLICY_VERSION": "Policy.DefaultVersionId",
        },
        settings=tuple(settings),
        tags=Request("iam", "ListPolicyTags", policy),
        delete=tuple(delete),
    )
