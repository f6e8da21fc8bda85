"""What the commands of C{chimegw aws} share: options, and how they run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python import usage

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.request import Gateway, InstallationRequest
from chime_gateway.aws.sma import read_settings
from chime_gateway.errors import ConfigError
from chime_gateway.settings.sources import process_environment, read_trunk_password
from chime_gateway.settings.telephone import is_e164

_GATEWAY: Final = re.compile(
    r"(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s]+)(:(?P<port>\d{1,5}))?(/(?P<protocol>\w+))?\Z"
)

_NOTHING: Final[Mapping[str, Any]] = {}

#: Option -> the variable of the Lambda's environment that it sets.
_FUNCTION: Final = {
    "greeting": "GREETING_TEXT",
    "apology": "APOLOGY_TEXT",
    "ready-url": "READY_URL",
    "fallback-number": "FALLBACK_NUMBER",
    "fallback-voice-connector-arn": "FALLBACK_VOICE_CONNECTOR_ARN",
    "caller-id-number": "CALLER_ID_NUMBER",
    "transfer-allow": "TRANSFER_ALLOW",
}


def gateway(text: str) -> tuple[Gateway, bool]:
    """
    Parse HOST[:PORT][/udp|tcp|tls]; the default is TCP.

    @return: the route, and whether it is encrypted.
    """
    found = _GATEWAY.match(text)
    protocol = (found["protocol"] or "tcp").lower() if found else ""
    if found is None or protocol not in ("udp", "tcp", "tls"):
        raise usage.UsageError(f"--gateway {text}: expected HOST[:PORT][/udp|tcp|tls]")
    is_encrypted = protocol == "tls"
    port = int(found["port"] or (5061 if is_encrypted else 5060))
    if not 0 < port < 65536:
        raise usage.UsageError(f"--gateway {text}: expected a port from 1 to 65535")
    # For a Voice Connector, TLS is TCP that must be encrypted.
    wire = "UDP" if protocol == "udp" else "TCP"
    route = Gateway(host=found["host"].strip("[]"), port=port, protocol=wire)
    return route, is_encrypted


def number(text: str, option: str) -> str:
    if not is_e164(text):
        raise usage.UsageError(f"{option} {text}: expected a number like +12065550100")
    return text


class AwsCommand(CommandOptions):
    """The options that all commands have."""

    optParameters: ClassVar = [
        ["region", "r", None, "AWS region. [default: AWS_REGION]"],
        ["voice-connector-id", "v", "", "Use this Voice Connector, not a new one."],
        ["name", None, "chimegw", "Prefix of the names of all resources."],
        ["mode", "m", "bridge", "bridge (SIP), or kinesis (long delay, no SIP)."],
        ["greeting", None, None, "Text, or s3://.., that is played before the agent."],
        ["apology", None, None, "Text that is spoken if no agent can be reached."],
        ["ready-url", None, None, "The gateway's /ready: calls ring until it answers."],
        ["fallback-number", None, None, "Called when no gateway answers."],
        ["fallback-voice-connector-arn", None, None, "Voice Connector, tried second."],
        ["caller-id-number", None, None, "Caller ID for anonymous callers."],
        ["transfer-allow", None, None, "Where callers may be sent, such as +49,sip:"],
        ["termination-user", None, "", "User for outbound calls; see .env.example."],
        ["gateway-role", None, "", "IAM role of the gateway; it gets the policy."],
    ]
    optFlags: ClassVar = [
        ["json", None, "Print JSON."],
        ["encrypted", None, "Require TLS and SRTP (implied by a /tls gateway)."],
        ["direct", None, "Route numbers by the Voice Connector, without Lambda (US)."],
        ["outbound", None, "Allow outbound calls through the application."],
        ["confirm-order", None, "Confirm that the --order numbers are bought."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self._gateways: list[Gateway] = []
        self._numbers: list[str] = []
        self._orders: list[str] = []
        self._cidrs: list[str] = []
        self._calling: list[str] = []
        self._has_tls = False

    def opt_gateway(self, text: str) -> None:
        """Where calls go: HOST[:PORT][/udp|tcp|tls]; repeatable."""
        route, is_encrypted = gateway(text)
        self._gateways.append(route)
        self._has_tls = self._has_tls or is_encrypted

    def opt_number(self, text: str) -> None:
        """A number of the account that the agent answers; repeatable."""
        self._numbers.append(number(text, "--number"))

    def opt_order(self, text: str) -> None:
        """A number to buy and answer (see --search); repeatable."""
        self._orders.append(number(text, "--order"))

    def opt_termination_cidr(self, text: str) -> None:
        """A public network (/27 to /32) that may call out; repeatable."""
        self._cidrs.append(text)

    def opt_calling_region(self, text: str) -> None:
        """A country that may be called (US); repeatable."""
        self._calling.append(text)

    def postOptions(self) -> None:
        if self["mode"] not in ("bridge", "kinesis"):
            raise usage.UsageError(f"--mode {self['mode']}: expected bridge or kinesis")
        if self["direct"] and self["mode"] == "kinesis":
            raise usage.UsageError("--direct: --mode kinesis needs the Lambda")

    def installation(self) -> InstallationRequest:
        region = self["region"] or process_environment().get("AWS_REGION", "")
        region = region or process_environment().get("AWS_DEFAULT_REGION", "")
        if not region:
            raise ConfigError("--region is missing: set it, or AWS_REGION")
        if not re.match(r"[A-Za-z0-9-]{1,30}\Z", self["name"]):
            raise ConfigError(f"--name {self['name']}: up to 30 letters, digits and -")
        function = {
            variable: self[option]
            for option, variable in _FUNCTION.items()
            if self[option] is not None
        }
        placeholder = "arn:aws:chime:us-east-1:111122223333:vc/a"
        try:
            read_settings(
                {
                    "VOICE_CONNECTOR_ARN": placeholder,
                    "MODE": self["mode"],
                    **function,
                }
            )
        except ValueError as exc:
            raise ConfigError(str(exc)) from exc
        password = read_trunk_password(process_environment())
        if self["termination-user"] and not password:
            raise ConfigError(
                "--termination-user: set its password in CHIMEGW_SIP_TRUNK_PASSWORD"
            )
        return InstallationRequest(
            region=region,
            name=self["name"],
            voice_connector_id=self["voice-connector-id"],
            gateways=tuple(self._gateways),
            numbers=(*self._numbers, *self._orders),
            order=tuple(self._orders),
            confirms_order=bool(self["confirm-order"]),
            termination_cidrs=tuple(self._cidrs),
            calling_regions=tuple(self._calling) or ("US",),
            termination_user=self["termination-user"],
            termination_password=password,
            is_encrypted=bool(self["encrypted"]) or self._has_tls,
            is_direct=bool(self["direct"]),
            is_outbound=bool(self["outbound"]),
            mode=self["mode"],
            function=function,
            gateway_role=self["gateway-role"],
        )

    def run(self, reactor: Any) -> Deferred[int]:
        asked = self.installation()
        pool = reactor.getThreadPool()
        return deferToThreadPool(reactor, pool, self.work, asked, Cloud(asked.region))

    def work(self, installation: InstallationRequest, cloud: Cloud) -> int:
        """Do the work, in a thread, and return the exit status."""
        raise NotImplementedError

    def show(
        self, items: Iterator[Any], key: str, more: Mapping[str, Any] = _NOTHING
    ) -> list[Any]:
        """
        Print items: one by one for people, or all at the end as JSON.

        @param more: further members of the JSON document, filled in meanwhile.
        """
        found = []
        for item in items:
            found.append(item)
            if not self["json"]:
                print(item, flush=True)
        if self["json"]:
            told = {key: [attrs.asdict(one) for one in found], **more}
            print(json.dumps(told, indent=2))
        return found
