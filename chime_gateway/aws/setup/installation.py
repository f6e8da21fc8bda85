"""
Describes one installation in AWS: its resources, in the order of their creation.

Source: Amazon Chime SDK Administrator Guide (Voice Connectors, SIP media applications
and rules).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chime_gateway.aws.setup.application import (
    application,
    association,
    inventory_number,
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
    InstallationRequest,
    allow,
    bucket_name,
    gateway_policy_name,
    gateway_queues,
    policy_of,
    queue_name,
    tags,
)
from chime_gateway.aws.setup.resource import Lookup, Request, Resource, Setting
from chime_gateway.aws.setup.streaming import bucket, event_rule, queues
from chime_gateway.aws.setup.voice_connector import voice_connector
from chime_gateway.errors import ConfigError


def resources(installation: InstallationRequest) -> Iterator[Resource]:
    """
    Yield the resources, each after those that it needs.

    @raise ConfigError: the request cannot be satisfied.
    """
    if installation.region not in REGIONS:
        raise ConfigError(
            f"--region {installation.region}: "
            f"Voice Connectors are in {', '.join(REGIONS)}"
        )
    yield account()
    if installation.call_secret != "keep":
        # Everything else of the installation stays as it is.
        yield call_secret_alone(installation)
        return
    yield voice_connector(installation)
    if installation.mode == "kinesis":
        yield bucket(installation)
        yield from queues(installation)
        yield event_rule(installation)
    if installation.is_direct:
        for number in installation.order:
            yield order(installation, number)
        for number in installation.numbers:
            yield association(number)
        return
    yield function_role(installation)
    yield log_group(installation)
    yield function(installation)
    yield application(installation)
    for number in installation.order:
        yield order(installation, number)
    for number in installation.numbers:
        if number not in installation.order:
            yield inventory_number(number)
        yield sip_rule(installation, number)
    yield _gateway_policy(installation)


def account() -> Resource:
    caller = Request("sts", "GetCallerIdentity")
    return Resource(
        what="account",
        lookup=Lookup(caller, {"ACCOUNT_ID": "Account"}),
        kept="the account of these credentials",
    )


def gateway_statements(installation: InstallationRequest) -> list[dict[str, Any]]:
    """Return the minimum permissions of a gateway."""
    region = installation.region
    account = "${ACCOUNT_ID}"
    control = ["chime:UpdateSipMediaApplicationCall"]
    if installation.is_outbound:
        control.append("chime:CreateSipMediaApplicationCall")
    statements = [allow(control, "${SMA_ARN}")]
    if installation.mode == "kinesis":
        sqs = f"arn:aws:sqs:{region}:{account}:"
        take = [
            *("sqs:ReceiveMessage", "sqs:DeleteMessage"),
            "sqs:ChangeMessageVisibility",
        ]
        streams = (
            f"arn:aws:kinesisvideo:{region}:{account}:stream/ChimeVoiceConnector-*/*"
        )
        statements += [
            allow(take, sqs + queue_name(installation)),
            allow(
                [*take, "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue"],
                f"{sqs}{gateway_queues(installation)}*",
            ),
            allow(["kinesisvideo:GetDataEndpoint", "kinesisvideo:GetMedia"], streams),
            allow(
                "s3:PutObject", f"arn:aws:s3:::{bucket_name(installation)}/replies/*"
            ),
        ]
    return statements


def _gateway_policy(installation: InstallationRequest) -> Resource:
    name = gateway_policy_name(installation)
    document = policy_of(*gateway_statements(installation))
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
    if installation.gateway_role:
        role = {"RoleName": installation.gateway_role}
        settings.append(
            Setting(
                f"attached to the role {installation.gateway_role}",
                (Request("iam", "AttachRolePolicy", {**role, **policy}),),
                Request("iam", "ListAttachedRolePolicies", role),
                f"length(AttachedPolicies[?PolicyArn=='{arn}'])",
                1,
            )
        )
    return Resource(
        what="IAM policy for the gateway",
        key=f"policy {name}",
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
                {
                    "PolicyName": name,
                    "PolicyDocument": document,
                    "Tags": tags(installation),
                },
            ),
        ),
        created={
            "GATEWAY_POLICY_ARN": "Policy.Arn",
            "POLICY_VERSION": "Policy.DefaultVersionId",
        },
        settings=tuple(settings),
        tags=Request("iam", "ListPolicyTags", policy),
        owner=installation.name,
    )
