"""The Lambda function: its role, log group, code and permission."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Final

from attrs import evolve

from chime_gateway.aws.package import package_lambda
from chime_gateway.aws.setup.request import (
    CHIME,
    TAG,
    ZIP_FILE,
    InstallationRequest,
    allow,
    function_name,
    function_role_name,
    gateway_queues,
    log_group_name,
    policy_of,
    tags,
)
from chime_gateway.aws.setup.resource import (
    Blob,
    Lookup,
    Parameters,
    Request,
    Resource,
    Setting,
)
from chime_gateway.aws.sma import read_settings
from chime_gateway.errors import ConfigError

_VARIABLES: Final = "Configuration.Environment.Variables"
_KEEPS: Final = {"Environment": "Configuration.Environment"}
_FALLBACK: Final = "FALLBACK_VOICE_CONNECTOR_ARN"


def _function_arn(installation: InstallationRequest) -> str:
    name = function_name(installation)
    return f"arn:aws:lambda:{installation.region}:${{ACCOUNT_ID}}:function:{name}"


def function_role(installation: InstallationRequest) -> Resource:
    group = log_group_name(installation)
    logs = f"arn:aws:logs:{installation.region}:${{ACCOUNT_ID}}:log-group:{group}:*"
    statements = [allow(["logs:CreateLogStream", "logs:PutLogEvents"], logs)]
    if installation.mode == "kinesis":
        queues = f"arn:aws:sqs:{installation.region}:${{ACCOUNT_ID}}"
        events = f"{queues}:{gateway_queues(installation)}*"
        statements.append(allow("sqs:SendMessage", events))
    trust = policy_of(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "lambda.amazonaws.com"},
        }
    )
    policy = policy_of(*statements)
    role = {"RoleName": function_role_name(installation)}
    inline = {**role, "PolicyName": "chimegw"}
    return Resource(
        what="IAM role of the Lambda",
        key=f"role {function_role_name(installation)}",
        lookup=Lookup(
            Request("iam", "GetRole", role),
            {"FUNCTION_ROLE_ARN": "Role.Arn"},
            absent=("NoSuchEntity",),
        ),
        create=(
            Request(
                "iam",
                "CreateRole",
                {**role, "AssumeRolePolicyDocument": trust, "Tags": tags(installation)},
            ),
        ),
        created={"FUNCTION_ROLE_ARN": "Role.Arn"},
        settings=(
            Setting(
                "permissions",
                (
                    Request(
                        "iam", "PutRolePolicy", {**inline, "PolicyDocument": policy}
                    ),
                ),
                Request("iam", "GetRolePolicy", inline),
                "PolicyDocument",
                policy,
            ),
        ),
        tags=Request("iam", "ListRoleTags", role),
        owner=installation.name,
    )


def log_group(installation: InstallationRequest) -> Resource:
    name = log_group_name(installation)
    group = {"logGroupName": name}
    describe = Request("logs", "DescribeLogGroups", {"logGroupNamePrefix": name})
    arn = f"arn:aws:logs:{installation.region}:${{ACCOUNT_ID}}:log-group:{name}"
    return Resource(
        what="log group of the Lambda",
        key=f"log group {name}",
        lookup=Lookup(describe, {}, "logGroups", group),
        create=(
            Request(
                "logs", "CreateLogGroup", {**group, "tags": {TAG: installation.name}}
            ),
        ),
        settings=(
            Setting(
                "kept for 30 days",
                (
                    Request(
                        "logs", "PutRetentionPolicy", {**group, "retentionInDays": 30}
                    ),
                ),
                describe,
                f"logGroups[?logGroupName=='{name}'].retentionInDays | [0]",
                30,
            ),
        ),
        tags=Request("logs", "ListTagsForResource", {"resourceArn": arn}),
        tags_path="tags",
        owner=installation.name,
    )


def function_environment(installation: InstallationRequest) -> dict[str, str]:
    """
    Return the environment that L{chime_gateway.aws.sma} reads.
    """
    environment = {
        "MODE": installation.mode,
        "VOICE_CONNECTOR_ARN": "${VOICE_CONNECTOR_ARN}",
    }
    if installation.mode == "bridge":
        environment["CALL_SECRET"] = "${CALL_SECRET}"
    if installation.numbers:
        environment["CALLER_ID_NUMBER"] = installation.numbers[0]
    if installation.mode == "kinesis":
        # The prefix of the gateways' queues; the role allows no others.
        environment["EVENTS_QUEUE"] = (
            f"https://sqs.{installation.region}.amazonaws.com/${{ACCOUNT_ID}}/"
            f"{gateway_queues(installation)}"
        )
    return {**environment, **installation.function}


def call_secret(what: str, found: str) -> str:
    """
    Return the new value of the call secret, which is stored in the Lambda's
    environment.

    @param what: C{keep}, C{rotate} or C{retire}.
    @param found: the present value: one secret, or the new and the previous one.
    @return: C{found} if no change is needed, so that a command can be repeated.
    @raise ConfigError: there is no secret to rotate or retire.
    """
    if not found and what != "keep":
        raise ConfigError(
            "the Lambda has no call secret yet: create it with chimegw aws apply"
        )
    newest, _, before = found.partition(",")
    if what == "retire":
        found = newest
    if not found:
        return secrets.token_hex(32)
    if what == "rotate" and not before:
        return f"{secrets.token_hex(32)},{newest}"
    return found


def _check(parameters: Parameters) -> None:
    read_settings(parameters["Environment"]["Variables"])


def call_secret_alone(installation: InstallationRequest) -> Resource:
    """Return the existing Lambda, of which only the call secret is changed."""
    name = {"FunctionName": function_name(installation)}
    variables = {"CALL_SECRET": "${CALL_SECRET}"}
    parameters = {**name, "Environment": {"Variables": variables}}
    secret = Setting(
        "call secret",
        (Request("lambda", "UpdateFunctionConfiguration", parameters),),
        Request("lambda", "GetFunction", name),
        _VARIABLES,
        variables,
        keeps=_KEEPS,
        check=_check,
    )
    hint = f"{function_name(installation)} (--region, --name)"
    return evolve(function(installation), create=(), settings=(secret,), hint=hint)


def function(installation: InstallationRequest) -> Resource:
    name = {"FunctionName": function_name(installation)}
    code = package_lambda()
    configuration = {
        "Runtime": "python3.12",
        "Handler": "sma.handler",
        "Role": "${FUNCTION_ROLE_ARN}",
        # The application invokes it again after 5 s, and gives up after 20 s.
        "Timeout": 5,
        "MemorySize": 256,
        "Environment": {"Variables": function_environment(installation)},
    }
    get = Request("lambda", "GetFunction", name)
    statement = "chimegw-sma"
    permission = Request(
        "lambda",
        "AddPermission",
        {
            **name,
            "StatementId": statement,
            "Action": "lambda:InvokeFunction",
            "Principal": CHIME,
            "SourceAccount": "${ACCOUNT_ID}",
        },
    )
    return Resource(
        what="Lambda",
        key=f"function {function_name(installation)}",
        lookup=Lookup(
            get,
            {
                "FUNCTION_ARN": "Configuration.FunctionArn",
                "CALL_SECRET": f"{_VARIABLES}.CALL_SECRET",
                # An earlier run may have set it.
                _FALLBACK: f"{_VARIABLES}.{_FALLBACK}",
            },
            absent=("ResourceNotFoundException",),
        ),
        create=(
            Request(
                "lambda",
                "CreateFunction",
                {
                    **name,
                    **configuration,
                    "Code": {"ZipFile": Blob(code.content, ZIP_FILE)},
                    "Tags": {TAG: installation.name},
                },
            ),
        ),
        created={"FUNCTION_ARN": "FunctionArn"},
        settings=(
            Setting(
                "configuration",
                (
                    Request(
                        "lambda",
                        "UpdateFunctionConfiguration",
                        {**name, **configuration},
                    ),
                ),
                get,
                "Configuration",
                configuration,
                is_born_so=True,
                keeps=_KEEPS,
                check=_check,
            ),
            Setting(
                "code",
                (
                    Request(
                        "lambda",
                        "UpdateFunctionCode",
                        {**name, "ZipFile": Blob(code.content, ZIP_FILE)},
                    ),
                ),
                get,
                "Configuration.CodeSha256",
                code.sha256,
                is_born_so=True,
            ),
            Setting(
                "permission to be invoked by the application",
                (permission,),
                Request("lambda", "GetPolicy", name),
                f"contains(Policy, '{statement}') && contains(Policy, '{CHIME}')",
                True,
            ),
        ),
        tags=Request("lambda", "ListTags", {"Resource": _function_arn(installation)}),
        owner=installation.name,
        secrets={"CALL_SECRET": partial(call_secret, installation.call_secret)},
    )
