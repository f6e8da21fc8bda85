"""The Voice Connector: its origination routes, its logs, and its termination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chime_gateway.aws.setup.request import InstallationRequest, chime, tags
from chime_gateway.aws.setup.resource import Lookup, Request, Resource, Setting

#: Streams each leg into Kinesis and notifies EventBridge.
STREAMING: Final[Mapping[str, Any]] = {
    "DataRetentionInHours": 1,
    "Disabled": False,
    "StreamingNotificationTargets": [{"NotificationTarget": "EventBridge"}],
}


def voice_connector(installation: InstallationRequest) -> Resource:
    name = f"{installation.name}-vc"
    refs = {
        "VOICE_CONNECTOR_ID": "VoiceConnectorId",
        "VOICE_CONNECTOR_ARN": "VoiceConnectorArn",
    }
    inside = {key: f"VoiceConnector.{path}" for key, path in refs.items()}
    if installation.voice_connector_id:
        known = chime(
            "GetVoiceConnector", VoiceConnectorId=installation.voice_connector_id
        )
        return Resource(
            what="Voice Connector",
            lookup=Lookup(known, inside),
            settings=tuple(_voice_connector_settings(installation)),
            kept=f"--voice-connector-id {installation.voice_connector_id}",
        )
    create = chime(
        "CreateVoiceConnector",
        Name=name,
        AwsRegion=installation.region,
        RequireEncryption=installation.is_encrypted,
        Tags=tags(installation),
    )
    encryption = Setting(
        "encryption",
        (
            chime(
                "UpdateVoiceConnector",
                VoiceConnectorId="${VOICE_CONNECTOR_ID}",
                Name=name,
                RequireEncryption=installation.is_encrypted,
            ),
        ),
        chime("GetVoiceConnector", VoiceConnectorId="${VOICE_CONNECTOR_ID}"),
        "VoiceConnector.RequireEncryption",
        installation.is_encrypted,
        is_born_so=True,
    )
    return Resource(
        what="Voice Connector",
        key="connector ${VOICE_CONNECTOR_ID}",
        lookup=Lookup(
            chime("ListVoiceConnectors"),
            refs,
            "VoiceConnectors",
            {"Name": name, "AwsRegion": installation.region},
            is_renamable=True,
        ),
        create=(create,),
        created=inside,
        # Encryption belongs to the origination routes: without a gateway in the
        # request, both stay as they are.
        settings=(
            *(
                (encryption,)
                if installation.gateways or installation.is_encrypted
                else ()
            ),
            *_voice_connector_settings(installation),
        ),
        tags=chime("ListTagsForResource", ResourceARN="${VOICE_CONNECTOR_ARN}"),
        owner=installation.name,
    )


def _of_connector(
    what: str, noun: str, key: str, wanted: Mapping[str, Any], **rest: Any
) -> Setting:
    """Return a setting that has a Get/Put pair of a Voice Connector."""
    connector = {"VoiceConnectorId": "${VOICE_CONNECTOR_ID}"}
    return Setting(
        what,
        (chime(f"PutVoiceConnector{noun}", **connector, **{key: wanted}),),
        chime(f"GetVoiceConnector{noun}", **connector),
        key,
        wanted,
        **rest,
    )


def origination_routes(installation: InstallationRequest) -> list[dict[str, Any]]:
    return [
        {
            "Host": gateway.host,
            "Port": gateway.port,
            "Protocol": gateway.protocol,
            "Priority": 1,
            "Weight": 1,
        }
        for gateway in installation.gateways
    ]


def _voice_connector_settings(installation: InstallationRequest) -> Iterator[Setting]:
    if installation.gateways:
        routes = {"Routes": origination_routes(installation), "Disabled": False}
        yield _of_connector(
            "origination to the gateway", "Origination", "Origination", routes
        )
    logs = {"EnableSIPLogs": True, "EnableMediaMetricLogs": True}
    yield _of_connector("logging", "LoggingConfiguration", "LoggingConfiguration", logs)
    if installation.termination_cidrs:
        wanted = {
            "CallingRegions": list(installation.calling_regions),
            "CidrAllowedList": list(installation.termination_cidrs),
            "Disabled": False,
        }
        yield _of_connector(
            "termination (calls out)", "Termination", "Termination", wanted
        )
    if installation.termination_user:
        connector = {"VoiceConnectorId": "${VOICE_CONNECTOR_ID}"}
        credentials = [
            {
                "Username": installation.termination_user,
                "Password": installation.termination_password,
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
            chime("ListVoiceConnectorTerminationCredentials", **connector),
            "Usernames",
            [installation.termination_user],
        )
    if installation.mode == "kinesis":
        yield _of_connector(
            "streaming to Kinesis (one way)",
            "StreamingConfiguration",
            "StreamingConfiguration",
            STREAMING,
        )
