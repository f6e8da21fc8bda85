"""
One installation: which resources there are, and how each must be set.

Amazon Chime SDK Administrator Guide (Voice Connectors, SIP media applications and
rules); what there is of it now is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import Factory, field, frozen

from chime_gateway.aws.package import package_lambda
from chime_gateway.aws.resource import Blob, Lookup, Request, Resource, Setting
from chime_gateway.errors import ConfigError

#: Everything that is made has it, with the installation's name.
TAG: Final = "chime-gateway"

ZIP_FILE: Final = "chimegw-sma.zip"

#: The principal of both Voice Connectors and SIP media applications.
_CHIME: Final = "voiceconnector.chime.amazonaws.com"

REGIONS: Final = (
    *("us-east-1", "us-west-2", "ca-central-1", "eu-central-1", "eu-west-1"),
    *("eu-west-2", "ap-northeast-1", "ap-northeast-2", "ap-southeast-1"),
    "ap-southeast-2",
)


@frozen(kw_only=True)
class Gateway:
    """Where calls go: one origination route."""

    host: str
    port: int = 5060
    protocol: str = "UDP"


@frozen(kw_only=True)
class Wishes:
    """
    What an operator wants.

    @ivar name: goes before the names of all resources.
    @ivar voice_connector_id: one that exists; empty: one is made.
    @ivar gateways: in the order of priority of their routes.
    @ivar numbers: that the agent answers.
    @ivar order: numbers to be bought, with C{confirms_order}.
    @ivar termination_cidrs: networks that may call out; empty: none.
    @ivar is_direct: the numbers belong to the Voice Connector itself (in the US
        only); there is no application and no Lambda.
    @ivar mode: C{bridge}, or C{kinesis}.
    @ivar function: more of the Lambda's environment.
    @ivar gateway_role: IAM role of the gateway's machine; empty: the policy is made
        and attached by somebody else.
    """

    region: str
    name: str = "chimegw"
    voice_connector_id: str = ""
    gateways: Sequence[Gateway] = ()
    numbers: Sequence[str] = ()
    order: Sequence[str] = ()
    confirms_order: bool = False
    termination_cidrs: Sequence[str] = ()
    calling_regions: Sequence[str] = ("US",)
    termination_user: str = ""
    termination_password: str = field(default="", repr=False)
    is_encrypted: bool = False
    is_direct: bool = False
    mode: str = "bridge"
    function: Mapping[str, str] = Factory(dict)
    gateway_role: str = ""


def resources(wishes: Wishes) -> Iterator[Resource]:
    """
    All of it, each after those that it needs.

    @raise ConfigError: the wishes cannot come true.
    """
    if wishes.region not in REGIONS:
        raise ConfigError(
            f"--region {wishes.region}: Voice Connectors are in {', '.join(REGIONS)}"
        )
    yield _account()
    yield _voice_connector(wishes)
    if wishes.mode == "kinesis":
        yield _bucket(wishes)
        yield from _queues(wishes)
        yield _rule(wishes)
    if wishes.is_direct:
        for number in wishes.order:
            yield _order(wishes, number)
        for number in wishes.numbers:
            yield _association(number)
        return
    yield _function_role(wishes)
    yield _log_group(wishes)
    yield _function(wishes)
    yield _application(wishes)
    for number in wishes.order:
        yield _order(wishes, number)
    for number in wishes.numbers:
        yield _sip_rule(wishes, number)
    yield _gateway_policy(wishes)


def _chime(operation: str, **parameters: Any) -> Request:
    return Request("chime-sdk-voice", operation, parameters)


def _tags(wishes: Wishes) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": wishes.name}]


def _policy(*statements: Mapping[str, Any]) -> str:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return json.dumps(document, separators=(",", ":"))


def _allow(actions: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def _account() -> Resource:
    caller = Request("sts", "GetCallerIdentity")
    return Resource(
        what="account",
        lookup=Lookup(caller, {"ACCOUNT_ID": "Account"}),
        kept="the account of these credentials",
    )


# -- Voice Connector -------------------------------------------------------------


def _voice_connector(wishes: Wishes) -> Resource:
    name = f"{wishes.name}-vc"
    refs = {
        "VOICE_CONNECTOR_ID": "VoiceConnectorId",
        "VOICE_CONNECTOR_ARN": "VoiceConnectorArn",
    }
    inside = {key: f"VoiceConnector.{path}" for key, path in refs.items()}
    if wishes.voice_connector_id:
        known = _chime("GetVoiceConnector", VoiceConnectorId=wishes.voice_connector_id)
        return Resource(
            what="Voice Connector",
            lookup=Lookup(known, inside),
            settings=tuple(_voice_connector_settings(wishes)),
            kept=f"--voice-connector-id {wishes.voice_connector_id}",
        )
    create = _chime(
        "CreateVoiceConnector",
        Name=name,
        AwsRegion=wishes.region,
        RequireEncryption=wishes.is_encrypted,
        Tags=_tags(wishes),
    )
    encryption = Setting(
        "encryption",
        (
            _chime(
                "UpdateVoiceConnector",
                VoiceConnectorId="${VOICE_CONNECTOR_ID}",
                Name=name,
                RequireEncryption=wishes.is_encrypted,
            ),
        ),
        _chime("GetVoiceConnector", VoiceConnectorId="${VOICE_CONNECTOR_ID}"),
        "VoiceConnector.RequireEncryption",
        wishes.is_encrypted,
        is_born_so=True,
    )
    return Resource(
        what="Voice Connector",
        lookup=Lookup(
            _chime("ListVoiceConnectors"), refs, "VoiceConnectors", {"Name": name}
        ),
        create=(create,),
        created=inside,
        settings=(encryption, *_voice_connector_settings(wishes)),
        tags=_chime("ListTagsForResource", ResourceARN="${VOICE_CONNECTOR_ARN}"),
        delete=(
            _chime("DeleteVoiceConnector", VoiceConnectorId="${VOICE_CONNECTOR_ID}"),
        ),
    )


def _of_connector(
    what: str, noun: str, key: str, wanted: Mapping[str, Any], **rest: Any
) -> Setting:
    """One of the Get/Put pairs of a Voice Connector."""
    connector = {"VoiceConnectorId": "${VOICE_CONNECTOR_ID}"}
    return Setting(
        what,
        (_chime(f"PutVoiceConnector{noun}", **connector, **{key: wanted}),),
        _chime(f"GetVoiceConnector{noun}", **connector),
        key,
        wanted,
        **rest,
    )


def origination_routes(wishes: Wishes) -> list[dict[str, Any]]:
    return [
        {
            "Host": gateway.host,
            "Port": gateway.port,
            "Protocol": gateway.protocol,
            "Priority": 1,
            "Weight": 1,
        }
        for gateway in wishes.gateways
    ]


def _voice_connector_settings(wishes: Wishes) -> Iterator[Setting]:
    if wishes.gateways:
        routes = {"Routes": origination_routes(wishes), "Disabled": False}
        yield _of_connector(
            "origination to the gateway", "Origination", "Origination", routes
        )
    logs = {"EnableSIPLogs": True, "EnableMediaMetricLogs": True}
    yield _of_connector("logging", "LoggingConfiguration", "LoggingConfiguration", logs)
    if wishes.termination_cidrs:
        wanted = {
            "CallingRegions": list(wishes.calling_regions),
            "CidrAllowedList": list(wishes.termination_cidrs),
            "Disabled": False,
        }
        yield _of_connector(
            "termination (calls out)", "Termination", "Termination", wanted
        )
    if wishes.termination_user:
        connector = {"VoiceConnectorId": "${VOICE_CONNECTOR_ID}"}
        credentials = [
            {
                "Username": wishes.termination_user,
                "Password": wishes.termination_password,
            }
        ]
        yield Setting(
            "termination credentials",
            (
                Request(
                    "chime-sdk-voice",
                    "PutVoiceConnectorTerminationCredentials",
                    {**connector, "Credentials": credentials},
                    frozenset({"Credentials"}),
                ),
            ),
            _chime("ListVoiceConnectorTerminationCredentials", **connector),
            "Usernames",
            [wishes.termination_user],
        )
    if wishes.mode == "kinesis":
        streaming = {
            "DataRetentionInHours": 1,
            "Disabled": False,
            "StreamingNotificationTargets": [{"NotificationTarget": "EventBridge"}],
        }
        yield _of_connector(
            "streaming to Kinesis (one way)",
            "StreamingConfiguration",
            "StreamingConfiguration",
            streaming,
        )


# -- what the Kinesis carrier needs ------------------------------------------------


def bucket_name(wishes: Wishes) -> str:
    return f"{wishes.name}-replies-${{ACCOUNT_ID}}-{wishes.region}"


def queue_name(wishes: Wishes) -> str:
    return f"{wishes.name}-notices"


def _bucket(wishes: Wishes) -> Resource:
    bucket = {"Bucket": bucket_name(wishes)}
    create: dict[str, Any] = dict(bucket)
    if wishes.region != "us-east-1":
        create["CreateBucketConfiguration"] = {"LocationConstraint": wishes.region}
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
    arn = f"arn:aws:s3:::{bucket_name(wishes)}/*"
    policy = _policy(
        {
            **_allow("s3:GetObject", arn),
            "Principal": {"Service": _CHIME},
            "Condition": {"StringEquals": {"aws:SourceAccount": "${ACCOUNT_ID}"}},
        }
    )

    def s3(operation: str, **more: Any) -> Request:
        return Request("s3", operation, {**bucket, **more})

    tagging = {"TagSet": _tags(wishes)}
    return Resource(
        what="bucket for the agent's voice",
        lookup=Lookup(s3("HeadBucket"), absent=("404", "NoSuchBucket", "NotFound")),
        create=(Request("s3", "CreateBucket", create),),
        settings=(
            # First, so that what was begun is known as ours.
            Setting(
                "tags",
                (s3("PutBucketTagging", Tagging=tagging),),
                s3("GetBucketTagging"),
                "TagSet",
                _tags(wishes),
            ),
            Setting(
                "no public access",
                (s3("PutPublicAccessBlock", PublicAccessBlockConfiguration=private),),
                s3("GetPublicAccessBlock"),
                "PublicAccessBlockConfiguration",
                private,
            ),
            Setting(
                "lifecycle: a day",
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
                "policy: played by the application",
                (s3("PutBucketPolicy", Policy=policy),),
                s3("GetBucketPolicy"),
                "Policy",
                policy,
            ),
        ),
        tags=s3("GetBucketTagging"),
        tags_path="TagSet",
        delete=(s3("DeleteBucket"),),
    )


def _queues(wishes: Wishes) -> Iterator[Resource]:
    name = queue_name(wishes)
    aside = f"{name}-aside"
    arn = f"arn:aws:sqs:{wishes.region}:${{ACCOUNT_ID}}:"
    yield _queue(
        wishes,
        "queue for what is not understood",
        aside,
        "ASIDE",
        {"MessageRetentionPeriod": "1209600"},
    )
    redrive = {"deadLetterTargetArn": arn + aside, "maxReceiveCount": 8}
    rule = f"arn:aws:events:{wishes.region}:${{ACCOUNT_ID}}:rule/{name}"
    policy = _policy(
        {
            **_allow("sqs:SendMessage", arn + name),
            "Principal": {"Service": "events.amazonaws.com"},
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
    )
    yield _queue(
        wishes,
        "queue of streaming notices",
        name,
        "NOTICES",
        {
            # A notice that is an hour old is of no call that still runs.
            "MessageRetentionPeriod": "3600",
            "VisibilityTimeout": "40",
            "RedrivePolicy": json.dumps(redrive, separators=(",", ":")),
            "Policy": policy,
        },
    )


def _queue(
    wishes: Wishes, what: str, name: str, reference: str, attributes: Mapping[str, str]
) -> Resource:
    url = f"{reference}_QUEUE_URL"
    queue = {"QueueUrl": f"${{{url}}}"}
    return Resource(
        what=what,
        lookup=Lookup(
            Request("sqs", "GetQueueUrl", {"QueueName": name}),
            {url: "QueueUrl"},
            absent=("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
        ),
        create=(
            Request(
                "sqs", "CreateQueue", {"QueueName": name, "tags": {TAG: wishes.name}}
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
        delete=(Request("sqs", "DeleteQueue", queue),),
    )


def _rule(wishes: Wishes) -> Resource:
    name = queue_name(wishes)
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
        "Arn": f"arn:aws:sqs:{wishes.region}:${{ACCOUNT_ID}}:{name}",
    }
    put = Request("events", "PutRule", {"Name": name, "EventPattern": pattern})
    first = {**put.parameters, "Tags": _tags(wishes)}
    return Resource(
        what="event rule",
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
        delete=(
            Request("events", "RemoveTargets", {"Rule": name, "Ids": ["queue"]}),
            Request("events", "DeleteRule", {"Name": name}),
        ),
    )


# -- the Lambda --------------------------------------------------------------------


def function_name(wishes: Wishes) -> str:
    return f"{wishes.name}-sma"


def _function_arn(wishes: Wishes) -> str:
    name = function_name(wishes)
    return f"arn:aws:lambda:{wishes.region}:${{ACCOUNT_ID}}:function:{name}"


def _role(
    wishes: Wishes, what: str, name: str, reference: str, policy: str
) -> Resource:
    trust = _policy(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "lambda.amazonaws.com"},
        }
    )
    role = {"RoleName": name}
    inline = {**role, "PolicyName": "chimegw"}
    return Resource(
        what=what,
        lookup=Lookup(
            Request("iam", "GetRole", role),
            {reference: "Role.Arn"},
            absent=("NoSuchEntity",),
        ),
        create=(
            Request(
                "iam",
                "CreateRole",
                {**role, "AssumeRolePolicyDocument": trust, "Tags": _tags(wishes)},
            ),
        ),
        created={reference: "Role.Arn"},
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
        delete=(
            Request("iam", "DeleteRolePolicy", inline),
            Request("iam", "DeleteRole", role),
        ),
    )


def _function_role(wishes: Wishes) -> Resource:
    group = log_group_name(wishes)
    logs = f"arn:aws:logs:{wishes.region}:${{ACCOUNT_ID}}:log-group:{group}:*"
    statements = [_allow(["logs:CreateLogStream", "logs:PutLogEvents"], logs)]
    if wishes.mode == "kinesis":
        events = f"arn:aws:sqs:{wishes.region}:${{ACCOUNT_ID}}:{wishes.name}-events-*"
        statements.append(_allow("sqs:SendMessage", events))
    return _role(
        wishes,
        "IAM role of the Lambda",
        f"{function_name(wishes)}-{wishes.region}",
        "FUNCTION_ROLE_ARN",
        _policy(*statements),
    )


def log_group_name(wishes: Wishes) -> str:
    return f"/aws/lambda/{function_name(wishes)}"


def _log_group(wishes: Wishes) -> Resource:
    name = log_group_name(wishes)
    group = {"logGroupName": name}
    describe = Request("logs", "DescribeLogGroups", {"logGroupNamePrefix": name})
    arn = f"arn:aws:logs:{wishes.region}:${{ACCOUNT_ID}}:log-group:{name}"
    return Resource(
        what="log group of the Lambda",
        lookup=Lookup(describe, {}, "logGroups", group),
        create=(
            Request("logs", "CreateLogGroup", {**group, "tags": {TAG: wishes.name}}),
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
        delete=(Request("logs", "DeleteLogGroup", group),),
    )


def function_environment(wishes: Wishes) -> dict[str, str]:
    """
    As L{chime_gateway.aws.sma} reads it.
    """
    environment = {"MODE": wishes.mode, "VOICE_CONNECTOR_ARN": "${VOICE_CONNECTOR_ARN}"}
    if wishes.numbers:
        environment["CALLER_ID_NUMBER"] = wishes.numbers[0]
    return {**environment, **wishes.function}


def _function(wishes: Wishes) -> Resource:
    name = {"FunctionName": function_name(wishes)}
    code = package_lambda()
    configuration = {
        "Runtime": "python3.12",
        "Handler": "sma.handler",
        "Role": "${FUNCTION_ROLE_ARN}",
        # The application asks again after 5 s, and stops at 20.
        "Timeout": 5,
        "MemorySize": 256,
        "Environment": {"Variables": function_environment(wishes)},
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
            "Principal": _CHIME,
            "SourceAccount": "${ACCOUNT_ID}",
        },
    )
    return Resource(
        what="Lambda",
        lookup=Lookup(
            get,
            {"FUNCTION_ARN": "Configuration.FunctionArn"},
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
                    "Tags": {TAG: wishes.name},
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
                "permission to be called by the application",
                (permission,),
                Request("lambda", "GetPolicy", name),
                f"contains(Policy, '{statement}') && contains(Policy, '{_CHIME}')",
                True,
            ),
        ),
        tags=Request("lambda", "ListTags", {"Resource": _function_arn(wishes)}),
        delete=(Request("lambda", "DeleteFunction", name),),
    )


# -- SIP media application, numbers, rules -------------------------------------------


def _application(wishes: Wishes) -> Resource:
    name = f"{wishes.name}-sma"
    endpoints = [{"LambdaArn": "${FUNCTION_ARN}"}]
    application = {"SipMediaApplicationId": "${SMA_ID}"}
    logging = {"EnableSipMediaApplicationMessageLogs": True}
    key = "SipMediaApplicationLoggingConfiguration"
    return Resource(
        what="SIP media application",
        lookup=Lookup(
            _chime("ListSipMediaApplications"),
            {"SMA_ID": "SipMediaApplicationId", "SMA_ARN": "SipMediaApplicationArn"},
            "SipMediaApplications",
            {"Name": name, "AwsRegion": wishes.region},
        ),
        create=(
            _chime(
                "CreateSipMediaApplication",
                Name=name,
                AwsRegion=wishes.region,
                Endpoints=endpoints,
                Tags=_tags(wishes),
            ),
        ),
        created={
            "SMA_ID": "SipMediaApplication.SipMediaApplicationId",
            "SMA_ARN": "SipMediaApplication.SipMediaApplicationArn",
        },
        settings=(
            Setting(
                "endpoint: the Lambda",
                (
                    _chime(
                        "UpdateSipMediaApplication", **application, Endpoints=endpoints
                    ),
                ),
                _chime("GetSipMediaApplication", **application),
                "SipMediaApplication.Endpoints",
                endpoints,
                is_born_so=True,
            ),
            Setting(
                "logging",
                (
                    _chime(
                        "PutSipMediaApplicationLoggingConfiguration",
                        **application,
                        **{key: logging},
                    ),
                ),
                _chime("GetSipMediaApplicationLoggingConfiguration", **application),
                key,
                logging,
            ),
        ),
        tags=_chime("ListTagsForResource", ResourceARN="${SMA_ARN}"),
        delete=(_chime("DeleteSipMediaApplication", **application),),
    )


def _order(wishes: Wishes, number: str) -> Resource:
    return Resource(
        what=f"telephone number {number}",
        lookup=Lookup(_chime("GetPhoneNumber", PhoneNumberId=number)),
        create=(
            _chime(
                "CreatePhoneNumberOrder",
                ProductType="VoiceConnector"
                if wishes.is_direct
                else "SipMediaApplicationDialIn",
                E164PhoneNumbers=[number],
                Name=f"{wishes.name}-{number[1:]}",
            ),
        ),
        kept="numbers are never given back by this command",
        needs_confirmation=""
        if wishes.confirms_order
        else f"costs money every month: say --confirm-order to buy {number}",
    )


def _association(number: str) -> Resource:
    numbers = {
        "VoiceConnectorId": "${VOICE_CONNECTOR_ID}",
        "E164PhoneNumbers": [number],
    }
    known = _chime("GetPhoneNumber", PhoneNumberId=number)
    return Resource(
        what=f"{number} at the Voice Connector",
        lookup=Lookup(known),
        hint=f"buy it with --order {number} --confirm-order",
        settings=(
            Setting(
                "association",
                (_chime("AssociatePhoneNumbersWithVoiceConnector", **numbers),),
                known,
                "PhoneNumber.Associations[?Name=='VoiceConnectorId'].Value | [0]",
                "${VOICE_CONNECTOR_ID}",
            ),
        ),
        delete=(_chime("DisassociatePhoneNumbersFromVoiceConnector", **numbers),),
    )


def _sip_rule(wishes: Wishes, number: str) -> Resource:
    name = f"{wishes.name}-{number[1:]}"
    reference = f"SIP_RULE_{number[1:]}"
    rule = {"SipRuleId": f"${{{reference}}}"}
    targets = [
        {
            "SipMediaApplicationId": "${SMA_ID}",
            "Priority": 1,
            "AwsRegion": wishes.region,
        }
    ]
    update = _chime(
        "UpdateSipRule", **rule, Name=name, Disabled=False, TargetApplications=targets
    )
    return Resource(
        what=f"SIP rule for {number}",
        lookup=Lookup(
            _chime("ListSipRules"),
            {reference: "SipRuleId"},
            "SipRules",
            # A rule has no tags: its name is how we know it.
            {"Name": name, "TriggerValue": number},
        ),
        create=(
            _chime(
                "CreateSipRule",
                Name=name,
                TriggerType="ToPhoneNumber",
                TriggerValue=number,
                Disabled=False,
                TargetApplications=targets,
            ),
        ),
        created={reference: "SipRule.SipRuleId"},
        settings=(
            Setting(
                "target: the application",
                (update,),
                _chime("GetSipRule", **rule),
                "SipRule",
                {"Disabled": False, "TargetApplications": targets},
                is_born_so=True,
            ),
        ),
        delete=(
            _chime(
                "UpdateSipRule",
                **rule,
                Name=name,
                Disabled=True,
                TargetApplications=targets,
            ),
            _chime("DeleteSipRule", **rule),
        ),
    )


# -- what the gateway itself may do --------------------------------------------------


def gateway_statements(wishes: Wishes) -> list[dict[str, Any]]:
    """The least that a gateway needs."""
    region = wishes.region
    account = "${ACCOUNT_ID}"
    statements = [
        _allow(
            [
                "chime:UpdateSipMediaApplicationCall",
                "chime:CreateSipMediaApplicationCall",
            ],
            "${SMA_ARN}",
        )
    ]
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
            _allow(take, sqs + queue_name(wishes)),
            _allow(
                [*take, "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue"],
                f"{sqs}{wishes.name}-events-*",
            ),
            _allow(["kinesisvideo:GetDataEndpoint", "kinesisvideo:GetMedia"], streams),
            _allow("s3:PutObject", f"arn:aws:s3:::{bucket_name(wishes)}/replies/*"),
        ]
    return statements


def _gateway_policy(wishes: Wishes) -> Resource:
    name = f"{wishes.name}-gateway-{wishes.region}"
    document = _policy(*gateway_statements(wishes))
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
                {"PolicyName": name, "PolicyDocument": document, "Tags": _tags(wishes)},
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
