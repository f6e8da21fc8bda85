"""An operator's request for an installation, and the names of its resources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import Factory, field, frozen

from chime_gateway.aws.setup.resource import Request

#: Everything that is made has it, with the installation's name.
TAG: Final = "chime-gateway"

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
    """Where calls go: one origination route."""

    host: str
    port: int = 5060
    protocol: str = "TCP"


@frozen(kw_only=True)
class InstallationRequest:
    """
    What an operator wants.

    @ivar name: goes before the names of all resources.
    @ivar voice_connector_id: one that exists; empty: one is made.
    @ivar gateways: each takes its share of the calls.
    @ivar numbers: that the agent answers.
    @ivar order: numbers to be bought, with C{confirms_order}.
    @ivar termination_cidrs: networks that may call out; empty: none.
    @ivar is_direct: the numbers belong to the Voice Connector itself (in the US
        only); there is no application and no Lambda.
    @ivar mode: C{bridge}, or C{kinesis}.
    @ivar is_outbound: the gateway has the application call people.
    @ivar function: more of the Lambda's environment.
    @ivar call_secret: of calls to the gateway: C{keep} the one there is (or make it),
        C{rotate}: a new one beside it, C{retire} the old one.
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
    is_outbound: bool = False
    mode: str = "bridge"
    function: Mapping[str, str] = Factory(dict)
    call_secret: str = "keep"
    gateway_role: str = ""


def bucket_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-replies-${{ACCOUNT_ID}}-{installation.region}"


def queue_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-notices"


def function_name(installation: InstallationRequest) -> str:
    return f"{installation.name}-sma"


def log_group_name(installation: InstallationRequest) -> str:
    return f"/aws/lambda/{function_name(installation)}"


def chime(operation: str, **parameters: Any) -> Request:
    """A request to the voice part of the Chime SDK."""
    return Request("chime-sdk-voice", operation, parameters)


def tags(installation: InstallationRequest) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": installation.name}]


def policy_of(*statements: Mapping[str, Any]) -> str:
    """As IAM wants it."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return json.dumps(document, separators=(",", ":"))


def allow(actions: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}
