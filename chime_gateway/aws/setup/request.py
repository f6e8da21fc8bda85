"""An operator's request for an installation, and the names of its resources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import Factory, field, frozen

from chime_gateway.aws.setup.resource import Request

#: The tag of all created resources; its value is the installation's name.
TAG: Final = "chime-gateway"

#: The tag's value for queues that running gateways create for themselves.
GATEWAYS_TAG: Final = "events"

#: CloudFormation's tag with the name of the stack.
_STACK_TAG: Final = "aws:cloudformation:stack-name"

ZIP_FILE: Final = "chimegw-sma.zip"

#: The principal of both Voice Connectors and SIP media applications.
CHIME: Final = "voiceconnector.chime.amazonaws.com"

REGIONS: Final = (
    *("us-east-1", "us-west-2", "ca-central-1", "eu-central-1", "eu-west-1"),
    *("eu-west-2", "ap-northeast-1", "ap-northeast-2", "ap-southeast-1"),
    "ap-southeast-2",
)


@frozen(kw_only=True)
class Gateway:
    """A gateway to which calls are sent: one origination route."""

    host: str
    port: int = 5060
    protocol: str = "TCP"


@frozen(kw_only=True)
class InstallationRequest:
    """
    An operator's request for an installation.

    @ivar name: the prefix of the names of all resources.
    @ivar voice_connector_id: an existing Voice Connector; empty: create one.
    @ivar gateways: the gateways, which share the calls.
    @ivar numbers: the telephone numbers that the agent answers.
    @ivar order: the telephone numbers to buy, if C{confirms_order} is set.
    @ivar termination_cidrs: the networks that may place outbound calls; empty: none.
    @ivar is_direct: the numbers belong to the Voice Connector itself (in the US
        only); there is no application and no Lambda.
    @ivar mode: C{bridge} or C{kinesis}.
    @ivar is_outbound: the gateway may place outbound calls by the application.
    @ivar function: additional environment variables of the Lambda.
    @ivar call_secret: C{keep}: use the present call secret, or create one; C{rotate}:
        add a new one; C{retire}: remove the old one.
    @ivar gateway_role: the IAM role of the gateway's machine, to which the policy is
        attached; empty: the operator attaches the policy.
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
    is_outbound: bool = False
    mode: str = "bridge"
    function: Mapping[str, str] = Factory(dict)
    call_secret: str = "keep"
    gateway_role: str = ""


def bucket_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-replies-${{ACCOUNT_ID}}-{installation.region}"


def queue_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-notices"


def gateway_queues(installation: InstallationRequest) -> str:
    """Return the prefix of the names of the queues that running gateways create."""
    return f"{installation.name}-events-"


def function_role_name(installation: InstallationRequest) -> str:
    return f"{function_name(installation)}-{installation.region}"


def gateway_policy_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-gateway-{installation.region}"


def function_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-sma"


def log_group_name(installation: InstallationRequest) -> str:
    return f"/aws/lambda/{function_name(installation)}"


def chime(operation: str, **parameters: Any) -> Request:
    """Return a request to C{chime-sdk-voice}."""
    return Request("chime-sdk-voice", operation, parameters)


def tags(installation: InstallationRequest) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": installation.name}]


def not_ours(found: Mapping[str, str], name: str) -> str:
    """
    @param found: the tags of an existing resource.
    @param name: the name of the installation.
    @return: why the resource is not part of the installation; empty if it is.
    """
    if _STACK_TAG in found:
        return f"it belongs to the CloudFormation stack {found[_STACK_TAG]}"
    if found.get(TAG) == name:
        return ""
    if TAG in found:
        return f"it belongs to the installation {found[TAG]}"
    return f"it has no tag {TAG}={name}"


def policy_of(*statements: Mapping[str, Any]) -> str:
    """Return a policy in IAM's form."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return json.dumps(document, separators=(",", ":"))


def allow(actions: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}
